"""Paths that lead out of home, in many spellings.

Every request carries the token. A notebook kernel can read these files anyway. These tests try links that an attacker
sends to a user, and a hostile folder in a mount.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.network import SILENT, Answer, Route, bearer, contents, send, sweep
from tests.support.project import Project
from tests.support.variants import beside
from tools.notebook import LabClient

UP = 12  # more than the depth of any file in the image
# The content of each file outside home.
OUTSIDE = {
    "etc/passwd.image": b"root:x:0:0:",
    "opt/labdock/entrypoint.sh": b"Checks settings, ids, mounts and token",
    "tmp/outside.txt": b"kept outside of home",
}
MINE = "kept in the lab"
TEXT = {"type": "file", "format": "text", "content": "made by an attack"}

# Spellings of a path from the root that a careless server follows.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "../": lambda path: "../" * UP + path,
    "data/../": lambda path: "data/" + "../" * UP + path,
    "%2e%2e/": lambda path: "%2e%2e/" * UP + path,
    "..%2f": lambda path: "..%2f" * UP + path.replace("/", "%2f"),
    "%2e%2e%2f": lambda path: "%2e%2e%2f" * UP + path,
    "%252e%252e%252f": lambda path: "%252e%252e%252f" * UP + path,
    "..\\": lambda path: "..\\" * UP + path.replace("/", "\\"),
    "..%5c": lambda path: "..%5c" * UP + path.replace("/", "%5c"),
    "%c0%ae%c0%ae/": lambda path: "%c0%ae%c0%ae/" * UP + path,
    "..%c0%af": lambda path: "..%c0%af" * UP + path,
    "%ef%bc%8e%ef%bc%8e/": lambda path: "%ef%bc%8e%ef%bc%8e/" * UP + path,
    "....//": lambda path: "....//" * UP + path,
    "..;/": lambda path: "..;/" * UP + path,
    "../ and %00 after the path": lambda path: "../" * UP + path + "%00.ipynb",
    "a second slash at the start": lambda path: "/" + path,
    "%2f at the start": lambda path: "%2f" + path.replace("/", "%2f"),
    "file:///": lambda path: "file:///" + path,
    "~root/../": lambda path: "~root/../" + path,
    "../../proc/self/root/": lambda path: "../../proc/self/root/" + path,
}


@pytest.fixture(scope="module", autouse=True)
def outside(lab: Project) -> Iterator[None]:
    """A file in /tmp with a known text. The tests search for this text."""
    lab.shell(f"printf %s '{OUTSIDE['tmp/outside.txt'].decode()}' >/tmp/outside.txt")
    yield
    lab.shell("rm /tmp/outside.txt")


def open_ended(routes: list[Route]) -> list[Route]:
    """The routes that take any path, except the route for licences, which never answers."""
    return [route for route in routes if route.path("a") != route.path("b") and route.pattern != SILENT]


@pytest.mark.attack("Read a file outside home through every route that takes a path", "The server sends no file.")
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_file_outside_home_is_sent(target: LabClient, registered: list[Route], spelling: str) -> None:
    read = {
        (route.pattern, path)
        for path, held in OUTSIDE.items()
        for route, _, answer in sweep(
            target, open_ended(registered), ["GET"], [bearer(target)], rest=SPELLINGS[spelling](path)
        )
        if held in answer.body
    }
    assert read == set()
    assert target.request("GET", "status").status_code == 200


def test_a_lab_that_serves_everything_is_noticed(careless: LabClient, registered: list[Route]) -> None:
    """The control: the careless lab reads files anywhere."""
    (path, held), *_ = OUTSIDE.items()
    routes = [route for route in open_ended(registered) if route.pattern.startswith(("/files", "/api/contents"))]
    for spelling in ("../", "..%2f", "%2f at the start"):
        answers = sweep(careless, routes, ["GET"], rest=SPELLINGS[spelling](path))
        found = {route.pattern.partition("(")[0] for route, _, answer in answers if held in answer.body}
        assert found == {"/files/", "/api/contents"}


def ways(lab: LabClient, place: str) -> dict[str, Answer]:
    """The answers to each way of writing to `place`, a path from home. `data/inside.txt` exists."""
    return {
        "save": contents(lab, "PUT", place, TEXT),
        "save in pieces": contents(lab, "PUT", place, {**TEXT, "chunk": 1}),
        "make a folder": contents(lab, "PUT", place, {"type": "directory"}),
        "make a file in it": contents(lab, "POST", place, {"type": "file"}),
        "rename": contents(lab, "PATCH", "data/inside.txt", {"path": unquote(place)}),
        "copy": contents(lab, "POST", place, {"copy_from": "data/inside.txt"}),
        "copy a folder": contents(lab, "POST", place, {"copy_from": "data/folder"}),
        "delete": contents(lab, "DELETE", place),
    }


@pytest.fixture(scope="module")
def data(lab: Project) -> Iterator[Path]:
    """The lab's data/ with files and a folder of the lab's user. Afterwards they are deleted."""
    listing = "ls -A -I .ipynb_checkpoints ~ /tmp ~/data"
    before = lab.shell(listing)
    files = "inside.txt folder/file.txt .hidden.txt"
    lab.shell(f"cd ~/data && mkdir folder && for file in {files}; do printf %s '{MINE}' >$file; done")
    yield lab.folder / "data"
    lab.shell("cd ~/data && rm -rf folder* inside* .hidden.txt .ipynb_checkpoints")
    assert lab.shell(listing) == before


PLACES = {
    "a path outside home: ../../tmp/new": "../../tmp/new",
    "the same through a mount: data/../../../tmp/new": "data/../../../tmp/new",
    "another user's home: ../jovyan-other/new": "../jovyan-other/new",
    "home: new": "new",
    "home through a mount: data/../new": "data/../new",
    "a name that starts with a mount's name: data-secret": "data-secret",
    "a hidden file in home: .bashrc": ".bashrc",
    "a hidden folder in home: .ssh/authorized_keys": ".ssh/authorized_keys",
    "a hidden file in a mount: data/.hidden.txt": "data/.hidden.txt",
    "a null byte: data/new%00.txt": "data/new%00.txt",
}


@pytest.mark.attack("Save, create, rename, copy and delete files outside the mounts", "400 or 404")
@pytest.mark.parametrize("place", PLACES)
def test_no_file_outside_the_mounts_is_written(target: LabClient, data: Path, place: str) -> None:
    answers = ways(target, PLACES[place])
    assert {way: answer.status for way, answer in answers.items() if answer.status not in (400, 404)} == {}
    assert (data / "inside.txt").read_text() == (data / ".hidden.txt").read_text() == MINE


@pytest.mark.full
@pytest.mark.attack("Read a folder next to home whose name starts with the name of home", "404 or 403")
def test_a_folder_with_a_similar_name_is_not_home(lab: Project, tmp_path: Path) -> None:
    almost = {"services": {"lab": {"tmpfs": ["/home/jovyan-other:mode=1777,size=1m"]}}}
    with beside(lab, tmp_path, almost) as twin:
        twin.serve()
        assert twin.shell(f"echo '{MINE}' >/home/jovyan-other/file && cat ~/../jovyan-other/file").strip() == MINE
        for page in ("/api/contents/", "/files/", "/view/"):
            answer = send(twin.client(), "GET", f"{page}../jovyan-other/file", [bearer(twin.client())])
            assert answer.status in (403, 404) and MINE.encode() not in answer.body


HIDDEN = {
    "data/.hidden.txt": "{data}/.hidden.txt",
    "data/%2ehidden.txt": "{data}/%2ehidden.txt",
    "data/./.hidden.txt": "{data}/./.hidden.txt",
    "data/folder/../.hidden.txt": "{data}/folder/../.hidden.txt",
    "data//.hidden.txt": "{data}//.hidden.txt",
    "data%2f.hidden.txt": "{data}%2f.hidden.txt",
}


@pytest.mark.attack(
    "Read a hidden file in a mount through every route that takes a path",
    "The server sends no hidden file and lists none.",
)
@pytest.mark.parametrize("spelling", HIDDEN)
def test_no_hidden_file_is_sent(target: LabClient, data: Path, registered: list[Route], spelling: str) -> None:
    path = HIDDEN[spelling].format(data="data")
    answers = sweep(target, open_ended(registered), ["GET"], [bearer(target)], rest=path)
    assert {route.pattern for route, _, answer in answers if MINE.encode() in answer.body} == set()
    listed = {entry["name"] for entry in contents(target, "GET", "data").json()["content"]}
    assert listed == {"inside.txt", "folder"}


def test_a_lab_that_hides_nothing_is_noticed(careless: LabClient, data: Path) -> None:
    """The control: the careless lab shows hidden files in each spelling, except one that no route accepts."""
    paths = {how: HIDDEN[how].format(data="home/jovyan/data") for how in HIDDEN if how != "data//.hidden.txt"}
    assert {how for how, path in paths.items() if MINE.encode() in contents(careless, "GET", path).body} == set(paths)
