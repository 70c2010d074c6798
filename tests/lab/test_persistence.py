"""A lab needs no preparation before its first start. These tests also check which files survive a restart."""

import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.project import Project, Render
from tests.support.requirements import lacking
from tests.support.variants import beside

USUAL = 1000  # the first user of a Linux machine
TOKEN = "secrets/jupyter_token"


@pytest.fixture(scope="module")
def untouched(started: list[Project], render: Render) -> Iterator[Project]:
    """A project after `copier copy` by uid 1000, started with Compose alone: no .env, no make."""
    project = render(project_slug=f"untouched-{os.getpid()}")
    started.append(project)
    project.environment["JUPYTER_PORT"] = "0"  # another lab on this machine may use the default port
    if os.geteuid() == 0:
        for path in [project.folder, *project.folder.rglob("*")]:
            os.chown(path, USUAL, USUAL)
    elif os.geteuid() != USUAL:
        lacking(f"only root or uid {USUAL} can play the usual first user, this is uid {os.geteuid()}")
    assert not (project.folder / ".env").exists()
    assert not (project.folder / TOKEN).exists()
    project.compose("up", "--detach", "--wait")
    yield project
    project.down()


def test_nothing_needs_preparation(untouched: Project) -> None:
    assert untouched.client().run("import os; print(os.getuid(), os.getcwd())") == "1000 /home/jovyan/notebooks\n"
    assert not (untouched.folder / ".env").exists()


def test_the_first_start_makes_a_long_token_of_its_user(untouched: Project) -> None:
    file = (untouched.folder / TOKEN).stat()
    assert re.fullmatch(r"[0-9a-f]{64}\n", untouched.read(TOKEN))  # complete, with a newline at the end for terminals
    assert (file.st_mode & 0o777, file.st_uid, file.st_gid) == (0o600, USUAL, USUAL)


def test_a_kernel_cannot_change_the_token(untouched: Project) -> None:
    attempts = """
        import os
        token = "/run/secrets/jupyter_token"
        for attempt in (
            lambda: open(token, "w"), lambda: os.remove(token), lambda: os.rename(token, token + ".old"),
            lambda: os.chmod(token, 0o666), lambda: open("/run/secrets/new", "w"), lambda: os.link(token, "/tmp/token"),
        ):
            try:
                attempt()
                print("done")
            except OSError as error:
                print("refused")
    """
    before = untouched.read(TOKEN)
    assert untouched.client().run(textwrap.dedent(attempts)).split() == ["refused"] * 6
    assert untouched.read(TOKEN) == before
    # The control: the same user may write to the file. Only the lab's mount is read-only; `prepare` has a writable one.
    writable = "printf x >>/run/secrets/jupyter_token && truncate -s -1 /run/secrets/jupyter_token"
    untouched.compose("run", "--rm", "--no-TTY", "--entrypoint", "sh", "prepare", "-ec", writable)
    assert untouched.read(TOKEN) == before


def test_files_and_token_outlive_the_lab(untouched: Project) -> None:
    before = untouched.read(TOKEN).strip()
    write = (
        "from pathlib import Path; [(Path.home() / n).write_text(n) for n in ('data/kept', 'notebooks/kept', 'lost')]"
    )
    untouched.client().run(write)
    untouched.compose("restart", "--timeout", "2")
    untouched.compose("up", "--detach", "--wait", "--no-build")
    assert untouched.client().token == before
    untouched.compose("down")
    assert untouched.read("data/kept") == "data/kept"
    untouched.compose("up", "--detach", "--wait", "--no-build")
    assert untouched.client().token == before
    found = untouched.client().run("import os; print(*map(os.path.exists, ('../data/kept', 'kept', '../lost')))")
    assert found == "True True False\n"


RARE = ("_x-1", "a" * 32, "www-data")  # an unusual name, the longest name, and a name that the base image has


@pytest.mark.full  # tests/lab/test_ids.py uses another name, too
@pytest.mark.parametrize("name", ["Ada.L", *(pytest.param(name, marks=pytest.mark.nightly) for name in RARE)])
def test_home_has_the_users_name(lab: Project, tmp_path: Path, name: str) -> None:
    with beside(lab, tmp_path, JUPYTER_USERNAME=name) as twin:
        twin.serve()
        ask = "import os; print(os.path.expanduser('~'), os.environ['USER'], *sorted(os.listdir('..')))"
        home, user, *entries = twin.client().run(ask).split()
        assert (home, user) == (f"/home/{name}", name)
        assert twin.shell("whoami") == f"{name}\n"
        assert {"data", "notebooks"} <= set(entries)


@pytest.mark.full
def test_a_service_of_the_user_runs_next_to_the_lab(fresh_project: Project) -> None:
    own = {"image": fresh_project.config()["services"]["lab"]["image"], "pull_policy": "never", "init": True}
    services = {"services": {"neighbour": {**own, "entrypoint": ["sleep", "infinity"], "depends_on": ["lab"]}}}
    (fresh_project.folder / "compose.override.yaml").write_text(yaml.safe_dump(services))
    running = fresh_project.up()
    assert fresh_project.container("neighbour")["State"]["Running"]
    assert running.run("import socket; print(socket.gethostbyname('neighbour'))").count(".") == 3
    assert fresh_project.container()["HostConfig"]["ReadonlyRootfs"]
