"""Dashboards in a real browser: a hostile one, and the five that people use most."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.clients.browser.visit import PATIENCE, PICTURES
from tests.support.dashboards import PORT, hostile, running
from tests.support.project import Project, Render
from tests.support.variants import beside, with_server
from tools.notebook import LabClient

pytestmark = pytest.mark.usefixtures("chromium")  # first, while another worker builds the lab's image
CONFIG = "jupyter_server_config.py"
# The control: a page of the lab's own host name that passes everything on, as a simple proxy does.
SAME_ORIGIN = '''
import types
same_origin = types.ModuleType("same_origin")
exec("""
import dashboards
from tornado import web

@web.stream_request_body
class SameOrigin(dashboards.Dashboard):
    def set_default_headers(self):
        pass

    async def prepare(self):
        self.port = int(self.request.path.split("/")[2])
        await self.start()

def _jupyter_server_extension_points():
    return [{"module": "same_origin"}]

def _load_jupyter_server_extension(app):
    arguments = {"connect": dashboards.connect, "streams": set()}
    app.web_app.add_handlers(".*$", [("/same-origin/[0-9]+/.*", SameOrigin, arguments)])
""", same_origin.__dict__)
sys.modules["same_origin"] = same_origin
c.ServerApp.jpserver_extensions = extensions | {"same_origin": True}
'''


@contextmanager
def logged_in(browser: Browser, lab: LabClient, start: str = "/api/status") -> Iterator[Page]:
    """The page `start` in a browser that has logged in to the lab."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    page.goto(f"{lab.address}/login?next={start}&token={lab.token}")
    yield page
    context.close()


def opened(page: Page, path: str) -> Page:
    """A new tab, which a script of the lab's page opens."""
    with page.context.expect_page() as tab:
        page.evaluate("path => void window.open(path)", path)
    tab.value.wait_for_url(lambda url: url != "about:blank")
    return tab.value


def attacked(lab: LabClient, page: Page, path: str) -> set[str]:
    """Open a hostile dashboard from the lab. Returns the attempts that succeed."""
    terminals = len(lab.request("GET", "terminals").json())
    tab = opened(page, path)
    tab.evaluate("address => { window.lab = address }", lab.address)
    opener = tab.evaluate("window.opener !== null")
    tab.get_by_role("button").click()
    tab.wait_for_function("window.results", timeout=2 * PATIENCE)
    succeeded = {name for name, result in tab.evaluate("results").items() if result is True}
    # These three attempts cannot see their own result.
    succeeded -= {"clear the lab's data", "set a cookie of the lab", "post a form to the API"}
    cookies = page.context.cookies(lab.address)
    if any("planted" in cookie["name"] + cookie["value"] for cookie in cookies):
        succeeded.add("set a cookie of the lab")
    if page.context.request.get(f"{lab.address}/api/contents").status != 200:
        succeeded.add("clear the lab's data")
    if len(lab.request("GET", "terminals").json()) > terminals:
        succeeded.add("open a terminal")
    assert opener == ("reach the page that opened the dashboard" in succeeded)
    return succeeded


@pytest.mark.full
@pytest.mark.attack(
    "In the browser, a dashboard's script reads the lab's cookies and API, opens a terminal or a websocket, scripts "
    "the lab in a frame or a tab, registers a service worker, sets cookies, and uses the page that opened it",
    "The browser refuses each attempt, because the dashboard has another origin.",
)
@pytest.mark.parametrize("name", ["127.0.0.1", pytest.param("localhost", marks=pytest.mark.nightly)])
def test_a_dashboards_script_reaches_nothing_of_the_lab(lab: Project, browser: Browser, name: str) -> None:
    client = lab.client()
    client = LabClient(client.address.replace("127.0.0.1", name), client.token)
    with hostile(lab), logged_in(browser, client, "/lab") as page:
        assert attacked(client, page, f"/dashboards/{PORT}") == set()
        assert page.url.startswith(f"{client.address}/lab")


@pytest.mark.full
def test_control_at_the_labs_own_address_the_attempts_succeed(lab: Project, browser: Browser, tmp_path: Path) -> None:
    layer = with_server(lab, tmp_path, CONFIG, lab.read(f"lab/server/{CONFIG}") + SAME_ORIGIN)
    with beside(lab, tmp_path, layer) as twin:
        twin.serve()
        client = twin.client()
        with hostile(twin), logged_in(browser, client, "/lab") as page:
            succeeded = attacked(client, page, f"/same-origin/{PORT}/")
    assert succeeded == {
        "read the lab's XSRF cookie", "read the API", "open a terminal", "open a websocket",
        "script the lab in a frame", "script the lab in a new tab", "reach the page that opened the dashboard",
        "navigate the page that opened the dashboard", "register a service worker",
        "register a service worker for the lab", "set a cookie of the lab",
    }  # fmt: skip


