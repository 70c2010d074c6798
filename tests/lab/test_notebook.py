"""The example notebook in a running lab, through the API that a browser uses."""

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.cases import CASES, EXAMPLES, IMAGE_CASES, LARGE_CASES
from tests.lab.test_first_examples import run_first_examples
from tests.support import r_packages
from tests.support.project import Project, Render
from tests.support.requirements import require_python
from tests.support.server_probes import get, page
from tools.notebook import CellError, printed

# Environment -> words that its example must print.
WORDS: dict[str, tuple[str, ...]] = {
    "minimal": ("A shared birthday is likely with 23 people or more.",),
    "science": ("precision", "setosa", "versicolor", "virginica", "accuracy"),
    "science-full": ("OLS Regression Results", "bmi", "95 % of the slopes lie between"),
    "tensorflow": ("GPUs: 0", "accuracy on 540 digits"),
    "pytorch": ("device: cpu", "accuracy on 540 digits"),
    "spark": ("10,000,000 journeys", "p90"),
    "r": ("lm(formula = mpg ~ wt + hp", "Multiple R-squared:  0.8268"),
}
# Environment -> the JupyterLab extension that its packages contain.
EXTENSIONS = {"science-full": ["jupyter-matplotlib"]}
WIDGET = "application/vnd.jupyter.widget-view+json"
ACCURATE = 0.9  # the lowest accuracy that a neural network must reach
# Environment -> free bytes that a build needs on the engine's disk. The wheels of pytorch have 2.9 GB, and about 7 GB
# when they are unpacked. The build cache, the stage, the layer and the image each contain a copy.
ROOM = {"pytorch": 32e9}


def require_room(environment: str) -> None:
    """Skip the test if the engine's disk is too small for the image. (A disk on another machine is not checked.)"""
    form = ("docker", "info", "--format", "{{.DockerRootDir}}")
    root = subprocess.run(form, check=True, text=True, capture_output=True).stdout.strip()
    needed, free = ROOM.get(environment, 0), shutil.disk_usage(root).free if Path(root).exists() else float("inf")
    if needed > free:
        pytest.skip(f"{environment} takes {needed / 1e9:.0f} GB, {root} has {free / 1e9:.0f} GB free")


def plots(notebook: nbformat.NotebookNode) -> list[bytes]:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    data: list[dict[str, Any]] = [output["data"] for output in outputs if "data" in output]
    return [base64.b64decode(found["image/png"]) for found in data if "image/png" in found]


def run_on_cluster(project: Project) -> None:
    """Run the example of the cluster: its workers read what the notebook wrote, and agree with pandas."""
    done = project.client().run_notebook("notebooks/scale-out.ipynb")
    written, grouped = re.findall(r"^([\d,]+) readings (?:in \d+ files|grouped)", printed(done), re.MULTILINE)
    assert written == grouped
    assert "Dask and pandas agree on 2,000,000 readings" in printed(done)
    model, guess = map(float, re.findall(r": ([\d.]+) kWh", printed(done)))
    assert model < guess / 2
    assert len(plots(done)) == 1
    bars = [output for cell in done.cells for output in cell.get("outputs", []) if WIDGET in output.get("data", {})]
    assert len(bars) == 2


def run_and_check(project: Project) -> None:
    """Run the notebook. The file on the host then has the report and the plot, and belongs to the host's user."""
    environment = project.answers["environment"]
    notebook = f"notebooks/{EXAMPLES[environment]}.ipynb"
    file = project.folder / notebook
    before = sorted((project.folder / "data").iterdir())
    project.client().run_notebook(notebook)
    saved = nbformat.read(file, as_version=4)
    for word in WORDS[environment]:
        assert word in printed(saved)
    if reached := re.search(r"new to the network: ([\d.]+)", printed(saved)):
        assert float(reached[1]) > ACCURATE
    drawn = plots(saved)
    assert len(drawn) == (environment != "minimal")  # `minimal` has the standard library only
    assert all(plot.startswith(b"\x89PNG") and len(plot) > 5_000 for plot in drawn)
    if project.answers.get("scale_out") == "dask":  # v0.3.0 and older have no answer
        run_on_cluster(project)
    assert sorted((project.folder / "data").iterdir()) == before, "an example leaves nothing behind"
    owner = (project.folder / "notebooks").stat()
    assert (file.stat().st_uid, file.stat().st_gid) == (owner.st_uid, owner.st_gid)


def test_the_notebook_runs_and_is_saved_on_the_host(lab: Project) -> None:
    file = lab.folder / "notebooks/iris.ipynb"
    before = file.read_bytes()
    assert not plots(nbformat.reads(before.decode(), as_version=4))
    run_and_check(lab)
    file.write_bytes(before)


def test_a_notebook_that_fails_is_an_error(lab: Project) -> None:
    """The control: a cell that raises an exception makes the run fail."""
    file = lab.folder / "notebooks/broken.ipynb"
    cell = nbformat.v4.new_code_cell("from sklearn.datasets import no_such_flowers")
    file.write_text(json.dumps(nbformat.v4.new_notebook(cells=[cell])))
    owner = (lab.folder / "notebooks").stat()
    os.chown(file, owner.st_uid, owner.st_gid)
    with pytest.raises(CellError, match="no_such_flowers"):
        lab.client().run_notebook("notebooks/broken.ipynb")
    file.unlink()


@pytest.mark.nightly
@pytest.mark.parametrize("case", [*IMAGE_CASES[1:], *LARGE_CASES])
def test_the_notebook_runs_in_every_image(engine: None, new_project: Render, case: str) -> None:
    version = require_python(CASES[case])
    project = new_project(**CASES[case])
    require_room(project.answers["environment"])
    project.up()
    assert version in project.client().run("import sys; print(sys.version)")
    assert version in project.shell("/opt/jupyter/bin/python -V")
    run_first_examples(project)
    served = {extension["name"]: extension["load"] for extension in page(project.client())["federated_extensions"]}
    for name in {"@jupyter-widgets/jupyterlab-manager", *EXTENSIONS.get(case, ())}:
        assert get(project.client(), f"/lab/extensions/{name}/{served[name]}", project.client().token) == 200
    run_and_check(project)
    if case == "r":
        r_packages.check(project)
    project.down()


def test_an_image_that_is_too_large_for_the_disk_is_skipped(engine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROOM, "pytorch", 0)
    require_room("pytorch")
    monkeypatch.setitem(ROOM, "pytorch", 1e18)
    with pytest.raises(pytest.skip.Exception, match=r"pytorch takes 1000000000 GB, /.+ has \d+ GB free"):
        require_room("pytorch")


@pytest.mark.nightly
@pytest.mark.parametrize("ui", ["lab", "notebook"])
@pytest.mark.parametrize("case", [case for case in CASES if CASES[case].get("gpu") != "nvidia"])
def test_the_notebook_runs_in_every_case_and_front_end(engine: None, new_project: Render, case: str, ui: str) -> None:
    require_python(CASES[case])
    project = new_project(**CASES[case])
    require_room(project.answers["environment"])
    project.set_env(JUPYTER_UI=ui)
    project.up()
    run_and_check(project)
    project.down()
