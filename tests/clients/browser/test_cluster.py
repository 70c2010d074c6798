"""A Dask cluster in a real browser: the progress bar, and the dashboard by the link that a notebook shows."""

from collections.abc import Iterator

import nbformat
import pytest
from playwright.sync_api import expect

from tests.clients.browser.conftest import Visitor
from tests.support.project import Project, Render
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("chromium")  # first, while another worker builds the lab's image
CELLS = (
    "from dask.distributed import Client, progress\nclient = Client()\nclient",
    "import time\nfutures = client.map(lambda n: time.sleep(0.05) or n, range(40), pure=False)\nprogress(futures)",
    "print(sum(client.gather(futures)))",
)


@pytest.fixture(scope="module")
def cluster(default_image: None, new_project: Render) -> Iterator[Project]:
    project = new_project(scale_out="dask")
    cells = [nbformat.v4.new_code_cell(text) for text in CELLS]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), project.folder / "notebooks/cluster.ipynb")
    project.start()
    yield project
    project.down()


@pytest.mark.full
def test_progress_and_dashboard_are_visible(cluster: Project, visitor: Visitor) -> None:
    visit = visitor(cluster)
    lab = cluster.client()
    visit.page.goto(f"{lab.address}/login?next=/lab/tree/notebooks/cluster.ipynb&token={lab.token}")
    visit.wait_for_kernel()
    visit.run_all()
    notebook = visit.notebook()
    expect(notebook.get_by_text("Finished: 40").or_(notebook.get_by_text("40 / 40")).first).to_be_visible()
    expect(notebook.locator(".jp-OutputArea-output").last).to_have_text("780")
    link = notebook.get_by_role("link", name="/dashboards/8790").first
    assert link.get_attribute("href") == "/dashboards/8790"
    with visit.context.expect_page() as tab:
        link.click()
    page = tab.value
    page.wait_for_url(lambda url: ".localhost:" in url and url.endswith("/status"))
    expect(page).to_have_title("Dask: Status")
    until(lambda: page.evaluate("Bokeh.documents.length") > 0, "the websocket brings the plots")
    expect(page.locator(".bk-Canvas, .bk-Figure").first).to_be_visible()
    visit.picture("the cluster")
    visit.page = page
    visit.picture("the dashboard of the cluster")
