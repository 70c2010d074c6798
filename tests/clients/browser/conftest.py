"""Browsers, and visits with them."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.clients.browser.chromium import chromium_container
from tests.clients.browser.visit import Visit
from tests.support import shared
from tests.support.project import Project

Visitor = Callable[[Project], Visit]


@contextmanager
def started(name: str, **settings: str) -> Iterator[tuple[Project, str]]:
    """A container with a browser, and the address through which tests control it. Its image stays to the end."""
    name = f"labdock-{name}-{os.getpid()}"
    shared.leave(name)
    with chromium_container(name, **settings) as found:
        yield found


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
