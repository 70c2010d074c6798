"""What cells print while the browser is closed is in the page that opens next, and in the file."""

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Locator, expect

from tests.clients.browser.cable import Cable
from tests.clients.browser.conftest import Visitor, started
from tests.clients.browser.visit import Visit
from tests.support.project import Project, Render
from tests.support.variants import beside, with_server
from tests.support.waiting import crash, until

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
R = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}}
BEGAN = "0-began"  # the file in data/ that the first cell makes
SETUP = f"""
import pathlib, time
pathlib.Path("../data/{BEGAN}").touch()
from IPython.display import clear_output, display, update_display
def wait(number):
    while not pathlib.Path("../data", str(number)).exists():
        time.sleep(0.02)
def line(number):
    wait(number)
    print("line", number)
"""
FIRST, SECOND = "for n in range(10): line(n)", "for n in range(10, 20): line(n)"
RUNS = "[*]:"
AFTER = "asyncio.get_running_loop().call_later(0.5, "
HEAR, REPLIED = "self.stream.on_recv(self.hear)", "self.recorder.replied(outgoing_msg)"
PASS_ON = "super().handle_outgoing_message(stream, outgoing_msg)"
LATE = {  # calls that the server then makes half a second later
    HEAR: f"self.stream.on_recv(lambda message: {AFTER}self.hear, message))",
    REPLIED: f"{AFTER}self.recorder.replied, outgoing_msg)",
    PASS_ON: f"{AFTER}super().handle_outgoing_message, stream, outgoing_msg)",
}
EARLY = {"asyncio.get_running_loop().call_later(PAUSE, self.answer, inquiry)": "self.end_inherited()"}
AWAY = 3600  # seconds
RESTARTED = "labdock: the server restarted here. It does not know what the cell printed meanwhile.\n"


def lines(first: int, last: int) -> str:
    return "".join(f"line {number}\n" for number in range(first, last))


class Notebook:
    """A notebook whose cells print a line when the test lets them."""

    def __init__(self, lab: Project, *cells: str) -> None:
        self.lab, self.path = lab, "notebooks/printing.ipynb"
        self.file = lab.folder / self.path
        self.write(new_notebook(cells=[new_code_cell(cell) for cell in (SETUP, *cells)], metadata=KERNEL))

    def write(self, content: nbformat.NotebookNode) -> None:
        """Write the file as another program does."""
        nbformat.write(content, self.file)
        owner = self.file.parent.stat()
        os.chown(self.file, owner.st_uid, owner.st_gid)

    def read(self) -> nbformat.NotebookNode:
        return nbformat.read(self.file, as_version=4)

    def let(self, number: int) -> None:
        """Let the cells print the lines before `number`."""
        for each in range(number):
            (self.lab.folder / f"data/{each}").touch()

    def has(self, *cells: str, seconds: float = 60) -> None:
        """Wait until the file has exactly this text below its cells, without the first one."""

        def printed() -> list[str]:
            return ["".join(output.get("text", "") for output in cell.outputs) for cell in self.read().cells[1:]]

        until(lambda: printed() == list(cells), f"the file has {cells}", seconds)

    def rename(self, name: str) -> None:
        new = f"notebooks/{name}.ipynb"
        self.lab.client().request("PATCH", f"contents/{self.path}", json={"path": new})
        self.path, self.file = new, self.lab.folder / new

    def forget(self) -> None:
        """Remove its files, and end its kernel."""
        for each in (self.file, *(self.lab.folder / "data").glob("[0-9]*")):
            each.unlink()
        client = self.lab.client()
        for session in client.request("GET", "sessions").json():
            client.request("DELETE", f"sessions/{session['id']}")


@pytest.fixture
def made() -> Iterator[list[Notebook]]:
    """Notebooks in this list are removed after the test."""
    notebooks: list[Notebook] = []
    yield notebooks
    for notebook in notebooks:
        notebook.forget()


@pytest.fixture
def notebook(lab: Project, made: list[Notebook]) -> Notebook:
    made.append(Notebook(lab, FIRST, SECOND))
    return made[-1]


