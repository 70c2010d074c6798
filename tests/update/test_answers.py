"""An update changes each answer and changes it back. The project is then the same as before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cases import CASES
from tests.support.project import Project, Render
from tests.support.repository import CANDIDATE, ROOT
from tests.support.updates import PRIVATE, conflicts, start, template_files, update, user_files

SETTINGS = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
IN_MAKE_TEST = {("use_github_actions", False)}
IN_TEST_FULL = {("environment", "minimal"), ("python_version", "3.12"), ("gpu", "nvidia")}


def others(settings: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """(question, answer) for each answer but the default. For free text, these are the answers in the cases."""
    for name, question in settings.items():
        if name.startswith("_") or question.get("when") is False:
            continue
        choices = question.get("choices", [True, False] if question["type"] == "bool" else None)
        if choices is None:
            choices = {answers[name] for answers in CASES.values() if name in answers}
        choices = choices.values() if isinstance(choices, dict) else choices
        yield from ((name, choice) for choice in choices if choice != question.get("default"))


OTHERS = sorted(others(SETTINGS), key=str)
assert {*OTHERS} >= IN_MAKE_TEST | IN_TEST_FULL


def rarity(name: str, answer: Any) -> Any:
    """One question in `make test`, three in `make test-full`, the others nightly."""
    if (name, answer) in IN_MAKE_TEST:
        return ()
    return pytest.mark.full if (name, answer) in IN_TEST_FULL else pytest.mark.nightly


def tree(project: Project) -> str:
    """The hash of all files in the last commit."""
    return project.run("git", "rev-parse", "HEAD^{tree}").stdout


@pytest.mark.parametrize(
    ("name", "answer"),
    [pytest.param(*other, marks=rarity(*other)) for other in OTHERS],
)
def test_an_answer_changes_and_changes_back(
    template: Path, render: Render, tmp_path: Path, name: str, answer: Any
) -> None:
    project = start(template, tmp_path / "lab", CANDIDATE)
    before, kept, default = tree(project), user_files(project), project.answers[name]

    update(project, **{name: answer})
    assert conflicts(project) == set()
    project.commit()
    assert tree(project) != before and user_files(project) == kept
    # After the first copy, the slug is an answer of its own and no longer follows the name.
    fresh = render(
        folder=tmp_path / "fresh", **{name: answer, "project_slug": project.answers["project_slug"]} | {name: answer}
    )
    assert template_files(project) == template_files(fresh)

    update(project, **{name: default})
    assert conflicts(project) == set()
    project.commit()
    assert tree(project) == before and user_files(project) == kept


def test_every_question_gets_another_answer(questions: dict[str, Any]) -> None:
    assert {name for name, _ in OTHERS} == questions.keys()
    assert set(OTHERS) >= IN_MAKE_TEST
    asked = {"colour": {"choices": {"Red": "red", "Green": "green"}, "type": "str", "default": "red"}}
    asked |= {"sealed": {"type": "bool", "default": True}, "made": {"type": "str", "when": False}}
    assert list(others(asked)) == [("colour", "green"), ("sealed", False)]


@pytest.mark.full
def test_an_answer_that_changes_an_edited_line_is_a_conflict(template: Path, tmp_path: Path) -> None:
    """The control: the test above can fail."""
    project = start(template, tmp_path / "lab", CANDIDATE)
    project.replace("Dockerfile", "python:3.13-slim", "python:3.13.1-slim")
    project.commit()
    update(project, python_version="3.14")
    assert conflicts(project) == {"Dockerfile"}
    assert PRIVATE.keys() <= project.files()
