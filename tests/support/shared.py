"""A folder that all workers of a run share. The first worker that needs a file creates it there.

`pytest --numprocesses` starts several workers. Each worker collects all tests and has its own session fixtures.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.common import locked

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
    """Returns a path in the shared folder. Only the first worker calls `make` to fill it."""
    path = folder() / what
    with alone(what):
        if not path.exists():
            unfinished = path.with_name(f"{path.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)  # of a worker that failed
            make(unfinished)
            unfinished.rename(path)
    return path


def key(*parts: object) -> str:
    """A short name that depends only on `parts`."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


# --- what is left in the engine -----------------------------------------------------------------------
PROJECT = "com.docker.compose.project"  # Compose's label on all that it makes
LABELS = {"container": ".Config.Labels", "network": ".Labels", "volume": ".Labels", "image": ".Config.Labels"}


def leave(what: str | Path) -> None:
    """Let `end` remove a Compose project by its name, or every project below a folder.

    Images stay until then. If the engine deleted an image's layers during a build that uses them, the build would fail.
    """
    with alone("left"), (folder() / "left").open("a") as left:
        left.write(f"{what}\n")


def end() -> None:
    """Remove the containers, networks, volumes and images of the projects in the list, and the shared folder."""
    path = folder() / "left"
    left = set(path.read_text().splitlines()) if path.exists() else set()
    if left:
        for kind in LABELS:
            rows = [row.split("\t") for row in labelled(kind)]
            if kind == "container":
                left |= {name for _, name, where in rows if any(Path(where).is_relative_to(place) for place in left)}
            if found := {identity for identity, name, _ in rows if name in left}:
                docker(kind, "rm", "--force", *found)
    shutil.rmtree(folder(), ignore_errors=True)


def labelled(kind: str) -> list[str]:
    """A line for each object of this kind: id, project's name and project's folder (only for a container)."""
    every = ["--all"] if kind == "container" else []
    found = docker(kind, "ls", *every, "--quiet", "--filter", f"label={PROJECT}").split()
    identity, labels = (".Name" if kind == "volume" else ".Id"), LABELS[kind]
    form = f'{{{{{identity}}}}}\t{{{{index {labels} "{PROJECT}"}}}}\t{{{{index {labels} "{PROJECT}.working_dir"}}}}'
    return docker(kind, "inspect", "--format", form, *found).splitlines() if found else []


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], text=True, capture_output=True).stdout
