"""Symbolic links and named pipes that a notebook or an archive left in a mount.

A notebook kernel follows a link inside the container. The server follows a link only to data/ and notebooks/. Neither
ever reads the file with this path on the host.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.network import bearer, contents, send
from tests.support.project import Project
from tests.support.server_probes import typed
from tests.support.variants import beside, both
from tools.notebook import LabClient, execute, text

TEXT = {"type": "file", "format": "text", "content": "made by an attack"}
SECRET = "kept on the host"
PAGES = ("/api/contents/", "/files/", "/view/", "/nbconvert/html/", "/edit/")


@pytest.fixture(scope="module")
def on_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the host that is not mounted."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "file.txt").write_text(SECRET)
    return folder


@pytest.fixture(scope="module")
def links(lab: Project, on_host: Path) -> Iterator[Path]:
    """The folder data/links with links to other places and a named pipe, made by the lab's user."""
    script = f"""
mkdir ~/data/links && cd ~/data/links
ln -s '{on_host}' host && ln -s '{on_host}/file.txt' file.txt && ln -s ../../secrets sibling
ln -s /etc etc && ln -s /opt/labdock image && ln -s /run/secrets secrets && ln -s /etc/passwd.image passwd
mkfifo pipe.ipynb && mkfifo pipe.txt && ln pipe.txt hard.txt && ln -s pipe.txt soft.txt
mkdir .ipynb_checkpoints && mkfifo .ipynb_checkpoints/saved-checkpoint.txt
"""
    lab.shell(script)
    yield lab.folder / "data/links"
    lab.shell("rm -rf ~/data/links* ~/data/passwd*")


HOST = ("host/file.txt", "file.txt", "sibling/jupyter_token")


@pytest.mark.attack(
    "Read and save through a link to a file of the host",
    "404. The container has no such file, and the host's file does not change.",
)
@pytest.mark.parametrize("path", HOST)
def test_links_do_not_lead_to_files_of_the_host(target: LabClient, links: Path, on_host: Path, path: str) -> None:
    token = target.token
    assert (links / path).read_text().strip() in (SECRET, token)  # the control: on the host, the link leads there
    for page in PAGES:
        answer = send(target, "GET", f"{page}data/links/{path}", [bearer(target)])
        assert SECRET.encode() not in answer.body
        assert page != "/api/contents/" or answer.status in (400, 404)
    saved = contents(target, "PUT", f"data/links/{path}", TEXT)
    assert saved.status >= 400
    assert (on_host / "file.txt").read_text() == SECRET
    assert (links.parent.parent / "secrets/jupyter_token").read_text().strip() == token


@pytest.mark.attack(
    "Read and save through a link to a file of the image",
    "400 or 404. The server reads and saves nothing. You can delete the link.",
)
def test_links_do_not_lead_to_files_of_the_image(target: LabClient, lab: Project, links: Path) -> None:
    refused = contents(target, "GET", "data/links/passwd")
    said = "'data/links/passwd' is a link that leads out of notebooks/ and data/. Remove the link."
    assert (refused.status, refused.json()["message"]) == (400, said)
    for path in ("etc/shadow", "etc/passwd.image", "secrets/jupyter_token"):
        assert contents(target, "GET", f"data/links/{path}").status == 404
    before = lab.shell("sha256sum /etc/passwd.image")
    for path in ("passwd", "etc/new.txt", "image/contents.py", "secrets/jupyter_token"):
        assert contents(target, "PUT", f"data/links/{path}", TEXT).status == 400
    assert lab.shell("sha256sum /etc/passwd.image") == before
    assert send(target, "GET", "/files/data/links/passwd", [bearer(target)]).status == 403
    assert contents(target, "DELETE", "data/links/passwd").status == 204
    assert lab.shell("sha256sum /etc/passwd.image") == before


def test_links_lead_to_other_places_in_the_mounts(target: LabClient, lab: Project, links: Path) -> None:
    """The control: a link, relative or absolute, to a file or folder in a mount works everywhere."""
    lab.shell(f"mkdir ~/data/links/real ~/notebooks/ways && printf {TEXT['content'][:4]} >~/data/links/real/file.txt")
    lab.shell("cd ~/notebooks/ways && ln -s ../../data/links/real folder && ln -s ~/data/links/real/file.txt file.txt")
    try:
        for path in ("folder/file.txt", "file.txt"):
            assert contents(target, "GET", f"notebooks/ways/{path}").json()["content"] == "made"
            assert send(target, "GET", f"/files/notebooks/ways/{path}", [bearer(target)]).body == b"made"
            assert contents(target, "PUT", f"notebooks/ways/{path}", {**TEXT, "content": "made"}).status == 200
        listed = contents(target, "GET", "notebooks/ways/folder").json()["content"]
        assert [entry["name"] for entry in listed] == ["file.txt"]
    finally:
        lab.shell("rm -r ~/notebooks/ways")


