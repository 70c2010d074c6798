"""What the workers of one run share: a folder, and what the first of them that needs it makes there.

`pytest --numprocesses` starts several workers. Each collects all tests and has its own session fixtures.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.tools import locked

FOLDER = "LABDOCK_TESTS"  # the variable by which the workers find the folder


def begin() -> None:
    """Make the folder, in the process that starts the workers."""
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="labdock-tests-")


def folder() -> Path:
    return Path(os.environ[FOLDER])


@contextmanager
def alone(what: str) -> Iterator[None]:
    """One worker at a time does `what`."""
    with locked(folder() / what):
        yield


def once(what: str, make: Callable[[Path], None]) -> Path:
    """The path that `make` fills: once in a run, whichever worker comes first."""
    path = folder() / what
    with alone(what):
        if not path.exists():
            unfinished = path.with_name(f"{path.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)  # of a worker that failed
            make(unfinished)
            unfinished.rename(path)
    return path


# --- what is left in the engine -----------------------------------------------------------------------
PROJECT = "com.docker.compose.project"  # Compose's label on all that it makes
LABELS = {"container": ".Config.Labels", "network": ".Labels", "volume": ".Labels", "image": ".Config.Labels"}


def leave(name: str) -> None:
    """Let `end` remove all that the engine holds of this Compose project.

    Images stay until then: an engine that collects the layers of a removed image fails a build that unpacks them.
    """
    with alone("names"), (folder() / "names").open("a") as names:
        names.write(f"{name}\n")


def end() -> None:
    """Remove what the engine holds of the projects that were left, and the folder."""
    path = folder() / "names"
    names = set(path.read_text().split()) if path.exists() else set()
    for kind, labels in LABELS.items():
        every = ["--all"] if kind == "container" else []
        found = docker(kind, "ls", *every, "--quiet", "--filter", f"label={PROJECT}").split() if names else []
        if not found:
            continue
        identity = ".Name" if kind == "volume" else ".Id"
        rows = docker(kind, "inspect", "--format", f'{{{{{identity}}}}} {{{{index {labels} "{PROJECT}"}}}}', *found)
        if left := {row.split()[0] for row in rows.splitlines() if row.split()[1] in names}:
            docker(kind, "rm", "--force", *left)
    shutil.rmtree(folder(), ignore_errors=True)


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], text=True, capture_output=True).stdout
