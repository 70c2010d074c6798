"""A project in a subfolder, a worktree or a submodule: private files stay out of git, and LAB_GIT is right."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import shared
from tests.support.project import Project, Render
from tests.support.repository import git

PRE_COMMIT = Path(sys.executable).parent / "pre-commit"
PRIVATE = ["data/a patient.csv", "data/deep/er.csv", "secrets/jupyter_token", ".env", ".env.bak", ".env.new"]
# Not private: other folders of this name, and what every project has in git.
FREE = ["notebooks/data/example.csv", "data/.gitkeep", "secrets/.gitkeep", "notebooks/.env.md", "sample.env"]


def in_folder(render: Render, repository: Path, folder: str) -> Project:
    """A project in a folder of a repository; `.` is its top."""
    git("init", "--quiet", str(repository), cwd=repository.parent)
    project = render(folder=repository / folder)
    for name in [*PRIVATE, *FREE]:
        path = project.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return project


def commit(project: Project, repository: Path) -> subprocess.CompletedProcess[str]:
    """`git commit` with the project's hooks, except those that install tools."""
    configuration = project.folder / ".pre-commit-config.yaml"
    hooks = yaml.safe_load(configuration.read_text())["repos"][0]["hooks"]
    skipped = ",".join(hook["id"] for hook in hooks if hook["language"] == "python")
    home = str(shared.once("pre-commit", Path.mkdir))
    environment = {**os.environ, "PRE_COMMIT_HOME": home, "SKIP": skipped}
    install = [PRE_COMMIT, "install", "--config", configuration.relative_to(repository)]
    subprocess.run(install, cwd=repository, env=environment, check=True, capture_output=True)
    command = ["git", "commit", "--quiet", "--message", "work"]
    return subprocess.run(command, cwd=repository, env=environment, text=True, capture_output=True)


@pytest.mark.parametrize(
    "folder",
    ["lab", *(pytest.param(folder, marks=pytest.mark.full) for folder in (".", "notebooks/data/iris study"))],
)
def test_private_files_are_refused_wherever_the_project_is(render: Render, tmp_path: Path, folder: str) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    project = in_folder(render, repository, folder)
    project.run("git", "add", "--force", *PRIVATE)
    done = commit(project, repository)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert [name for name in PRIVATE if not re.search(rf"{re.escape(name)}$", said, re.MULTILINE)] == [], said
    project.run("git", "rm", "--quiet", "--cached", *PRIVATE)
    # The control: all the rest goes into git, and git takes none of the private files by itself.
    project.run("git", "add", "--force", *FREE)
    project.run("git", "add", "--all")
    done = commit(project, repository)
    assert done.returncode == 0, done.stdout + done.stderr
    committed = project.run("git", "-c", "core.quotePath=false", "ls-files").stdout.splitlines()
    assert {*FREE} <= {*committed} and not {*PRIVATE} & {*committed}


@pytest.mark.full
def test_without_the_second_hook_a_subfolder_is_open(render: Render, tmp_path: Path) -> None:
    """The control: the patterns of the first hook begin at the repository's top."""
    repository = tmp_path / "repository"
    repository.mkdir()
    project = in_folder(render, repository, "lab")
    text = project.read(".pre-commit-config.yaml")
    without, count = re.subn(r"      # In a subfolder.*?(?=      - id: notebook-outputs)", "", text, flags=re.DOTALL)
    assert count == 1
    (project.folder / ".pre-commit-config.yaml").write_text(without)
    project.run("git", "add", "--force", ".env")
    assert commit(project, repository).returncode == 0


# --- LAB_GIT ----------------------------------------------------------------------------------------
OUTSIDE = "The lab cannot show git's history here, because git's files are outside of this folder. LAB_GIT stays empty."


def settings(project: Project) -> str:
    """What `make env` says, and the line of LAB_GIT that it writes."""
    said = project.make("env").stdout
    (line,) = re.findall(r"^LAB_GIT=.*$", project.read(".env"), re.MULTILINE)
    return f"{said}{line}"


def check(project: Project, value: str) -> str:
    project.set_env(LAB_GIT=value)
    return project.run("sh", "-c", ". lab/commands/lib/all.sh && check_git").stdout


def test_env_sets_git_only_if_its_files_are_in_the_folder(render: Render, tmp_path: Path) -> None:
    top = render(folder=tmp_path / "top")
    assert OUTSIDE not in settings(top) and "\nLAB_GIT=\n" in top.read(".env")  # no repository
    (top.folder / ".env").unlink()
    top.commit()
    said = settings(top)
    assert OUTSIDE not in said and said.endswith("LAB_GIT=./.git")
    assert check(top, "./.git") == ""

    top.run("git", "worktree", "add", "--quiet", "../worktree")
    worktree = Project(tmp_path / "worktree", top.answers)
    said = settings(worktree)
    assert OUTSIDE in said and said.endswith("LAB_GIT=")
    assert "which is a file, because this folder is a worktree or a submodule" in check(worktree, "./.git")
    assert "which belongs to a worktree" in check(worktree, "../top/.git/worktrees/worktree")

    git("init", "--quiet", "outer", cwd=tmp_path)
    git(
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        str(top.folder),
        "lab",
        cwd=tmp_path / "outer",
    )
    submodule = Project(tmp_path / "outer/lab", top.answers)
    for folder in ("data", "secrets"):
        (submodule.folder / folder).mkdir(exist_ok=True)
    assert OUTSIDE in settings(submodule)
    assert "a worktree or a submodule" in check(submodule, "./.git")

    below = render(folder=tmp_path / "outer/below")
    assert OUTSIDE in settings(below)