class Reader:
    """Somebody who opens a notebook in windows of one browser."""

    def __init__(self, visit: Visit, notebook: Notebook, address: str = "", interface: str = "lab/tree") -> None:
        self.visit, self.notebook = visit, notebook
        self.address, self.interface = address, interface

    def opens(self) -> None:
        if self.visit.page.url != "about:blank":
            self.visit.page = self.visit.context.new_page()
        # JupyterLab says so if the network is cut while it opens its first page.
        unread = self.visit.page.get_by_role("dialog").filter(has_text="Failed to fetch")
        self.visit.page.add_locator_handler(unread, lambda found: found.get_by_role("button", name="Close").click())
        page = f"{self.interface}/{self.notebook.path}"
        lab = self.notebook.lab.client()
        self.visit.page.goto(f"{self.address or lab.address}/login?next=/{page}&token={lab.token}")
        expect(self.visit.page.locator(".jp-NotebookPanel:visible .jp-KernelName")).to_have_text(
            re.compile("^(Python|R)")
        )

    def begins(self) -> None:
        """Open the notebook, run all its cells, and see the first three lines."""
        self.opens()
        self.visit.run_all()
        self.notebook.let(3)
        self.sees(1, lines(0, 3), prompt=RUNS)

    def cell(self, number: int) -> Locator:
        return self.visit.notebook().locator(".jp-Cell").nth(number)

    def sees(self, cell: int, *texts: str, prompt: str = "") -> None:
        """The page shows exactly these outputs below a cell, and this prompt beside it."""
        shown = self.cell(cell).locator(".jp-OutputArea-output")
        expect(shown).to_have_text([re.compile(rf"^{re.escape(text.strip())}\s*$") for text in texts])
        if prompt:
            expect(self.cell(cell).locator(".jp-InputPrompt")).to_have_text(prompt)

    def saves(self) -> None:
        """Save, and wait for the answer of the server. No question comes."""
        with self.visit.page.expect_response(lambda r: r.request.method == "PUT" and "/api/contents/" in r.url):
            self.visit.save()
        expect(self.visit.page.locator(".jp-Dialog")).to_have_count(0)

    def closes(self) -> None:
        self.visit.page.close()
        self.visit.page = self.visit.context.new_page()


@pytest.mark.parametrize("interface", ["lab/tree", pytest.param("notebooks", marks=pytest.mark.full)])
def test_a_page_that_opens_again_goes_on(visitor: Visitor, notebook: Notebook, interface: str) -> None:
    reader = Reader(visitor(notebook.lab), notebook, interface=interface)
    reader.begins()
    reader.closes()
    goes_on(reader)


@pytest.mark.full
def test_a_page_asks_again_after_its_request_failed(visitor: Visitor, notebook: Notebook) -> None:
    """Chromium ends requests when the network of its machine changes, for example when a container starts."""
    reader = Reader(visitor(notebook.lab), notebook)
    reader.begins()
    reader.closes()
    asks, page = re.compile("/labdock/runs/"), reader.visit.page
    page.route(asks, lambda route: route.abort())
    with page.expect_event("requestfailed", lambda request: asks.search(request.url)):
        reader.opens()
    page.unroute(asks)
    notebook.let(12)
    ends(reader)


@pytest.mark.full
def test_a_killed_browser_loses_nothing(visitor: Visitor, browser: Browser, notebook: Notebook) -> None:
    with started("killed") as (container, address):
        visit = Visit(browser.browser_type.connect_over_cdp(address), notebook.lab)
        reader = Reader(visit, notebook)
        reader.begins()
        container.compose("kill")
    goes_on(Reader(visitor(notebook.lab), notebook))


def goes_on(reader: Reader) -> None:
    """The lines that come now are in the file, and in the page that opens next."""
    reader.notebook.let(12)
    reader.notebook.has(lines(0, 10), lines(10, 12))
    reader.opens()
    ends(reader)


def ends(reader: Reader) -> None:
    """The page shows twelve lines, and then the rest, which is saved."""
    notebook = reader.notebook
    reader.sees(1, lines(0, 10), prompt="[2]:")
    reader.sees(2, lines(10, 12), prompt=RUNS)
    notebook.let(20)
    reader.sees(2, lines(10, 20), prompt="[3]:")
    reader.saves()
    notebook.has(lines(0, 10), lines(10, 20))


