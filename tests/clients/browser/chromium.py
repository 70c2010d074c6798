"""Debian's Chromium in a container. Playwright controls it through its debugging port."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.project import Project
from tests.support.waiting import until

HERE = Path(__file__).parent
LISTENING = re.compile(r"DevTools listening on (ws://\S+)")


@contextmanager
def chromium_container(name: str, **settings: str) -> Iterator[tuple[Project, str]]:
    """The container with this Compose name, and the address through which Playwright controls its browser."""
    container = Project(HERE, {}, {"COMPOSE_PROJECT_NAME": name, **settings})
    try:
        container.compose("up", "--detach", "--build")
        until(lambda: LISTENING.search(container.logs()) is not None, "Chromium listens")
        yield container, LISTENING.findall(container.logs())[0]
    finally:
        container.compose("down", "--timeout", "0", check=False)
