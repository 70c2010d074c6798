"""A hostile notebook tries to get power over the container, the kernel of the machine, or the next start."""

import json
from pathlib import Path

import pytest

from tests.support.project import Project

ATTEMPTS = Path(__file__).with_name("attempts.py").read_text(encoding="utf-8")
REFUSED = {"EPERM", "EACCES", "EROFS"}
Results = dict[str, str | None]


@pytest.fixture(scope="module")
def results(lab: Project) -> Results:
    """What came of each attempt, made by a kernel of the shared lab."""
    program = f"""
import subprocess, sys
print(subprocess.run([sys.executable, "-"], input={ATTEMPTS!r}, text=True, capture_output=True, check=True).stdout)
"""
    return json.loads(lab.lab().run(program))


def test_every_attempt_is_refused(results: Results) -> None:
    assert {name: result for name, result in results.items() if result not in REFUSED | {"ENOENT"}} == {}


def test_what_is_missing_is_missing_everywhere(results: Results, privileged: Results) -> None:
    """ENOENT refuses nobody: a path that is not there at all was no attempt."""
    missing = {name for name, result in results.items() if result == "ENOENT"}
    assert missing <= {name for name, result in privileged.items() if result == "ENOENT"}


@pytest.fixture(scope="module")
def privileged(lab: Project) -> Results:
    """The same in a container of the same image that was given every power: what a hostile notebook hopes for."""
    image = lab.container()["Image"]
    command = ("docker", "run", "--rm", "--privileged", "--user", "0:0", "--interactive", "--entrypoint", "python")
    mount = ("--tmpfs", "/run/lab", "--volume", f"{lab.folder / 'secrets'}:/run/secrets")
    return json.loads(lab.run(*command, *mount, image, "-", input=ATTEMPTS).stdout)


def test_the_attempts_are_real(results: Results, privileged: Results) -> None:
    """The control: with every power none of them is refused, so it is the lab that refuses."""
    assert {name: result for name, result in privileged.items() if result in REFUSED} == {}
    assert results.keys() == privileged.keys()


def test_a_fork_bomb_ends_at_the_limit_and_the_server_stays(fresh_lab: Project) -> None:
    bomb = """
import os, signal, time
children = []
try:
    while len(children) < 5000:
        child = os.fork()
        if not child:
            signal.pause()
        children.append(child)
except OSError as error:
    print(type(error).__name__)
print(len(children) < 512)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""
    lab = fresh_lab.lab()
    assert lab.run(bomb).endswith("BlockingIOError\nTrue\n")
    assert lab.request("GET", "status").status_code == 200
    assert fresh_lab.container()["RestartCount"] == 0