@pytest.mark.full
def test_a_run_that_ends_meanwhile_is_in_the_file(visitor: Visitor, notebook: Notebook) -> None:
    """Another program changes a cell meanwhile."""
    reader = Reader(visitor(notebook.lab), notebook)
    reader.begins()
    reader.closes()
    notebook.has(lines(0, 3), "")
    changed = notebook.read()
    changed.cells.append(new_code_cell("# of another program"))
    notebook.write(changed)
    notebook.let(20)
    notebook.has(lines(0, 10), lines(10, 20), "")
    assert [cell.execution_count for cell in notebook.read().cells] == [1, 2, 3, None]
    assert notebook.read().cells[3].source == "# of another program"
    reader.opens()
    reader.sees(1, lines(0, 10), prompt="[2]:")
    reader.sees(2, lines(10, 20), prompt="[3]:")
    expect(reader.cell(3).locator(".cm-content")).to_have_text("# of another program")
    reader.saves()


@pytest.mark.full
def test_a_cell_that_prints_nothing_gets_its_number(visitor: Visitor, lab: Project, made: list[Notebook]) -> None:
    """It waited for another cell when the page closed."""
    made.append(notebook := Notebook(lab, FIRST, "quiet = 1", SECOND))
    reader = Reader(visitor(lab), notebook)
    reader.begins()
    reader.closes()
    notebook.has(lines(0, 3), "", "")
    notebook.let(20)
    notebook.has(lines(0, 10), "", lines(10, 20))
    assert [cell.execution_count for cell in notebook.read().cells] == [1, 2, 3, 4]
    reader.opens()
    reader.sees(2, prompt="[3]:")
    reader.saves()


@pytest.mark.full
def test_without_the_recorder_the_lines_are_lost(
    lab: Project, visitor: Visitor, tmp_path: Path, made: list[Notebook]
) -> None:
    """The control."""
    changed = lab.read("lab/server/memory.py").replace(
        "from kept_output import Recorded",
        "from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection as Recorded",
    )
    with beside(lab, tmp_path, with_server(lab, tmp_path, "memory.py", changed)) as twin:
        twin.serve()
        made.append(notebook := Notebook(twin, FIRST, SECOND))
        reader = Reader(visitor(twin), notebook)
        reader.begins()
        reader.saves()
        notebook.has(lines(0, 3), "")
        reader.closes()
        notebook.let(20)
        kernels = partial(twin.client().request, "GET", "kernels")
        until(lambda: kernels().json()[0]["execution_state"] == "idle", "all cells have run")
        reader.opens()
        reader.visit.wait_for_kernel()
        reader.sees(1, lines(0, 3))
        reader.sees(2)
        notebook.forget()
        made.clear()


