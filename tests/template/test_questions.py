"""The questions of copier.yml: what they ask, compute and refuse. Copier itself renders each answer."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml

from tests.cases import CASES, REJECTED, Answers
from tests.support.project import Render
from tests.support.repository import CANDIDATE, ROOT

Questions = dict[str, dict[str, Any]]
SETTINGS = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
# Copier demands --trust for each of these.
UNSAFE = ("_tasks", "_migrations", "_jinja_extensions")

# Names that Compose accepts for a project, and Docker for an image, from their specifications.
COMPOSE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
IMAGE_NAME = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
SLUGS = {
    "Iris study": "iris-study",
    "ÅÄÖ": "aao",
    "!!!": "my-lab",
    "Müller & Söhne": "muller-sohne",
    "日本語": "my-lab",
    "Straße -- 7": "strasse-7",
    "x" * 60: "x" * 40,
    "a" * 39 + " bee": "a" * 39,
    "İzmir": "i-zmir",
    "2026": "2026",
    "true": "true",
}


# --- questions ----------------------------------------------------------------------------------
def missing_choices(questions: Questions, cases: dict[str, Answers]) -> set[tuple[str, Any]]:
    """(question, choice) for each choice without a case, and (question, None) for free text that no case answers."""
    missing: set[tuple[str, Any]] = set()
    for name, question in questions.items():
        choices = question.get("choices")
        if isinstance(choices, dict):
            choices = list(choices.values())
        elif question["type"] == "bool":
            choices = [True, False]
        if choices is None:
            missing |= {(name, None)} if not any(name in answers for answers in cases.values()) else set()
        else:
            seen = [answers.get(name, question.get("default")) for answers in cases.values()]
            missing |= {(name, choice) for choice in choices if choice not in seen}
    return missing


def poorly_asked(questions: Questions) -> set[str]:
    """Questions that lack a type, a help text of one sentence, or both default and placeholder."""
    return {
        name
        for name, question in questions.items()
        if not question.get("type")
        or not re.fullmatch(r"[A-Z][^.?!]*[.?]", question.get("help", ""))
        or not ("default" in question or question.get("placeholder"))
    }


def test_every_choice_has_a_case(questions: Questions) -> None:
    assert missing_choices(questions, CASES) == set()


def test_a_choice_without_a_case_is_noticed() -> None:
    asked: Questions = {
        "colour": {"type": "str", "choices": ["red", "green"], "default": "red"},
        "size": {"type": "str", "choices": {"Small": "s", "Large": "l"}},
        "sealed": {"type": "bool", "default": True},
        "title": {"type": "str"},
    }
    missing = missing_choices(asked, {"one": {"size": "s"}})
    assert missing == {("colour", "green"), ("size", "l"), ("sealed", False), ("title", None)}


def test_every_question_has_type_help_and_default(questions: Questions) -> None:
    assert poorly_asked(questions) == set()
    good = {"type": "str", "help": "Which one?", "default": ""}
    bad = {
        "typeless": {**good, "type": None},
        "helpless": {**good, "help": ""},
        "wordy": {**good, "help": "Which one? Any will do."},
        "open": {"type": "str", "help": "Which one?"},
    }
    assert poorly_asked({"good": good, **bad}) == set(bad)


def test_computed_values_come_last(questions: Questions) -> None:
    names = [name for name in SETTINGS if not name.startswith("_")]
    computed = [name for name in names if name not in questions]
    assert computed and names[-len(computed) :] == computed


def test_a_default_project_needs_a_name_only(questions: Questions) -> None:
    assert [name for name, question in questions.items() if "default" not in question] == ["project_name"]


def test_copying_runs_no_code() -> None:
    assert SETTINGS.keys().isdisjoint(UNSAFE)


# --- answers --------------------------------------------------------------------------------
def written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", REJECTED)
def test_a_wrong_answer_is_refused_with_a_sentence(name: str, template: Path, tmp_path: Path) -> None:
    answers, word = REJECTED[name]
    data = {"project_name": "Iris study", **answers}
    with pytest.raises(ValueError) as refusal:
        copier.run_copy(str(template), tmp_path / "lab", data=data, defaults=True, quiet=True, vcs_ref=CANDIDATE)
    assert word in str(refusal.value)
    assert written(tmp_path) == []


@pytest.mark.parametrize("name", SLUGS)
def test_the_default_slug_is_valid_for_a_folder_an_image_and_compose(render: Render, name: str) -> None:
    slug = render(project_name=name).answers["project_slug"]
    assert slug == SLUGS[name]
    assert COMPOSE_NAME.fullmatch(slug) and IMAGE_NAME.fullmatch(f"{slug}-lab") and len(slug) <= 40


@pytest.mark.parametrize("name", ["2026", "true"])
def test_compose_takes_a_slug_that_yaml_reads_as_something_else(engine: None, render: Render, name: str) -> None:
    config = render(project_name=name).config()
    assert config["name"] == name
    assert config["services"]["lab"]["image"] == f"{name}-lab"


@pytest.mark.parametrize("name", ["con", "AUX", "Com1", "lpt9"])
def test_a_name_that_windows_reserves_is_refused(render: Render, name: str) -> None:
    with pytest.raises(ValueError, match=f"Windows reserves .* for example {name.lower()}-lab"):
        render(project_name=name)
    assert render(project_name=name, project_slug=f"{name.lower()}-lab").answers["project_name"] == name


# --- Copier's own command line ----------------------------------------------------------------------
def copy(source: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`copier copy` as a user types it. Nobody answers its questions."""
    command = [sys.executable, "-m", "copier", "copy", *options, str(source), str(folder)]
    return subprocess.run(command, text=True, capture_output=True, stdin=subprocess.DEVNULL)


@pytest.fixture
def variant(template: Path, tmp_path: Path) -> Path:
    """A copy of the template without git, which a test may change."""
    folder = tmp_path / "variant"
    folder.mkdir()
    shutil.copy2(template / "copier.yml", folder)
    shutil.copytree(template / "template", folder / "template")
    return folder


def test_copier_needs_only_a_name(template: Path, tmp_path: Path) -> None:
    ref = ("--vcs-ref", CANDIDATE)
    done = copy(template, tmp_path / "lab", "--defaults", "--data", "project_name=Iris study", *ref)
    assert done.returncode == 0, done.stderr
    assert "make up" in done.stderr + done.stdout
    assert (tmp_path / "lab/compose.yaml").is_file()
    nameless = copy(template, tmp_path / "nameless", "--defaults", *ref)
    assert nameless.returncode != 0 and "project_name" in nameless.stderr
    assert written(tmp_path / "nameless") == []


@pytest.mark.parametrize("key", ["_tasks", "_jinja_extensions"])
def test_copier_refuses_a_template_that_runs_code(variant: Path, tmp_path: Path, key: str) -> None:
    """The control of the test above: without `--trust`, Copier refuses a template that needs it."""
    with (variant / "copier.yml").open("a") as settings:
        settings.write(f"\n{key}: [touch ran]\n")
    done = copy(variant, tmp_path / "lab", "--defaults", "--data", "project_name=Iris study")
    assert done.returncode != 0 and "--trust" in done.stderr
    assert written(tmp_path / "lab") == []


def test_a_misspelt_variable_fails(variant: Path, tmp_path: Path) -> None:
    (variant / "template/note.txt.jinja").write_text("{{ project_nam }}\n")
    done = copy(variant, tmp_path / "lab", "--defaults", "--data", "project_name=Iris study")
    assert done.returncode != 0 and "'project_nam' is undefined" in done.stderr
