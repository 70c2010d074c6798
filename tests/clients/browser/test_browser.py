"""A newcomer's way in the browser: from the printed address to a plot that is saved on the host."""

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, expect

from tests.clients.browser.conftest import Visitor
from tests.clients.browser.visit import PICTURES, Visit
from tests.support.project import Project
from tests.support.variants import beside
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("chromium")  # first, while another worker builds the lab's image
NOTEBOOK = "notebooks/iris.ipynb"
README = "notebooks/README.md"
ADDED = "Seen in the browser, kept on the host."
# Errors that Notebook 7.6 itself writes to the console, with any settings.
CLASSIC_FAULTS = {
    "Cannot read properties of undefined (reading 'schema')",
    "Cannot read properties of null (reading 'updateRenderOption')",
}


@pytest.fixture
def untouched(lab: Project, tmp_path: Path) -> Iterator[Project]:
    """A lab that is not started and that no browser has opened, with the folder and image of the shared lab.

    Afterwards, the notebook gets its old content.
    """
    file = lab.folder / NOTEBOOK
    before = file.read_bytes()
    try:
        with beside(lab, tmp_path) as twin:
            yield twin
    finally:
        file.write_bytes(before)


def enter(visitor: Visitor, project: Project) -> Visit:
    """Start the lab, open it in the browser, and log in."""
    project.compose("up", "--detach", "--wait", "--no-build")
    visit = visitor(project)
    visit.open()
    visit.log_in()
    return visit


def run_and_edit(visit: Visit, picture: str) -> None:
    """Run the open notebook, look at the plot, edit, save and reload.

    The page and the file on the host must have the same content.
    """
    expect(visit.notebook().get_by_role("heading", name="Iris: from measurements")).to_be_visible()
    visit.run_all()
    expect(visit.notebook().get_by_text("weighted avg")).to_be_visible()
    visit.see_plot()
    visit.picture(picture)
    visit.add_to_first_cell(ADDED)
    visit.save()
    file = visit.project.folder / NOTEBOOK
    until(lambda: ADDED in file.read_text(encoding="utf-8"), "the notebook is saved on the host", 30)
    saved = nbformat.read(file, as_version=4)
    assert saved.cells[0].source.endswith(ADDED)
    assert "image/png" in {
        kind for cell in saved.cells for out in cell.get("outputs", []) for kind in out.get("data", {})
    }
    owner = file.stat()
    assert f"{owner.st_uid}:{owner.st_gid}" == visit.project.config()["services"]["lab"]["user"]
    visit.page.reload()
    expect(visit.notebook()).to_contain_text(ADDED)
    visit.see_plot()


def test_from_the_printed_address_to_a_saved_plot(untouched: Project, visitor: Visitor) -> None:
    visit = enter(visitor, untouched)
    readme = visit.page.locator(".jp-MarkdownViewer")  # this page opens first, and links to the notebook
    expect(readme.get_by_role("heading", name="Iris study")).to_be_visible()
    expect(visit.page.locator(".jp-DirListing").get_by_text("iris.ipynb")).to_be_visible()
    expect(visit.page.get_by_text("/ 4096.00 MB")).to_be_visible()  # the memory limit, in the status bar
    visit.picture("lab")
    readme.get_by_role("link", name="iris.ipynb").click()
    run_and_edit(visit, "notebook")
    for scheme, light in (("dark", "false"), ("light", "true")):  # the scheme of the user's system
        visit.page.emulate_media(color_scheme=scheme)
        expect(visit.page.locator("body")).to_have_attribute("data-jp-theme-light", light)
        visit.picture(scheme)
    assert visit.complaints == []


def test_a_wrong_token_is_refused_in_words(lab: Project, visitor: Visitor) -> None:
    visit = visitor(lab)
    visit.open()
    visit.log_in("0" * 64)
    expect(visit.page.get_by_role("alert").get_by_text("not the token of this lab")).to_be_visible()
    visit.picture("wrong token")
    visit.open()
    expect(visit.page.get_by_label("Token", exact=True)).to_be_visible()
    # The console shows only the refusal.
    assert ["status of 401" in complaint for complaint in visit.complaints] == [True]


def test_the_login_page_works_without_javascript(lab: Project, browser: Browser) -> None:
    running = lab.client()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{running.address}/login?next=/api/status")
    expect(page.get_by_text("cat secrets/jupyter_token")).to_be_visible()
    page.screenshot(path=PICTURES / "login.png")
    page.get_by_label("Token", exact=True).fill(running.token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text('"kernels"')).to_be_visible()
    context.close()


def test_errors_in_a_page_are_noticed(lab: Project, visitor: Visitor) -> None:
    """The control: a message, a file that is missing and an exception are complaints."""
    visit = visitor(lab)
    visit.open()
    assert visit.complaints == []
    visit.page.evaluate("console.error('a message')")
    visit.page.evaluate("fetch('/static/none')")
    visit.page.evaluate("void setTimeout(() => {throw Error('an exception')})")
    until(lambda: visit.page.evaluate("true") and len(visit.complaints) >= 3, "three complaints", 30)
    assert [word for word in ("a message", "404", "an exception") if word not in " ".join(visit.complaints)] == []


# --- the README and what else was open --------------------------------------------------------------
@pytest.mark.full
def test_without_its_readme_the_lab_opens_the_launcher(untouched: Project, visitor: Visitor, tmp_path: Path) -> None:
    readme = untouched.folder / README
    readme.rename(tmp_path / "README.md")
    try:
        visit = enter(visitor, untouched)
        expect(visit.page.locator(".jp-Launcher")).to_be_visible()
        expect(visit.page.get_by_role("dialog")).to_have_count(0)
        assert visit.complaints == []
    finally:
        (tmp_path / "README.md").rename(readme)


@pytest.mark.nightly
def test_a_closed_readme_stays_closed(untouched: Project, visitor: Visitor) -> None:
    """After a restart, the same tabs are open as before."""
    visit = enter(visitor, untouched)
    tab = visit.page.get_by_role("tab", name="README.md")
    expect(tab).to_be_visible()
    tab.locator(".lm-TabBar-tabCloseIcon").click()
    expect(visit.page.locator(".jp-Launcher")).to_be_visible()
    kept = "cat /var/lib/server/*/lab/workspaces/default-*"
    until(lambda: '"markdownviewer-widget:' not in untouched.shell(kept, "server"), "the README's closing is kept", 60)
    untouched.compose("restart", "--timeout", "2", "server")
    again = enter(visitor, untouched)
    expect(again.page.locator(".jp-Launcher")).to_be_visible()
    expect(again.page.get_by_role("tab", name="README.md")).to_have_count(0)


# --- the other front end ----------------------------------------------------------------------------
@pytest.mark.nightly
def test_the_classic_interface(untouched: Project, visitor: Visitor) -> None:
    untouched.environment["JUPYTER_UI"] = "notebook"
    visit = enter(visitor, untouched)
    files = visit.page.locator(".jp-DirListing")
    expect(files.get_by_text("README.md")).to_be_visible()
    visit.picture("classic files")
    with visit.context.expect_page() as opened:
        files.get_by_text("iris.ipynb").dblclick()
    visit.page = opened.value
    run_and_edit(visit, "classic")
    assert set(visit.complaints) <= CLASSIC_FAULTS
    assert "browser's console" in untouched.read("sample.env")