@pytest.mark.full
@pytest.mark.parametrize("until_line", [12, pytest.param(20, marks=pytest.mark.nightly)], ids=["runs", "has ended"])
def test_a_cut_network_loses_nothing(visitor: Visitor, notebook: Notebook, until_line: int) -> None:
    """The page is still open, and also has a change that is not saved. Its next save asks no question."""
    cable = Cable(notebook.lab.client().address)
    try:
        reader = Reader(visitor(notebook.lab), notebook, cable.address)
        reader.begins()
        reader.cell(0).locator(".cm-content").click()
        reader.visit.page.keyboard.press("Control+End")
        reader.visit.page.keyboard.type("# not saved")
        cable.cut()
        notebook.let(until_line)
        notebook.has(lines(0, 10), lines(10, until_line))
        cable.join()
        reader.sees(1, lines(0, 10), prompt="[2]:")
        reader.sees(2, lines(10, until_line), prompt=RUNS if until_line < 20 else "[3]:")
        notebook.let(20)
        reader.sees(2, lines(10, 20), prompt="[3]:")
        reader.saves()
        until(lambda: "# not saved" in notebook.read().cells[0].source, "the page saves")
        notebook.has(lines(0, 10), lines(10, 20))
    finally:
        cable.close()


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("ends", "heard", "first", "second"),
    [
        ("stop", 3, [lines(0, 3), RESTARTED, lines(3, 10)], [lines(10, 15)]),
        ("kill", 12, [lines(0, 10)], [lines(10, 12), RESTARTED, lines(12, 15)]),
    ],
    ids=["stop", "kill"],
)
def test_a_new_server_knows_what_a_page_has_read(
    lab: Project,
    visitor: Visitor,
    tmp_path: Path,
    made: list[Notebook],
    ends: str,
    heard: int,
    first: list[str],
    second: list[str],
) -> None:
    """Its network was cut before the old server ended, and came back after the new one wrote the file.

    The page shows all that the file has. Its next save asks no question.
    """
    with beside(lab, tmp_path) as twin:
        twin.serve()
        made.append(notebook := Notebook(twin, FIRST, SECOND))
        cable = Cable(twin.client().address)
        try:
            reader = Reader(visitor(twin), notebook, cable.address)
            reader.begins()
            cable.cut()
            notebook.let(heard)
            if ends == "kill":
                notebook.has(lines(0, 10), lines(10, heard))
            twin.compose(ends, "server")
            twin.serve()
            notebook.let(15)
            notebook.has("".join(first), "".join(second))
            cable.lead_to(twin.client().address)
            with reader.visit.page.expect_response(re.compile(r"/api/contents/.*printing\.ipynb.*hash=1")):
                cable.join()  # the page then asks for the file's new hash
            reader.sees(1, *first, prompt="[2]:")
            reader.sees(2, *second, prompt=RUNS)
            reader.saves()
            notebook.has("".join(first), "".join(second))
        finally:
            cable.close()
        notebook.forget()
        made.clear()


@pytest.mark.nightly
@pytest.mark.timeout(AWAY + 1800)
@pytest.mark.parametrize("way", ["closed", "cut"])
def test_an_hour_away_loses_nothing(visitor: Visitor, notebook: Notebook, way: str) -> None:
    """The page is closed, or its network is cut, and a line is printed now and then."""
    cable = Cable(notebook.lab.client().address)
    try:
        reader = Reader(visitor(notebook.lab), notebook, cable.address)
        reader.begins()
        reader.closes() if way == "closed" else cable.cut()
        for number in range(4, 13):
            time.sleep(AWAY / 9)
            notebook.let(number)
            notebook.has(lines(0, min(number, 10)), lines(10, number))
        cable.join()
        if way == "closed":
            reader.opens()
        ends(reader)
    finally:
        cable.close()


@pytest.mark.full
def test_a_second_window_takes_over(visitor: Visitor, notebook: Notebook) -> None:
    """It was open already, and has a change that is not saved."""
    visit = visitor(notebook.lab)
    first, second = Reader(visit, notebook), Reader(visit, notebook)
    first.opens()
    page = visit.page
    second.opens()
    second.cell(0).locator(".cm-content").click()
    visit.page.keyboard.press("Control+End")
    visit.page.keyboard.type("# of the second window")
    visit.page, other = page, visit.page
    first.visit.run_all()
    notebook.let(3)
    first.sees(1, lines(0, 3), prompt=RUNS)
    visit.page.close()
    visit.page = other
    second.sees(1, lines(0, 3), prompt=RUNS)
    notebook.let(20)
    second.sees(1, lines(0, 10), prompt="[2]:")
    second.sees(2, lines(10, 20), prompt="[3]:")
    second.saves()
    until(lambda: "# of the second window" in notebook.read().cells[0].source, "the page saves")
    notebook.has(lines(0, 10), lines(10, 20))


REMOVALS = {
    "clear": ("Edit", "Clear Outputs of All Cells"),
    "restart": ("Kernel", re.compile("Restart.*Clear Outputs")),
    "clear in the next page": ("Edit", "Clear Outputs of All Cells"),
}


