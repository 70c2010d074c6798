"""A lab of every release, in use, is updated to this tree and runs on: same data, same settings, same packages."""

from pathlib import Path

import pytest

from tests.conftest import CANDIDATE, Render
from tests.support.refusal import answers
from tests.test_update import RELEASES, undecided, update, version

SAVED = {"type": "file", "format": "text", "content": "made before"}


@pytest.mark.full
@pytest.mark.parametrize("tag", RELEASES)
def test_a_lab_in_use_runs_on_after_the_update(new_project: Render, tmp_path: Path, tag: str) -> None:
    project = new_project(folder=tmp_path / "lab", ref=tag)
    project.set_env(LAB_MEMORY="2g")
    lab = project.up()
    lab.request("PUT", "contents/notebooks/kept.txt", json=SAVED)
    project.commit()
    theirs = ("pyproject.toml", "requirements.lock", ".env", "secrets/jupyter_token", "notebooks/kept.txt")
    before = {name: project.read(name) for name in theirs}

    update(project)
    assert undecided(project) == set() and version(project) == CANDIDATE
    assert {name: project.read(name) for name in theirs} == before
    lab = project.up()
    assert answers(lab) == 200
    assert lab.request("GET", "contents/notebooks/kept.txt").json()["content"] == "made before"
    assert lab.run("import sklearn; print('the same packages')") == "the same packages\n"
    project.make("test")
