"""The user and the template changed the same lines. Copier exits with 0, so `make up` and `make doctor` report it."""

import re
import sys

import copier
import pytest

from tests.support.project import Project
from tests.support.refusal import refused
from tests.support.updates import COMMENT, USER_FILES, conflicts, contents, update

MINE = "# My own first line."


@pytest.fixture
def torn(old: Project) -> Project:
    """A project before its update. It changed the Dockerfile's first line, and so does the newer release."""
    old.replace("Dockerfile", "# The lab's image.", f"{MINE}\n# The lab's image.")
    old.commit()
    return old


def said(project: Project) -> list[str]:
    """The problems that `make up` and `make doctor` find in an unfinished update."""
    return project.run("sh", "-euc", ". lab/commands/lib/all.sh; check_merged").stdout.splitlines()


def solve(project: Project) -> None:
    """Keep both changes and remove the markers."""
    text = project.read("Dockerfile")
    kept = re.sub(r"^(<<<<<<<|=======|>>>>>>>).*\n", "", text, flags=re.MULTILINE)
    assert kept != text and MINE in kept and COMMENT in kept
    (project.folder / "Dockerfile").write_text(kept)


def test_copier_says_what_to_do_and_make_up_refuses(engine: None, torn: Project) -> None:
    torn.environment["LAB_NAME"] = "torn"  # no other lab has this name
    done = torn.run(sys.executable, "-m", "copier", "update", "--defaults")
    message = done.stderr.partition("up to date")[2].strip()
    assert "git status" in message and "Unmerged paths" in message and "make up" in message.splitlines()[-1]
    assert conflicts(torn) == {"Dockerfile"}

    conflict = (
        "Dockerfile has a conflict between '<<<<<<<' and '>>>>>>>'. "
        "Keep the correct lines, delete these marks, then run 'git add Dockerfile'."
    )
    assert refused(torn) == f"labdock: {conflict}"
    assert f"FIX   {conflict}" in torn.make("doctor", check=False).stdout.splitlines()
    torn.run("git", "add", "Dockerfile")
    assert said(torn) == [conflict], "git add does not hide the markers"
    torn.run("git", "restore", "--staged", "Dockerfile")
    solve(torn)
    assert said(torn) == []
    assert "ok    the last update is complete" in torn.make("doctor", check=False).stdout.splitlines()


@pytest.mark.full
def test_an_unmerged_file_without_markers_is_named(torn: Project) -> None:
    update(torn)
    solve(torn)
    assert said(torn) == ["Dockerfile is unmerged in git. Check the file, then run 'git add Dockerfile'."]
    torn.run("git", "checkout", "--ours", "Dockerfile")
    assert MINE in torn.read("Dockerfile") and COMMENT not in torn.read("Dockerfile")
    torn.run("git", "checkout", "--theirs", "Dockerfile")
    assert MINE not in torn.read("Dockerfile") and COMMENT in torn.read("Dockerfile")
    torn.run("git", "add", "Dockerfile")
    assert said(torn) == []


@pytest.mark.full
def test_an_update_can_be_undone(torn: Project) -> None:
    before, text = torn.files(), contents(torn, "Dockerfile", *USER_FILES)
    update(torn)
    (torn.folder / "new").write_text("a file of the newer release\n")
    torn.run("git", "reset", "--hard", "--quiet")
    torn.run("git", "clean", "-fd", "--quiet")
    assert torn.files() == before and contents(torn, "Dockerfile", *USER_FILES) == text
    assert said(torn) == []


@pytest.mark.full
def test_a_rejected_change_is_named(torn: Project) -> None:
    """`copier update --conflict rej` writes it to a file."""
    copier.run_update(torn.folder, defaults=True, overwrite=True, quiet=True, conflict="rej")
    assert conflicts(torn) == {"Dockerfile.rej"}
    assert said(torn) == [
        "Dockerfile.rej contains a change that the update could not make in Dockerfile. "
        "Make this change by hand in Dockerfile, then run 'rm Dockerfile.rej'."
    ]
    (torn.folder / "Dockerfile.rej").unlink()
    assert said(torn) == []


def test_conflicts_are_found_in_every_folder_of_the_template(old: Project) -> None:
    paths = {
        "lab/commands/new.sh",
        ".github/workflows/lab.yml",
        ".devcontainer/devcontainer.json",
        "tests/x",
        "Makefile",
    }
    for path in paths:
        with (old.folder / path).open("a") as file:
            file.write("<<<<<<< before updating\n")
    assert {sentence.split()[0] for sentence in said(old)} == paths


def test_markers_in_the_users_folders_are_no_conflict(old: Project) -> None:
    """The control: these folders may be large and contain anything."""
    for path in ("data/a.rej", "notebooks/deep/b.txt", "mine/c.rej", "lab/bundle/d.rej"):
        (old.folder / path).parent.mkdir(exist_ok=True)
        (old.folder / path).write_text("<<<<<<< before updating\n")
    (old.folder / "notes.md").write_text("Title\n=======\n a <<<<<<< b\n")
    assert said(old) == []


def test_conflicts_are_found_without_git(old: Project) -> None:
    (old.folder / ".git").rename(old.folder / "data/.git")
    old.environment["GIT_CEILING_DIRECTORIES"] = str(old.folder.parent)
    assert said(old) == []
    (old.folder / "compose.yaml").write_text("<<<<<<< before updating\n")
    assert said(old)[0].startswith("compose.yaml has a conflict")