@pytest.mark.full
@pytest.mark.parametrize("guarded", [True, False], ids=["as delivered", "the control: no run is forgotten"])
@pytest.mark.parametrize(
    "how", [how if how == "restart" else pytest.param(how, marks=pytest.mark.nightly) for how in REMOVALS]
)
def test_outputs_that_the_user_removed_stay_away(
    lab: Project, visitor: Visitor, tmp_path: Path, made: list[Notebook], how: str, guarded: bool
) -> None:
    """The server would write them into the file as soon as the page has gone, at the latest when the next one opens."""
    text = lab.read("lab/server/kept_output.py")
    guards = (
        'if ended and (everywhere or cell is None or cell.get("execution_count") == run.count):',
        "if run.page:\n                del self.runs[key]",
    )
    assert all(guard in text for guard in guards)
    changed = text.replace(guards[0], "if False:").replace(guards[1], "if False:\n                pass")
    layer = with_server(lab, tmp_path, "kept_output.py", text if guarded else changed)
    with beside(lab, tmp_path, layer) as twin:
        twin.serve()
        made.append(notebook := Notebook(twin, FIRST, SECOND))
        reader = Reader(visitor(twin), notebook)
        reader.begins()
        notebook.let(20)
        reader.sees(2, lines(10, 20), prompt="[3]:")
        if how == "clear in the next page":
            reader.closes()
            notebook.has(lines(0, 10), lines(10, 20))
            reader.opens()
            reader.visit.wait_for_kernel()
        menu, item = REMOVALS[how]
        reader.visit.page.get_by_role("menubar").get_by_text(menu, exact=True).click()
        reader.visit.page.get_by_role("menuitem", name=item).click()
        if how == "restart":
            reader.visit.page.get_by_role("button", name="Confirm Kernel Restart").click()
            reader.visit.wait_for_kernel()
        if guarded or how != "restart":
            reader.sees(1)
        reader.saves()
        reader.closes()
        until(lambda: [k["connections"] for k in twin.client().request("GET", "kernels").json()] == [0], "it is gone")
        reader.opens()
        reader.visit.wait_for_kernel()
        reader.sees(1, *([] if guarded else [lines(0, 10)]))
        notebook.forget()
        made.clear()


KINDS = (
    """
shown = display("first", display_id=True)
for n in range(3):
    wait(n)
    shown.update(f"update {n}")
""",
    """
for n in range(3, 6):
    wait(n)
    clear_output(wait=True)
    print("step", n)
print("10 %", end="")
wait(6)
print("\\r20 %", end="")
wait(7)
print("\\rdone")
""",
    """
answer = input("Name?")
print("Hello", answer)
""",
    """
wait(8)
raise ValueError("wrong")
""",
    "print('does not run')",
)


@pytest.mark.full
def test_every_kind_of_output_is_kept(lab: Project, visitor: Visitor, made: list[Notebook]) -> None:
    """Updates, cleared outputs, rewritten lines, questions to the user, and errors, after which no cell runs."""
    made.append(notebook := Notebook(lab, *KINDS))
    reader = Reader(visitor(lab), notebook)
    reader.opens()
    reader.visit.run_all()
    reader.sees(1, "'first'", prompt=RUNS)
    reader.closes()
    notebook.let(2)
    until(lambda: "update 1" in notebook.file.read_text(), "the file has the update")
    reader.opens()
    reader.sees(1, "'update 1'", prompt=RUNS)
    notebook.let(4)
    reader.sees(1, "'update 2'", prompt="[2]:")
    reader.sees(2, "step 3", prompt=RUNS)
    reader.closes()
    notebook.let(7)
    until(lambda: "20 %" in str(notebook.read().cells[2].outputs), "the file has the line")
    (output,) = notebook.read().cells[2].outputs
    assert output.text == "step 5\n20 %"
    reader.opens()
    reader.sees(2, "step 5\n20 %", prompt=RUNS)
    reader.closes()
    notebook.let(8)
    until(lambda: notebook.read().cells[2].execution_count == 3, "the kernel asks its question")
    reader.opens()
    reader.sees(2, "step 5\ndone", prompt="[3]:")
    reader.cell(3).locator(".jp-Stdin-input").fill("Ada")
    reader.visit.page.keyboard.press("Enter")
    reader.sees(3, "Name? Ada", "Hello Ada", prompt="[4]:")
    reader.closes()
    notebook.let(9)
    until(lambda: "ValueError" in notebook.file.read_text(), "the file has the error")
    reader.opens()
    reader.sees(3, "Name? Ada", "Hello Ada", prompt="[4]:")
    expect(reader.cell(4).locator(".jp-OutputArea-output")).to_have_text(re.compile("ValueError.*wrong", re.DOTALL))
    reader.sees(5, prompt="[ ]:")
    reader.saves()
    assert notebook.read().cells[5].outputs == []


