"""`copier copy --answers-file NAME`, next to a second template's answers file: the project's own counts."""

import subprocess
import sys
from pathlib import Path

import copier
import pytest
import yaml

from tests.support.project import Project
from tests.support.repository import git
from tests.support.updates import NEW, OLD
from tests.support.workflows import HostedRunner
from tests.template.test_lint import CHECKERS, hooks
from tests.update.test_workflow import WORKFLOW, checked_out, job, proposed, take

NAME = ".answers/labdock.yml"
USUAL = ".copier-answers.yml"
LONG = "answer: " + "long " * 40 + "\n"


def made(releases: Path, folder: Path, name: str) -> Project:
    """A project of the older release with this answers file. A second template has the usual one."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    data = {"project_name": "Iris study"}
    copier.run_copy(str(releases), folder, data=data, defaults=True, quiet=True, vcs_ref=OLD, answers_file=Path(name))
    project = Project(folder, data)
    if name != USUAL:
        (folder / USUAL).write_text(f"_src_path: gh:example/another\n_commit: '1'\n{LONG}")
    project.commit()
    return project


def option(project: Project) -> str:
    """The option that the commands add where they print a command of Copier."""
    return project.run("sh", "-euc", ". lab/commands/lib/all.sh; answers_file || true").stdout


@pytest.mark.parametrize("name", [NAME, USUAL])
def test_the_project_knows_its_answers_file(releases: Path, tmp_path: Path, name: str) -> None:
    project = made(releases, tmp_path / "lab", name)
    assert project.read("lab/answers-file.txt") == f"{name}\n"
    assert option(project) == ("" if name == USUAL else f" --answers-file {name}\n")
    assert f"`_src_path` in `{name}`" in project.read("lab/README.md")
    answers = yaml.safe_load(project.read(name))
    assert answers["_commit"] == OLD and answers["project_name"] == "Iris study"


@pytest.mark.full
def test_an_update_keeps_the_name(releases: Path, tmp_path: Path) -> None:
    project = made(releases, tmp_path / "lab", NAME)
    other = project.read(USUAL)
    command = [sys.executable, "-m", "copier", "update", "--defaults", *option(project).split()]
    subprocess.run(command, cwd=project.folder, check=True, capture_output=True)
    assert project.read("lab/answers-file.txt") == f"{NAME}\n"
    assert yaml.safe_load(project.read(NAME))["_commit"] == NEW
    assert project.read(USUAL) == other


@pytest.mark.full
def test_the_workflow_updates_this_template(releases: Path, tmp_path: Path) -> None:
    project = made(releases, tmp_path / "lab", NAME)
    project.replace(NAME, f"_src_path: {releases}", "_src_path: gh:example/labdock")
    runner: HostedRunner = checked_out(project, releases, tmp_path)
    assert job(runner, "template") and (runner.workspace / WORKFLOW).exists()
    status, said = take(runner)
    assert status == 0, said
    assert f"_commit: {NEW}" in proposed(runner, NAME)
    assert "gh:example/another" in git("show", f"template-update:{USUAL}", cwd=tmp_path / "origin.git")


def test_long_answers_pass_the_hook(releases: Path, tmp_path: Path) -> None:
    """The control: another YAML file with such a line fails."""
    project = made(releases, tmp_path / "lab", NAME)
    with (project.folder / NAME).open("a") as answers:
        answers.write(LONG)
    assert CHECKERS["yamllint"](project.folder).returncode == 0
    excluded = hooks(project.folder)["yamllint"]["exclude"]
    assert excluded.startswith(r"(^|/)\.copier-answers")
    (project.folder / "long.yml").write_text(LONG)
    assert CHECKERS["yamllint"](project.folder).returncode != 0
