"""`make run`: every notebook runs in the lab, from its own folder, and stays as it is."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from tests.support.project import Project
from tests.support.waiting import until
from tools.notebook import execute, text

# It and its child go on for a day.
ENDLESS = "import subprocess; subprocess.run(['sleep', '86399'])"


def notebook(path: Path, code: str) -> None:
    """A notebook of one cell that names no kernel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])))


@pytest.fixture
def own(lab: Project) -> Iterator[Path]:
    """A folder of the test's own below notebooks/."""
    folder = lab.folder / "notebooks/of a test"
    folder.mkdir()
    yield folder
    lab.run("rm", "-r", str(folder))


def test_every_notebook_runs_and_stays_as_it_is(lab: Project, own: Path) -> None:
    notebook(own / "deep er/one.ipynb", "import os; assert os.getcwd().endswith('/notebooks/of a test/deep er')")
    notebook(own / ".ipynb_checkpoints/old.ipynb", "1 / 0")
    before = {path: path.read_bytes() for path in (lab.folder / "notebooks").rglob("*") if path.is_file()}
    assert lab.make("run").stdout == "ok    notebooks/iris.ipynb\nok    notebooks/of a test/deep er/one.ipynb\n"
    assert {path: path.read_bytes() for path in (lab.folder / "notebooks").rglob("*") if path.is_file()} == before


@pytest.mark.full
def test_a_cell_that_fails_is_shown_and_fails_the_whole(lab: Project, own: Path) -> None:
    notebook(own / "a.ipynb", "from sklearn.datasets import no_such_flowers")
    notebook(own / "b.ipynb", "print(1)")
    done = lab.make("run", check=False)
    assert done.returncode
    assert "\nFAIL  notebooks/of a test/a.ipynb\n" in done.stdout and "no_such_flowers" in done.stdout
    assert done.stdout.endswith("ok    notebooks/of a test/b.ipynb\n")


def running(lab: Project) -> set[str]:
    """The lab's processes that are kernels, or that ENDLESS started."""
    return set(lab.shell("grep -lsaE '[i]pykernel_launcher|[n]bclient|[8]6399' /proc/[0-9]*/cmdline || true").split())


def as_on_a_terminal() -> None:
    """A program that starts in the background ignores Ctrl-C, and so do the programs that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.full
def test_an_interrupted_run_leaves_no_process(lab: Project, own: Path) -> None:
    """On a terminal, the running notebook is shown. Kernels that ran in the lab before keep running."""
    notebook(own / "endless.ipynb", ENDLESS)
    terminal, inside = os.openpty()
    with lab.client().kernel() as kernel:
        execute(kernel, "here = 1")
        before = running(lab)
        command = ("make", "--no-print-directory", "run")
        options = {"cwd": lab.folder, "stdout": inside, "stderr": inside, "start_new_session": True}
        with subprocess.Popen(command, preexec_fn=as_on_a_terminal, **options) as run:
            try:
                until(lambda: len(running(lab) - before) == 3, "nbclient, its kernel and the kernel's child run")
            finally:
                os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C does
        assert run.returncode != 0 and running(lab) == before != set()
        assert text(execute(kernel, "print(here)")) == "1\n"
    shown = os.read(terminal, 4096).decode()
    first, then = "notebooks/iris.ipynb", "notebooks/of a test/endless.ipynb"
    assert f"run   {first}\rok    {first}\r\nrun   {then}\r" in shown


def test_without_a_lab_it_says_how_to_start_one(engine: None, fresh_project: Project) -> None:
    assert (
        "labdock: the lab is not running. Start the lab with 'make up'."
        in fresh_project.make("run", check=False).stderr
    )