def test_a_dashboard_opens_from_the_lab(lab: Project, browser: Browser) -> None:
    """Its page, a fetch and a websocket work. A browser that has not logged in gets nothing."""
    with hostile(lab), logged_in(browser, lab.client()) as page:
        tab = opened(page, f"/dashboards/{PORT}")
        expect(tab.get_by_role("button", name="Start")).to_be_visible()
        assert tab.evaluate("fetch('/echo', {method: 'POST', body: 'x'}).then(answer => answer.json())")[2] == 1
        heard = "new Promise(heard => new WebSocket(`ws://${location.host}/ws`).onmessage = e => heard(e.data))"
        assert tab.evaluate(heard) == "hello"
        page.context.clear_cookies()
        refused = tab.goto(tab.url)
        assert refused and refused.status == 403


# --- the dashboards that people use -----------------------------------------------------------------
PACKAGES = "streamlit dash panel tensorboard mlflow"
# Starts the program in its arguments, and ends it with the standard input.
SUPERVISOR = """
import subprocess, sys, os
os.chdir("/tmp")
open("app.py", "w").write(sys.argv[1])
program = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stdout=sys.stderr)
print("ready", flush=True)
sys.stdin.read()
program.terminate()
"""
STREAMLIT = """
import streamlit
streamlit.write(f"chosen {streamlit.slider('Rows', 1, 10, 3)}")
if streamlit.button("Press"):
    streamlit.write("pressed 1")
if file := streamlit.file_uploader("File"):
    streamlit.write(f"size {len(file.getvalue())}")
"""
DASH = """
import dash
from dash import Input, Output, dcc, html
app = dash.Dash()
plot = dcc.Graph(figure={"data": [{"y": [1, 2]}]})
app.layout = html.Div([html.Button("Press", id="press"), html.Div(id="out"), plot])
app.callback(Output("out", "children"), Input("press", "n_clicks"))(lambda clicks: f"pressed {clicks}")
app.run(port=8050)
"""
PANEL = """
import panel
press = panel.widgets.Button(name="Press")
panel.Column(press, panel.bind(lambda clicks: f"pressed {clicks}", press.param.clicks)).servable()
"""
TENSORBOARD = """
import subprocess, sys
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
writer = EventFileWriter("/tmp/logs/run1")
for step in range(10):
    summary = Summary(value=[Summary.Value(tag="loss", simple_value=1 / (step + 1))])
    writer.add_event(Event(wall_time=step, step=step, summary=summary))
writer.close()
import os
os.execvp("tensorboard", ["tensorboard", "--logdir", "/tmp/logs"])
"""
# Name -> port, the program, and the command that starts it. None of them has a setting for the lab.
APPS = {
    "streamlit": (8501, STREAMLIT, "streamlit run app.py --server.headless true"),
    "dash": (8050, DASH, "python app.py"),
    "panel": (5006, PANEL, "panel serve app.py"),
    "tensorboard": (6006, TENSORBOARD, "python app.py"),
    "mlflow": (5000, "", "mlflow server --workers 1 --backend-store-uri sqlite:////tmp/mlflow.db"),
}


@pytest.fixture(scope="module", params=["open", "sealed"])
def equipped(request: pytest.FixtureRequest, new_project: Render) -> Project:
    """A lab with the five packages, which the user adds with `make add`."""
    project = new_project(network=request.param)
    project.run("make", "add", f"PKG={PACKAGES}")
    project.start()
    return project


@pytest.mark.nightly
@pytest.mark.parametrize("name", APPS)
def test_dashboards_work_without_settings_of_their_own(equipped: Project, browser: Browser, name: str) -> None:
    port, program, command = APPS[name]
    with ExitStack() as stack:
        stack.enter_context(running(equipped, SUPERVISOR, program, *command.split()))
        page = stack.enter_context(logged_in(browser, equipped.client()))
        answers: list[tuple[int, str]] = []
        page.context.on("response", lambda answer: answers.append((answer.status, answer.url)))
        page.goto(f"{equipped.client().address}/dashboards/{port}")
        while page.get_by_text("Start the dashboard, then reload").count():
            page.reload()
        answers.clear()
        page.reload()
        if name in ("tensorboard", "mlflow"):
            seen = {"tensorboard": "loss", "mlflow": "Experiments"}[name]
            expect(page.get_by_text(seen).first).to_be_visible()
        else:
            page.get_by_role("button", name="Press").click()
            expect(page.get_by_text("pressed 1")).to_be_visible()
        if name == "streamlit":
            file = {"name": "a.csv", "mimeType": "text/csv", "buffer": bytes(3_000_000)}
            page.locator("input[type=file]").set_input_files([file])
            expect(page.get_by_text("size 3000000")).to_be_visible()
        page.screenshot(path=PICTURES / f"dashboard-{name}.png")
    # MLflow asks for a user, and has none without its own login.
    assert [answer for answer in answers if answer[0] >= 400 and not answer[1].endswith("/users/current")] == []
