"""A notebook that uses all memory says so on the page."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.attack.test_memory import HOG, small
from tests.clients.browser.conftest import Visitor
from tests.support.project import Project

CELL = {"cell_type": "code", "id": "hog", "source": HOG, "metadata": {}, "outputs": [], "execution_count": None}
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
NOTEBOOK = {"cells": [CELL], "metadata": PYTHON, "nbformat": 4, "nbformat_minor": 5}
SAID = "memory was full, so Linux ended this notebook kernel. LAB_MEMORY is 512m."


@pytest.mark.full
def test_a_notebook_that_uses_all_memory_says_so(lab: Project, visitor: Visitor, tmp_path: Path) -> None:
    """The cell shows the reason, next to JupyterLab's own message that the kernel died."""
    with small(lab, tmp_path) as twin:
        client = twin.client()
        client.request("PUT", "contents/notebooks/hog.ipynb", json={"type": "notebook", "content": NOTEBOOK})
        visit = visitor(twin)
        visit.open()
        visit.log_in()
        visit.page.wait_for_url("**/lab**")
        visit.page.goto(f"{client.address}/lab/tree/notebooks/hog.ipynb")
        visit.run_all()
        expect(visit.notebook().locator(".jp-OutputArea-output")).to_contain_text(SAID)
        expect(visit.page.get_by_role("dialog")).to_contain_text("appears to have died")
        client.request("DELETE", "contents/notebooks/hog.ipynb")
