"""Places where a project cannot run: `make up` and doctor say so in one sentence."""

import subprocess
from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.refusal import only_root

CHECK = ". lab/commands/lib/all.sh; check_path"
UNUSABLE = ["a:b", "a,b", 'a"b', "100%", "a%b;c", "%"]
USABLE = ["a b", "é", "a'b", "a$HOME", "a#b", "a\\b", "a=b", "a{b}", "a%20b"]


@pytest.mark.parametrize("name", [*UNUSABLE, *USABLE])
def test_the_path_of_the_folder_is_checked(project: Project, name: str) -> None:
    """The first list was tried with Docker 28.5.2 and Compose 2.40.3: mounts, builds or Compose fail."""
    moved = Project(project.folder.rename(project.folder.with_name(name)), project.answers)
    said = moved.run("sh", "-euc", CHECK).stdout
    if name in UNUSABLE:
        assert said.startswith(f"this folder is '{moved.folder}', and the engine cannot use a path with ")
        assert len(said.splitlines()) == 1
    else:
        assert said == ""


@pytest.mark.parametrize("setting", ["LAB_CA_BUNDLE", "LAB_GIT"])
def test_the_path_in_a_setting_is_checked(engine: None, project: Project, setting: str) -> None:
    project.environment[setting] = "/a:b"
    assert project.run("sh", "-euc", CHECK).stdout.startswith(f"{setting} is '/a:b', and the engine cannot use")


@pytest.mark.full
def test_make_up_refuses_such_a_path_before_it_builds(sound: Project) -> None:
    """The control: without the check, the engine's own error is no sentence."""
    moved = Project(sound.folder.rename(sound.folder.with_name("a:b")), sound.answers)
    done = moved.make("up", check=False)
    said = done.stderr.splitlines()[-2]
    assert said.startswith(f"labdock: this folder is '{moved.folder}'") and "Building" not in done.stderr


# --- an engine that sees other files ------------------------------------------------------------------
# Runs `make up` in a folder that only this process sees, as on FUSE without allow_other or with an engine elsewhere.
UNSEEN = """
set -eu
project=$(pwd -P)
cd /
mount -t tmpfs tmpfs "$1"
cp -a "$project/." "$1"
cd "$1"
make --no-print-directory up
"""


@pytest.mark.full
@pytest.mark.parametrize("engine_sees", ["an empty folder", "a read-only folder"])
def test_an_engine_that_does_not_see_the_folder(
    default_image: None, fresh_project: Project, tmp_path: Path, engine_sees: str
) -> None:
    """The control: the same project starts in all other tests."""
    only_root()
    place = tmp_path / "place"
    place.mkdir()
    if engine_sees == "a read-only folder":
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", place], check=True)
    try:
        private = ("unshare", "--mount", "--propagation", "private")
        done = fresh_project.run(*private, "sh", "-c", UNSEEN, "sh", str(place), check=False)
    finally:
        if engine_sees == "a read-only folder":
            subprocess.run(["umount", place], check=True)
    *_, said = (line for line in done.stderr.splitlines() if line.startswith("labdock: "))
    assert said.startswith("labdock: the engine does not see the files of this folder. Move the project"), done.stderr
    assert "allow_other" in said


# --- what an engine prints ----------------------------------------------------------------------------
UNSEEN_FOLDER = "the engine does not see the files of this folder."
# The end of an engine's error -> the beginning of the sentence. Docker 28.5.2 printed the ones with "measured".
FAILURES = {
    "Error response from daemon: all predefined address pools have been fully subnetted": (  # measured
        "the engine has no free address range for the lab's network. Run 'docker network prune'"
    ),
    "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network": (
        "the engine has no free address range for the lab's network."
    ),
    "error while creating mount source path '/p/data': mkdir /p: read-only file system": UNSEEN_FOLDER,  # measured
    "error while creating mount source path '/p/data': mkdir /p/data: permission denied": UNSEEN_FOLDER,
    "Mounts denied: The path /p/data is not shared from the host and is not known to Docker.": UNSEEN_FOLDER,
    'Conflict. The container name "/x" is already in use by container "1". You have to remove': (  # measured
        "other 'docker compose' commands change this lab at the same time."
    ),
    "a sentence that nobody knows": "",
}


@pytest.mark.parametrize("error", FAILURES)
def test_an_error_of_the_engine_becomes_a_sentence(project: Project, error: str) -> None:
    (project.folder / "log").write_text(f" Network x  Creating\n{error}\n")
    script = (
        ". lab/commands/lib/all.sh; . lab/commands/lib/start.sh; . lab/commands/lib/mounts.sh; start_failure log none"
    )
    (project.folder / "none").touch()
    said = project.run("sh", "-euc", script).stdout
    assert said.startswith(FAILURES[error]) and len(said.splitlines()) == bool(FAILURES[error])
