"""The rules for what a release may change in old projects (CONTRIBUTING.md), and templates that break each rule."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml

from tests.cases import CASES
from tests.support.project import Project
from tests.support.repository import CANDIDATE, git
from tests.support.updates import RELEASES, answers_of, each_release_and_case, offers, settings_of, start, update
from tools.release import removed


# --- the rules ------------------------------------------------------------------------------------------
def broken(source: Path, tag: str, case: str, folder: Path) -> list[str]:
    """What an update to `source` removes from a project of release `tag`, if CHANGELOG.md does not announce it."""
    project = start(source, folder / "lab", tag, **CASES[case])
    files, settings = project.files(), names(project)
    update(project)
    changelog = (source / "CHANGELOG.md").read_text(encoding="utf-8").partition(f"\n## {tag.removeprefix('v')} ")[0]
    gone = {
        *(f"file {name}" for name in files - project.files() if not name.startswith("lab/")),
        *(f"setting {name}" for name in settings - names(project)),
        *(f"answer {name}" for name, value in project.answers.items() if lost(project, name, value)),
    }
    return sorted(one for one in gone if one.split()[1] not in removed(changelog))


def names(project: Project) -> set[str]:
    """The names of the settings in sample.env."""
    return set(re.findall(r"^([A-Z_]+)=", project.read("sample.env"), re.MULTILINE))


def lost(project: Project, name: str, value: Any) -> bool:
    """Whether an update dropped an answer. Copier does so silently if the question or the choice is gone."""
    return not name.startswith("_") and answers_of(project.folder).get(name) != value


def new_questions(source: Path, tag: str) -> dict[str, list[Any]]:
    """The questions with choices that are new since `tag`: for each, the default and then the other choices."""
    settings = yaml.safe_load((source / "copier.yml").read_text(encoding="utf-8"))
    found = {}
    for name in settings.keys() - settings_of(tag).keys():
        question = settings[name]
        choices = question.get("choices", [True, False] if question.get("type") == "bool" else [])
        choices = list(choices.values()) if isinstance(choices, dict) else choices
        if choices and question.get("when") is not False:
            found[name] = sorted(choices, key=lambda choice, default=question["default"]: choice != default)
    return found


def hasty(source: Path, tag: str, name: str, folder: Path) -> bool:
    """Whether the default of this new question changes more lines in an old project than another choice."""
    before = start(source, folder / "before", tag).folder
    changes = []
    for choice in new_questions(source, tag)[name]:
        after = folder / f"{name}-{choice}"
        data = {"project_name": "Iris study", name: choice}
        copier.run_copy(str(source), after, data=data, defaults=True, quiet=True, vcs_ref=CANDIDATE)
        changes.append(changed_lines(before, after))
    return changes[0] > min(changes)


def changed_lines(before: Path, after: Path) -> tuple[int, int]:
    """The number of lines that `after` lacks, and that it adds. Locks do not count: every new package changes them."""
    for folder in (before, after):
        for path in (folder / ".copier-answers.yml", folder / ".git", *folder.rglob("*.lock")):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    text = Project(after.parent, {}).run("git", "diff", "--no-index", "--numstat", before, after, check=False).stdout
    counts = [line.split()[:2] for line in text.splitlines() if not line.startswith("-")]
    return sum(int(lacking) for _, lacking in counts), sum(int(added) for added, _ in counts)


@pytest.mark.parametrize(("tag", "case"), each_release_and_case())
def test_an_update_removes_nothing_from_an_old_project(template: Path, tmp_path: Path, tag: str, case: str) -> None:
    assert broken(template, tag, case, tmp_path) == []


@pytest.mark.full
@pytest.mark.parametrize("tag", RELEASES)
def test_the_default_of_a_new_question_changes_old_projects_least(template: Path, tmp_path: Path, tag: str) -> None:
    asked = new_questions(template, tag)
    assert {name for name in asked if hasty(template, tag, name, tmp_path / name)} == set()


# --- templates that break the rules ------------------------------------------------------------------------
Change = Callable[[Project], object]


def replaced(path: str, old: str, new: str) -> Change:
    return lambda source: source.replace(path, old, new)


@pytest.fixture
def spoilt(template: Path, tmp_path: Path) -> Iterator[Callable[[Change], Path]]:
    """Make a template with a change since this tree."""

    def run(change: Change) -> Path:
        folder = tmp_path / "spoilt"
        git("clone", "--quiet", str(template), str(folder), cwd=tmp_path)
        source = Project(folder, {})
        change(source)
        source.commit()
        git("tag", "--force", CANDIDATE, cwd=folder)
        return folder

    return run


def without_makefile(source: Project) -> None:
    (source.folder / "template/Makefile").unlink()


def without_makefile_announced(source: Project) -> None:
    without_makefile(source)
    source.replace("CHANGELOG.md", "## Unreleased\n", "## Unreleased\n\n### Removed\n\n- `Makefile`: type it all.\n")


BREAKING: dict[str, tuple[Change, list[str]]] = {
    "a file": (without_makefile, ["file Makefile"]),
    "an announced file": (without_makefile_announced, []),
    "a setting": (replaced("template/sample.env.jinja", "LAB_PIDS=512", "LAB_PROCESSES=512"), ["setting LAB_PIDS"]),
    "a choice": (replaced("copier.yml", "    BSD 3-Clause: BSD-3-Clause\n", ""), ["answer license"]),
    "a question": (
        replaced("copier.yml", "description:\n  type: str\n", "description:\n  type: str\n  when: false\n"),
        ["answer description"],
    ),
    "a script": (lambda source: (source.folder / "template/lab/commands/url.sh").unlink(), []),
}


@pytest.mark.full
@pytest.mark.parametrize(
    "what",
    [what if what in {"a file", "a setting"} else pytest.param(what, marks=pytest.mark.nightly) for what in BREAKING],
)
def test_a_release_that_removes_something_is_noticed(
    spoilt: Callable[[Change], Path], tmp_path: Path, what: str
) -> None:
    change, expected = BREAKING[what]
    assert broken(spoilt(change), [*RELEASES][-1], "python-3.14", tmp_path) == expected


QUESTION = """
with_manners:
  type: bool
  help: Say please?
  default: {default}

# --- extras"""


def question(default: str) -> Change:
    """Add a question that decides whether a project has the Makefile."""

    def change(source: Project) -> None:
        source.replace("copier.yml", "\n# --- extras", QUESTION.format(default=default))
        (source.folder / "template/Makefile").rename(
            source.folder / "template/{% if not with_manners %}Makefile{% endif %}"
        )

    return change


HASTY: dict[str, tuple[str, Change, bool]] = {
    "a file that stays": ("with_manners", question("false"), False),
    "a file that disappears": ("with_manners", question("true"), True),
    "a GPU": ("gpu", replaced("copier.yml", "nvidia\n  default: none", "nvidia\n  default: nvidia"), True),
    "other packages": ("environment", replaced("copier.yml", "  default: science\n", "  default: minimal\n"), True),
}


@pytest.mark.full
@pytest.mark.parametrize("what", HASTY)
def test_a_default_that_changes_old_projects_is_noticed(
    spoilt: Callable[[Change], Path], tmp_path: Path, what: str
) -> None:
    """The first release asked for neither an environment nor a GPU."""
    name, change, expected = HASTY[what]
    first = next(iter(RELEASES))
    assert not offers(settings_of(first), name, None)
    assert hasty(spoilt(change), first, name, tmp_path) is expected