@pytest.mark.full
def test_a_new_server_goes_on_with_the_recording(fresh_lab: Project, visitor: Visitor, made: list[Notebook]) -> None:
    """Only what was printed while no server ran is missing, and the output says so. The second cell began later."""
    notebook = Notebook(fresh_lab, FIRST, SECOND)
    reader = Reader(visitor(fresh_lab), notebook)
    reader.begins()
    reader.closes()
    notebook.has(lines(0, 3), "")
    crash(fresh_lab, "server")
    notebook.let(20)
    notebook.has(lines(0, 3) + RESTARTED + lines(3, 10), lines(10, 20))
    reader.opens()
    reader.sees(1, lines(0, 3), RESTARTED, lines(3, 10), prompt="[2]:")


@pytest.mark.nightly
def test_questions_and_displays_outlive_the_server(
    lab: Project, visitor: Visitor, tmp_path: Path, made: list[Notebook]
) -> None:
    """No page is open. The notebook was renamed. One server hears the question, and the next one asks it."""
    with beside(lab, tmp_path) as twin:
        twin.serve()
        made.append(notebook := Notebook(twin, KINDS[0], KINDS[2]))
        reader = Reader(visitor(twin), notebook)
        reader.opens()
        reader.visit.run_all()
        reader.sees(1, "'first'", prompt=RUNS)
        reader.closes()
        notebook.let(1)
        until(lambda: "update 0" in notebook.file.read_text(), "the file has the update")
        notebook.rename("asking")
        twin.compose("kill", "server")
        twin.serve()
        notebook.let(3)
        until(lambda: notebook.read().cells[1].execution_count == 2, "the first server after it hears the question")
        until(lambda: "update 2" in notebook.file.read_text(), "the file has the update")
        twin.compose("stop", "server")
        twin.serve()
        reader.opens()
        reader.cell(2).locator(".jp-Stdin-input").fill("Ada")
        reader.visit.page.keyboard.press("Enter")
        expect(reader.cell(2)).to_contain_text("Hello Ada")
        reader.sees(1, "'update 2'", RESTARTED, prompt="[2]:")
        notebook.forget()
        made.clear()


@pytest.mark.full
@pytest.mark.parametrize(
    ("ends", "hears"),
    [
        pytest.param("stop", "at once", marks=pytest.mark.nightly),
        ("kill", "late"),
        pytest.param("kill", "the control", marks=pytest.mark.nightly),
    ],
)
def test_an_open_page_outlives_the_server(
    lab: Project, visitor: Visitor, tmp_path: Path, made: list[Notebook], ends: str, hears: str
) -> None:
    """The page shows each line once, and where lines can be missing. A cell that ended meanwhile has ended in the page.

    Also the file has this, if the page then closes. No server saw the last cell begin, but its number is known.
    What the server itself asked can be answered long before it gets any other message. In the control, this answer
    counts, so the cell ends too early, without its number.
    """
    text = lab.read("lab/server/kept_output.py")
    calls = {} if hears == "at once" else LATE | EARLY if hears == "the control" else LATE
    for call, instead in calls.items():
        assert text.count(call) == 1
        text = text.replace(call, instead)
    layer = with_server(lab, tmp_path, "kept_output.py", text)
    with beside(lab, tmp_path, layer) as twin:
        twin.serve()
        made.append(notebook := Notebook(twin, FIRST, SECOND, "pathlib.Path('../data/99').touch()\nline(20)"))

        def prints_on() -> None:
            notebook.let(20)
            until((twin.folder / "data/99").exists, "the second cell has ended")

        cable = Cable(twin.client().address)
        try:
            reader = Reader(visitor(twin), notebook, cable.address)
            reader.begins()
            restarted(twin, cable, ends)
            notebook.let(12)
            reader.sees(1, lines(0, 3), RESTARTED, lines(3, 10), prompt="[2]:")
            reader.sees(2, lines(10, 12), prompt=RUNS)
            if ends == "kill":
                reader.saves()
            restarted(twin, cable, ends, prints_on)
            notebook.let(21)
            reader.sees(2, lines(10, 12), RESTARTED, prompt="[3]:")
            reader.sees(3, RESTARTED, lines(20, 21), prompt="[ ]:" if hears == "the control" else "[4]:")
            reader.closes()
            notebook.has(lines(0, 3) + RESTARTED + lines(3, 10), lines(10, 12) + RESTARTED, RESTARTED + lines(20, 21))
            if hears != "the control":
                assert [cell.execution_count for cell in notebook.read().cells[1:]] == [2, 3, 4]
        finally:
            cable.close()
        notebook.forget()
        made.clear()


