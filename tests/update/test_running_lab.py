"""A running lab of every release, changed by its user, is updated to this tree. It then runs with all changes.

These tests start every case of the release, except the cases that need a GPU.
"""

from pathlib import Path

import pytest

from tests.cases import CASES, EXAMPLES
from tests.support.project import Project, Render
from tests.support.refusal import answers
from tests.support.repository import CANDIDATE
from tests.support.requirements import require_python
from tests.support.updates import ADDED, RELEASES, conflicts, renderable, update, user_files, version, work_on

SAVED = {"type": "file", "format": "text", "content": "made before"}
SEEN = f"import os, {ADDED}; print(os.environ['MINE'], os.environ['MINE_TOO'], 'the same packages')"
NEWEST = ([*RELEASES][-1], "default")
MATRIX = [
    pytest.param(tag, case, marks=pytest.mark.full if (tag, case) == NEWEST else pytest.mark.nightly)
    for tag in RELEASES
    for case in renderable(tag)
    if not case.endswith("-nvidia")
]


def build_stages_in_turn(project: Project) -> None:
    """Build the two environments of v0.1.0. Together, they could write bytecode to one file in the build's cache."""
    project.make("env")
    for stage in ("server", "kernel"):
        target = f"services: {{lab: {{build: {{target: {stage}}}}}}}"
        files = ("--file=compose.yaml", "--file=compose.override.yaml", "--file=-")
        project.run("docker", "compose", *files, "build", "lab", input=target)


@pytest.mark.parametrize(("tag", "case"), MATRIX)
def test_a_lab_runs_after_the_update_with_its_users_changes(
    engine: None, new_project: Render, tmp_path: Path, tag: str, case: str
) -> None:
    require_python(CASES[case])
    project = new_project(folder=tmp_path / "lab", ref=tag, **CASES[case])
    project.set_env(LAB_MEMORY="2g")
    work_on(project, delete_example=False)
    if tag == "v0.1.0":
        build_stages_in_turn(project)
    lab = project.up()
    lab.request("PUT", "contents/notebooks/kept.txt", json=SAVED)
    assert lab.run(SEEN) == "1 1 the same packages\n"
    project.commit()
    before = user_files(project)
    assert {".env", "secrets/jupyter_token", "notebooks/kept.txt"} <= before.keys()

    update(project)
    assert conflicts(project) == set() and version(project) == CANDIDATE
    assert user_files(project) == before
    lab = project.up()
    assert answers(lab) == 200
    assert lab.request("GET", "contents/notebooks/kept.txt").json()["content"] == "made before"
    assert lab.run(SEEN) == "1 1 the same packages\n"
    lab.run_notebook(f"notebooks/{EXAMPLES[project.answers.get('environment', 'science')]}.ipynb")
    project.make("test")
    project.down()
