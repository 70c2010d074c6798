"""What an open page says if the lab stops or the login ends, and Run All before the kernel is connected."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Locator, Page, Route, expect

from tests.clients.browser.conftest import Visitor
from tests.clients.browser.visit import Visit
from tests.support.project import Project
from tests.support.variants import beside
from tests.support.waiting import until

pytestmark = pytest.mark.full
EXTENSION = "/opt/labdock/labextensions/labdock"
NOTEBOOK = "notebooks/short.ipynb"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
PAGES = {"lab": f"lab/tree/{NOTEBOOK}", "notebook": NOTEBOOK.replace("notebooks/", "notebooks/notebooks/")}
WITHOUT: dict[str, Any] = {"services": {"server": {"tmpfs": [EXTENSION]}}}  # an empty folder in place of the extension


@pytest.fixture
def file(lab: Project) -> Iterator[Path]:
    """A notebook with one cell, in the project's folder."""
    notebook = new_notebook(cells=[new_code_cell("print(6 * 7)")], metadata=KERNEL)
    lab.client().request("PUT", f"contents/{NOTEBOOK}", json={"type": "notebook", "content": notebook})
    yield lab.folder / NOTEBOOK
    (lab.folder / NOTEBOOK).unlink()


def dialog(page: Page, text: str | re.Pattern[str]) -> Locator:
    return page.get_by_role("dialog").filter(has_text=text)


def entered(visitor: Visitor, project: Project) -> Visit:
    """Start the lab and log in. The page is the notebook of `file`."""
    project.compose("up", "--detach", "--wait", "--no-build")
    visit = visitor(project)
    lab = project.client()
    page = PAGES[project.environment.get("JUPYTER_UI", "lab")]
    visit.page.goto(f"{lab.address}/login?next=/{page}&token={lab.token}")
    visit.wait_for_kernel()
    # JupyterLab's own messages about the file, which it shows one after the other.
    errors = dialog(visit.page, re.compile("File (Save|Load) Error"))
    visit.page.add_locator_handler(errors, lambda found: found.get_by_role("button", name="Close").click())
    return visit


def keep_port(project: Project) -> None:
    """The next start uses the same port, as in a user's lab."""
    project.environment["JUPYTER_PORT"] = project.client().address.rsplit(":", 1)[1]


def write(visit: Visit, words: str) -> None:
    """Type into the first cell, and do not save."""
    visit.notebook().locator(".cm-content").first.click()
    visit.page.keyboard.press("Control+End")
    visit.page.keyboard.type(words)


@pytest.mark.parametrize("interface", ["lab", pytest.param("notebook", marks=pytest.mark.nightly)])
def test_after_a_new_token_an_open_page_leads_to_the_login_page(
    lab: Project, file: Path, tmp_path: Path, visitor: Visitor, interface: str
) -> None:
    """After the login in a new tab, the old page saves its unsaved changes."""
    token = lab.folder / "secrets/jupyter_token"
    old = token.read_bytes()
    with beside(lab, tmp_path, JUPYTER_UI=interface) as twin:
        visit = entered(visitor, twin)
        keep_port(twin)
        write(visit, " # unsaved")
        try:
            twin.compose("stop", "server")
            expect(dialog(visit.page, "The lab does not answer")).to_be_visible()
            visit.picture(f"no answer {interface}")
            token.write_text("b" * 64)
            twin.compose("up", "--detach", "--wait", "--no-build", "--force-recreate")
            visit.page.keyboard.press("Control+S")
            expect(dialog(visit.page, "Log in again")).to_be_visible()
            expect(dialog(visit.page, "The lab does not answer")).to_have_count(0)
            visit.picture(f"logged out {interface}")
            with visit.context.expect_page() as opened:
                visit.page.get_by_role("button", name="Log in").click()
            first, visit.page = visit.page, opened.value
            visit.log_in("b" * 64)
            expect(visit.page.locator("#main")).to_be_visible()
            visit.page.close()
            visit.page = first
            visit.save()
            until(lambda: "# unsaved" in file.read_text(), "the old page saves", 60)
        finally:
            token.write_bytes(old)


def test_a_restart_is_named_and_the_page_connects_again(
    lab: Project, file: Path, tmp_path: Path, visitor: Visitor
) -> None:
    with beside(lab, tmp_path) as twin:
        visit = entered(visitor, twin)
        keep_port(twin)
        twin.compose("stop", "server")
        expect(dialog(visit.page, "The lab does not answer")).to_be_visible()
        twin.serve()
        expect(dialog(visit.page, "The lab does not answer")).to_have_count(0)
        write(visit, " # after the restart")
        visit.save()
        until(lambda: "# after the restart" in file.read_text(), "the page saves", 60)


@pytest.mark.nightly
def test_without_the_extension_the_page_only_speaks_of_the_network(
    lab: Project, file: Path, tmp_path: Path, visitor: Visitor
) -> None:
    """The control."""
    with beside(lab, tmp_path, WITHOUT) as twin:
        visit = entered(visitor, twin)
        twin.compose("stop", "server")
        expect(dialog(visit.page, "Check your network connection")).to_be_visible()


# --- Run All before the kernel is connected -----------------------------------------------------------
@pytest.mark.parametrize(
    ("interface", "extension"),
    [
        pytest.param("lab", True, id="lab"),
        pytest.param("notebook", True, id="classic", marks=pytest.mark.nightly),
        pytest.param("lab", False, id="control"),
    ],
)
def test_run_all_waits_for_the_kernel(
    lab: Project, file: Path, tmp_path: Path, visitor: Visitor, interface: str, extension: bool
) -> None:
    """The browser holds the request for a kernel until Run All was clicked. Without the extension, no cell runs."""
    held: list[Route] = []
    with beside(lab, tmp_path, *([] if extension else [WITHOUT]), JUPYTER_UI=interface) as twin:
        twin.serve()
        visit = visitor(twin)
        visit.context.route(
            re.compile(r"/api/sessions\b"),
            lambda route: held.append(route) if route.request.method == "POST" else route.continue_(),
        )
        running = twin.client()
        visit.page.goto(f"{running.address}/login?next=/{PAGES[interface]}&token={running.token}")
        expect(visit.notebook()).to_be_visible()
        until(lambda: visit.page.evaluate("true") and bool(held), "the page asks for a kernel", 60)
        visit.page.get_by_role("menubar").get_by_text("Run", exact=True).click()
        visit.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        held[0].continue_()
        panel = visit.page.locator(".jp-NotebookPanel:visible")
        expect(panel.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute("data-status", "idle")
        if extension:
            expect(visit.notebook().get_by_text("42", exact=True)).to_be_visible()
        else:
            write(visit, "\nprint(1)")
            visit.run_all()
            expect(visit.notebook().get_by_text("42")).to_be_visible()
            assert twin.client().request("GET", "kernels").json()  # a kernel ran all the time
