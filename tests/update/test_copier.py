"""Other commands of Copier on a project, and the oldest Copier that the template supports."""

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml

from tests.support.project import Project
from tests.support.repository import CANDIDATE, ROOT
from tests.support.requirements import lacking
from tests.support.updates import (
    EDITS,
    NEW,
    OLD,
    RELEASES,
    conflicts,
    edit_template_files,
    start,
    template_files,
    user_files,
    version,
    work_on,
)  # fmt: skip

OLDEST = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))["_min_copier_version"]


def copier(project: Project, *arguments: str, python: str | Path = sys.executable) -> subprocess.CompletedProcess[str]:
    """Copier's command line in the project's folder. Nobody answers its questions."""
    return project.run(str(python), "-m", "copier", *arguments, check=False, stdin=subprocess.DEVNULL)


# --- check-update -------------------------------------------------------------------------------------
@pytest.mark.full
def test_check_update_reports_a_newer_release(old: Project) -> None:
    done = copier(old, "check-update")
    assert done.returncode == 0 and f"Current version is {OLD}, latest version is {NEW}." in done.stdout
    found = json.loads(copier(old, "check-update", "--output-format=json").stdout)
    assert found == {"update_available": True, "current_version": OLD, "latest_version": NEW}
    assert copier(old, "check-update", "--quiet").returncode == 2
    assert old.run("git", "status", "--porcelain").stdout == ""

    assert copier(old, "update", "--defaults").returncode == 0
    assert "up-to-date" in copier(old, "check-update").stdout
    assert copier(old, "check-update", "--quiet").returncode == 0


# --- recopy -------------------------------------------------------------------------------------------
def test_recopy_replaces_the_templates_files_and_keeps_the_users_files(old: Project, render_of_new: Project) -> None:
    work_on(old, delete_example=True)
    old.replace("compose.pins.yaml", "-slim-trixie}", f"-slim-trixie}}@sha256:{'a' * 64}")
    old.commit()
    before = user_files(old)
    done = copier(old, "recopy", "--defaults", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert conflicts(old) == set()
    assert template_files(old) == template_files(render_of_new), "edits and pins are lost, deleted files are back"
    assert user_files(old).items() >= before.items()
    assert {"notebooks/iris.ipynb", "notebooks/second.ipynb"} <= user_files(old).keys() - before.keys(), (
        "examples come back"
    )
    old.run("git", "restore", "compose.pins.yaml", *EDITS)
    assert all(edited in old.read(path) for path, (_, edited) in EDITS.items()), "git still has the edits"


@pytest.fixture
def render_of_new(releases: Path, tmp_path: Path) -> Project:
    """A new project of the newer release."""
    return start(releases, tmp_path / "new", NEW)


# --- the oldest Copier ----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def oldest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the oldest Copier that copier.yml accepts."""
    folder = tmp_path_factory.mktemp("oldest") / "venv"
    venv.create(folder, with_pip=True)
    command = [folder / "bin/python", "-m", "pip", "install", "--quiet", f"copier=={OLDEST}"]
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode:
        lacking(f"copier {OLDEST} cannot be installed: {(done.stderr or 'pip failed').splitlines()[-1]}")
    return folder / "bin/python"


@pytest.mark.full
@pytest.mark.parametrize("tag", RELEASES)
@pytest.mark.parametrize("with_oldest", [True, False], ids=["by the oldest", "by this one"])
def test_a_project_of_the_oldest_copier_updates(
    oldest: Path, template: Path, render_candidate: Project, tmp_path: Path, tag: str, with_oldest: bool
) -> None:
    project = Project(tmp_path / "lab", {})
    project.folder.mkdir()
    asked = ("--defaults", "--data", "project_name=Iris study", "--vcs-ref", tag)
    done = copier(project, "copy", *asked, str(template), ".", python=oldest)
    assert done.returncode == 0 and version(project) == tag, done.stderr
    project.commit()
    work_on(project, delete_example=True)
    before = user_files(project)
    done = copier(project, "update", "--defaults", python=oldest if with_oldest else sys.executable)
    assert done.returncode == 0, done.stderr
    assert conflicts(project) == set() and user_files(project) == before
    assert version(project) == CANDIDATE
    assert template_files(project) == template_files(render_candidate)


@pytest.fixture
def render_candidate(template: Path, tmp_path: Path) -> Project:
    """A new project of this tree, with a user's changes in the template's files."""
    project = start(template, tmp_path / "fresh", CANDIDATE)
    edit_template_files(project)
    return project


@pytest.mark.full
def test_an_older_copier_is_refused(template: Path, oldest: Path, tmp_path: Path) -> None:
    """The control: Copier compares its version with the one in copier.yml."""
    said = subprocess.run([oldest, "-m", "copier", "--version"], text=True, capture_output=True).stdout
    assert said.strip().endswith(OLDEST)
    changed = tmp_path / "template"
    subprocess.run(["git", "clone", "--quiet", template, changed], check=True)
    Project(changed, {}).replace("copier.yml", f'"{OLDEST}"', '"999"')
    Project(changed, {}).commit()
    asked = ("--defaults", "--data", "project_name=Iris study", "--vcs-ref", "HEAD")
    done = copier(Project(tmp_path, {}), "copy", *asked, str(changed), "lab", python=oldest)
    assert done.returncode != 0 and ">= 999, while your version of Copier is" in done.stderr
