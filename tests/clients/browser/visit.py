"""A visit to a lab with a browser, as a person would make it: click, type and look."""

import re

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

from tests.support.project import Project
from tests.support.repository import ROOT

PICTURES = ROOT / "build/screenshots"
PATIENCE = 60_000  # ms that a loaded machine may take
SIZE = {"width": 1280, "height": 960}
# The number of colours in an image. An empty image has one.
COLOURS = """image => {
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight)
    const context = canvas.getContext('2d')
    context.drawImage(image, 0, 0)
    return new Set(new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size
}"""


class Visit:
    """A window for a project's lab, in a browser without history and cookies."""

    def __init__(self, browser: Browser, project: Project) -> None:
        self.project = project
        self.complaints: list[str] = []  # console errors and exceptions of every page of this visit
        self.context = browser.new_context(viewport=SIZE)
        self.context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        self.context.on("console", self.hear)
        self.context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        self.page: Page = self.context.new_page()

    def hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def close(self) -> None:
        self.context.close()

    def picture(self, name: str) -> None:
        """Save a screenshot of the window as build/screenshots/NAME.png."""
        self.page.screenshot(path=PICTURES / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.png")

    # --- opening the lab -------------------------------------------------------------------------------
    def open(self) -> None:
        """Open the address that `make url` prints, as `make up` does."""
        said = self.project.make("url").stdout
        found = re.search(r"^Address: (\S+)$", said, re.MULTILINE)
        assert found, f"make url prints no address: {said}"
        self.page.goto(found[1])

    def log_in(self, token: str | None = None) -> None:
        """Type the token, or another one, into the page that asks for it."""
        self.page.get_by_label("Token", exact=True).fill(token or self.project.client().token)
        self.page.get_by_role("button", name="Log in").click()

    # --- a notebook -------------------------------------------------------------------------------
    def notebook(self) -> Locator:
        """The visible notebook."""
        return self.page.locator(".jp-NotebookPanel:visible .jp-Notebook")

    def wait_for_kernel(self) -> None:
        """Wait until the notebook is connected to its kernel. At first, it is "idle" with the name "No Kernel"."""
        panel = self.page.locator(".jp-NotebookPanel:visible")
        expect(panel.locator(".jp-KernelName")).to_have_text(re.compile(r"\w"))
        expect(panel.locator(".jp-KernelName")).not_to_have_text("No Kernel")
        expect(panel.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute("data-status", "idle")

    def run_all(self) -> None:
        """Choose Run → Run All Cells, when the notebook is connected to its kernel."""
        self.wait_for_kernel()
        self.page.get_by_role("menubar").get_by_text("Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

    def see_plot(self) -> None:
        """Wait for the notebook's only image, scroll to its cell, and check that the image is not empty."""
        plot = self.notebook().locator(".jp-OutputArea-output img")
        expect(plot).to_have_count(1)
        plot.evaluate("image => image.closest('.jp-Cell').scrollIntoView()")
        expect(plot).to_be_in_viewport(ratio=0.5)
        colours = plot.evaluate(COLOURS)
        assert colours > 100, f"a plot of {colours} colours"

    def add_to_first_cell(self, words: str) -> None:
        """Write a paragraph into the first cell, which is text, and run it."""
        cell = self.notebook().locator(".jp-Cell").first
        cell.dblclick()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+End")
        self.page.keyboard.type(f"\n\n{words}")
        self.page.keyboard.press("Shift+Enter")
        expect(cell.locator(".jp-RenderedMarkdown")).to_contain_text(words)

    def save(self) -> None:
        """Save from the keyboard."""
        self.page.keyboard.press("Control+S")
