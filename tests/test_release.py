"""What release.yml runs: each release commit becomes one release with its section of CHANGELOG.md."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, git

# Stands in for GitHub's own command: keeps the notes of each release, knows those it has.
GH = """#!/bin/sh
case $2 in
view) test -e "$RELEASES/$3" ;;
create) { echo "$5"; cat notes.md; } >"$RELEASES/$3" ;;
esac
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of two releases and work after the last."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git("init", "--quiet", cwd=folder)
    changes = ""
    for version in ("0.1.0", "0.2.0"):
        changes = f"## {version} (2026-01-01)\n\nWhat {version} brings.\n\n{changes}"
        (folder / "CHANGELOG.md").write_text(f"# Changes\n\n## Unreleased\n\n{changes}")
        git("add", "--all", cwd=folder)
        git("commit", "--quiet", "--message", f"release: v{version}", cwd=folder)
        git("commit", "--quiet", "--allow-empty", "--message", "docs: a word\n\nrelease: v9 comes later", cwd=folder)
    return folder


def run(repository: Path, releases: Path) -> subprocess.CompletedProcess[str]:
    """The workflow's script, as GitHub runs it."""
    (job,) = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"].values()
    (script,) = (step["run"] for step in job["steps"] if "run" in step)
    programs = releases.parent / "bin"
    programs.mkdir(exist_ok=True)
    releases.mkdir(exist_ok=True)
    (programs / "gh").write_text(GH)
    (programs / "gh").chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "RELEASES": str(releases)}
    return subprocess.run(["bash", "-ec", script], cwd=repository, env=environment, text=True, capture_output=True)


def test_each_release_commit_is_released_once(repository: Path, tmp_path: Path) -> None:
    done = run(repository, tmp_path / "releases")
    assert done.returncode == 0, done.stderr
    commits = git("log", "--reverse", "--format=%H", "--grep=^release: v0", cwd=repository).split()
    made = {path.name: path.read_text() for path in (tmp_path / "releases").iterdir()}
    assert made == {
        f"v{version}": f"{commit}\n\nWhat {version} brings.\n\n"
        for version, commit in zip(("0.1.0", "0.2.0"), commits, strict=True)
    }
    for path in (tmp_path / "releases").iterdir():
        path.write_text("kept")
    assert run(repository, tmp_path / "releases").returncode == 0
    assert {path.read_text() for path in (tmp_path / "releases").iterdir()} == {"kept"}


def test_a_release_that_the_changelog_does_not_know_is_refused(repository: Path, tmp_path: Path) -> None:
    git("commit", "--quiet", "--allow-empty", "--message", "release: v0.3.0", cwd=repository)
    done = run(repository, tmp_path / "releases")
    assert done.returncode != 0 and "v0.3.0 has no section" in done.stderr
    assert not (tmp_path / "releases/v0.3.0").exists()
