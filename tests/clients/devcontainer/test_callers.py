"""The lab runs as the user who opens a fresh copy in an editor. Nothing else was run before."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.devcontainer.conftest import HERE, UNPACK, Cli, opened, server_runs
from tests.support.project import Project, Render
from tests.support.refusal import only_root, owned

SOCKET = Path("/var/run/docker.sock")
# Case -> the ids of the caller, of the folder's owner, and of the lab. The cases are the ids of macOS, arbitrary ids,
# the ids of the first user of most machines, and root.
CALLERS = {
    "501:20": ("501:20", "501:20", "501:20"),
    "4321:4321": ("4321:4321", "4321:4321", "4321:4321"),
    "1000:1000": ("1000:1000", "1000:1000", "1000:1000"),
    "root, in its own folder": ("0:0", "0:0", "1000:1000"),
    "root, in a user's folder": ("0:0", "4321:4321", "4321:4321"),
}
USUAL = {"501:20", "root, in a user's folder"}
# `devcontainer` asks `id` for the user's name. These uids have no names, so this stand-in for `id` prints one.
NAMED = """#!/bin/sh
case "$*" in "-u -n" | "-un") echo caller ;; *) exec /usr/bin/id "$@" ;; esac
"""


def ids(text: str) -> tuple[int, int]:
    uid, gid = map(int, text.split(":"))
    return uid, gid


@pytest.fixture
def place(engine: None, cli: Cli) -> Iterator[Path]:
    """A folder that any user can read, with `devcontainer` in it."""
    only_root()
    folder = Path(tempfile.mkdtemp(prefix="opened-"))
    folder.chmod(0o755)
    shutil.copytree(HERE / "node_modules", folder / "node_modules")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.full
@pytest.mark.parametrize(
    ("caller", "owner", "user"),
    [pytest.param(*CALLERS[name], id=name, marks=() if name in USUAL else pytest.mark.nightly) for name in CALLERS],
)
def test_a_fresh_copy_opens_for_any_user(
    cli: Cli, started: list[Project], render: Render, place: Path, caller: str, owner: str, user: str
) -> None:
    project = render(place / "lab", project_slug=f"opened-{os.getpid()}")
    started.append(project)
    (place / "home").mkdir()
    (place / "bin").mkdir()
    (place / "bin/id").write_text(NAMED)
    (place / "bin/id").chmod(0o755)
    path = f"{place / 'bin'}:{os.environ['PATH']}"
    home = str(place / "home")
    project.environment |= {"JUPYTER_PORT": "0", "HOME": home, "TMPDIR": home, "PATH": path}
    for path in (place / "home", project.folder, *project.folder.rglob("*")):
        os.chown(path, *ids(owner))
    uid, gid = ids(caller)
    as_caller = {"modules": place, "user": uid, "group": gid, "extra_groups": [SOCKET.stat().st_gid]}
    try:
        opened(cli, project, **as_caller)
        assert owned(project) == user
        cli(project, "exec", "sh", "-ec", "touch data/made notebooks/made ~/made && id -u", **as_caller)
        server_runs(cli, project, UNPACK, **as_caller)
        for name in ("data/made", "notebooks/made"):
            made = (project.folder / name).stat()
            assert (made.st_uid, made.st_gid) == ids(user)
    finally:
        project.down()


@pytest.mark.full
def test_without_its_first_command_another_user_cannot_open(
    cli: Cli, started: list[Project], render: Render, place: Path
) -> None:
    """The control: the lab would run as uid 1000, which cannot write the folders."""
    project = render(place / "lab", project_slug=f"opened-{os.getpid()}")
    started.append(project)
    project.environment["JUPYTER_PORT"] = "0"
    for path in (project.folder, *project.folder.rglob("*")):
        os.chown(path, 501, 20)
    project.replace(".devcontainer/devcontainer.json", '"initializeCommand"', '"x"')
    try:
        with pytest.raises(AssertionError):
            cli(project, "up")
        assert "Set LAB_UID=501 and LAB_GID=20 in .env" in project.logs()
    finally:
        project.down()
