"""Every answer, changed by an update and changed back: the project is what it was."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cases import CASES
from tests.conftest import CANDIDATE, ROOT, Render
from tests.support.project import Project
from tests.support.updates import PRIVATE, machinery, start, theirs, undecided, update

SETTINGS = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
IN_MAKE_TEST = {("use_github_actions", False)}


def others(settings: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(question, answer) for each answer that is not the default; of free text, what the cases have."""
    for name, question in settings.items():
        if name.startswith("_") or question.get("when") is False:
            continue
        choices = question.get("choices", [True, False] if question["type"] == "bool" else None)
        if choices is None:
            choices = {answers[name] for answers in CASES.values() if name in answers}
        choices = choices.values() if isinstance(choices, dict) else choices
        yield from ((name, choice) for choice in choices if choice != question.get("default"))


OTHERS = sorted(others(SETTINGS), key=str)


def tree(project: Project) -> str:
    """git's name for all that the last commit holds."""
    return project.run("git", "rev-parse", "HEAD^{tree}").stdout


@pytest.mark.parametrize(
    ("name", "answer"),
    [pytest.param(*other, marks=() if other in IN_MAKE_TEST else pytest.mark.full) for other in OTHERS],
)
def test_an_answer_changes_and_changes_back(
    template: Path, render: Render, tmp_path: Path, name: str, answer: Any
) -> None:
    project = start(template, tmp_path / "lab", CANDIDATE)
    before, mine, default = tree(project), theirs(project), project.answers[name]

    update(project, **{name: answer})
    assert undecided(project) == set()
    project.commit()
    assert tree(project) != before and theirs(project) == mine
    # The slug, once made from the name, is an answer of its own.
    fresh = render(
        folder=tmp_path / "fresh", **{name: answer, "project_slug": project.answers["project_slug"]} | {name: answer}
    )
    assert machinery(project) == machinery(fresh)

    update(project, **{name: default})
    assert undecided(project) == set()
    project.commit()
    assert tree(project) == before and theirs(project) == mine


def test_every_question_is_switched(questions: dict[str, Any]) -> None:
    assert {name for name, _ in OTHERS} == questions.keys()
    assert set(OTHERS) >= IN_MAKE_TEST
    asked = {"colour": {"choices": {"Red": "red", "Green": "green"}, "type": "str", "default": "red"}}
    asked |= {"sealed": {"type": "bool", "default": True}, "made": {"type": "str", "when": False}}
    assert list(others(asked)) == [("colour", "green"), ("sealed", False)]


@pytest.mark.full
def test_an_answer_over_an_edit_of_the_user_is_a_conflict(template: Path, tmp_path: Path) -> None:
    """The control: a switch can fail."""
    project = start(template, tmp_path / "lab", CANDIDATE)
    project.replace("Dockerfile", "python:3.13-slim", "python:3.13.1-slim")
    project.commit()
    update(project, python_version="3.14")
    assert undecided(project) == {"Dockerfile"}
    assert PRIVATE.keys() <= project.files()
