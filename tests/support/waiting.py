"""Wait for a condition, never for a time."""

import time
from collections.abc import Callable

from tests.support.project import Project

# The health check as delivered, at a pace that a test can wait for.
QUICK = {"healthcheck": {"interval": "500ms", "timeout": "5s", "retries": 2, "start_period": "120s"}}


def until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Return once `condition` holds; fails with `what` was waited for after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)


def becomes(lab: Project, state: str) -> None:
    """Return once the engine calls the lab `state`, healthy or unhealthy."""
    until(lambda: lab.container()["State"].get("Health", {}).get("Status") == state, f"the lab is {state}")


def crash(lab: Project) -> None:
    """Kill whatever runs in a lab that has not been restarted yet; it comes back."""
    lab.compose("exec", "lab", "sh", "-c", "kill -9 -1", check=False)
    until(lambda: lab.container()["RestartCount"] == 1, "the server ended")
    becomes(lab, "healthy")
