"""A script in a logged-in page searches for the token and for the cookie of the login."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Error, Response, WebSocket, expect

from tests.clients.browser.conftest import Visitor
from tests.clients.browser.visit import Visit
from tests.support.project import Project
from tests.support.variants import beside, with_server
from tests.support.waiting import until

pytestmark = pytest.mark.full
CONFIG = "jupyter_server_config.py"
NOTEBOOK = "notebooks/look.ipynb"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
PAGES = {"lab": f"lab/tree/{NOTEBOOK}", "notebook": f"notebooks/{NOTEBOOK}"}
# Addresses that log in: the link of `make url`, and what people type who know Jupyter.
ENTRANCES = {"login": "/login?next=/{page}&token={token}", "page": "/{page}?token={token}"}
# Guards in the configuration -> the places that show the token without the guard.
GUARDS = {
    ', "token": ""': {"the page", "answers", "requests", "scripts"},
    'c.ServerApp.identity_provider_class = "login.Login"\n': {"timings"},
}
# What a script can read in its page.
LOOK = """async () => {
    const result = request => new Promise((done, failed) => {
        request.onsuccess = () => done(request.result)
        request.onerror = () => failed(request.error)
    })
    const databases = {}
    for (const {name} of await indexedDB.databases()) {
        const database = await result(indexedDB.open(name))
        for (const store of database.objectStoreNames) {
            databases[`${name}/${store}`] = await result(database.transaction(store).objectStore(store).getAll())
        }
        database.close()
    }
    const stored = []
    for (const name of await caches.keys()) {
        for (const request of await (await caches.open(name)).keys()) stored.push(request.url)
    }
    return {
        "the page": document.documentElement.outerHTML,
        "addresses": [document.URL, document.referrer, history.state, ...navigation.entries().map(entry => entry.url)],
        "timings": performance.getEntries().map(entry => entry.name),
        "cookies": document.cookie,
        "storage": [{...localStorage}, {...sessionStorage}, databases, stored],
        "workers": (await navigator.serviceWorker.getRegistrations()).map(worker => worker.scope),
    }
}"""


@pytest.fixture(autouse=True)
def file(lab: Project) -> Iterator[None]:
    """A notebook with one cell, in the project's folder."""
    notebook = new_notebook(cells=[new_code_cell("print(6 * 7)")], metadata=KERNEL)
    lab.client().request("PUT", f"contents/{NOTEBOOK}", json={"type": "notebook", "content": notebook})
    yield
    (lab.folder / NOTEBOOK).unlink()


class Traffic:
    """The answers to a visit's requests, and the messages of its websockets."""

    def __init__(self, visit: Visit) -> None:
        self.responses: list[Response] = []
        self.messages: dict[str, list[str | bytes]] = {}  # address of a websocket -> its messages
        visit.context.on("response", lambda response: self.responses.append(response))
        visit.page.on("websocket", self.listen)

    def listen(self, socket: WebSocket) -> None:
        messages = self.messages.setdefault(socket.url, [])
        for event in ("framesent", "framereceived"):
            socket.on(event, lambda message: messages.append(message))

    def bodies(self) -> Iterator[bytes]:
        """The answers that the browser still has: those to the page that is open."""
        for response in self.responses:
            with suppress(Error):  # a redirect, or an answer without a body
                yield response.body()


def strings_of_scripts(visit: Visit) -> str:
    """Every string in the memory of the page's scripts, as JSON."""
    chunks: list[str] = []
    session = visit.context.new_cdp_session(visit.page)
    session.on("HeapProfiler.addHeapSnapshotChunk", lambda event: chunks.append(event["chunk"]))
    session.send("HeapProfiler.takeHeapSnapshot", {"reportProgress": False})
    return "".join(chunks)


def use_terminal(visit: Visit, traffic: Traffic) -> None:
    """Open a terminal, type a command, and wait for its output."""
    page = visit.page
    if "/lab/" in page.url:
        page.keyboard.press("Control+Shift+L")  # the launcher
        page.locator(".jp-LauncherCard:visible", has_text="Terminal").click()
    else:
        name = visit.project.client().request("POST", "terminals").json()["name"]
        page.goto(f"{visit.project.client().address}/terminals/{name}")
    page.locator(".jp-Terminal-body").click()
    page.keyboard.type("echo $((6 * 7))-$((6 * 7))\n")
    until(lambda: page.evaluate("true") and "42-42" in str(traffic.messages), "the terminal prints", 60)


def shown(visit: Visit, entrance: str) -> set[str]:
    """Log in, run a notebook, use a terminal, and search. The places that show the token or the cookie to a script."""
    project = visit.project
    project.compose("up", "--detach", "--wait", "--no-build")
    lab, interface = project.client(), project.environment.get("JUPYTER_UI", "lab")
    traffic = Traffic(visit)
    visit.page.goto(lab.address + ENTRANCES[entrance].format(page=PAGES[interface], token=lab.token))
    visit.run_all()
    expect(visit.notebook().get_by_text("42", exact=True)).to_be_visible()
    (cookie,) = (cookie for cookie in visit.context.cookies() if cookie["name"].startswith("username-"))
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    searches = [search(visit, traffic)] if interface == "notebook" else []  # the terminal opens another page
    use_terminal(visit, traffic)
    searches.append(search(visit, traffic))
    places = {place: "".join(texts[place] for texts in searches) for place in searches[0]}
    # The control: the search reads what it should.
    known = {
        "the page": "jupyter-config-data",
        "timings": ".js",
        "cookies": "_xsrf",
        "storage": "JupyterLab",
        "scripts": "6 * 7",
    }
    known |= {"addresses": lab.address, "answers": "print(6 * 7)", "websockets": "42-42", "requests": "X-XSRFToken"}
    assert [place for place, text in known.items() if text.lower() not in places[place].lower()] == []
    return {place for place, text in places.items() if lab.token in text or cookie["value"] in text}


def search(visit: Visit, traffic: Traffic) -> dict[str, str]:
    """The text of each place that a script in the open page can read."""
    seen = visit.page.evaluate(LOOK)
    sent = [response.request.headers for response in traffic.responses if response.request.resource_type == "fetch"]
    return {
        **{place: json.dumps(what) for place, what in seen.items()},
        "answers": "".join(body.decode(errors="replace") for body in traffic.bodies()),
        "requests": json.dumps(sent),
        "websockets": str(traffic.messages),
        "scripts": strings_of_scripts(visit),
    }


@pytest.mark.attack(
    "After login, search what a script in a page can read: pages, addresses, answers, websockets, storage and memory",
    "The token and the cookie of the login are nowhere.",
)
@pytest.mark.parametrize(("interface", "entrance"), [("lab", "page"), ("notebook", "login")])
def test_a_page_shows_neither_token_nor_cookie(
    lab: Project, tmp_path: Path, visitor: Visitor, interface: str, entrance: str
) -> None:
    with beside(lab, tmp_path, JUPYTER_UI=interface) as twin:
        assert shown(visitor(twin), entrance) == set()


@pytest.mark.parametrize("guard", [pytest.param(g, marks=pytest.mark.nightly) if "class" in g else g for g in GUARDS])
def test_a_page_that_shows_the_token_is_noticed(lab: Project, tmp_path: Path, visitor: Visitor, guard: str) -> None:
    """The control: without each of the guards, a script finds the token."""
    config = lab.read(f"lab/server/{CONFIG}")
    assert config.count(guard) == 1
    with beside(lab, tmp_path, with_server(lab, tmp_path, CONFIG, config.replace(guard, ""))) as twin:
        assert shown(visitor(twin), "page") == GUARDS[guard]
