"""Checks a refusal of `make up`, and asks a lab for an answer."""

import os

import requests

from tests.support.project import Project
from tests.support.requirements import lacking
from tools.notebook import LabClient


def contents(project: Project) -> dict[str, tuple[bytes, int, int, int]]:
    """Every file's bytes, mode and owner."""
    found = {name: project.folder / name for name in project.files()}
    return {name: (p.read_bytes(), (s := p.stat()).st_mode, s.st_uid, s.st_gid) for name, p in found.items()}


def left(project: Project, kind: str = "container") -> list[str]:
    """The ids of the project's containers (also stopped ones), networks or volumes that still exist."""
    name = f"label=com.docker.compose.project={project.compose_name()}"
    every = ["--all"] if kind == "container" else []
    return project.run("docker", kind, "ls", *every, "--quiet", "--filter", name).stdout.split()


def refused(project: Project, *words: str) -> str:
    """Require that `make up` fails, changes nothing, and ends with a message with `words`. Return this message."""
    before = contents(project)
    done = project.make("up", check=False)
    *_, said, make = ["", *done.stderr.splitlines()]
    assert done.returncode != 0
    assert make.startswith("make: ***") and said.startswith("labdock: "), done.stderr
    for word in words:
        assert word in said
    assert "Address:" not in done.stdout
    assert left(project) == []
    assert before.items() <= contents(project).items()
    return said


def answers(lab: LabClient) -> int | None:
    """The status of a request that needs the token. None if nothing answers."""
    try:
        return lab.request("GET", "contents/notebooks").status_code
    except requests.HTTPError as error:
        return error.response.status_code
    except requests.ConnectionError:
        return None


def owned(project: Project) -> str:
    """The uid:gid of the lab's user."""
    return project.config()["services"]["lab"]["user"]


def only_root() -> None:
    if os.geteuid():
        lacking("only root can give files to another user")
