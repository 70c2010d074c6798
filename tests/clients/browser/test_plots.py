"""Plots in a browser without internet: each library draws in colour, without a line of the user's own for it."""

import json
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Route, expect

from tests.clients.browser.conftest import Visitor
from tests.clients.browser.visit import PICTURES, Visit
from tests.support.project import Project, Render
from tests.support.waiting import until

CELLS = Path(__file__).with_name("plots.py").read_text(encoding="utf-8")
# The packages that `science` lacks.
ADDED = "altair anywidget bokeh holoviews hvplot ipympl panel plotly vl-convert-python"
PREPARE = ("before", "matplotlib", "pandas")  # cells that others need
# The number of strong colours of a picture: not nearly grey, and on more pixels than text has.
COLOURS = """async base64 => {
    const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0))
    const image = await createImageBitmap(new Blob([bytes]))
    const context = new OffscreenCanvas(image.width, image.height).getContext('2d')
    context.drawImage(image, 0, 0)
    const {data} = context.getImageData(0, 0, image.width, image.height), count = {}
    for (let i = 0; i < data.length; i += 4) {
        const pixel = data.slice(i, i + 3)
        if (Math.max(...pixel) - Math.min(...pixel) > 60) count[pixel] = (count[pixel] ?? 0) + 1
    }
    return Object.values(count).filter(pixels => pixels >= 400).length
}"""


def cells() -> dict[str, str]:
    """The code of each cell of plots.py, by the cell's name."""
    parts = re.split(r"^# %% (\S+)\n", CELLS, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


class Gallery:
    """A notebook of plots in a browser that reaches nothing but the lab."""

    def __init__(self, visit: Visit, name: str, code: dict[str, str]) -> None:
        self.visit, self.name, self.code = visit, name, code
        self.refused: list[str] = []  # addresses outside of the lab that the page asked for
        address = visit.project.client().address.removeprefix("http://127.0.0.1")
        visit.context.route(lambda url: not re.match(rf"http://[\w.]+{address}/|data:|blob:", url), self.refuse)
        file = visit.project.folder / f"notebooks/{name}.ipynb"
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in code.values()])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        file.write_text(json.dumps(notebook))
        owner = file.parent.stat()
        os.chown(file, owner.st_uid, owner.st_gid)
        # Without ?reset, the page would also open the notebook of the last test, and could run that one.
        visit.page.goto(re.sub(r"/lab.*", f"/lab/tree/notebooks/{name}.ipynb?reset", visit.page.url))
        visit.run_all()
        expect(visit.notebook().locator(".jp-InputPrompt").last).to_have_text(re.compile(r"\[\d+\]:"))

    def refuse(self, route: Route) -> None:
        self.refused.append(route.request.url)
        route.abort()

    def colours(self, name: str) -> int:
        """The number of strong colours in the output of a cell."""
        output = self.visit.notebook().locator(".jp-Cell").nth([*self.code].index(name)).locator(".jp-Cell-outputArea")
        output.scroll_into_view_if_needed()
        picture = output.screenshot(path=PICTURES / f"{self.name}-{name}.png")
        return self.visit.page.evaluate(COLOURS, b64encode(picture).decode())


@pytest.fixture(scope="module", params=["open", "sealed"])
def gallery_lab(request: pytest.FixtureRequest, default_image: None, new_project: Render) -> Iterator[Project]:
    project = new_project(network=request.param)
    project.run("make", "add", f"PKG={ADDED}")
    project.up()
    yield project
    project.down()


@pytest.fixture
def visit(gallery_lab: Project, visitor: Visitor) -> Visit:
    visit = visitor(gallery_lab)
    visit.open()
    visit.log_in()
    expect(visit.page.locator(".jp-DirListing")).to_be_visible()
    return visit


@pytest.mark.nightly
@pytest.mark.parametrize("first, last", [("matplotlib", "bokeh"), ("holoviews", "panel")])
def test_every_library_draws_without_internet(visit: Visit, first: str, last: str) -> None:
    code = cells()
    names = [*code]
    names = names[names.index(first) : names.index(last) + 1]
    gallery = Gallery(visit, f"plots-{first}", {name: code[name] for name in dict.fromkeys((*PREPARE, *names))})
    for name in names:
        until(lambda name=name: gallery.colours(name) >= 2, f"{name} draws in two colours", 60)
    assert [address for address in gallery.refused if not address.endswith(".css")] == []
    said = [message for message in visit.complaints if "Content Security Policy" in message and ".css" not in message]
    assert said == []


@pytest.mark.nightly
def test_with_the_libraries_own_setting_a_plot_is_empty(visit: Visit) -> None:
    """The control: with its own setting, holoviews loads its JavaScript from the internet."""
    code = {name: cells()[name] for name in (*PREPARE, "holoviews")}
    code["before"] += "\nimport holoviews\nholoviews.notebook_extension.inline = False\n"
    gallery = Gallery(visit, "own-setting", code)
    asked = lambda: any(".js" in each for each in (*gallery.refused, *visit.complaints))  # noqa: E731
    until(asked, "the page asks for JavaScript", 60)
    assert gallery.colours("matplotlib") >= 2
    assert gallery.colours("holoviews") < 2
