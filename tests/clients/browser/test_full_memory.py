"""A notebook that uses all memory says so on the page, or in its file."""

from pathlib import Path

import pytest
from playwright.sync_api import Response, expect

from tests.attack.test_memory import HOG, small
from tests.clients.browser.cable import Cable
from tests.clients.browser.conftest import Visitor
from tests.support.project import Project
from tests.support.waiting import until

WAIT = "import pathlib, time\nwhile not pathlib.Path('../data/go').exists(): time.sleep(0.02)\n"
CELL = {"cell_type": "code", "id": "hog", "source": WAIT + HOG, "metadata": {}, "outputs": [], "execution_count": None}
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
NOTEBOOK = {"cells": [CELL], "metadata": PYTHON, "nbformat": 4, "nbformat_minor": 5}
SAID = "memory was full, so Linux ended this notebook kernel. LAB_MEMORY is 512m."


@pytest.mark.full
@pytest.mark.parametrize("page", ["stays", "comes back", "has gone"])
def test_a_notebook_that_uses_all_memory_says_so(lab: Project, visitor: Visitor, tmp_path: Path, page: str) -> None:
    """The cell shows the reason, next to JupyterLab's own message that the kernel died."""

    def offers(answer: Response) -> bool:
        """After a while, the server knows that the network was cut. Then the page may follow the cell."""
        return "/labdock/runs/" in answer.url and bool(answer.json()["runs"])

    with small(lab, tmp_path) as twin:
        client, cable, go = twin.client(), Cable(twin.client().address), twin.folder / "data/go"
        file = twin.folder / "notebooks/hog.ipynb"
        client.request("PUT", "contents/notebooks/hog.ipynb", json={"type": "notebook", "content": NOTEBOOK})
        try:
            visit = visitor(twin)
            visit.page.goto(f"{cable.address}/login?next=/lab/tree/notebooks/hog.ipynb&token={client.token}")
            visit.run_all()
            expect(visit.notebook().locator(".jp-InputPrompt")).to_have_text("[*]:")
            if page == "comes back":
                with visit.page.expect_response(offers):
                    cable.cut()
                    cable.join()
            if page == "has gone":
                visit.page.close()
                visit.page = visit.context.new_page()
                until(lambda: '"execution_count": 1' in file.read_text(), "the file has the number of the cell")
            go.touch()
            if page == "has gone":
                until(lambda: SAID in file.read_text(), "the file says so")
            else:
                expect(visit.notebook().locator(".jp-OutputArea-output")).to_contain_text(SAID)
                expect(visit.page.get_by_role("dialog")).to_contain_text("appears to have died")
        finally:
            cable.close()
            go.unlink(missing_ok=True)
        client.request("DELETE", "contents/notebooks/hog.ipynb")
