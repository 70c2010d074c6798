"""Hostile code changes files while the server works with them. The server never leaves the mounts.

Code in the lab and the server share the files in data/ and notebooks/. So the code can replace a file or a folder by a
link at any moment, also between a check of the server and its next call.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.network import bearer, send
from tests.support.project import Project
from tests.support.waiting import until
from tools.notebook import LabClient

PROGRAM = Path(__file__).with_name("races.py").read_text(encoding="utf-8")
# What Jupyter's file manager imports. If it imports something else that opens files, pinned.py has to replace it.
IMPORTS = """
import ast, importlib
for name in ("filecheckpoints", "fileio", "filemanager", "largefilemanager"):
    module = importlib.import_module(f"jupyter_server.services.contents.{name}")
    for node in ast.walk(ast.parse(open(module.__file__).read())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                print(f"{getattr(node, 'module', '') or ''}.{alias.name}".strip("."))
"""
REPLACED = {"os", "shutil", "os.path.samefile", "jupyter_server.utils.samefile_simple"}
REPLACED |= {f"jupyter_core.{name}" for name in ("paths.exists", "paths.is_file_hidden", "paths.is_hidden")}
REPLACED |= {"jupyter_core.utils.ensure_dir_exists"}
NOT_CALLED = {"asyncio", "subprocess", "send2trash.send2trash"}  # by the methods that the server uses
OPENS_NOTHING = {
    "__future__.annotations", "anyio.to_thread.run_sync", "base64", "base64.decodebytes", "base64.encodebytes",
    "contextlib.contextmanager", "datetime.datetime", "errno", "functools.partial", "hashlib", "math", "mimetypes",
    "nbformat", "pathlib.Path", "platform", "stat", "sys", "tempfile", "typing", "warnings",
}  # fmt: skip
JUPYTERS_OWN = ("tornado.", "traitlets.", "jupyter_server.", "check", "fileio.", "filecheckpoints.", "manager.")
STOCK = "--ServerApp.contents_manager_class=jupyter_server.services.contents.largefilemanager.AsyncLargeFileManager"


def ask(lab: Project, program: str, *arguments: str) -> str:
    """The output of a program that the server's Python runs in the server's container."""
    command = ("exec", "--no-TTY", "server", "/opt/jupyter/bin/python", "-I", "-", *arguments)
    return lab.run("docker", "compose", *command, input=program).stdout


def attacked(lab: Project, mode: str, runs: int, seconds: float, *options: str) -> dict[str, dict[str, Any]]:
    """Operation of the file manager -> the number of attacked runs, and the attacks that were won."""
    return json.loads(ask(lab, PROGRAM, mode, str(runs), str(seconds), *options))


@pytest.mark.attack(
    "Replace a file or folder by a link while the server lists, reads, saves, copies, moves or deletes it",
    "The server reads and changes nothing outside the mounts, and it does not wait for a named pipe.",
)
@pytest.mark.parametrize(
    ("mode", "runs"),
    [
        ("each", 1),
        pytest.param("each", 12, marks=pytest.mark.full),
        pytest.param("each", 100, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)]),
        pytest.param("chance", 300, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)]),
    ],
)
def test_no_operation_leaves_the_mounts(lab: Project, mode: str, runs: int) -> None:
    found = attacked(lab, mode, runs, 30)
    assert {operation: result["won"] for operation, result in found.items() if result["won"]} == {}
    assert all(result["runs"] >= runs for result in found.values())


@pytest.mark.full
@pytest.mark.parametrize(
    ("mode", "runs", "narrow"),
    # Tornado opens a file for /files/ so soon after its check that 30 attempts by chance are too few.
    [
        ("each", 12, set()),
        pytest.param("chance", 30, {"download a file", "ask for a file's size"}, marks=pytest.mark.nightly),
    ],
)
def test_control_jupyters_own_file_manager_leaves_them(lab: Project, mode: str, runs: int, narrow: set[str]) -> None:
    """The control: the same attacks win against Jupyter's own file manager."""
    found = attacked(lab, mode, runs, 1, STOCK)
    safe = {operation for operation, result in found.items() if not result["won"]}
    assert safe <= {"view a file", "trust a notebook"} | narrow


def test_jupyters_file_manager_imports_nothing_else_that_opens_files(lab: Project) -> None:
    """This controls that pinned.py replaces everything with which Jupyter's file manager opens files."""
    unknown = {*ask(lab, IMPORTS).split()} - REPLACED - NOT_CALLED - OPENS_NOTHING
    assert {name for name in unknown if not name.startswith(JUPYTERS_OWN)} == set()


# Linux lets every other program that opens the file wait for 45 seconds.
LEASE = """
import fcntl, os, signal
file = os.open("data/leased", os.O_RDWR | os.O_CREAT)
signal.signal(signal.SIGIO, signal.SIG_IGN)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
os.rename("data/leased", "data/leased.txt")
signal.alarm(60)
signal.pause()
"""


@pytest.mark.attack(
    "Lease a file, so that every program that opens it has to wait, and open the file in the browser",
    "The server does not wait. It answers with an error message.",
)
def test_a_leased_file_does_not_stop_the_server(lab: Project, target: LabClient) -> None:
    lab.compose("exec", "--detach", "--workdir", "/home/jovyan", "lab", "python", "-c", LEASE)
    file = lab.folder / "data/leased.txt"
    try:
        until(file.exists, "the file is leased")
        for page in ("/api/contents/", "/files/"):
            answer = send(target, "GET", f"{page}data/leased.txt", [bearer(target)], timeout=20)
            assert answer.status >= 400
        # The control: another program waits.
        assert lab.shell("timeout 1 cat ~/data/leased.txt || echo $?") == "124\n"
    finally:
        file.unlink()
