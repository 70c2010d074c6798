"""`make release`, and release.yml: each release commit becomes one release, with its notes and an example."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import shared
from tests.support.project import Project, Render
from tests.support.repository import ROOT, git
from tests.support.workflows import DOWNLOAD, HostedRunner, Workflow
from tools.release import removed, unreleased

JOBS = Workflow((ROOT / ".github/workflows/release.yml").read_text()).jobs
SOURCE = "https://github.com/example/labdock.git"
# A stand-in for `gh`. It keeps each release that is created. For the result of ci, it prints the file in $RUNS with the
# name of the commit.
GH = f"""
case "$1 $2" in
"release view") test -e "$RELEASES/$3" ;;
"release create") {{ echo "$5"; cat notes.md; }} >"$RELEASES/$3" && cp "${{10}}" "$RELEASES.files/" ;;
"run list") test "$4 $5 $6 $7" = "ci.yml --event push --commit" && cat "$RUNS/$8" 2>/dev/null || true ;;
{DOWNLOAD}
esac
"""
SETTINGS = "_subdirectory: template\nproject_name:\n  type: str\n  help: Which?\n"
# The Makefile of a rendered project. Its targets only record that they were called.
MAKEFILE = "env up test down:\n\t@echo $@ >>calls.{version}; test $@ != $$FAILS && test $@-{version} != $$FAILS\n"


def commit(folder: Path, message: str) -> None:
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--allow-empty", "--message", message, cwd=folder)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A template of two releases and work after the last."""
    folder = tmp_path / "repository"
    (folder / "template").mkdir(parents=True)
    git("init", "--quiet", cwd=folder)
    (folder / "copier.yml").write_text(SETTINGS)
    (folder / "template/{{ _copier_conf.answers_file }}.jinja").write_text("{{ _copier_answers | to_nice_yaml }}")
    installed = importlib.metadata.version("copier")
    (folder / "requirements-dev.lock").write_text(f"copier=={installed} \\\n    --hash=sha256:0\n")
    (folder / "Makefile").write_text('lint test:\n\t@echo $@ >>../calls; test $@ != "$$FAILS"\n')
    changes = ""
    for version in ("0.1.0", "0.2.0"):
        changes = f"## {version} - 2026-01-01\n\nWhat {version} brings.\n\n{changes}"
        (folder / "CHANGELOG.md").write_text(f"# Changes\n\n## Unreleased\n\n{changes}")
        (folder / "template/Makefile").write_text(MAKEFILE.format(version=version))
        commit(folder, f"release: v{version}")
        commit(folder, "docs: a word\n\nrelease: v9 comes later")
    return folder


@pytest.fixture
def runner(repository: Path, tmp_path: Path) -> HostedRunner:
    """A runner that has checked out the repository."""
    for name in ("releases", "releases.files", "runs"):
        (tmp_path / name).mkdir()
    environment = {"RELEASES": str(tmp_path / "releases"), "RUNS": str(tmp_path / "runs"), "FAILS": "nothing"}
    return hosted(repository, tmp_path / "runner", environment)


def hosted(checkout: Path, home: Path, environment: dict[str, str], gh: str = GH) -> HostedRunner:
    github = {"server_url": "https://github.com", "repository": "example/labdock"}
    return HostedRunner(checkout, home, gh, {"github": github}, environment)


def run(runner: HostedRunner) -> subprocess.CompletedProcess[str]:
    """Run both jobs, each in a clean checkout; the output of both, and the status of the first that fails."""
    shutil.rmtree(runner.home / "artifacts", ignore_errors=True)
    output, status = "", 0
    for job in JOBS.values():
        done = runner.run(job)
        output, status = output + done.stdout, status or done.returncode
        shutil.rmtree(runner.workspace / "examples", ignore_errors=True)
    return subprocess.CompletedProcess([], status, output, "")


def released(runner: HostedRunner) -> dict[str, str]:
    """What each release was made of: the commit and the notes, by tag."""
    return {path.name: path.read_text() for path in Path(runner.environment["RELEASES"]).iterdir()}


# --- the workflow -----------------------------------------------------------------------------------------
@pytest.mark.full
def test_each_release_commit_is_released_once(runner: HostedRunner, tmp_path: Path) -> None:
    done = run(runner)
    assert done.returncode == 0, done.stdout
    commits = git("log", "--reverse", "--format=%H", "--grep=^release: v0", cwd=runner.workspace).split()
    assert released(runner) == {
        f"v{version}": f"{commit}\n\nWhat {version} brings.\n\n"
        for version, commit in zip(("0.1.0", "0.2.0"), commits, strict=True)
    }
    for path in (tmp_path / "releases").iterdir():
        path.write_text("kept")
    done = run(runner)
    assert done.returncode == 0, done.stdout
    assert released(runner) == {"v0.1.0": "kept", "v0.2.0": "kept"}
    assert not list((runner.home / "artifacts").rglob("*.tar.gz"))


