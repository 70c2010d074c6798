"""data/, notebooks/ or secrets/ can be a link to another disk: no command may see the link only."""

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support import debian
from tests.support.doctor import doctor, problems
from tests.support.page_commands import blocks
from tests.support.project import Project
from tests.support.repository import ROOT
from tests.support.requirements import lacking

OUT = ".bundle.new/out"
COPY = f"set -eu; . lab/commands/lib/copy_project.sh; mkdir -p {OUT}/data; copy_project {OUT} .bundle.new"


@pytest.fixture
def disk(project: Project) -> Path:
    """The folder behind the links `data` and `notebooks` of the project."""
    disk = project.folder.parent / "disk"
    disk.mkdir()
    for name in ("data", "notebooks"):
        shutil.move(project.folder / name, disk / name)
        (project.folder / name).symlink_to(disk / name)
    (disk / "data/patients.csv").write_text("id\n7\n")
    return disk


def copied(project: Project, **environment: str) -> tuple[set[str], str]:
    """The files that a bundle would contain, and what the command says."""
    project.environment.update(environment)
    done = project.run("sh", "-c", COPY)
    out = project.folder / OUT
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and not path.is_symlink()}
    assert not (out / "data").is_symlink() and not (out / "notebooks").is_symlink()
    return found, done.stderr


@pytest.mark.parametrize("git", [False, True])
def test_a_bundle_has_the_files_behind_a_link(project: Project, disk: Path, git: bool) -> None:
    if git:
        project.commit()
    (disk / "notebooks/.ipynb_checkpoints").mkdir()
    (disk / "notebooks/.ipynb_checkpoints/iris-checkpoint.ipynb").touch()
    found, said = copied(project)
    assert {"notebooks/iris.ipynb", "notebooks/README.md", "compose.yaml"} <= found
    assert {name for name in found if name.startswith("data/")} <= {"data/.gitkeep"}
    assert not [name for name in found if "checkpoint" in name]
    assert said == ""
    shutil.rmtree(project.folder / ".bundle.new")
    found, said = copied(project, WITH_DATA="yes")
    assert "data/patients.csv" in found and said == ""


def test_a_link_whose_file_a_bundle_lacks_is_named(project: Project, disk: Path) -> None:
    """The control: a link to a file of the bundle is no fault."""
    (disk / "data/large").symlink_to(disk / "elsewhere")
    (disk / "data/near.csv").symlink_to("patients.csv")
    (project.folder / "README.link").symlink_to("../outside.md")
    (project.folder / "own.md").symlink_to("README.md")
    _, said = copied(project, WITH_DATA="yes")
    named = re.findall(r"^labdock: (\S+) is a link, and the bundle contains only the link\.", said, re.MULTILINE)
    assert sorted(named) == ["README.link", "data/large"]


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_a_backup_has_the_files_behind_a_link(project: Project, disk: Path, program: str) -> None:
    """The page's own command, with the tar of Linux and the tar of macOS."""
    if program == "bsdtar":
        program = str(debian.program(project.folder.parent, program, "libarchive-tools"))
    (command,) = (
        line.strip()
        for block in blocks((ROOT / "docs/how-to/backup.md").read_text())
        for line in block.splitlines()
        if "tar -c -z" in line
    )
    for name, text in {"odd name -x": "1", ".env": "LAB_UID=7\n", "secrets/jupyter_token": "x" * 64}.items():
        (project.folder / name).write_text(text)
    project.run("sh", "-c", command.replace("| tar ", f"| {program} "))
    restored = project.folder.parent / "restored"
    with tarfile.open(project.folder.parent / "lab-backup.tar.gz") as archive:
        archive.extractall(restored, filter="tar")
    assert not (restored / "data").is_symlink()
    assert (restored / "data/patients.csv").read_text() == "id\n7\n"
    everything = {"notebooks/iris.ipynb", ".env", "secrets/jupyter_token", "odd name -x", "Dockerfile", ".gitignore"}
    assert everything <= Project(restored, {}).files()
    assert {name for name in project.files() if not name.startswith(("data", "notebooks"))} <= Project(
        restored, {}
    ).files()


@pytest.mark.full
def test_a_link_that_the_lab_can_write_is_no_problem(sound: Project) -> None:
    disk = sound.folder.parent / "disk"
    disk.mkdir()
    for name in ("data", "notebooks", "secrets"):
        (sound.folder / name).rename(disk / name)
        (sound.folder / name).symlink_to(disk / name)
    printed = doctor(sound)
    assert problems(sound) == printed["note"] == []

    (disk / "data/copy/.git").mkdir(parents=True)
    (note,) = doctor(sound)["note"]
    assert note.startswith("data/copy/.git is a git repository that code in the lab can write")
    (disk / "notebooks").chmod(0o777)
    assert "every user of this machine can write notebooks/" in "".join(problems(sound))
    shutil.rmtree(disk / "data")
    (missing,) = (line for line in problems(sound) if line.startswith("data is"))
    assert missing.startswith(f"data is a link to '{disk}/data', which is not a folder.")


@pytest.mark.full
def test_the_owner_of_a_linked_folder_is_checked_and_fixed(sound: Project) -> None:
    if os.geteuid():
        lacking("only root can give a folder away")
    disk = sound.folder.parent / "disk"
    (sound.folder / "data").rename(disk)
    (sound.folder / "data").symlink_to(disk)
    subprocess.run(["chown", "-R", "77:77", disk], check=True)
    (line,) = problems(sound)
    assert line.startswith("data/ belongs to 77:77")
    command = re.search(r"'sudo ([^']+)'", line)
    assert command
    sound.run("sh", "-c", command[1])
    assert problems(sound) == []
    assert (disk / ".gitkeep").stat().st_uid == disk.stat().st_uid != 77
