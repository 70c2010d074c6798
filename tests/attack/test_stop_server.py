"""A notebook kernel tries to stop the server."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.support.project import Project
from tests.support.variants import beside
from tests.support.waiting import QUICK, becomes, until

SAVED = {"type": "file", "format": "text", "content": "kept"}


@pytest.fixture
def twin(lab: Project, tmp_path: Path) -> Iterator[Project]:
    """A lab that a test may stop."""
    with beside(lab, tmp_path, {"services": {"lab": QUICK}}) as twin:
        twin.serve()
        yield twin
    (lab.folder / "data/kept.txt").unlink(missing_ok=True)


def lab_line(lab: Project) -> str:
    """The lines of `make doctor` about the lab."""
    said = lab.make("doctor", check=False).stdout.splitlines()
    return next(line for line in said if "the lab answers" in line or "the lab runs" in line)


@pytest.mark.attack("Kill the server from a kernel", "The server restarts with the same token. Saved files are intact.")
def test_a_killed_server_restarts(twin: Project) -> None:
    lab = twin.client()
    lab.request("PUT", "contents/data/kept.txt", json=SAVED)
    with suppress(requests.RequestException), lab.kernel() as kernel:
        kernel.execute("import os; os.kill(os.getppid(), 9)")
        until(lambda: twin.container()["RestartCount"] == 1, "the server ended")
    becomes(twin, "healthy")
    after = twin.client()
    assert after.token == lab.token
    assert after.request("GET", "contents/data/kept.txt").json()["content"] == "kept"
    assert after.run("print(1)") == "1\n"


@pytest.mark.nightly
@pytest.mark.attack(
    "Freeze the server from a kernel",
    "The lab becomes unhealthy, and `make doctor` prints the fix. Nothing restarts the lab, so kernels keep working.",
)
def test_a_frozen_server_is_reported_but_not_restarted(twin: Project) -> None:
    assert lab_line(twin).startswith("ok ")
    lab = twin.client()
    frozen = "import os; pid = os.getppid(); path = os.path.expanduser('~/data/kept.txt'); os.kill(pid, 19)"
    work = "import time\nfor n in range(10**9): open(path, 'w').write(str(n)); time.sleep(0.1)"
    with suppress(requests.RequestException), lab.kernel() as kernel:
        kernel.execute(f"{frozen}\n{work}")
        becomes(twin, "unhealthy")
        said = lab_line(twin)
        assert said.startswith("FIX ") and said.endswith("run 'docker compose restart lab'.")
        file = twin.folder / "data/kept.txt"
        before = int(file.read_text() or 0)
        until(lambda: int(file.read_text() or 0) > before, "the kernel works on")
        state = twin.container()
        assert state["RestartCount"] == 0 and state["State"]["Status"] == "running"
        twin.compose("restart", "--timeout", "1", "lab")
        becomes(twin, "healthy")
    assert lab_line(twin).startswith("ok ")
