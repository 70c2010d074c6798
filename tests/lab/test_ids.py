"""Any uid and gid, with one image, without a rebuild and without root, and back again."""

import os
from collections.abc import Iterator

import pytest

from tests.support.project import Project, Render
from tests.support.refusal import only_root
from tools.notebook import CellError

# uid:gid. OFTEN: the default, and the ids of macOS (gid 20 has a name in the base image). RARE: ids with names in the
# base image, and the highest ids.
OFTEN = ["1000:1000", "501:20"]
RARE = ["33:33", "2147483646:2147483646"]
RAREST = ["9999:9999", "1234:33", "100:100"]

# One line for each program that needs a user with a name and a home.
PROBE = """
import getpass, os, pathlib, pwd, subprocess, tempfile
def sh(command):
    return subprocess.run(command, shell=True, check=True, text=True, capture_output=True).stdout.strip()
me = pwd.getpwuid(os.getuid())
assert me.pw_name == getpass.getuser() == sh("whoami") == sh("id -un") == "ada", me
assert me.pw_dir == str(pathlib.Path.home()) == os.environ["HOME"] == "/home/ada", me
assert sh("id -gn") == "ada" and sh("id") .startswith(f"uid={os.getuid()}(ada) gid={os.getgid()}(ada)"), sh("id")
(pathlib.Path.home() / "anything").write_text("home is mine")
repository = tempfile.mkdtemp()
sh(f"cd {repository} && git init -q && git -c user.email=a@b commit -q --allow-empty -m first")
assert sh(f"git -C {repository} log --format=%cn") == "ada", "git took no name from passwd"
sh("mkdir -p /home/ada/.ssh && cd /home/ada/.ssh && rm -f key* && ssh-keygen -q -N '' -f key")
sh("cd /home/ada/.ssh && echo somewhere $(cat key.pub) >known_hosts")
assert sh("ssh-keygen -F somewhere"), "ssh looks for known hosts elsewhere"
assert "ada@" in sh("bash -ic 'printf %s \\"${PS1@P}\\"' 2>/dev/null")
import IPython, matplotlib.pyplot
caches = f"/var/cache/lab/{os.getuid()}/cache/"
tops = {matplotlib.get_cachedir(): caches, IPython.paths.get_ipython_dir(): "/home/ada/"}
for own, top in tops.items():
    assert os.path.realpath(own).startswith(top) and os.access(own, os.W_OK), own  # not a temporary folder instead
for mount in ("data", "notebooks"):
    (pathlib.Path.home() / mount / f"by-{os.getuid()}").write_text("mine")
print("fine")
"""

# Starts a kernel without the lab's server, as `make run` and an editor do.
ELSEWHERE = """
import os, pathlib
from jupyter_client.manager import start_new_kernel
os.chdir(pathlib.Path.home() / "notebooks")
_, client = start_new_kernel(kernel_name="python3")
assert client.execute_interactive(f"open({path!r}, 'w').close()", timeout=60)["content"]["status"] == "ok"
client.shutdown()
"""


@pytest.fixture(scope="module")
def project(new_project: Render) -> Iterator[Project]:
    """A project whose ids the tests change."""
    project = new_project()
    project.set_env(JUPYTER_USERNAME="ada")
    yield project
    project.down()


@pytest.fixture(scope="module")
def image(project: Project) -> str:
    """The id of the image, which is built before any lab starts."""
    project.compose("build", "lab")
    name = project.config()["services"]["lab"]["image"]
    return project.run("docker", "image", "inspect", "--format", "{{.Id}}", name).stdout.strip()


def own(project: Project, ids: str) -> None:
    """Do as a user with `ids` would: own the folders, put the ids into .env."""
    only_root()
    uid, gid = map(int, ids.split(":"))
    for folder in ("data", "notebooks", "secrets"):
        for path in (project.folder / folder, *(project.folder / folder).rglob("*")):
            os.chown(path, uid, gid)
    project.set_env(LAB_UID=str(uid), LAB_GID=str(gid))


def become(project: Project, ids: str) -> None:
    """Own the folders and start the lab, whose image exists."""
    own(project, ids)
    project.compose("up", "--detach", "--wait", "--no-build")


@pytest.mark.parametrize(
    "ids",
    [
        *OFTEN,
        pytest.param("1000:1000", marks=pytest.mark.full),  # and back again
        *(pytest.param(ids, marks=pytest.mark.full) for ids in RARE),
        *(pytest.param(ids, marks=pytest.mark.nightly) for ids in RAREST),
    ],
)
def test_one_image_serves_every_id(project: Project, image: str, ids: str) -> None:
    uid, gid = map(int, ids.split(":"))
    own(project, ids)
    project.make("up")
    assert project.client().run(PROBE) == "fine\n"
    for mount in ("data", "notebooks"):
        written = (project.folder / mount / f"by-{uid}").stat()
        assert (written.st_uid, written.st_gid) == (uid, gid)
    assert {container["Image"] for container in project.containers()} == {image}


@pytest.mark.full
def test_without_its_line_in_passwd_the_user_has_no_name(project: Project, image: str) -> None:
    """The control of the probe."""
    become(project, "1000:1000")
    project.shell("cd /run/lab && cp passwd whole && grep -v ^ada: whole >passwd")
    try:
        done = project.compose("exec", "lab", "whoami", check=False)
        assert done.returncode != 0 and "cannot find name for user ID 1000" in done.stderr
        with pytest.raises(CellError, match="uid not found: 1000"):
            project.client().run(PROBE)
    finally:
        project.shell("cd /run/lab && cat whole >passwd && rm whole")
    assert project.client().run(PROBE) == "fine\n"


@pytest.mark.parametrize(
    ("umask", "mode"),
    [
        ("077", 0o600),
        pytest.param("002", 0o664, marks=pytest.mark.full),
        pytest.param("022", 0o644, marks=pytest.mark.nightly),
    ],
)
def test_the_umask_is_the_users(project: Project, image: str, umask: str, mode: int) -> None:
    project.set_env(LAB_UMASK=umask)
    project.compose("up", "--detach", "--wait", "--no-build")
    lab = project.client()
    lab.run(f"open('made-{umask}', 'w').close()")
    saved = {"type": "file", "format": "text", "content": "saved"}
    lab.request("PUT", f"contents/notebooks/saved-{umask}", json=saved)
    lab.request("PUT", f"contents/notebooks/sent-{umask}", json=saved | {"chunk": 1})
    lab.request("PUT", f"contents/notebooks/sent-{umask}", json=saved | {"chunk": -1})
    project.compose("exec", "--no-TTY", "lab", "python", "-c", f"path = 'exec-{umask}'; {ELSEWHERE}")
    for how in ("made", "saved", "sent", "exec"):
        assert (project.folder / f"notebooks/{how}-{umask}").stat().st_mode & 0o777 == mode, how
    assert project.shell("bash -ic umask 2>/dev/null").strip() == f"0{umask}"  # make shell, an editor's terminal
    assert (project.folder / "secrets/jupyter_token").stat().st_mode & 0o777 == 0o600
