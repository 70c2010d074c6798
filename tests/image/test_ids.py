"""Any uid and gid, with one image, without a rebuild and without root, and back again."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import Render
from tests.support.project import Project

# The article's, macOS's (gid 20 exists in the base), ids that the base has names for, and the highest.
OFTEN = ["1000:1000", "9999:9999", "501:20", "1000:1000"]
RARE = ["1234:33", "33:33", "100:100", "2147483646:2147483646"]

# One line for each thing that wants a user with a name and a home.
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
assert sh(f"git -C {repository} log --format=%cn"), "git took no name from passwd"
assert "userknownhostsfile /home/ada/.ssh/known_hosts" in sh("ssh -G somewhere")
assert "ada@" in sh("bash -ic 'printf %s \\"${PS1@P}\\"' 2>/dev/null")
import IPython, matplotlib.pyplot
assert os.access(matplotlib.get_cachedir(), os.W_OK) and os.access(IPython.paths.get_ipython_dir(), os.W_OK)
for mount in ("data", "notebooks"):
    (pathlib.Path.home() / mount / f"by-{os.getuid()}").write_text("mine")
print("fine")
"""


@pytest.fixture(scope="module")
def project(new_project: Render) -> Iterator[Project]:
    """One project, and so one image, whose ids the tests change."""
    project = new_project()
    project.set_env(JUPYTER_USERNAME="ada")
    yield project
    project.down()


def become(project: Project, ids: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """What a user with `ids` does: own the folders, put the ids into .env, start the lab."""
    uid, gid = map(int, ids.split(":"))
    for folder in ("data", "notebooks", "secrets"):
        for path in (project.folder / folder, *(project.folder / folder).rglob("*")):
            os.chown(path, uid, gid)
    project.set_env(LAB_UID=str(uid), LAB_GID=str(gid))
    return project.make("up", check=check)


@pytest.mark.parametrize("ids", [*OFTEN, *(pytest.param(ids, marks=pytest.mark.full) for ids in RARE)])
def test_one_image_serves_every_id(project: Project, ids: str) -> None:
    uid, gid = map(int, ids.split(":"))
    become(project, ids)
    assert project.lab().run(PROBE) == "fine\n"
    for mount in ("data", "notebooks"):
        written = (project.folder / mount / f"by-{uid}").stat()
        assert (written.st_uid, written.st_gid) == (uid, gid)
    images = {container["Image"] for container in project.containers()}
    built = project.__dict__.setdefault("images", images)
    assert images == built and len(images) == 1


def test_the_names_are_the_users_own_and_nothing_else(project: Project) -> None:
    """The control of the probe: a uid that has no line in passwd has no name."""
    done = project.compose("exec", "--user", "4321:4321", "lab", "whoami", check=False)
    assert done.returncode != 0
    assert "cannot find name for user ID 4321" in done.stderr


@pytest.mark.parametrize(("umask", "mode"), [("022", 0o644), ("002", 0o664), ("077", 0o600)])
def test_the_umask_is_the_users(project: Project, umask: str, mode: int) -> None:
    project.set_env(LAB_UMASK=umask)
    project.up().run(f"open('made-{umask}', 'w').close()")
    assert (project.folder / f"notebooks/made-{umask}").stat().st_mode & 0o777 == mode
    assert (project.folder / "secrets/jupyter_token").stat().st_mode & 0o777 == 0o600
