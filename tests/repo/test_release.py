"""`make release`, and what release.yml runs: each release commit becomes one release, with its notes and an example."""

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

from tests.conftest import ROOT, Render, git
from tests.support.actions import Runner, job
from tests.support.project import Project
from tools.release import removed, unreleased

WORKFLOW = ROOT / ".github/workflows/release.yml"
JOBS = yaml.safe_load(WORKFLOW.read_text())["jobs"]
SOURCE = "https://github.com/example/labdock.git"
# Keeps what each release was made of, knows those it has, and hands out what the other job uploaded.
GH = """
case "$1 $2" in
"release view") test -e "$RELEASES/$3" ;;
"release create") { echo "$5"; cat notes.md; } >"$RELEASES/$3" && cp "${10}" "$RELEASES.files/" ;;
"run download") cp -r "$UPLOADED" "$7" ;;
esac
"""
SETTINGS = "_subdirectory: template\nproject_name:\n  type: str\n  help: Which?\n"
# A template's project, whose commands only write down that they were called.
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
        changes = f"## {version} (2026-01-01)\n\nWhat {version} brings.\n\n{changes}"
        (folder / "CHANGELOG.md").write_text(f"# Changes\n\n## Unreleased\n\n{changes}")
        (folder / "template/Makefile").write_text(MAKEFILE.format(version=version))
        commit(folder, f"release: v{version}")
        commit(folder, "docs: a word\n\nrelease: v9 comes later")
    return folder


@pytest.fixture
def runner(repository: Path, tmp_path: Path) -> Runner:
    """A machine of GitHub's that has checked it out."""
    for name in ("releases", "releases.files", "temp"):
        (tmp_path / name).mkdir()
    places = {"RELEASES": "releases", "UPLOADED": "repository/examples", "RUNNER_TEMP": "temp"}
    environment = {name: str(tmp_path / place) for name, place in places.items()}
    return Runner(repository, tmp_path / "bin", GH, {**environment, "GITHUB_RUN_ID": "7", "FAILS": "nothing"})


def run(runner: Runner, *jobs: str) -> subprocess.CompletedProcess[str]:
    """Run the jobs, the second on a machine of its own; what they said, and the first failure."""
    said, status = "", 0
    for name in jobs:
        done = runner.run(job(WORKFLOW, name), GH_TOKEN="secret", SOURCE=SOURCE)
        said, status = said + done.stdout, status or done.returncode
        if name == "example":
            (runner.checkout / "examples").rename(runner.checkout.parent / "uploaded")
            runner.environment["UPLOADED"] = str(runner.checkout.parent / "uploaded")
        else:
            shutil.rmtree(runner.checkout / "examples", ignore_errors=True)
    return subprocess.CompletedProcess([], status, said, "")


# --- the workflow -----------------------------------------------------------------------------------------
def test_each_release_commit_is_released_once(runner: Runner, tmp_path: Path) -> None:
    done = run(runner, "example", "release")
    assert done.returncode == 0, done.stdout
    commits = git("log", "--reverse", "--format=%H", "--grep=^release: v0", cwd=runner.checkout).split()
    made = {path.name: path.read_text() for path in (tmp_path / "releases").iterdir()}
    assert made == {
        f"v{version}": f"{commit}\n\nWhat {version} brings.\n\n"
        for version, commit in zip(("0.1.0", "0.2.0"), commits, strict=True)
    }
    for path in (tmp_path / "releases").iterdir():
        path.write_text("kept")
    (tmp_path / "uploaded").rename(tmp_path / "uploaded before")
    done = run(runner, "example", "release")
    assert done.returncode == 0, done.stdout
    assert {path.read_text() for path in (tmp_path / "releases").iterdir()} == {"kept"}
    assert list((tmp_path / "uploaded").iterdir()) == []


def test_the_example_is_built_before_and_published_as_it_was_rendered(runner: Runner, tmp_path: Path) -> None:
    done = run(runner, "example", "release")
    assert done.returncode == 0, done.stdout
    for version in ("0.1.0", "0.2.0"):
        calls = tmp_path / f"temp/v{version}/iris-study/calls.{version}"
        assert calls.read_text().split() == ["env", "up", "test", "down"]
        with tarfile.open(tmp_path / f"releases.files/iris-study-v{version}.tar.gz") as archive:
            files = {member.name: member for member in archive if member.isfile()}
            assert files.keys() == {"iris-study/Makefile", "iris-study/.copier-answers.yml"}
            assert {(member.uid, member.gid, member.uname) for member in files.values()} == {(0, 0, "")}
            answers = yaml.safe_load(archive.extractfile("iris-study/.copier-answers.yml"))
        assert answers == {"_commit": f"v{version}", "_src_path": SOURCE, "project_name": "Iris study"}


@pytest.mark.parametrize("target", ["up", "test"])
def test_an_example_that_does_not_work_is_not_released(runner: Runner, tmp_path: Path, target: str) -> None:
    runner.environment["FAILS"] = target
    done = run(runner, "example", "release")
    assert done.returncode != 0 and list((tmp_path / "releases").iterdir()) == []
    assert "no example that works: v0.1.0 v0.2.0\n" in done.stdout


