"""Updates from every release to this tree, for every case of that release: what a project keeps and what it gets."""

import re
from pathlib import Path

import pytest

from tests.cases import CASES
from tests.support.project import Render
from tests.support.repository import CANDIDATE, ROOT
from tests.support.updates import (
    DELETED,
    EDITS,
    RELEASES,
    conflicts,
    each_release_and_case,
    edit_template_files,
    offers,
    renderable,
    start,
    template_files,
    update,
    user_files,
    version,
    work_on,
)  # fmt: skip


@pytest.mark.parametrize(("tag", "case"), each_release_and_case())
def test_an_update_keeps_user_files_and_renews_the_others(
    template: Path, render: Render, tmp_path: Path, tag: str, case: str
) -> None:
    project = start(template, tmp_path / "lab", tag, **CASES[case])
    work_on(project, delete_example=True)
    before, answers = user_files(project), project.answers
    update(project)
    assert conflicts(project) == set()
    assert user_files(project) == before

    fresh = render(folder=tmp_path / "fresh", **CASES[case])
    assert fresh.answers.items() >= {**answers, "_commit": CANDIDATE}.items()
    edit_template_files(fresh)
    assert template_files(project) == template_files(fresh)
    assert not (project.folder / DELETED).exists()
    for path, (_, edited) in EDITS.items():
        assert edited in project.read(path)

    project.commit()
    update(project)
    assert project.run("git", "status", "--porcelain").stdout == "", "a second update changes nothing"


@pytest.mark.full
@pytest.mark.parametrize("tag", RELEASES)
def test_an_edited_example_stays(template: Path, tmp_path: Path, tag: str) -> None:
    project = start(template, tmp_path / "lab", tag)
    work_on(project, delete_example=False)
    before = user_files(project)
    update(project)
    assert conflicts(project) == set() and version(project) == CANDIDATE
    assert user_files(project) == before and "# Our " in project.read("notebooks/iris.ipynb")


@pytest.mark.full
def test_a_change_of_the_same_line_is_a_conflict(template: Path, tmp_path: Path) -> None:
    """The control: the tests above can fail. Since the newest release, this line may not have changed yet."""
    project = start(template, tmp_path / "lab", next(iter(RELEASES)))
    lines = project.read("Dockerfile").splitlines(keepends=True)
    (project.folder / "Dockerfile").write_text("".join(line for line in lines if not line.startswith("#")))
    project.commit()
    update(project)
    assert conflicts(project) == {"Dockerfile"}


def test_git_contains_every_release_of_the_changelog() -> None:
    """In a shallow clone, the tests above would have no case."""
    released = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert released and {f"v{number}" for number in released} == RELEASES.keys()


def test_the_cases_of_a_release_are_those_that_it_offers() -> None:
    settings = {
        "colour": {"choices": {"Red": "red"}},
        "size": {"choices": ["s", "l"]},
        "title": {"type": "str"},
        "computed": {"when": False},
    }
    assert offers(settings, "colour", "red") and offers(settings, "size", "l") and offers(settings, "title", "any")
    assert not offers(settings, "colour", "Red") and not offers(settings, "size", "m")
    assert not offers(settings, "computed", "1") and not offers(settings, "new", "1")
    for tag in RELEASES:
        assert "default" in renderable(tag)
