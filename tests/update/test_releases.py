"""From every release to this tree, for every case that it could render: what a lab in use keeps and what it gets."""

import re
from pathlib import Path

import pytest

from tests.cases import CASES
from tests.conftest import CANDIDATE, ROOT, Render
from tests.support.updates import (
    DELETED,
    EDITS,
    RELEASES,
    edit_machinery,
    machinery,
    offers,
    renderable,
    start,
    theirs,
    undecided,
    update,
    version,
    work_on,
)  # fmt: skip

# (release, case): the default one in `make test`
MATRIX = [
    pytest.param(tag, case, marks=() if case == "default" else pytest.mark.full)
    for tag in RELEASES
    for case in renderable(tag)
]


@pytest.mark.parametrize(("tag", "case"), MATRIX)
def test_a_lab_in_use_is_updated(template: Path, render: Render, tmp_path: Path, tag: str, case: str) -> None:
    project = start(template, tmp_path / "lab", tag, **CASES[case])
    work_on(project, delete_example=True)
    before, answers = theirs(project), project.answers
    update(project)
    assert undecided(project) == set()
    assert theirs(project) == before

    fresh = render(folder=tmp_path / "fresh", **CASES[case])
    assert fresh.answers.items() >= {**answers, "_commit": CANDIDATE}.items()
    edit_machinery(fresh)
    assert machinery(project) == machinery(fresh)
    assert not (project.folder / DELETED).exists()
    for path, (_, edited) in EDITS.items():
        assert edited in project.read(path)

    project.commit()
    update(project)
    assert project.run("git", "status", "--porcelain").stdout == "", "a second update changes nothing"


@pytest.mark.full
@pytest.mark.parametrize("tag", RELEASES)
def test_an_edited_example_is_kept(template: Path, tmp_path: Path, tag: str) -> None:
    project = start(template, tmp_path / "lab", tag)
    work_on(project, delete_example=False)
    before = theirs(project)
    update(project)
    assert undecided(project) == set() and version(project) == CANDIDATE
    assert theirs(project) == before and "# Our " in project.read("notebooks/iris.ipynb")


@pytest.mark.full
@pytest.mark.parametrize("tag", RELEASES)
def test_an_edit_where_the_template_changed_too_is_left_to_the_user(template: Path, tmp_path: Path, tag: str) -> None:
    """The control: the checks above can fail."""
    project = start(template, tmp_path / "lab", tag)
    lines = project.read("Dockerfile").splitlines(keepends=True)
    (project.folder / "Dockerfile").write_text("".join(line for line in lines if not line.startswith("#")))
    project.commit()
    update(project)
    assert undecided(project) == {"Dockerfile"}


def test_git_holds_every_release_of_the_changelog() -> None:
    """Without them, in a shallow clone, nothing above would run."""
    released = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert released and {f"v{number}" for number in released} == RELEASES.keys()


def test_a_release_renders_what_it_asks_for_and_offers() -> None:
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
