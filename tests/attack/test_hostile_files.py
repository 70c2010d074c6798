"""A user opens, saves and restores notebooks and checkpoints from another person."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.project import Project
from tests.support.server_probes import refusal
from tests.support.variants import beside, with_server
from tools.notebook import execute

EVIL = "<script>window.parent.document.title = 'gotcha'</script>"
OUTPUT = {"output_type": "display_data", "metadata": {}, "data": {"text/html": EVIL, "application/javascript": EVIL}}
CELL = {
    "cell_type": "code", "id": "a", "execution_count": 1, "source": "open('ran', 'w')", "outputs": [OUTPUT],
    "metadata": {"trusted": True, "tags": ["init_cell"], "init_cell": True},
}  # fmt: skip
NOTEBOOK: dict[str, Any] = {
    "cells": [CELL],
    "metadata": {
        "trusted": True, "signature": "sha256:" + 64 * "0",
        "kernelspec": {"name": "evil", "display_name": "Python 3", "argv": ["sh", "-c", "touch ran"]},
    },
    "nbformat": 4, "nbformat_minor": 5,
}  # fmt: skip
MALFORMED = {
    "text that is not JSON": "{'cells': [",
    "a JSON list": "[]",
    "an empty file": "",
    "bytes that are not text": b"\xff\xfe\x00",
    "text as the version number": '{"cells": [], "metadata": {}, "nbformat": "4; ls"}',
    "version 99 of the format": json.dumps({**NOTEBOOK, "nbformat": 99}),
    "an unknown cell type": json.dumps({**NOTEBOOK, "cells": [{"cell_type": "shell", "source": ["ls"]}]}),
    "100,000 nested lists": '{"cells":'
    + 100_000 * "["
    + 100_000 * "]"
    + ', "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
    "20,000 cells": json.dumps(
        {**NOTEBOOK, "cells": [{**CELL, "id": f"c{i}", "source": "x" * 1000} for i in range(20_000)]}
    ),
}


@pytest.fixture
def folder(lab: Project) -> Iterator[Path]:
    """A folder from another person below notebooks/. It is deleted afterwards."""
    path = lab.folder / "notebooks/stranger"
    path.mkdir()
    own(path)
    yield path
    shutil.rmtree(path)


def own(*paths: Path) -> None:
    """Give files of the tests to the lab's user."""
    for path in paths:
        folder = next(parent for parent in path.parents if parent.name == "notebooks").stat()
        os.chown(path, folder.st_uid, folder.st_gid, follow_symlinks=False)


def put(path: Path, content: str | bytes | dict[str, Any] = NOTEBOOK) -> None:
    text = json.dumps(content) if isinstance(content, dict) else content
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    own(path)


def seen(lab: Project, path: str) -> dict[str, Any]:
    return lab.client().request("GET", f"contents/notebooks/stranger/{path}").json()


@pytest.mark.attack(
    "Open a notebook that marks itself as trusted",
    "The server does not trust the notebook. Its outputs run no code until the user runs the cells.",
)
def test_a_notebook_cannot_mark_itself_as_trusted(lab: Project, folder: Path) -> None:
    put(folder / "a.ipynb")
    (cell,) = seen(lab, "a.ipynb")["content"]["cells"]
    assert cell["metadata"]["trusted"] is False
    path = "contents/notebooks/stranger/a.ipynb"
    lab.client().request("PUT", path, json={"type": "notebook", "content": {**NOTEBOOK, "cells": [cell]}})
    assert seen(lab, "a.ipynb")["content"]["cells"][0]["metadata"]["trusted"] is False
    # The control: a notebook that its user has run and saved is trusted.
    lab.client().request("PUT", path, json={"type": "notebook", "content": NOTEBOOK})
    assert seen(lab, "a.ipynb")["content"]["cells"][0]["metadata"]["trusted"] is True


@pytest.mark.attack(
    "Open and convert a notebook. Its metadata names a command, and a kernel that is in the notebook's folder",
    "The server starts neither the command nor the kernel.",
)
def test_opening_a_notebook_starts_no_command(lab: Project, folder: Path) -> None:
    put(folder / "a.ipynb")
    spec = folder / "kernels/evil/kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps(NOTEBOOK["metadata"]["kernelspec"] | {"language": "python"}))
    own(spec.parent.parent, spec.parent, spec)
    running = lab.client()
    seen(lab, "a.ipynb")
    before = running.request("GET", "kernels").json()
    for name in ("evil", "../evil", "/home/jovyan/notebooks/stranger/kernels/evil"):
        session = {"path": "notebooks/stranger/a.ipynb", "type": "notebook", "kernel": {"name": name}}
        assert refusal(running, "POST", "sessions", json=session)
    for form in ("html", "markdown", "script", "python"):
        convert(lab, form)
    assert running.request("GET", "kernels").json() == before
    assert entries(folder) == ["a.ipynb", "kernels"]
    # The control: if the cell runs, the file appears.
    with running.kernel("notebooks/stranger") as kernel:
        execute(kernel, CELL["source"])
    assert entries(folder) == ["a.ipynb", "kernels", "ran"]


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".ipynb_checkpoints")


def convert(lab: Project, form: str) -> requests.Response:
    running = lab.client()
    url = f"{running.address}/nbconvert/{form}/notebooks/stranger/a.ipynb"
    return requests.get(url, headers={"Authorization": f"token {running.token}"}, timeout=60)


