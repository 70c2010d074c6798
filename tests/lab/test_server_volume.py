"""The server's volume is full, read-only, damaged or of another user. The lab works, or says what to do."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import Project
from tests.support.variants import beside
from tests.support.waiting import until
from tools.notebook import LabClient

FOLDER = "/var/lib/server/$(id -u)"
SAID = "labdock: the server cannot write its volume ("
NOTEBOOK = {"path": "notebooks/a.ipynb", "type": "notebook", "name": "a", "kernel": {"name": "python3"}}


def opens_notebooks(lab: LabClient) -> bool:
    """The browser opens a notebook, which runs code."""
    session = lab.request("POST", "sessions", json=NOTEBOOK).json()
    found = [each["id"] for each in lab.request("GET", "sessions").json()]
    lab.request("DELETE", f"sessions/{session['id']}")
    return session["id"] in found and lab.run("print(1)") == "1\n"


@pytest.mark.full
def test_a_full_volume_ends_nothing(lab: Project, tmp_path: Path) -> None:
    """The control: with space, the server says nothing."""
    with beside(lab, tmp_path, small("mode=1777")) as twin:
        twin.serve()
        client = twin.client()
        before = client.request("POST", "sessions", json=NOTEBOOK | {"path": "notebooks/b.ipynb"}).json()["id"]
        assert opens_notebooks(client) and SAID not in twin.logs()
        twin.shell(f"cat /dev/zero >{FOLDER}/ballast || true", "server")
        assert opens_notebooks(client) and SAID in twin.logs()
        assert before in [each["id"] for each in client.request("GET", "sessions").json()]


RARER_DAMAGE = (
    "chmod 000 sessions.sqlite",
    "rm sessions.sqlite && mkdir sessions.sqlite",
    "head -c 9000 /dev/urandom | dd of=sessions.sqlite bs=1 seek=100 conv=notrunc",
    "chmod 000 cookie-secret kernels",
)


@pytest.mark.full
@pytest.mark.parametrize(
    "damage",
    [
        "echo damaged >sessions.sqlite",
        "chmod 000 .",
        *(pytest.param(damage, marks=pytest.mark.nightly) for damage in RARER_DAMAGE),
    ],
)
def test_a_damaged_file_does_not_stop_the_server(lab: Project, tmp_path: Path, damage: str) -> None:
    with beside(lab, tmp_path) as twin:
        twin.serve()
        twin.client().request("POST", "sessions", json=NOTEBOOK)
        twin.shell(f"cd {FOLDER} && {damage}", "server")
        twin.compose("restart", "server")
        twin.serve()
        assert opens_notebooks(twin.client())
        assert ("the server cannot" in twin.logs()) is (damage != "chmod 000 .")  # the entrypoint changes its mode


def small(options: str) -> dict[str, Any]:
    """A layer in which the server's volume is small and in memory, with these options of mount."""
    options = f"size=1m,{options}"
    return {"volumes": {"server": {"driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": options}}}}


REFUSALS = {
    "read-only": ({"read_only": True}, "mode=1777", "Read-only file system"),
    "of another user": ({}, "mode=700,uid=4321", "Permission denied"),
    "without any right": ({}, "mode=000", "Permission denied"),
    "without space": ({}, "mode=1777,nr_inodes=1", "No space left on device"),
}


@pytest.mark.full
@pytest.mark.parametrize("how", REFUSALS)
def test_a_volume_that_cannot_be_written_is_named(lab: Project, tmp_path: Path, how: str) -> None:
    mount, options, error = REFUSALS[how]
    volume = {"type": "volume", "source": "server", "target": "/var/lib/server", "volume": {"nocopy": True}} | mount
    layer = small(options) | {"services": {"server": {"volumes": [volume]}}}
    with beside(lab, tmp_path, layer) as twin:
        twin.compose("up", "--detach", "--no-build", "--no-deps", "server", "lab")
        until(lambda: "labdock: " in twin.logs(), "the server says it")
        (line,) = (line for line in twin.logs().splitlines() if line.startswith("labdock: "))
        assert line.startswith("labdock: the lab cannot write its volume (mkdir: ") and f": {error})." in line
        assert re.search(r"make the volume writable for uid \d+\. Then run 'make up'\.$", line)
        assert twin.container("server")["RestartCount"] == 0
