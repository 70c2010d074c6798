"""Debian's Chromium in a container. Playwright controls it through its debugging port."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.clients.browser.visit import Visit
from tests.support import shared
from tests.support.project import Project
from tests.support.waiting import until

HERE = Path(__file__).parent
LISTENING = re.compile(r"DevTools listening on (ws://\S+)")
Visitor = Callable[[Project], Visit]


@contextmanager
def started(name: str, **settings: str) -> Iterator[tuple[Project, str]]:
    """A container with a browser, and the address through which tests control it."""
    name = f"labdock-{name}-{os.getpid()}"
    container = Project(HERE, {}, {"COMPOSE_PROJECT_NAME": name, **settings})
    shared.leave(name)
    try:
        container.compose("up", "--detach", "--build")
        until(lambda: LISTENING.search(container.logs()) is not None, "Chromium listens")
        yield container, LISTENING.findall(container.logs())[0]
    finally:
        container.down()


@pytest.fixture(scope="session")
def chromium(engine: None) -> Iterator[str]:
    """The address through which tests control the session's browser."""
    with started("browser") as (_, address):
        yield address


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """The browser, one for each test module: while Playwright's event loop runs, no other event loop can run."""
    with sync_playwright() as playwright:
        yield playwright.chromium.connect_over_cdp(chromium, timeout=120_000)  # other workers may build an image


@pytest.fixture
def visitor(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """A function that opens visits. After the test, a screenshot of each visit is saved."""
    visits: list[Visit] = []

    def visit(project: Project) -> Visit:
        visits.append(Visit(browser, project))
        return visits[-1]

    yield visit
    for number, each in enumerate(visits, 1):
        each.picture(f"{request.node.name}-{number}")
        each.close()
