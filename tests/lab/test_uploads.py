"""A large file comes in pieces: the old one stays until the last of them is there."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.project import Project
from tests.support.server_probes import refusal
from tests.support.variants import beside, with_server
from tests.support.waiting import crash
from tools.notebook import LabClient

PATH = "contents/data/large.bin"
PIECES = [letter * 1_000_000 for letter in (b"a", b"b", b"c")]
MANAGER = 'c.ServerApp.contents_manager_class = "contents.MountedContents"\n'


def piece(number: int, data: bytes) -> dict[str, Any]:
    """Piece `number` of an upload, as the browser sends it; -1 is the last."""
    return {"type": "file", "format": "base64", "chunk": number, "content": base64.b64encode(data).decode()}


def send(lab: LabClient, number: int, data: bytes, path: str = PATH) -> dict[str, Any]:
    return lab.request("PUT", path, json=piece(number, data)).json()


def left(file: Path) -> list[str]:
    """What uploads have left in the folder of `file`."""
    return [path.name for path in file.parent.iterdir() if path.name.endswith(".saving")]


@pytest.fixture
def file(lab: Project) -> Iterator[Path]:
    """A file in data/ that the lab wrote."""
    path = lab.folder / "data/large.bin"
    lab.client().request("PUT", PATH, json={"type": "file", "format": "text", "content": "old"})
    yield path
    path.unlink(missing_ok=True)
    for name in left(path):
        path.with_name(name).unlink()


@contextmanager
def running(lab: Project, folder: Path, *layers: dict[str, Any]) -> Iterator[Project]:
    with beside(lab, folder, *layers) as twin:
        twin.serve()
        yield twin


def test_the_old_file_stays_until_the_last_piece(lab: Project, file: Path) -> None:
    file.chmod(0o640)
    for number, data in zip((1, 2), PIECES, strict=False):
        model = send(lab.client(), number, data)
        assert (model["name"], model["path"], model["type"]) == ("large.bin", "data/large.bin", "file")
        assert file.read_text() == "old"
    model = send(lab.client(), -1, PIECES[2])
    assert model["size"] == 3_000_000
    assert file.read_bytes() == b"".join(PIECES)
    assert file.stat().st_mode & 0o7777 == 0o640
    assert left(file) == []


def test_pieces_of_text_and_a_new_file(lab: Project, file: Path) -> None:
    file.unlink()
    for number, text in ((1, "Größe: "), (-1, "5 µm")):
        lab.client().request("PUT", PATH, json=piece(number, b"") | {"format": "text", "content": text})
    assert file.read_text(encoding="utf-8") == "Größe: 5 µm"


@pytest.mark.parametrize("numbers", [[0], [1, 3], [1, 2, 2], [2], [-1], [1, "x"]], ids=str)
def test_a_missing_piece_is_noticed(lab: Project, file: Path, numbers: list[Any]) -> None:
    *before, wrong = numbers
    for number in before:
        send(lab.client(), number, b"a")
    assert f"Piece {wrong} of 'data/large.bin' came instead of" in refusal(
        lab.client(), "PUT", PATH, json=piece(wrong, b"b")
    )
    assert file.read_text() == "old"
    assert left(file) == []


@pytest.mark.parametrize("wrong", [{"type": "notebook"}, {"content": None}, {"content": "x"}], ids=str)
def test_what_is_no_piece_is_refused(lab: Project, file: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(requests.HTTPError, match="400"):
        lab.client().request("PUT", PATH, json=piece(1, b"a") | wrong)
    assert file.read_text() == "old" and left(file) == []


def test_an_upload_to_a_folder_that_is_gone_says_so(lab: Project) -> None:
    said = refusal(lab.client(), "PUT", "contents/data/gone/new.bin", json=piece(1, b"a"))
    assert said == "'data/gone/new.bin' was not saved: No such file or directory."


def test_an_upload_that_starts_again_clears_the_first_away(lab: Project, file: Path) -> None:
    send(lab.client(), 1, PIECES[0])
    send(lab.client(), 1, PIECES[1])
    assert len(left(file)) == 1
    send(lab.client(), -1, PIECES[2])
    assert file.read_bytes() == PIECES[1] + PIECES[2] and left(file) == []


def test_an_upload_to_a_link_stays_a_link(lab: Project, file: Path) -> None:
    (link := file.with_name("link.bin")).symlink_to(file.name)
    try:
        for number in (1, -1):
            send(lab.client(), number, b"new", "contents/data/link.bin")
        assert link.is_symlink() and file.read_text() == "newnew" and left(file) == []
    finally:
        link.unlink()


# --- after a crash, a full disk or a closed browser ---------------------------------------------
@pytest.mark.full
def test_a_crash_between_pieces_leaves_the_old_file(lab: Project, file: Path, tmp_path: Path) -> None:
    with running(lab, tmp_path) as twin:
        for number in (1, 2):
            send(twin.client(), number, PIECES[0])
        crash(twin)
        assert file.read_text() == "old"
        assert len(left(file)) == 1
        assert "Upload the file again" in refusal(twin.client(), "PUT", PATH, json=piece(3, b"c"))
        for number, data in zip((1, 2, -1), PIECES, strict=True):
            send(twin.client(), number, data)
        assert file.read_bytes() == b"".join(PIECES)
        assert left(file) == []
        # A normal stop is not a crash: the server then deletes the pieces that it has collected.
        send(twin.client(), 1, b"a")
        twin.compose("stop", "server")
        assert left(file) == []


@pytest.mark.full
def test_control_a_stock_server_leaves_a_part_of_the_file(lab: Project, file: Path, tmp_path: Path) -> None:
    """The control: Jupyter's own file manager writes each piece into the old file, and accepts any order."""
    config = lab.read("lab/server/jupyter_server_config.py")
    assert MANAGER in config
    stock = with_server(lab, tmp_path, "jupyter_server_config.py", config.replace(MANAGER, ""))
    with running(lab, tmp_path, stock) as twin:
        for number in (1, 2):
            send(twin.client(), number, PIECES[0])
        crash(twin)
        assert file.read_bytes() == PIECES[0] * 2
        assert refusal(twin.client(), "PUT", PATH, json=piece(4, b"c")) == ""


@pytest.mark.full
def test_a_full_disk_and_an_upload_that_was_given_up(lab: Project, file: Path, tmp_path: Path) -> None:
    contents = lab.read("lab/server/contents.py")
    assert "GIVEN_UP = 3600" in contents
    soon = with_server(lab, tmp_path, "contents.py", contents.replace("GIVEN_UP = 3600", "GIVEN_UP = -1"))
    disk = {"services": {"server": {"tmpfs": ["/home/jovyan/data/disk:size=4m,mode=1777"]}}}
    on_disk = "contents/data/disk/large.bin"
    with running(lab, tmp_path, soon, disk) as twin:
        twin.client().request("PUT", on_disk, json={"type": "file", "format": "text", "content": "old"})
        send(twin.client(), 1, PIECES[0], on_disk)
        said = [refusal(twin.client(), "PUT", on_disk, json=piece(number, 4 * PIECES[1])) for number in (2, 3)]
        assert said[0] == "'data/disk/large.bin' was not saved: No space left on device."
        assert "Upload the file again" in said[1]
        names = twin.shell("ls -A /home/jovyan/data/disk", "server")
        assert names == "large.bin\n"
        # Another upload begins, long after the last piece of the first.
        send(twin.client(), 1, PIECES[0])
        send(twin.client(), 1, PIECES[0], "contents/data/other.bin")
        assert [name.startswith(".~other.bin.") for name in left(file)] == [True]
    (lab.folder / "data/disk").rmdir()
