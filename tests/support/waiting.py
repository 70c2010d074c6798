"""Wait for a condition, never for a time."""

import time
from collections.abc import Callable

from tests.support.project import Project

# The delivered health check, with shorter times for tests.
QUICK = {"healthcheck": {"interval": "500ms", "timeout": "5s", "retries": 2, "start_period": "120s"}}


def until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Return once `condition` is true. After `seconds`, fail with a message that names `what`.

    The pauses grow with the wait, because most conditions start a program and the tests share the CPUs.
    """
    start = time.monotonic()
    while not condition():
        waited = time.monotonic() - start
        assert waited < seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(min(max(0.1, waited / 5), 2))


def health(lab: Project, service: str = "server") -> str:
    """The health of a container, as its engine knows it."""
    return lab.container(service)["State"].get("Health", {}).get("Status", "")


def becomes(lab: Project, state: str, service: str = "server") -> None:
    """Return once the health of a container is `state` (healthy or unhealthy)."""
    until(lambda: health(lab, service) == state, f"the {service} is {state}")


def starts(lab: Project) -> bool:
    """Start the lab with Compose, and wait until it is healthy (true) or its log says that it refuses (false)."""
    lab.compose("up", "--detach", "--no-build")

    def healthy() -> bool:
        return health(lab) == health(lab, "lab") == "healthy"

    until(
        lambda: healthy() or any(line.startswith("labdock: ") for line in lab.logs().splitlines()), "it starts or not"
    )
    return healthy()


def crash(lab: Project, service: str = "server") -> None:
    """Kill all processes of a container that has not restarted yet, and wait until it is healthy again."""
    lab.compose("exec", service, "sh", "-c", "kill -9 -1", check=False)
    until(lambda: lab.container(service)["RestartCount"] == 1, f"the {service} ended")
    becomes(lab, "healthy", service)