@pytest.mark.parametrize("target", ["up", "test"])
def test_a_release_that_is_broken_keeps_no_later_one_back(runner: Runner, tmp_path: Path, target: str) -> None:
    runner.environment["FAILS"] = f"{target}-0.1.0"
    for _ in range(2):  # also not at the next push
        done = run(runner, "example", "release")
        assert done.returncode != 0 and "no example that works: v0.1.0\n" in done.stdout
        assert [path.name for path in (tmp_path / "releases").iterdir()] == ["v0.2.0"]
        shutil.rmtree(tmp_path / "uploaded")
    assert (tmp_path / "temp/v0.1.0/iris-study/calls.0.1.0").read_text().splitlines()[-1] == "down"
    upload, release = JOBS["example"]["steps"][-1], JOBS["release"]
    assert upload["if"] == release["if"] == "${{ !cancelled() }}" and release["needs"] == "example"


def test_a_release_that_the_changelog_does_not_know_is_refused(runner: Runner, tmp_path: Path) -> None:
    commit(runner.checkout, "release: v0.3.0")
    done = run(runner, "example", "release")
    assert done.returncode != 0 and "v0.3.0 has no section" in done.stdout
    assert (tmp_path / "releases/v0.2.0").exists()
    assert not (tmp_path / "releases/v0.3.0").exists()


@pytest.mark.nightly
def test_the_example_of_this_tree_is_built_and_tested(
    engine: None, template: Path, render: Render, tmp_path: Path
) -> None:
    git("clone", "--quiet", str(template), "checkout", cwd=tmp_path)
    commit(tmp_path / "checkout", "release: v1000.0.0")
    known = 'test "$2 $3" != "view v1000.0.0"'
    runner = Runner(tmp_path / "checkout", tmp_path / "bin", known, {"RUNNER_TEMP": str(tmp_path)})
    example = Project(tmp_path / "v1000.0.0/iris-study", {})
    try:
        done = runner.run(job(WORKFLOW, "example"), GH_TOKEN="secret", SOURCE=SOURCE)
        assert done.returncode == 0, done.stdout[-5000:]
        assert "Address: http://127.0.0.1:" in done.stdout and " passed" in done.stdout
        assert example.containers() == []
    finally:
        example.down("--rmi", "all")
    (made,) = (tmp_path / "checkout/examples").iterdir()
    with tarfile.open(made) as archive:
        files = {member.name.removeprefix("iris-study/") for member in archive if member.isfile()}
    assert made.name == "iris-study-v1000.0.0.tar.gz" and files == render().files()


# --- make release -----------------------------------------------------------------------------------------
NEWS = "### Added\n\n- A thing.\n"


@pytest.fixture
def tree(repository: Path) -> Path:
    """The repository with something to release."""
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


def test_a_release_is_one_command(tree: Path, runner: Runner, tmp_path: Path) -> None:
    before = (tree / "CHANGELOG.md").read_text()
    done = release(tree, "0.3.0")
    assert done.returncode == 0, done.stderr
    assert "git push origin main" in done.stdout
    assert (tmp_path / "calls").read_text().split() == ["lint", "test"]
    assert git("log", "--format=%s", "-1", cwd=tree) == "release: v0.3.0"
    assert git("show", "--format=", "--name-only", cwd=tree) == "CHANGELOG.md" and state(tree)[1] == ""
    after = (tree / "CHANGELOG.md").read_text()
    (date,) = re.findall(r"^## 0\.3\.0 \((\d{4}-\d\d-\d\d)\)$", after, re.MULTILINE)
    assert after == before.replace("## Unreleased\n", f"## Unreleased\n\n## 0.3.0 ({date})\n")
    assert unreleased(after) == ""
    # What the workflow makes of it.
    assert run(runner, "example", "release").returncode == 0
    assert (tmp_path / "releases/v0.3.0").read_text().partition("\n")[2].strip() == NEWS.strip()


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
    "an existing version": (unchanged, "0.2.0", "not above 0.2.0"),
    "a lower version": (unchanged, "0.1.9", "not above 0.2.0"),
    "another branch": (on_a_branch, "0.3.0", "the branch is 'other'"),
    "a changed file": (changed, "0.3.0", "not clean (M copier.yml)"),
    "nothing new": (emptied, "0.3.0", 'nothing under "Unreleased"'),
    "a removal in a minor release": (with_a_removal, "0.3.0", "VERSION=1.0.0"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_release_is_refused_in_words(tree: Path, tmp_path: Path, what: str) -> None:
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


def test_a_check_that_fails_or_changes_a_file_ends_the_release(tree: Path, tmp_path: Path) -> None:
    before = state(tree)
    done = release(tree, "0.3.0", FAILS="test")
    assert done.returncode != 0 and "'make test' failed: nothing was released" in done.stderr
    assert state(tree) == before
    (tree / "Makefile").write_text("lint:\n\t@echo >>copier.yml\ntest:\n")
    commit(tree, "docs: another Makefile")
    done = release(tree, "0.3.0")
    assert done.returncode != 0 and "not clean (M copier.yml)" in done.stderr
    assert git("log", "--format=%s", "-1", cwd=tree) == "docs: another Makefile"


def test_a_commit_that_fails_leaves_nothing_half_written(tree: Path) -> None:
    hook = tree / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    hook.chmod(0o755)
    before = state(tree)
    assert release(tree, "0.3.0").returncode != 0
    assert state(tree) == before
    hook.unlink()
    assert release(tree, "0.3.0").returncode == 0


def test_make_release_makes_the_checks_that_contributing_names() -> None:
    said = subprocess.run(["make", "--dry-run", "release", "VERSION=1.2.3"], cwd=ROOT, text=True, capture_output=True)
    assert said.stdout.splitlines()[-1].endswith('-m tools.release "1.2.3" lint test')
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    said_there = " ".join(text.partition("`make release VERSION=")[2].split())
    assert "runs `make lint` and `make test`" in said_there


def test_this_changelog_can_be_released() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.count("\n## Unreleased\n") == 1