@pytest.mark.full
@pytest.mark.parametrize(
    ("conclusion", "made"),
    [("failure", False), ("cancelled\nsuccess", False), ("success", True), ("success\n", True)],
    ids=["failed", "cancelled once", "passed", "passed before and runs again"],
)
def test_a_commit_that_failed_in_ci_is_never_released(
    runner: HostedRunner, tmp_path: Path, conclusion: str, made: bool
) -> None:
    commit_of_first = git("log", "--format=%H", "--grep=^release: v0.1.0", cwd=runner.workspace)
    (tmp_path / "runs" / commit_of_first).write_text(f"{conclusion}\n")
    done = run(runner)
    assert done.returncode == 0, done.stdout
    assert ("v0.1.0" in released(runner)) is made and "v0.2.0" in released(runner)
    assert ("::warning::ci failed for v0.1.0" in done.stdout) is not made


@pytest.mark.full
def test_the_example_is_built_before_and_published_as_it_was_rendered(runner: HostedRunner, tmp_path: Path) -> None:
    done = run(runner)
    assert done.returncode == 0, done.stdout
    for version in ("0.1.0", "0.2.0"):
        calls = runner.home / f"temp/v{version}/iris-study/calls.{version}"
        assert calls.read_text().split() == ["env", "up", "test", "down"]
        with tarfile.open(tmp_path / f"releases.files/iris-study-v{version}.tar.gz") as archive:
            files = {member.name: member for member in archive if member.isfile()}
            assert files.keys() == {"iris-study/Makefile", "iris-study/.copier-answers.yml"}
            assert {(member.uid, member.gid, member.uname) for member in files.values()} == {(0, 0, "")}
            answers = yaml.safe_load(archive.extractfile("iris-study/.copier-answers.yml"))
        assert answers == {"_commit": f"v{version}", "_src_path": SOURCE, "project_name": "Iris study"}


@pytest.mark.full
@pytest.mark.parametrize("target", ["up", "test"])
def test_an_example_that_does_not_work_is_not_released(runner: HostedRunner, target: str) -> None:
    runner.environment["FAILS"] = target
    done = run(runner)
    assert done.returncode != 0 and released(runner) == {}
    assert "The example does not work for these releases: v0.1.0 v0.2.0." in done.stdout


@pytest.mark.full
@pytest.mark.parametrize("target", ["up", "test"])
def test_a_broken_release_does_not_hold_back_a_later_one(runner: HostedRunner, target: str) -> None:
    runner.environment["FAILS"] = f"{target}-0.1.0"
    for _ in range(2):  # at the next push too
        done = run(runner)
        assert done.returncode != 0 and "The example does not work for these releases: v0.1.0." in done.stdout
        assert released(runner).keys() == {"v0.2.0"}
    assert (runner.home / "temp/v0.1.0/iris-study/calls.0.1.0").read_text().splitlines()[-1] == "down"
    workflow = Workflow((ROOT / ".github/workflows/release.yml").read_text())
    assert workflow.results(failing=["example"]) == {"example": "failure", "release": "success"}


@pytest.mark.full
def test_a_release_without_a_section_in_the_changelog_is_refused(runner: HostedRunner) -> None:
    commit(runner.workspace, "release: v0.3.0")
    done = run(runner)
    assert done.returncode != 0 and "CHANGELOG.md has no section for v0.3.0." in done.stdout
    assert released(runner).keys() == {"v0.1.0", "v0.2.0"}


@pytest.mark.nightly
def test_the_example_of_this_tree_is_built_and_tested(
    engine: None, template: Path, render: Render, tmp_path: Path
) -> None:
    git("clone", "--quiet", str(template), "checkout", cwd=tmp_path)
    commit(tmp_path / "checkout", "release: v1000.0.0")
    gh = 'test "$*" != "release view v1000.0.0"'
    runner = hosted(tmp_path / "checkout", tmp_path / "runner", {}, gh)
    example = Project(runner.home / "temp/v1000.0.0/iris-study", {"project_slug": "iris-study"})
    try:
        done = runner.run(JOBS["example"])
        assert done.returncode == 0, done.stdout[-5000:]
        assert "Address: http://127.0.0.1:" in done.stdout and " passed" in done.stdout
        assert example.containers() == []
    finally:
        example.down()
        shared.leave(example.compose_name())
    (made,) = (runner.home / "artifacts/examples").iterdir()
    with tarfile.open(made) as archive:
        files = {member.name.removeprefix("iris-study/") for member in archive if member.isfile()}
    assert made.name == "iris-study-v1000.0.0.tar.gz" and files == render().files()


# --- make release -----------------------------------------------------------------------------------------
NEWS = "### Added\n\n- A thing.\n"


@pytest.fixture
def tree(repository: Path) -> Path:
    """The repository with an unreleased change."""
    write(repository, NEWS)
    commit(repository, "feat(template): a thing")
    return repository


def write(repository: Path, news: str) -> None:
    changes = (repository / "CHANGELOG.md").read_text()
    (repository / "CHANGELOG.md").write_text(changes.replace("## Unreleased\n", f"## Unreleased\n\n{news}", 1))


