"""Hostile code changes files while the server works with them. The server never leaves the mounts.

Code in the lab and the server share the files in data/ and notebooks/. So the code can replace a file or a folder by a
link at any moment, also between a check of the server and its next call.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import Project

PROGRAM = Path(__file__).with_name("races.py").read_text(encoding="utf-8")
STOCK = "--ServerApp.contents_manager_class=jupyter_server.services.contents.largefilemanager.AsyncLargeFileManager"


def attacked(lab: Project, mode: str, runs: int, seconds: float, *options: str) -> dict[str, dict[str, Any]]:
    """Operation of the file manager -> the number of attacked runs, and the attacks that were won."""
    command = ("exec", "--no-TTY", "lab", "/opt/jupyter/bin/python", "-I", "-", mode, str(runs), str(seconds))
    done = lab.run("docker", "compose", *command, *options, input=PROGRAM)
    return json.loads(done.stdout)


@pytest.mark.attack(
    "Replace a file or folder by a link while the server lists, reads, saves, copies, moves or deletes it",
    "The server reads and changes nothing outside the mounts, and it does not wait for a named pipe.",
)
@pytest.mark.parametrize(
    ("mode", "runs"),
    [
        ("each", 3),
        pytest.param("each", 100, marks=pytest.mark.full),
        pytest.param("chance", 300, marks=pytest.mark.full),
    ],
)
def test_no_operation_leaves_the_mounts(lab: Project, mode: str, runs: int) -> None:
    found = attacked(lab, mode, runs, 30)
    assert {operation: result["won"] for operation, result in found.items() if result["won"]} == {}
    assert all(result["runs"] >= runs for result in found.values())


@pytest.mark.full
@pytest.mark.parametrize(("mode", "runs"), [("each", 12), ("chance", 300)])
def test_control_jupyters_own_file_manager_leaves_them(lab: Project, mode: str, runs: int) -> None:
    """The control: the same attacks win against Jupyter's own file manager."""
    found = attacked(lab, mode, runs, 1, STOCK)
    safe = {operation for operation, result in found.items() if not result["won"]}
    assert safe <= {"view a file", "trust a notebook"}