@pytest.mark.nightly
@pytest.mark.parametrize("asks", ["again", "once: the control"])
def test_cells_of_r_wait_while_the_server_restarts(
    new_project: Render, visitor: Visitor, tmp_path: Path, asks: str
) -> None:
    """R answers the server before cells that wait. In the control, the page shows an end while the cell runs."""
    project = new_project(environment="r")
    project.up()
    text = project.read("lab/server/kept_output.py")
    assert text.count("if self.begun:") == 1
    changed = text if asks == "again" else text.replace("if self.begun:", "if False:")
    with beside(project, tmp_path, with_server(project, tmp_path, "kept_output.py", changed)) as twin:
        twin.serve()
        notebook = Notebook(twin)
        cells = ["wait <- function(n) while (!file.exists(file.path('../data', n))) Sys.sleep(0.02)"]
        cells += [f"wait({n}); cat('line {n}\\n')" for n in range(3)]
        notebook.write(new_notebook(cells=[new_code_cell(cell) for cell in cells], metadata=R))
        cable = Cable(twin.client().address)
        try:
            reader = Reader(visitor(twin), notebook, cable.address)
            reader.opens()
            reader.visit.run_all()
            expect(reader.cell(0).locator(".jp-InputPrompt")).to_have_text("[1]:")
            restarted(twin, cable, "kill")
            notebook.let(2)
            reader.sees(1, RESTARTED, lines(0, 1), prompt="[2]:")
            reader.sees(2, lines(1, 2), prompt="[3]:")
            reader.sees(3, prompt=RUNS if asks == "again" else "[4]:")
            notebook.let(3)
            if asks == "again":
                reader.sees(3, lines(2, 3), prompt="[4]:")
        finally:
            cable.close()
    project.down()


