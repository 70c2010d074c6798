"""Data that is mounted read-only: the lab starts, says so, and refuses to change it in words."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.doctor import doctor, problems
from tests.support.project import Project
from tests.support.refusal import answers, only_root, refused
from tests.support.server_probes import refusal
from tests.support.variants import beside, both, with_server
from tools.notebook import LabClient

TEXT = {"type": "file", "format": "text", "content": "new"}
WORDS = "cannot be changed, because its folder is mounted read-only"
NOTE = "{} is mounted read-only. The lab can read the files in it, but cannot change them."


def requests_to_change(path: str) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Every way to change something in `path`, a folder with kept.txt and a folder sub in it: name -> request."""
    kept = f"{path}/kept.txt"
    return {
        "save": ("PUT", kept, TEXT),
        "new file": ("POST", path, {"ext": ".txt", "type": "file"}),
        "new folder": ("POST", path, {"type": "directory"}),
        "new notebook": ("POST", path, {"type": "notebook"}),
        "upload": ("PUT", f"{path}/large.bin", TEXT | {"chunk": 1}),
        "rename": ("PATCH", kept, {"path": f"{path}/renamed.txt"}),
        "move away": ("PATCH", kept, {"path": "notebooks/kept.txt"}),
        "copy": ("POST", path, {"copy_from": kept}),
        "copy folder": ("POST", path, {"copy_from": f"{path}/sub"}),
        "checkpoint": ("POST", f"{kept}/checkpoints", {}),
        "delete": ("DELETE", kept, {}),
        "delete folder": ("DELETE", path, {}),
    }


def accepted(lab: LabClient, path: str) -> dict[str, str]:
    """What the server does not refuse with the right words."""
    sent = {
        name: refusal(lab, method, f"contents/{where}", json=data)
        for name, (method, where, data) in requests_to_change(path).items()
    }
    return {name: message for name, message in sent.items() if WORDS not in message}


def fill(folder: Path) -> None:
    (folder / "sub").mkdir(parents=True)
    (folder / "kept.txt").write_text("old")


SAVING = (
    ("return bool(pinned.statvfs(path).f_flag & os.ST_RDONLY)", "return False"),
    ("error.errno != errno.EROFS", "True"),
)


@pytest.mark.full
@pytest.mark.parametrize("spoilt", [False, True], ids=["as delivered", "the control: without the rule"])
def test_a_read_only_folder_in_data(lab: Project, tmp_path: Path, spoilt: bool) -> None:
    fill(tmp_path / "raw")
    layers = [both(volumes=[f"{tmp_path}/raw:/home/jovyan/data/raw:ro"])]
    if spoilt:
        saving = lab.read("lab/server/saving.py")
        for old, new in SAVING:
            assert old in saving
            saving = saving.replace(old, new)
        layers.append(with_server(lab, tmp_path, "saving.py", saving))
    with beside(lab, tmp_path, *layers) as twin:
        twin.serve()
        assert f"note: {NOTE.format('data/raw')}" in twin.logs()
        failed = accepted(twin.client(), "data/raw")
        assert len(failed) > 5 if spoilt else failed == {}
        link = lab.folder / "data/link"
        link.symlink_to("raw/kept.txt")
        twin.client().request("DELETE", "contents/data/link")  # the link itself is not read-only
        assert not link.is_symlink()
    assert (tmp_path / "raw/kept.txt").read_text() == "old"
    (lab.folder / "data/raw").rmdir()
    (lab.folder / "notebooks/kept.txt").unlink(missing_ok=True)


OVERRIDE = """
services:
  prepare: {volumes: &mine ["./data:/home/jovyan/data:ro", "./notebooks:/home/jovyan/notebooks:ro"]}
  server: {volumes: *mine}
  lab:
    volumes:
      - ./data:/home/jovyan/data:ro
      - ./notebooks:/home/jovyan/notebooks:ro
      - ./data:/workspace/data:ro
      - ./notebooks:/workspace/notebooks:ro
"""


@pytest.mark.nightly
def test_data_and_notebooks_that_are_read_only_and_belong_to_root(fresh_project: Project) -> None:
    """The control: in test_refusals.py, a lab that shall write such folders does not start."""
    only_root()
    fill(fresh_project.folder / "data")
    override = fresh_project.folder / "compose.override.yaml"
    override.write_text(OVERRIDE)
    fresh_project.run("chown", "-R", "0:0", "data")
    done = fresh_project.make("up")
    notes = [NOTE.format(name) for name in ("data", "notebooks")]
    assert [line for line in done.stderr.splitlines() if line.startswith("note")] == [f"note  {note}" for note in notes]
    assert doctor(fresh_project)["note"] == notes
    assert problems(fresh_project) == []
    lab = fresh_project.client()
    assert accepted(lab, "data") == {}
    assert WORDS in refusal(lab, "PUT", "contents/notebooks/new.txt", json=TEXT)
    assert lab.run("print(open('../data/kept.txt').read())") == "old\n"
    fresh_project.make("test")
    # If code can change the files by another path, the lab says so.
    override.write_text("".join(line for line in OVERRIDE.splitlines(True) if "/workspace/data" not in line))
    said = "data is mounted read-only, but code in the lab can change its files in /workspace/data."
    assert said in fresh_project.make("up").stderr


@pytest.mark.nightly
def test_secrets_that_are_read_only_and_hold_no_token(fresh_project: Project) -> None:
    override = 'services: {prepare: {volumes: ["./secrets:/run/secrets:ro"]}}\n'
    (fresh_project.folder / "compose.override.yaml").write_text(override)
    refused(fresh_project, "secrets/ is mounted read-only and contains no token. Write at least 32 random characters")
    token = fresh_project.folder / "secrets/jupyter_token"
    token.write_text("0123456789abcdef" * 2)
    assert answers(fresh_project.up()) == 200
