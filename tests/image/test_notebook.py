"""The example notebook in a running lab, through the API that a browser uses."""

import base64
import json
import os
from typing import Any

import nbformat
import pytest

import engine as container_engine
from tests.cases import CASES, IMAGE_CASES
from tests.conftest import Render
from tests.support.project import Project
from tools.notebook import CellError, printed

NOTEBOOK = "notebooks/iris.ipynb"


def plots(notebook: nbformat.NotebookNode) -> list[bytes]:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    data: list[dict[str, Any]] = [output["data"] for output in outputs if "data" in output]
    return [base64.b64decode(found["image/png"]) for found in data if "image/png" in found]


def run_and_check(project: Project) -> None:
    """Run the notebook; the report and the plot are in what was saved on the host, by the host's user."""
    file = project.folder / NOTEBOOK
    project.lab().run_notebook(NOTEBOOK)
    saved = nbformat.read(file, as_version=4)
    for word in ("precision", "setosa", "versicolor", "virginica", "accuracy"):
        assert word in printed(saved)
    (plot,) = plots(saved)
    assert plot.startswith(b"\x89PNG") and len(plot) > 10_000
    owner = (project.folder / "notebooks").stat()
    assert (file.stat().st_uid, file.stat().st_gid) == (owner.st_uid, owner.st_gid)


def test_the_notebook_runs_and_is_saved_on_the_host(lab: Project) -> None:
    file = lab.folder / NOTEBOOK
    before = file.read_bytes()
    assert not plots(nbformat.reads(before.decode(), as_version=4))
    run_and_check(lab)
    file.write_bytes(before)


def test_a_notebook_that_fails_says_so(lab: Project) -> None:
    """The control: a cell that raises is no success."""
    file = lab.folder / "notebooks/broken.ipynb"
    cell = nbformat.v4.new_code_cell("from sklearn.datasets import no_such_flowers")
    file.write_text(json.dumps(nbformat.v4.new_notebook(cells=[cell])))
    owner = (lab.folder / "notebooks").stat()
    os.chown(file, owner.st_uid, owner.st_gid)
    with pytest.raises(CellError, match="no_such_flowers"):
        lab.lab().run_notebook("notebooks/broken.ipynb")
    file.unlink()


@pytest.mark.full
@pytest.mark.parametrize("case", [case for case in IMAGE_CASES if case != "default"])
def test_the_notebook_runs_on_every_python(engine: None, new_project: Render, case: str) -> None:
    version = CASES[case]["python_version"]
    state = container_engine.up([version])[version]
    if state != "ready":
        pytest.skip(f"python {version}: {state}")
    project = new_project(**CASES[case])
    project.up()
    for asked in ("import sys; print(sys.version)", "import subprocess as s; s.run(['/opt/jupyter/bin/python', '-V'])"):
        assert version in project.lab().run(asked)
    run_and_check(project)
    project.down()


@pytest.mark.nightly
@pytest.mark.parametrize("ui", ["lab", "notebook"])
@pytest.mark.parametrize("case", CASES)
def test_the_notebook_runs_in_every_case_and_front_end(engine: None, new_project: Render, case: str, ui: str) -> None:
    version = CASES[case].get("python_version", "3.13")
    state = container_engine.up([version])[version]
    if state != "ready":
        pytest.skip(f"python {version}: {state}")
    project = new_project(**CASES[case])
    project.set_env(JUPYTER_UI=ui)
    project.up()
    run_and_check(project)
    project.down()
