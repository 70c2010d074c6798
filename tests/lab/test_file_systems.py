"""The lab saves files on file systems that lack extended attributes, chmod, fsync or rename. A real error stays one."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.file_systems import bindfs, real
from tests.support.hardening import PROFILE
from tests.support.project import Project
from tests.support.refusal import only_root
from tests.support.server_probes import refusal
from tests.support.variants import beside, both, with_server
from tools.notebook import LabClient

TEXT = {"type": "file", "format": "text", "content": "old"}
NOTEBOOK = {"type": "notebook", "content": {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}}
PIECE = {"type": "file", "format": "text", "content": "piece"}
LACKING = "LACKING = {"
# Option of bindfs -> the first steps that fail if the server takes a missing operation for an error.
ODD = {
    "--xattr-none": {"save again", "last piece", "checkpoint"},
    "--chmod-deny": {"save again", "move back", "copy the folder"},
    "--rename-deny": {"save", "last piece"},
}


def steps(folder: str) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Everyday work in `folder`: name -> request."""
    file, notebook, away = f"{folder}/a.txt", f"{folder}/n.ipynb", "notebooks/away.ipynb"
    return {
        "save": ("PUT", file, TEXT),
        "save again": ("PUT", file, TEXT | {"content": "new"}),
        "first piece": ("PUT", file, PIECE | {"chunk": 1}),
        "last piece": ("PUT", file, PIECE | {"chunk": -1}),
        "notebook": ("PUT", notebook, NOTEBOOK),
        "notebook again": ("PUT", notebook, NOTEBOOK),
        "checkpoint": ("POST", f"{notebook}/checkpoints", {}),
        "restore": ("POST", f"{notebook}/checkpoints/checkpoint", {}),
        "rename": ("PATCH", notebook, {"path": f"{folder}/o.ipynb"}),
        "move away": ("PATCH", f"{folder}/o.ipynb", {"path": away}),
        "move back": ("PATCH", away, {"path": notebook}),
        "folder": ("PUT", "notebooks/parts", {"type": "directory"}),
        "file in the folder": ("PUT", "notebooks/parts/part.txt", TEXT),
        "move the folder": ("PATCH", "notebooks/parts", {"path": f"{folder}/parts"}),
        "copy the folder": ("POST", folder, {"copy_from": f"{folder}/parts"}),
        "through a link": ("PUT", f"{folder}/link.txt", TEXT | {"content": "newest"}),
        "delete": ("DELETE", notebook, {}),
    }


