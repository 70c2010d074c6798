"""A lab with server extensions of the user's own (`make extend`), and with a second kernel in the lock."""

import json
import re
from collections.abc import Iterator

import pytest
import requests
from playwright.sync_api import expect

from tests.clients.browser.conftest import Visitor
from tests.clients.browser.test_browser import run_and_edit
from tests.support.project import Project, Render
from tests.support.server_probes import misbehaving, page
from tools.notebook import LabClient, execute, text

pytestmark = pytest.mark.nightly

LOCK = "lab/locks/server-extensions.lock"
# Package -> the front-end extensions that it brings.
EXTENSIONS = {
    "jupyterlab-language-pack-fr-FR": set(),
    "jupytext": {"jupyterlab-jupytext"},
    "jupyterlab-git": {"@jupyterlab/git"},
    "jupyterlab-lsp": {"@jupyter-lsp/jupyterlab-lsp"},
    "python-lsp-server": set(),
    "jupyter-server-proxy": {"@jupyterhub/jupyter-server-proxy"},
    "jupyter-collaboration": {"@jupyter/collaboration-extension", "@jupyter/docprovider-extension"},
}
LEFT_OUT = "jupyterlab-code-formatter"  # it has a server half, and is added to the notebooks' packages only
ADDED = f"bash_kernel ipympl pyviz_comms {LEFT_OUT}"
# Probes that fail on purpose: there are two kernels and a language server.
EXPECTED = {"one kernel in the users environment", "language servers are left out"}
MARKDOWN = "---\njupyter:\n  jupytext:\n    formats: md\n---\n\n```python\n6 * 7\n```\n"
SERVE = """
import http.server, threading
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port)
"""


@pytest.fixture(scope="module")
def extended(default_image: None, new_project: Render) -> Iterator[Project]:
    project = new_project()
    project.run("make", "extend", f"PKG={' '.join(EXTENSIONS)}")
    project.run("make", "add", f"PKG={ADDED}")
    project.make("up")
    yield project
    project.down()


@pytest.fixture
def client(extended: Project) -> LabClient:
    return extended.client()


def test_the_lab_keeps_its_promises(extended: Project, client: LabClient) -> None:
    """The server's own file manager is in force, every page asks for the token, and nothing fails at the start."""
    log = extended.logs()
    assert misbehaving(client) == EXPECTED
    assert re.findall(r"^\[[EC] .*|Traceback.*", log, re.MULTILINE) == []
    assert extended.shell("find /opt/jupyter /opt/venv ! -user root -o -perm /022 ! -type l") == ""


def test_both_halves_of_each_extension_are_there(extended: Project, client: LabClient) -> None:
    """The control: an extension that is only among the notebooks' packages is left out, and the log names it."""
    served = {extension["name"] for extension in page(client)["federated_extensions"]}
    assert served >= {name for names in EXTENSIONS.values() for name in names} | {"jupyter-matplotlib"}
    assert "jupyterlab_code_formatter" not in served
    sentence = f"lacks this package. Run 'make extend PKG={LEFT_OUT}'."
    assert [line for line in extended.logs().splitlines() if "does not load" in line and line.endswith(sentence)]
    installed = "/opt/venv/share/jupyter/labextensions/jupyterlab_code_formatter/package.json"
    assert extended.shell(f"test -e {installed} && echo there") == "there\n"


def ask(client: LabClient, method: str, path: str, **options: object) -> requests.Response:
    """A request with the token, to a page outside of /api."""
    headers = {"Authorization": f"token {client.token}"}
    return requests.request(method, client.address + path, headers=headers, timeout=60, **options)  # type: ignore[arg-type]


def test_the_extensions_answer(client: LabClient) -> None:
    assert "fr_FR" in ask(client, "GET", "/lab/api/translations/").json()["data"]
    assert "pylsp" in ask(client, "GET", "/lsp/status").json()["sessions"]
    assert ask(client, "POST", "/git/notebooks/show_top_level", json={}).status_code == 200
    client.request("PUT", "contents/notebooks/a.md", json={"type": "file", "format": "text", "content": MARKDOWN})
    notebook = client.request("GET", "contents/notebooks/a.md", params={"type": "notebook"}).json()["content"]
    assert [cell["source"] for cell in notebook["cells"]] == ["6 * 7"]
    with client.kernel() as kernel:
        port = text(execute(kernel, SERVE)).strip()
        assert "Directory listing" in ask(client, "GET", f"/proxy/{port}/").text
        anonymous = requests.get(f"{client.address}/proxy/{port}/", timeout=60)
        assert "Directory listing" not in anonymous.text


def test_a_kernel_of_the_lock_runs(extended: Project, client: LabClient) -> None:
    """It ends before the server if memory runs out, as every kernel does."""
    with client.kernel(name="bash") as kernel:
        assert text(execute(kernel, "echo $((6 * 7)); cat /proc/$$/oom_score_adj")).split() == ["42", "1000"]
    spec = client.request("GET", "kernelspecs").json()["kernelspecs"]["bash"]["spec"]
    assert spec["argv"][:6] == ["choom", "-n", "1000", "--", "/opt/venv/bin/python", "-m"]


def test_a_notebook_opens_runs_and_is_saved(extended: Project, visitor: Visitor) -> None:
    file = extended.folder / "notebooks/iris.ipynb"
    before = file.read_bytes()
    visit = visitor(extended)
    visit.open()
    visit.log_in()
    visit.page.locator(".jp-MarkdownViewer").get_by_role("link", name="iris.ipynb").click()
    expect(visit.page.get_by_role("tab", name="Git", exact=True)).to_be_visible()
    expect(visit.page.get_by_role("tab", name="Extension Manager")).to_have_count(0)
    button = visit.page.locator(".jp-NotebookPanel:visible [data-jp-item-name=panelRender]")
    expect(button).to_have_count(1)
    expect(button).to_be_hidden()  # it fails without Panel's server extension
    run_and_edit(visit, "extensions")
    json.loads(file.read_bytes())
    file.write_bytes(before)
    assert visit.complaints == []


def test_extensions_that_do_not_fit_are_resolved_again(extended: Project) -> None:
    """As after an update that moves the server. The lab that runs is left alone."""
    before = {name: extended.read(name) for name in (LOCK, "pyproject.toml", "requirements.lock")}
    (servers,) = re.findall(r"^tornado==(\S+)", before[LOCK], re.MULTILINE)
    extended.replace(LOCK, f"tornado=={servers}", "tornado==6.5.1")
    said = extended.make("up", check=False).stderr
    assert f"labdock: {LOCK} does not fit the server: it has tornado 6.5.1, but the server has {servers}." in said
    assert "The extensions fit the server's packages again." in extended.make("extend").stderr
    assert {name: extended.read(name) for name in before} == before
    assert "  jupytext 1" in extended.run("make", "remove", "PKG=jupytext").stderr
    assert '"jupytext"' not in extended.read("pyproject.toml") and "\njupytext==" not in extended.read(LOCK)
    assert extended.read("requirements.lock") == before["requirements.lock"]
    names = " ".join(name for name in EXTENSIONS if name != "jupytext")
    extended.run("make", "remove", f"PKG={names}")
    assert not (extended.folder / LOCK).exists()
    for name, content in before.items():
        (extended.folder / name).write_text(content)
