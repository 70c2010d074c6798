"""Server extensions of the user's own (`make extend`), and kernels and extensions of the user's packages."""

import re
from pathlib import Path

import pytest

from tests.support.project import Project, Render

LOCK = "lab/locks/server-extensions.lock"
CHECK = ("sh", "-c", ". lab/commands/lib/all.sh; check_extensions")


# --- without an engine --------------------------------------------------------------------------------
@pytest.fixture
def locked(render: Render, tmp_path: Path) -> Project:
    """A project whose extensions fit the server."""
    project = render(folder=tmp_path / "lab")
    (tornado,) = re.findall(r"^tornado==\S+", project.read("lab/locks/server.lock"), re.MULTILINE)
    (project.folder / LOCK).write_text(f"jupytext==1.0 \\\n    --hash=sha256:00\n{tornado} \\\n    --hash=sha256:00\n")
    return project


def test_extensions_that_do_not_fit_the_server_are_named(locked: Project) -> None:
    assert locked.run(*CHECK).stdout == ""
    ours, servers = "tornado==5.9", re.findall(r"tornado==(\S+)", locked.read(LOCK))[0]
    locked.replace(LOCK, f"tornado=={servers}", ours)
    assert locked.run(*CHECK).stdout == (
        f"{LOCK} does not fit the server: it has tornado 5.9, but the server has {servers}. Run 'make extend'.\n"
    )
    (locked.folder / LOCK).unlink()
    assert locked.run(*CHECK).stdout == ""