@pytest.mark.attack(
    "Copy a folder that contains links to other places",
    "The server copies the links, not the files that they lead to.",
)
def test_a_copied_folder_keeps_its_links(target: LabClient, lab: Project, links: Path) -> None:
    lab.shell("mkdir ~/data/links/folder && cd ~/data/links/folder && ln -s /run/secrets secrets && ln -s / root")
    copy = contents(target, "POST", "data/links", {"copy_from": "data/links/folder"})
    assert copy.status == 201
    copied = links.parent.parent / copy.json()["path"]
    assert {path.name: str(path.readlink()) for path in copied.iterdir()} == {"secrets": "/run/secrets", "root": "/"}


def test_jupyters_own_copy_follows_links(careless: LabClient, lab: Project, links: Path) -> None:
    """The control: Jupyter's own file manager copies the token into the mount."""
    lab.shell("mkdir ~/data/links/stock && ln -s /run/secrets ~/data/links/stock/secrets")
    home = "home/jovyan/data/links"
    copy = contents(careless, "POST", home, {"copy_from": f"{home}/stock"})
    assert copy.status == 201
    copied = links / copy.json()["name"] / "secrets"
    assert not copied.is_symlink() and (copied / "jupyter_token").exists()


@pytest.mark.attack(
    "Open, list, copy and convert a named pipe with the name of a notebook",
    "The server does not wait for data from the pipe.",
)
def test_a_named_pipe_does_not_stop_the_server(target: LabClient, links: Path) -> None:
    pipe = "data/links/pipe.ipynb"
    asked = {page: send(target, "GET", page + pipe, [bearer(target)], timeout=10).status for page in PAGES}
    asked["copy"] = contents(target, "POST", "data/links", {"copy_from": pipe}).status
    asked["checkpoint"] = contents(target, "POST", f"{pipe}/checkpoints").status
    asked["trust"] = contents(target, "POST", f"{pipe}/trust").status
    asked["list"] = contents(target, "GET", "data/links").status
    assert {how: status for how, status in asked.items() if not status} == {}
    assert target.request("GET", "status").status_code == 200


@pytest.mark.attack(
    "Save to a named pipe, or save a file whose checkpoint is a named pipe",
    "The server does not wait for a reader of the pipe. It refuses to save to the pipe.",
)
def test_a_save_to_a_named_pipe_does_not_stop_the_server(target: LabClient, links: Path) -> None:
    for name in ("pipe.txt", "hard.txt", "soft.txt"):
        refused = contents(target, "PUT", f"data/links/{name}", TEXT)
        assert refused.status == 403 and "is not a regular file" in refused.json()["message"]
    for _ in range(2):
        assert contents(target, "PUT", "data/links/saved.txt", TEXT).status in (200, 201)
        assert contents(target, "POST", "data/links/saved.txt/checkpoints").status == 201
    assert (links / ".ipynb_checkpoints/saved-checkpoint.txt").read_text() == TEXT["content"]


# What the control replaces with Jupyter's own functions, which look at the server's folders.
KERNELS = ("lab_kernels.py", "def cwd_for_path(")
TERMINALS = ("lab_terminals.py", "api_handlers.Path = Folder\n")


def folders(lab: LabClient, name: str) -> tuple[str, str]:
    """The folders in which a new kernel and a new terminal start, if the browser asks for data/`name`."""
    with lab.kernel(f"data/{name}") as kernel:
        kernels = text(execute(kernel, "import os; print(os.getcwd())")).strip()
    (terminals,) = re.findall("@(/.*)@", typed(lab, "echo @$PWD@", cwd=f"data/{name}"))
    return kernels, terminals


@pytest.mark.attack(
    "Open a kernel or a terminal in a linked folder, to learn which folders exist in the server's container",
    "The server does not follow the link. The folder depends on the container lab only.",
)
@pytest.mark.parametrize("delivered", [True, False], ids=["as delivered", "the control: Jupyter's own functions"])
def test_a_kernels_folder_tells_nothing_about_the_server(lab: Project, tmp_path: Path, delivered: bool) -> None:
    changed = []
    for file, line in () if delivered else (KERNELS, TERMINALS):
        source = lab.read(f"lab/server/{file}")
        assert line in source
        (tmp_path / file).write_text(source.replace(line, "def unused(" if "(" in line else ""))
        changed.append(f"{tmp_path / file}:/opt/labdock/{file}:ro")
    with beside(lab, tmp_path, both(volumes=changed)) as twin:
        twin.serve()
        twin.shell("mkdir /tmp/both", "server")
        twin.shell("mkdir /tmp/both /tmp/one; ln -s /tmp/both /tmp/one ~/data")
        try:
            found = {name: folders(twin.client(), name) for name in ("both", "one", "missing")}
        finally:
            twin.shell("rm ~/data/both ~/data/one")
    assert found["both"] == ("/tmp/both", "/tmp/both")
    assert found["one"] == (("/tmp/one", "/tmp/one") if delivered else ("/home/jovyan/data", "/home/jovyan"))
    assert found["missing"] == ("/home/jovyan/data", "/home/jovyan/data" if delivered else "/home/jovyan")
