"""`make env`: whose ids it takes, and that it overwrites nothing."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import Project, Render
from tests.support.requirements import lacking

SOMEBODY = 1234  # no user of this machine


def settings(project: Project) -> dict[str, str]:
    """The lines of .env; the last of a name counts."""
    lines = (line.partition("=") for line in project.read(".env").splitlines() if re.match(r"\w+=", line))
    return {name: value for name, _, value in lines}


@pytest.fixture
def given_away(project: Project) -> Iterator[Project]:
    """A project in a folder that everybody reaches, and that belongs to somebody."""
    if os.geteuid():
        lacking("only root can give a folder away")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(project.folder, f"{folder}/lab")
        subprocess.run(["chown", "-R", f"{SOMEBODY}:{SOMEBODY + 1}", folder], check=True)
        yield Project(Path(folder, "lab"), project.answers)


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


def test_env_takes_the_callers_ids(given_away: Project) -> None:
    somebody = ("setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY + 1}", "--clear-groups")
    given_away.run(*somebody, "make", "env")
    assert settings(given_away)["LAB_UID"] == "1234"
    assert settings(given_away)["LAB_GID"] == "1235"
    assert owner(given_away.folder / ".env") == (1234, 1235)


@pytest.mark.parametrize(
    ("sudo", "folders_owner", "ids"),
    [
        ({"SUDO_UID": "4321", "SUDO_GID": "4322"}, "0:0", (4321, 4322)),
        ({}, f"{SOMEBODY}:{SOMEBODY + 1}", (1234, 1235)),
        ({}, "0:0", (1000, 1000)),
        ({"SUDO_UID": "0", "SUDO_GID": "0"}, f"{SOMEBODY}:{SOMEBODY + 1}", (1000, 1000)),
    ],
    ids=["sudo", "the folder's owner", "the first user", "root behind sudo"],
)
def test_env_by_root_hands_over_what_the_lab_writes(
    given_away: Project, sudo: dict[str, str], folders_owner: str, ids: tuple[int, int]
) -> None:
    given_away.run("chown", "-R", folders_owner, ".")
    Path(given_away.folder / "data/measured").mkdir()
    elsewhere = given_away.folder / "README.md"
    elsewhere.touch()
    os.chown(elsewhere, 77, 77)
    Path(given_away.folder / "data/link").symlink_to("../README.md")
    given_away.environment.update(sudo)
    said = given_away.make("env").stdout
    assert f"the lab will run as {ids[0]}:{ids[1]}" in said
    for name in (".env", "data", "data/measured", "notebooks", "notebooks/iris.ipynb", "secrets"):
        assert owner(given_away.folder / name) == ids, name
    assert owner(elsewhere) == (77, 77)  # chown does not follow the link out of the folder
    assert (int(settings(given_away)["LAB_UID"]), int(settings(given_away)["LAB_GID"])) == ids


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_env_never_overwrites(project: Project, kind: str) -> None:
    env = project.folder / ".env"
    if kind == "file":
        env.write_bytes(b"LAB_UID=7\r\nMINE='kept'")
    else:
        env.symlink_to("elsewhere")
    before = project.files()
    assert "already exists and was not changed" in project.make("env").stdout
    assert project.files() == before
    assert env.is_symlink() or env.read_bytes() == b"LAB_UID=7\r\nMINE='kept'"


def test_env_leaves_no_half_written_file(project: Project) -> None:
    (project.folder / "sample.env").unlink()
    assert project.make("env", check=False).returncode != 0
    assert not {name for name in project.files() if name.startswith(".env")}


def test_env_gives_each_checkout_its_name_and_changes_nothing_else(render: Render, tmp_path: Path) -> None:
    found, ports = [], set()
    for parent in ("one", "two"):
        project = render(folder=tmp_path / parent / "lab")
        project.run("make", "-C", str(project.folder), "env")
        sample = project.read("sample.env")
        own = {"LAB_NAME", "LAB_UID", "LAB_GID", "JUPYTER_PORT"}
        changed = {
            a.split("=")[0]
            for a, b in zip(sample.splitlines(), project.read(".env").splitlines(), strict=True)
            if a != b
        }
        assert {"LAB_NAME"} <= changed <= own
        found.append(settings(project)["LAB_NAME"])
        ports.add(settings(project)["JUPYTER_PORT"])
        assert re.fullmatch(r"iris-study-[0-9a-f]{6}", found[-1])
    assert found[0] != found[1] and ports != {"8888"}  # one folder in a thousand gets this port by chance


def test_make_works_from_another_folder(project: Project, tmp_path: Path) -> None:
    subprocess.run(["make", "-C", str(project.folder), "env"], cwd=tmp_path, check=True, capture_output=True)
    assert (project.folder / ".env").exists()
    assert not list(tmp_path.glob(".env*"))