@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.attack(
    "Open malformed, deeply nested and huge notebooks",
    "The server opens the notebook or answers with an error message. It keeps running.",
)
def test_a_malformed_notebook_does_not_stop_the_server(lab: Project, folder: Path, kind: str) -> None:
    put(folder / "a.ipynb", MALFORMED[kind])
    try:
        assert seen(lab, "a.ipynb")["type"] == "notebook"
    except requests.HTTPError as error:
        assert error.response.status_code == 400 and error.response.json()["message"]
    assert lab.client().request("GET", "status").status_code == 200
    assert lab.container()["RestartCount"] == 0


# --- checkpoints ------------------------------------------------------------------------------------
SECRET = "/run/secrets/jupyter_token"
CHECKPOINT = ".ipynb_checkpoints/a-checkpoint.ipynb"


def save_and_restore(lab: Project) -> None:
    """Save, then revert to the checkpoint. The server may refuse either."""
    path = "contents/notebooks/stranger/a.ipynb"
    for method, more, body in (
        ("PUT", "", {"type": "notebook", "content": NOTEBOOK}),
        ("POST", "/checkpoints", None),
        ("POST", "/checkpoints/checkpoint", None),
    ):
        refusal(lab.client(), method, path + more, json=body)


@pytest.mark.attack(
    "Save a notebook whose checkpoint is a link to another file",
    "The server removes the link. The other file does not change.",
)
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_checkpoint_overwrites_no_other_file(lab: Project, folder: Path, link: Any) -> None:
    put(folder / "a.ipynb")
    put(folder / "results.csv", "kept")
    (folder / ".ipynb_checkpoints").mkdir()
    own(folder / ".ipynb_checkpoints")
    link("../results.csv" if link is os.symlink else folder / "results.csv", folder / CHECKPOINT)
    own(folder / CHECKPOINT)
    save_and_restore(lab)
    assert (folder / "results.csv").read_text() == "kept"
    assert json.loads((folder / CHECKPOINT).read_text())["cells"]
    assert json.loads((folder / "a.ipynb").read_text())["cells"]


@pytest.mark.attack(
    "Save a notebook whose checkpoint folder is a link to /tmp, home or the secrets",
    "The server replaces the link with a folder.",
)
@pytest.mark.parametrize("target", ["/tmp", "/run/secrets", "/home/jovyan", "/nowhere"])
def test_a_link_as_checkpoint_folder_is_replaced(lab: Project, folder: Path, target: str) -> None:
    put(folder / "a.ipynb")
    (folder / ".ipynb_checkpoints").symlink_to(target)
    save_and_restore(lab)
    assert (folder / CHECKPOINT).is_file() and not (folder / ".ipynb_checkpoints").is_symlink()
    assert lab.shell(f"ls {target}/*-checkpoint* 2>/dev/null || true") == ""


@pytest.mark.attack("Restore a checkpoint that is a link to the token", "The server restores nothing.")
def test_a_checkpoint_does_not_restore_the_token(lab: Project, folder: Path) -> None:
    put(folder / "a.ipynb")
    (folder / ".ipynb_checkpoints").mkdir()
    own(folder / ".ipynb_checkpoints")
    (folder / CHECKPOINT).symlink_to(SECRET)
    restore = "contents/notebooks/stranger/a.ipynb/checkpoints/checkpoint"
    assert "Checkpoint does not exist" in refusal(lab.client(), "POST", restore)
    assert lab.client().token not in (folder / "a.ipynb").read_text()


@pytest.mark.attack(
    "Save a file through a symbolic link that leads out of the mounts", "The server answers with an error message."
)
@pytest.mark.parametrize("name", ["a.ipynb", "folder/a.ipynb"])
def test_nothing_is_saved_through_a_link_out_of_the_mounts(lab: Project, folder: Path, name: str) -> None:
    lab.shell("printf kept >/tmp/outside")
    (folder / "a.ipynb").symlink_to("/tmp/outside")
    (folder / "folder").symlink_to("/tmp")
    path = f"contents/notebooks/stranger/{name}"
    for body in ({"type": "file", "format": "text", "content": "new"}, {"type": "notebook", "content": NOTEBOOK}):
        for chunk in ({}, {"chunk": 1}):
            assert "is a link that leads out of" in refusal(lab.client(), "PUT", path, json=body | chunk)
    refusal(lab.client(), "POST", f"{path}/checkpoints/checkpoint")
    assert lab.shell("cat /tmp/outside; ls /tmp/a.ipynb 2>/dev/null || true") == "kept"


@pytest.mark.full
def test_jupyters_own_checkpoints_overwrite_another_file(lab: Project, folder: Path, tmp_path: Path) -> None:
    """The control: Jupyter's own file manager follows the link."""
    put(folder / "a.ipynb")
    put(folder / "results.csv", "kept")
    (folder / ".ipynb_checkpoints").mkdir()
    own(folder / ".ipynb_checkpoints")
    (folder / CHECKPOINT).symlink_to("../results.csv")
    config = lab.read("lab/server/jupyter_server_config.py")
    line = 'c.ServerApp.contents_manager_class = "contents.MountedContents"\n'
    assert line in config
    with beside(
        lab, tmp_path, with_server(lab, tmp_path, "jupyter_server_config.py", config.replace(line, ""))
    ) as twin:
        twin.serve()
        save_and_restore(twin)
    assert (folder / "results.csv").read_text() != "kept"
