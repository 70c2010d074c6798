"""TLS in a real browser: one that trusts the project's CA, and one that does not."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, expect, sync_playwright

from tests.clients.browser.conftest import started
from tests.clients.browser.visit import Visit
from tests.support.dashboards import PORT, hostile
from tests.support.project import Project, Render

pytestmark = [pytest.mark.usefixtures("chromium"), pytest.mark.full]


@pytest.fixture(scope="module")
def encrypted(default_image: None, new_project: Render) -> Project:
    """A running lab with a CA of its own. It has made its certificate."""
    project = new_project(tls="self-signed")
    project.start()
    return project


@pytest.fixture(scope="module")
def trusting(encrypted: Project, chromium: str) -> Iterator[tuple[Browser, Browser]]:
    """A browser that trusts the CA of the lab, and the session's browser, which does not."""
    with (
        started("browser-tls", BROWSER_CA=str(encrypted.folder / "certs/ca.pem")) as (_, address),
        sync_playwright() as playwright,
    ):
        connect = playwright.chromium.connect_over_cdp
        yield connect(address, timeout=120_000), connect(chromium, timeout=120_000)


def test_a_browser_that_trusts_the_ca_opens_the_lab(encrypted: Project, trusting: tuple[Browser, Browser]) -> None:
    """It logs in, runs a notebook through a websocket, and opens a dashboard. No page complains."""
    visit = Visit(trusting[0], encrypted)
    sockets: list[str] = []
    visit.page.on("websocket", lambda socket: sockets.append(socket.url))
    visit.open()
    assert visit.page.url.startswith("https://127.0.0.1:")
    visit.log_in()
    visit.page.locator(".jp-DirListing").get_by_text("iris.ipynb").dblclick()
    visit.run_all()
    expect(visit.notebook().get_by_text("weighted avg")).to_be_visible()
    assert sockets and all(url.startswith("wss://127.0.0.1:") for url in sockets)
    assert all(cookie["secure"] for cookie in visit.context.cookies())
    with hostile(encrypted):
        visit.page.goto(f"{encrypted.client().address}/dashboards/{PORT}")
        expect(visit.page.get_by_role("button", name="Start")).to_be_visible()
        assert visit.page.url.startswith(f"https://p{PORT}-") and ".dashboards.localhost:" in visit.page.url
        heard = "new Promise(heard => new WebSocket(`wss://${location.host}/ws`).onmessage = e => heard(e.data))"
        assert visit.page.evaluate(heard) == "hello"
    assert visit.complaints == []
    visit.close()


def test_a_browser_without_the_ca_refuses(encrypted: Project, trusting: tuple[Browser, Browser]) -> None:
    visit = Visit(trusting[1], encrypted)
    with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        visit.open()
    visit.close()


def test_a_browser_that_expects_another_name_refuses(encrypted: Project, trusting: tuple[Browser, Browser]) -> None:
    page = trusting[0].new_page()
    address = encrypted.client().address.replace("127.0.0.1", "p8501-x.localhost")
    with pytest.raises(Error, match="ERR_CERT_COMMON_NAME_INVALID"):
        page.goto(address)
    page.close()
