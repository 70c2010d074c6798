"""A lab comes back after the engine restarts, and one that refuses does not loop."""

import time
from collections.abc import Callable

import pytest

from engine.daemon import Daemon
from tests.support.project import Project


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.2)


def restart() -> None:
    """Restart the engine, where it is one that the tests brought up."""
    own = Daemon()
    if not own.pid():
        pytest.skip("the engine is this machine's own: not for tests to restart")
    own.stop()
    own.up()


@pytest.mark.full
def test_a_running_lab_comes_back_and_a_refusing_one_does_not_loop(fresh_lab: Project, new_project) -> None:
    refusing = new_project()
    refusing.up()
    (refusing.folder / "secrets/jupyter_token").write_text("")
    restart()
    wait_until(lambda: fresh_lab.container()["State"].get("Health", {}).get("Status") == "healthy")
    assert fresh_lab.lab().request("GET", "status").status_code == 200
    wait_until(lambda: "labdock: secrets/jupyter_token holds 0 characters" in refusing.logs())
    state = refusing.container()
    assert state["State"]["Status"] == "running" and state["RestartCount"] == 0
    assert state["State"]["Health"]["Status"] != "healthy"