def release(tree: Path, version: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`make release` as this repository's Makefile runs it, in `tree`."""
    command = [sys.executable, "-m", "tools.release", version, "lint", "test"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=tree, env=env, text=True, capture_output=True)


def state(tree: Path) -> Any:
    return git("rev-parse", "HEAD", cwd=tree), git("status", "--porcelain", cwd=tree)


def test_a_release_is_one_command(tree: Path, runner: HostedRunner, tmp_path: Path) -> None:
    before = (tree / "CHANGELOG.md").read_text()
    done = release(tree, "0.3.0")
    assert done.returncode == 0, done.stderr
    assert "git push origin main" in done.stdout
    assert (tmp_path / "calls").read_text().split() == ["lint", "test"]
    assert git("log", "--format=%s", "-1", cwd=tree) == "release: v0.3.0"
    assert git("show", "--format=", "--name-only", cwd=tree) == "CHANGELOG.md" and state(tree)[1] == ""
    after = (tree / "CHANGELOG.md").read_text()
    (date,) = re.findall(r"^## 0\.3\.0 - (\d{4}-\d\d-\d\d)$", after, re.MULTILINE)
    assert after == before.replace("## Unreleased\n", f"## Unreleased\n\n## 0.3.0 - {date}\n")
    assert unreleased(after) == ""
    # The workflow releases it.
    assert run(runner).returncode == 0
    assert released(runner)["v0.3.0"].partition("\n")[2].strip() == NEWS.strip()


def on_a_branch(tree: Path) -> None:
    git("switch", "--quiet", "--create", "other", cwd=tree)


def changed(tree: Path) -> None:
    (tree / "copier.yml").write_text("")


def emptied(tree: Path) -> None:
    git("revert", "--no-edit", "HEAD", cwd=tree)


def with_a_removal(tree: Path) -> None:
    write(tree, "### Removed\n\n- `Makefile`\n\n")
    commit(tree, "feat(template): less")


def unchanged(_: Path) -> None:
    pass


REFUSED = {
    "no version": (unchanged, "0.3", "VERSION is '0.3'"),
    "a tag": (unchanged, "v0.3.0", "VERSION is 'v0.3.0'"),
    "leading zeros": (unchanged, "0.03.0", "VERSION is '0.03.0'"),
    "nothing": (unchanged, "", "VERSION is ''"),
    "an existing version": (unchanged, "0.2.0", "the last release is 0.2.0"),
    "a lower version": (unchanged, "0.1.9", "the last release is 0.2.0"),
    "another branch": (on_a_branch, "0.3.0", "The branch is 'other'"),
    "a changed file": (changed, "0.3.0", "The tree has changes (M copier.yml)"),
    "nothing new": (emptied, "0.3.0", 'nothing under "Unreleased"'),
    "a removal in a minor release": (with_a_removal, "0.3.0", "VERSION=1.0.0"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_release_is_refused_with_the_reason(tree: Path, tmp_path: Path, what: str) -> None:
    change, version, words = REFUSED[what]
    change(tree)
    before = state(tree)
    done = release(tree, version)
    assert done.returncode != 0 and words in done.stderr and done.stderr.startswith("labdock: ")
    assert state(tree) == before and not (tmp_path / "calls").exists()


def test_a_removal_is_a_major_release(tree: Path) -> None:
    with_a_removal(tree)
    assert removed((tree / "CHANGELOG.md").read_text()) == {"Makefile"}
    assert release(tree, "1.0.0").returncode == 0


def test_a_check_that_fails_or_changes_a_file_stops_the_release(tree: Path, tmp_path: Path) -> None:
    before = state(tree)
    done = release(tree, "0.3.0", FAILS="test")
    assert done.returncode != 0 and "'make test' failed, so nothing was released" in done.stderr
    assert state(tree) == before
    (tree / "Makefile").write_text("lint:\n\t@echo >>copier.yml\ntest:\n")
    commit(tree, "docs: another Makefile")
    done = release(tree, "0.3.0")
    assert done.returncode != 0 and "The tree has changes (M copier.yml)" in done.stderr
    assert git("log", "--format=%s", "-1", cwd=tree) == "docs: another Makefile"


def test_a_commit_that_fails_leaves_the_changelog_as_it_was(tree: Path) -> None:
    hook = tree / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    hook.chmod(0o755)
    before = state(tree)
    assert release(tree, "0.3.0").returncode != 0
    assert state(tree) == before
    hook.unlink()
    assert release(tree, "0.3.0").returncode == 0


def test_make_release_runs_the_checks_that_contributing_names() -> None:
    said = subprocess.run(["make", "--dry-run", "release", "VERSION=1.2.3"], cwd=ROOT, text=True, capture_output=True)
    assert said.stdout.splitlines()[-1].endswith('-m tools.release "1.2.3" lint test')
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    said_there = " ".join(text.partition("`make release VERSION=")[2].split())
    assert "runs `make lint` and `make test`" in said_there


def test_this_changelog_can_be_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.count("\n## Unreleased\n") == 1
