"""A file or folder that is replaced while the lab runs, and two commands that change the lab at the same time."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.doctor import problems
from tests.support.project import Project
from tests.support.refusal import answers
from tests.support.repository import ROOT
from tests.support.waiting import until
from tools.notebook import LabClient

STILL = "was replaced after the lab started, so the lab still uses the old one."


def replace(path: Path) -> None:
    """As `mv` and a copy back, `git switch` or an editor do: a new file or folder with the same content."""
    before = path.with_name(f"{path.name}.before")
    path.rename(before)
    subprocess.run(["cp", "-a", str(before), str(path)], check=True)
    (shutil.rmtree if before.is_dir() else os.remove)(before)


def named(project: Project) -> set[str]:
    return {line.split()[0] for line in problems(project) if STILL in line}


@pytest.mark.full
def test_a_replaced_folder_is_noticed_and_make_up_mounts_the_new_one(lab: Project) -> None:
    before = lab.container()["State"]["StartedAt"]
    lab.make("up")
    assert lab.container()["State"]["StartedAt"] == before  # the control: without a reason, nothing restarts

    replace(lab.folder / "data")
    files = lab.files()
    assert named(lab) == {"data"}
    assert lab.files() == files, "the check leaves a file"
    done = lab.make("up")
    assert "The lab restarts, because these files or folders were replaced: data " in done.stderr
    lab.shell("echo seen >~/data/replaced.txt")
    assert lab.read("data/replaced.txt") == "seen\n"
    (lab.folder / "data/replaced.txt").unlink()


@pytest.mark.full
def test_every_mount_is_watched(fresh_lab: Project) -> None:
    """Also git's folder, the certificates and a mount of the user's own; a file only if its content is another."""
    fresh_lab.commit()
    machines = os.environ.get("LAB_CA_BUNDLE") or ROOT / "tests/data/nobodys-ca.pem"
    shutil.copy(machines, fresh_lab.folder / "site.pem")
    fresh_lab.environment["LAB_CA_BUNDLE"] = "site.pem"
    (fresh_lab.folder / "mine").mkdir()
    (fresh_lab.folder / "compose.override.yaml").write_text(
        "x-mine: &mine ['./mine:/home/jovyan/mine', './sample.env:/home/jovyan/one.env:ro']\n"
        "services: {lab: {volumes: *mine}, server: {volumes: *mine}}\n"
    )
    fresh_lab.set_env(LAB_GIT="./.git")
    fresh_lab.make("up")
    assert named(fresh_lab) == set()
    for path in (".git", "mine", "notebooks"):
        replace(fresh_lab.folder / path)
    for path in ("site.pem", "sample.env"):
        replace(fresh_lab.folder / path)
    assert named(fresh_lab) == {".git", "mine", "notebooks"}
    with (fresh_lab.folder / "site.pem").open("a") as file:
        file.write("\n")
    assert named(fresh_lab) == {".git", "mine", "notebooks", "site.pem"}
    fresh_lab.make("up")
    assert problems(fresh_lab) == []


@pytest.mark.full
@pytest.mark.parametrize("way", [pytest.param("replaced", marks=pytest.mark.nightly), "edited"])
def test_a_new_token_works_after_make_up(fresh_lab: Project, way: str) -> None:
    old = fresh_lab.client()
    file = fresh_lab.folder / "secrets/jupyter_token"
    if way == "replaced":
        file.with_name("new").write_text("n" * 40)
        file.with_name("new").replace(file)
    else:
        file.write_text("n" * 40)
    said = "".join(problems(fresh_lab))
    assert "the lab does not accept the token in secrets/jupyter_token, because this file changed" in said
    fresh_lab.make("up")
    assert problems(fresh_lab) == []
    assert answers(fresh_lab.client()) == 200
    assert answers(LabClient(fresh_lab.client().address, old.token)) == 403


@pytest.mark.nightly
def test_other_inodes_alone_prove_nothing(lab: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker Desktop gives files other inodes. The check then looks for a new file in the folder."""
    stand_in = tmp_path / "ls"
    stand_in.write_text('#!/bin/sh\ncase $1 in -diL) echo "1 $2" ;; *) exec /bin/ls "$@" ;; esac\n')
    stand_in.chmod(0o755)
    monkeypatch.setitem(lab.environment, "PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert named(lab) == set()
    replace(lab.folder / "notebooks")
    assert named(lab) == {"notebooks"}
    monkeypatch.delitem(lab.environment, "PATH")
    lab.make("up")


# --- two commands at once ---------------------------------------------------------------------------
def ran(project: Project, *commands: str) -> list[int]:
    """The exit codes of commands that start at the same time."""
    started = [
        subprocess.Popen(command.split(), cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    return [process.wait(timeout=300) for process in started]


def change(project: Project, number: int) -> None:
    """A setting for which Compose makes new containers."""
    project.set_env(LAB_PIDS=str(500 + number))


@pytest.mark.full
def test_two_make_up_at_once_end_with_a_running_lab(fresh_lab: Project) -> None:
    for number in range(2):
        change(fresh_lab, number)
        assert ran(fresh_lab, "make up", "make up") == [0, 0]
        assert answers(fresh_lab.client()) == 200
        assert fresh_lab.container()["HostConfig"]["PidsLimit"] == 500 + number


@pytest.mark.nightly
def test_make_up_survives_plain_compose_beside_it(fresh_lab: Project) -> None:
    """Compose itself may fail, but the lab of `make up` runs."""
    for number in range(2, 6):
        change(fresh_lab, number)
        made, _ = ran(fresh_lab, "make up", "docker compose up --detach --wait")
        assert made == 0
        until(lambda: answers(fresh_lab.client()) == 200, "the lab answers")
        assert len(fresh_lab.compose("ps", "--quiet", "--status", "running").stdout.split()) == 2


@pytest.mark.nightly
def test_rotate_during_a_start_leaves_only_the_new_token(fresh_lab: Project) -> None:
    old = fresh_lab.client().token
    change(fresh_lab, 7)
    ran(fresh_lab, "make up", "make rotate")
    fresh_lab.make("up")
    lab = fresh_lab.client()
    assert lab.token != old
    assert answers(lab) == 200 and answers(LabClient(lab.address, old)) == 403
    assert problems(fresh_lab) == []