def failures(lab: LabClient, folder: str) -> dict[str, str]:
    """The messages of the steps that fail."""
    said = {
        name: refusal(lab, method, f"contents/{path}", json=data)
        for name, (method, path, data) in steps(folder).items()
    }
    return {name: message for name, message in said.items() if message}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Option of bindfs -> the folder that it shows."""
    folder = tmp_path_factory.mktemp("odd")
    paths = {option: folder / option.strip("-") for option in ODD}
    with bindfs(folder, *((path, option) for option, path in paths.items())):
        yield paths


@pytest.mark.full
@pytest.mark.parametrize("spoilt", [False, True], ids=["as delivered", "the control: a missing operation is an error"])
def test_work_on_file_systems_that_lack_something(
    lab: Project, odd: dict[str, Path], tmp_path: Path, spoilt: bool
) -> None:
    pinned = lab.read("lab/server/pinned.py")
    assert LACKING in pinned
    mounts = [f"{path}:/home/jovyan/data/{path.name}" for path in odd.values()]
    layers = [both(volumes=mounts)]
    if spoilt:
        layers.append(with_server(lab, tmp_path, "pinned.py", pinned.replace(LACKING, "LACKING = set() and {")))
    with beside(lab, tmp_path, *layers) as twin:
        twin.serve()
        for option, path in odd.items():
            for left in real(path).iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            (real(path) / "link.txt").symlink_to("a.txt")
            failed = failures(twin.client(), f"data/{path.name}")
            assert ODD[option] <= failed.keys() if spoilt else not failed, (option, failed)
            if not spoilt:
                assert (real(path) / "a.txt").read_text() == "newest"
                assert not list(real(path).glob(".~*"))
        if not spoilt:
            keeps_the_mode(twin, odd["--chmod-deny"])
    for path in odd.values():
        (lab.folder / "data" / path.name).rmdir()
    for left in lab.folder.glob("notebooks/parts"):
        shutil.rmtree(left)
    for left in lab.folder.glob("notebooks/*away*"):
        left.unlink()


def keeps_the_mode(lab: Project, folder: Path) -> None:
    """A new file would get another mode, and chmod is refused: so the server overwrites the old file."""
    (real(folder) / "a.txt").chmod(0o600)
    lab.client().request("PUT", f"contents/data/{folder.name}/a.txt", json=TEXT)
    assert (real(folder) / "a.txt").read_text() == "old"
    assert (real(folder) / "a.txt").stat().st_mode & 0o777 == 0o600
    assert "a.txt directly" in lab.logs()


# --- fsync ----------------------------------------------------------------------------------------
def without_fsync(folder: Path, number: int) -> dict[str, Any]:
    """A layer whose seccomp profile answers every fsync with the error `number`."""
    profile = deepcopy(PROFILE)
    for rule in profile["syscalls"]:
        rule["names"] = [name for name in rule["names"] if name != "fsync"]
    profile["syscalls"].append({"names": ["fsync"], "action": "SCMP_ACT_ERRNO", "errnoRet": number})
    (folder / "seccomp.json").write_text(json.dumps(profile))
    return both(security_opt=[f"seccomp={folder / 'seccomp.json'}"])


@pytest.mark.full
@pytest.mark.parametrize(
    ("number", "saves"),
    [
        pytest.param(errno.EINVAL, True, id="no fsync"),
        pytest.param(errno.EIO, False, id="a broken disk"),
        pytest.param(errno.ENOSPC, False, id="a full disk", marks=pytest.mark.nightly),
    ],
)
def test_a_missing_fsync_is_ignored_but_a_failed_one_is_not(
    lab: Project, tmp_path: Path, number: int, saves: bool
) -> None:
    with beside(lab, tmp_path, without_fsync(tmp_path, number)) as twin:
        twin.serve()
        folder = lab.folder / "data"
        for name in ("link.txt", "a.txt"):
            (folder / name).unlink(missing_ok=True)
        (folder / "link.txt").symlink_to("a.txt")
        failed = failures(twin.client(), "data")
        assert bool(failed) is not saves, failed
        if not saves:
            assert os.strerror(number) in failed["save"]
        twin.shell("cd ~/data; rm -rf link.txt a.txt n.ipynb .ipynb_checkpoints parts* ../notebooks/parts")


@pytest.fixture
def closed(lab: Project) -> Iterator[Path]:
    """A folder that the lab can write but not list. The server cannot open it, so fsync is not possible."""
    only_root()
    folder = lab.folder / "data/closed"
    folder.mkdir()
    os.chown(folder, 1000, 1000)
    folder.chmod(0o300)
    yield folder
    shutil.rmtree(folder)


def test_a_folder_that_the_lab_can_write_but_not_list(lab: Project, closed: Path) -> None:
    for text in ("old", "new"):
        lab.client().request("PUT", "contents/data/closed/a.txt", json=TEXT | {"content": text})
    assert (closed / "a.txt").read_text() == "new"
    assert [path.name for path in closed.iterdir()] == ["a.txt"]


@pytest.mark.full
def test_control_without_the_rule_saving_in_that_folder_fails(lab: Project, closed: Path, tmp_path: Path) -> None:
    pinned = lab.read("lab/server/pinned.py").replace(LACKING, "LACKING = set() and {")
    with beside(lab, tmp_path, with_server(lab, tmp_path, "pinned.py", pinned)) as twin:
        twin.serve()
        with pytest.raises(requests.HTTPError, match="403"):
            twin.client().request("PUT", "contents/data/closed/a.txt", json=TEXT)
