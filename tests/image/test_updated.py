"""A lab of every release, in use and changed by its user, is updated to this tree and runs on with all of it."""

from pathlib import Path

import pytest

from tests.conftest import CANDIDATE, Render
from tests.support.refusal import answers
from tests.support.updates import ADDED, RELEASES, theirs, undecided, update, version, work_on

SAVED = {"type": "file", "format": "text", "content": "made before"}
SEEN = f"import os, sklearn, {ADDED}; print(os.environ['MINE'], os.environ['MINE_TOO'], 'the same packages')"


@pytest.mark.full
@pytest.mark.parametrize("tag", RELEASES)
def test_a_lab_in_use_runs_on_after_the_update(new_project: Render, tmp_path: Path, tag: str) -> None:
    project = new_project(folder=tmp_path / "lab", ref=tag)
    project.set_env(LAB_MEMORY="2g")
    work_on(project, delete_example=False)
    lab = project.up()
    lab.request("PUT", "contents/notebooks/kept.txt", json=SAVED)
    assert lab.run(SEEN) == "1 1 the same packages\n"
    project.commit()
    before = theirs(project)
    assert {".env", "secrets/jupyter_token", "notebooks/kept.txt"} <= before.keys()

    update(project)
    assert undecided(project) == set() and version(project) == CANDIDATE
    assert theirs(project) == before
    lab = project.up()
    assert answers(lab) == 200
    assert lab.request("GET", "contents/notebooks/kept.txt").json()["content"] == "made before"
    assert lab.run(SEEN) == "1 1 the same packages\n"
    lab.run_notebook("notebooks/iris.ipynb")
    project.make("test")