def restarted(lab: Project, cable: Cable, ends: str, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Stop or kill the server, start it, and wait until the page is connected to its kernel again."""
    lab.compose(ends, "server")
    meanwhile()
    lab.serve()
    cable.lead_to(lab.client().address)
    kernels = partial(lab.client().request, "GET", "kernels")
    until(lambda: [kernel["connections"] for kernel in kernels().json()] == [1], "the page is connected again")


@pytest.mark.full
def test_the_end_of_a_run_does_not_wait_for_the_next_write(
    lab: Project, visitor: Visitor, tmp_path: Path, made: list[Notebook]
) -> None:
    """While a cell prints, a rest of two minutes follows a write that takes six seconds, as for a large file."""
    text, began = lab.read("lab/server/kept_output.py"), "began = time.monotonic()"
    assert text.count(began) == 1
    with beside(
        lab, tmp_path, with_server(lab, tmp_path, "kept_output.py", text.replace(began, f"{began} - 6"))
    ) as twin:
        twin.serve()
        made.append(notebook := Notebook(twin, FIRST, SECOND))
        reader = Reader(visitor(twin), notebook)
        reader.begins()
        reader.closes()
        until(lambda: "line 2" in notebook.file.read_text(), "the file has the first lines")
        notebook.let(20)
        notebook.has(lines(0, 10), lines(10, 20), seconds=60)
        notebook.forget()
        made.clear()


@pytest.mark.full
def test_a_notebook_can_be_renamed_meanwhile(visitor: Visitor, notebook: Notebook) -> None:
    reader = Reader(visitor(notebook.lab), notebook)
    reader.begins()
    reader.closes()
    notebook.rename("renamed")
    goes_on(reader)


@pytest.mark.full
@pytest.mark.parametrize(
    "limited", [True, pytest.param(False, marks=pytest.mark.nightly)], ids=["as delivered", "the control: no limit"]
)
@pytest.mark.attack("Print 80 MB while no page is open", "The server keeps 64 MB, and the cell says so.")
def test_the_server_keeps_a_limited_output(
    lab: Project, visitor: Visitor, tmp_path: Path, made: list[Notebook], limited: bool
) -> None:
    text, most = lab.read("lab/server/runs.py"), "MOST = 64 << 20"
    assert most in text
    layer = with_server(lab, tmp_path, "runs.py", text if limited else text.replace(most, "MOST = 640 << 20"))
    with beside(lab, tmp_path, layer) as twin:
        twin.serve()
        made.append(notebook := Notebook(twin, "wait(0)\nfor _ in range(80): print(999_999 * 'x')"))
        reader = Reader(visitor(twin), notebook)
        reader.opens()
        reader.visit.run_all()
        reader.sees(1, prompt=RUNS)
        reader.closes()
        notebook.let(1)
        said = "labdock: the outputs of this notebook are longer than 64 MB"
        if limited:
            until(lambda: said in notebook.file.read_text(), "the file says it")
        else:
            until(lambda: notebook.file.stat().st_size > 80_000_000, "the file has the whole output")
        assert (notebook.file.stat().st_size < 68_000_000) is limited
        notebook.forget()
        made.clear()


SERIES = range(*map(int, os.environ.get("LABDOCK_VISITS", "0 100").split()))


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_nothing_is_lost_in_a_hundred_visits(lab: Project, browser: Browser, made: list[Notebook]) -> None:
    """Random ways and moments to go and to come back."""
    lost = []
    for seed in SERIES:
        made.append(notebook := Notebook(lab, FIRST, SECOND))
        try:
            visited(Visit(browser, lab), notebook, random.Random(seed))
        except AssertionError as error:
            lost.append(f"seed {seed}: {error}"[:1000])
        notebook.forget()
        made.clear()
    assert not lost, "\n".join(lost)


def visited(visit: Visit, notebook: Notebook, chance: random.Random) -> None:
    """Come and go until all is printed. Then page and file have each line once, in order."""
    visit.context.on("dialog", lambda dialog: dialog.accept())  # "leave this page?"
    cables = [Cable(notebook.lab.client().address)]
    reader = Reader(visit, notebook, cables[0].address)
    reader.opens()
    reader.visit.run_all()
    # A page that goes before its requests have left the browser runs nothing.
    until((notebook.lab.folder / "data" / BEGAN).exists, "the cells run")
    printed = 0
    try:
        for _ in range(chance.randint(1, 3)):
            notebook.let(printed := chance.randint(printed, 20))
            visit.page.wait_for_timeout(chance.choice([0, 10, 300, 3000]))
            how = chance.choice(["closed", "reloaded", "cut", "cut for ever"])
            if how == "closed":
                reader.closes()
            elif how == "reloaded":
                visit.page.goto("about:blank")
            else:
                cables[-1].cut()
            notebook.let(printed := chance.randint(printed, 20))
            visit.page.wait_for_timeout(chance.choice([0, 100, 3000]))
            if how == "cut":
                cables[-1].join()
                continue
            if how == "cut for ever":
                cables.append(Cable(notebook.lab.client().address))
                reader.address = cables[-1].address
            reader.opens()
        notebook.let(20)
        reader.sees(1, lines(0, 10), prompt="[2]:")
        reader.sees(2, lines(10, 20), prompt="[3]:")
        reader.saves()
        notebook.has(lines(0, 10), lines(10, 20))
    finally:
        for cable in cables:
            cable.close()
        visit.close()
