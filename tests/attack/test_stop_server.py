"""A notebook kernel tries to stop the server."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.support.project import Project
from tests.support.server_probes import refusal
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


@pytest.mark.attack(
    "Kill everything that a kernel can kill, also the agent",
    "The container lab restarts. The server keeps running, and new notebooks start.",
)
def test_a_kernel_that_kills_everything_ends_only_its_own_container(twin: Project) -> None:
    lab = twin.client()
    with suppress(requests.RequestException), lab.kernel() as kernel:
        kernel.execute("import os; os.kill(-1, 9)")
        until(lambda: twin.container()["RestartCount"] == 1, "the container lab ended")
    lab.request("PUT", "contents/data/kept.txt", json=SAVED)
    becomes(twin, "healthy", "lab")
    assert lab.run("print(1)") == "1\n"
    assert twin.container("server")["RestartCount"] == 0


@pytest.mark.full
@pytest.mark.attack(
    "Freeze the agent from a kernel",
    "The server and running notebooks keep working. A new notebook gets an error, and `make doctor` prints the fix.",
)
def test_a_frozen_agent_is_reported(twin: Project) -> None:
    lab = twin.client()
    with lab.kernel() as kernel:
        kernel.execute("import os; os.kill(os.getppid(), 19)")
        becomes(twin, "unhealthy", "lab")
        said = refusal(lab, "POST", "kernels", json={"name": "python3"})
        assert said.startswith("labdock: the container lab does not answer.") and "docker compose restart lab" in said
        assert "FIX   the service lab does not answer" in twin.make("doctor", check=False).stdout
        lab.request("PUT", "contents/data/kept.txt", json=SAVED)
        assert kernel.execute_interactive("answer = 42", timeout=60)["content"]["status"] == "ok"
        twin.shell("kill -CONT $(pgrep -f [l]abdock/agent.py)")
        becomes(twin, "healthy", "lab")
        assert lab.run("print(1)") == "1\n"
    assert [twin.container(name)["RestartCount"] for name in ("server", "lab")] == [0, 0]
