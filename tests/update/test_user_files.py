"""`copier update`: the machinery arrives; what belongs to the user stays as it is, deletions included."""

import shutil
from pathlib import Path

import pytest

from tests.cases import Answers
from tests.support.doctor import fix
from tests.support.project import Project
from tests.support.updates import (
    COMMENT,
    FILES,
    NEW,
    OLD,
    THEIRS,
    contents,
    edit,
    releases_of,
    start,
    undecided,
    update,
    version,
)


def assert_updated(project: Project) -> None:
    assert undecided(project) == set()
    assert version(project) == NEW
    assert project.read("Dockerfile").count(COMMENT) == 1


# --- the user's files -------------------------------------------------------------------------------
def test_edits_stay_byte_for_byte(old: Project) -> None:
    edit(old.folder, "notebooks/iris.ipynb", "centimetres", "inches")
    edit(old.folder, "pyproject.toml", '    "pandas",\n', '    "pandas",\n    "polars",\n')
    edit(old.folder, "requirements.lock", "asttokens==", "mine==")
    edit(old.folder, "compose.override.yaml", "services: {}", "services: {lab: {environment: {MINE: '1'}}}")
    old.commit()
    before = contents(old, *THEIRS)
    update(old)
    assert_updated(old)
    assert contents(old, *THEIRS) == before


def test_untouched_files_of_the_user_do_not_change_either(old: Project) -> None:
    before, files = contents(old, *THEIRS), old.files()
    update(old)
    assert_updated(old)
    assert contents(old, *THEIRS) == before
    assert old.files() == files, "no new example arrives"


def test_deleted_files_stay_deleted(old: Project) -> None:
    for path in THEIRS:
        (old.folder / path).unlink()
    for folder in ("notebooks", "data", "secrets"):
        shutil.rmtree(old.folder / folder)
    old.commit()
    files = old.files()
    update(old)
    assert_updated(old)
    assert old.files() == files


def test_without_its_settings_deleted_files_would_come_back(template: Path, tmp_path: Path) -> None:
    source = releases_of(template, tmp_path / "spoilt", spoil_settings=True)
    project = start(source, tmp_path / "lab", OLD)
    (project.folder / "notebooks/iris.ipynb").unlink()
    project.commit()
    update(project)
    assert {"notebooks/iris.ipynb", "notebooks/second.ipynb"} & project.files()


# --- the machinery ----------------------------------------------------------------------------------
def test_a_conflict_shows(old: Project) -> None:
    """The proof that the checks above can fail: the user and the template changed the same line."""
    edit(old.folder, "Dockerfile", "# The lab's image.", "# My own first line.\n# The lab's image.")
    old.commit()
    update(old)
    assert undecided(old) == {"Dockerfile"}
    assert "# My own first line." in old.read("Dockerfile") and COMMENT in old.read("Dockerfile")


def pin(project: Project) -> str:
    """What `make pin` writes; the whole file."""
    edit(project.folder, "compose.pins.yaml", "-slim-trixie}", f"-slim-trixie}}@sha256:{'a' * 64}")
    edit(project.folder, "compose.pins.yaml", '""', '"git=1:2.47.3-0+deb13u1"')
    project.commit()
    return project.read("compose.pins.yaml")


def test_pins_survive(old: Project) -> None:
    before = pin(old)
    update(old)
    assert_updated(old)
    assert old.read("compose.pins.yaml") == before


def test_pins_of_another_python_are_a_conflict(old: Project) -> None:
    pin(old)
    update(old, python_version="3.14")
    assert undecided(old) == {"compose.pins.yaml"}


def test_without_pins_another_python_arrives(old: Project) -> None:
    update(old, python_version="3.14")
    assert undecided(old) == set()
    assert "python:3.14-slim-trixie}" in old.read("compose.pins.yaml")


def test_a_fix_of_the_servers_packages_arrives(old: Project) -> None:
    before = contents(old, *THEIRS)
    assert "jupyterlab==999." not in old.read("lab/locks/server.lock")
    update(old)
    assert "jupyterlab==999." in old.read("lab/locks/server.lock")
    assert contents(old, *THEIRS) == before


# --- what the machinery needs of the user's packages ------------------------------------------------
def needs(project: Project) -> list[str]:
    """What `make doctor` says of the user's packages."""
    said = project.make("doctor", check=False).stdout.splitlines()
    return [line for line in said if "requirements.lock" in line]


# What a project was, what it becomes, and what that needs.
SCIENCE, TENSORFLOW = {"environment": "science"}, {"environment": "tensorflow"}
NVIDIA = {**TENSORFLOW, "gpu": "nvidia"}
SWITCHES = [
    pytest.param(SCIENCE, TENSORFLOW, "tensorflow", id="another environment"),
    pytest.param(SCIENCE, NVIDIA, "tensorflow[and-cuda]", id="and a graphics processor"),
    pytest.param(TENSORFLOW, NVIDIA, "tensorflow[and-cuda]", id="a graphics processor alone"),
]


@pytest.mark.full
@pytest.mark.parametrize(("was", "becomes", "needed"), SWITCHES)
def test_another_answer_names_the_command_that_brings_it(
    engine: None, releases: Path, tmp_path: Path, was: Answers, becomes: Answers, needed: str
) -> None:
    project = start(releases, tmp_path / "lab", OLD, **was)
    assert needs(project) == ["ok    requirements.lock holds the packages that the lab needs"]
    files = FILES if was == TENSORFLOW else THEIRS
    before = contents(project, *files)
    update(project, **becomes)
    assert_updated(project)
    assert contents(project, *files) == before
    sentence = f"requirements.lock lacks {needed}, which the lab needs. Run 'make add PKG=\"{needed}\"'."
    assert needs(project) == [f"FIX   {sentence}"]
    project.make("env")
    fix(project, sentence)
    assert needs(project) == ["ok    requirements.lock holds the packages that the lab needs"]
    lock = project.read("requirements.lock")
    assert "\ntensorflow==" in lock and ("\nnvidia-cudnn-" in lock) == (becomes == NVIDIA)
    assert f'"{needed}' in project.read("pyproject.toml")


def test_a_graphics_processor_alone_is_noticed(releases: Path, tmp_path: Path) -> None:
    """The same, where no engine is."""
    project = start(releases, tmp_path / "lab", OLD, **TENSORFLOW)
    check = ("sh", "-c", ". lab/commands/lib/all.sh; check_packages")
    assert project.run(*check).stdout == ""
    update(project, **NVIDIA)
    assert "Run 'make add PKG=\"tensorflow[and-cuda]\"'" in project.run(*check).stdout


@pytest.mark.full
def test_an_old_lock_lacks_what_new_machinery_needs(engine: None, old: Project) -> None:
    edit(old.folder, "requirements.lock", "\nipykernel==", "\nanother==")
    old.commit()
    update(old)
    assert "lacks ipykernel, which" in needs(old)[0] and needs(old)[0].startswith("FIX")
