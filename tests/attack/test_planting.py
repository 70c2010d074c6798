"""A hostile notebook leaves files for the next start of the server."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.project import Project
from tests.support.server_probes import get, misbehaving
from tests.support.variants import beside, with_server

PYTHON = """c = get_config()
c.ServerApp.ip = "0.0.0.0"
c.IdentityProvider.token = ""
c.PasswordIdentityProvider.hashed_password = ""
c.ServerApp.allow_unauthenticated_access = True
c.ServerApp.allow_remote_access = True
"""
JSON = json.dumps(
    {
        "IdentityProvider": {"token": ""},
        "ServerApp": {"ip": "0.0.0.0", "allow_unauthenticated_access": True, "allow_remote_access": True},
    }
)
KERNEL = json.dumps({"argv": ["/bin/false"], "display_name": "Planted", "language": "python"})
EXTENSION = json.dumps({"name": "Planted", "version": "1", "jupyterlab": {"_build": {"load": "static/remoteEntry.js"}}})
# Planted code. If a Python runs this code, the lab's log names this Python.
CODE = """import sys
print("planted in", sys.prefix, file=sys.stderr, flush=True)
"""
PAGE = "Planted {{ cycler.__init__.__globals__.os.getpid() }}"  # the server runs templates

CONFIGURATION = {
    **{f"jupyter{app}_config.{kind}": {"py": PYTHON, "json": JSON}[kind]
       for app in ("", "_server", "_lab", "_notebook") for kind in ("py", "json")},
    "jupyter_server_config.d/open.json": JSON,
    "labconfig/page_config.json": '{"appName": "Planted"}',
    "labextensions/planted/package.json": EXTENSION,
    "kernels/python3/kernel.json": KERNEL,
    "kernels/planted/kernel.json": KERNEL,
    "nbconvert/templates/lab/index.html.j2": PAGE,
    "lab/index.html.j2": PAGE,  # used if this is the server's working folder
}  # fmt: skip
MODULES = {
    **{f"{name}.py": CODE for name in ("sitecustomize", "usercustomize", "jupyterlab", "contents")},
    "jupyter_server/__init__.py": CODE,
    "planted.pth": CODE.replace("\n", "; "),
}
# Folder below home -> the planted files that a program would look for in it.
PLACES = {
    ".jupyter": CONFIGURATION,
    ".local/share/jupyter": CONFIGURATION,
    ".local/etc/jupyter": CONFIGURATION,
    ".local/lib/python3.13/site-packages": MODULES,
    **dict.fromkeys(("data", "notebooks", "."), CONFIGURATION | MODULES),
}
# Guard of the entrypoint -> the kinds of planted files that the server uses if this guard is removed.
GUARDS = {
    "JUPYTER_CONFIG_DIR=/opt/labdock ": {"settings", "front end"},
    " JUPYTER_DATA_DIR=/opt/labdock": {"kernels", "templates", "front end"},
    " -I": {"modules"},
    "\ncd /\n": {"templates"},
}
WORST = "JUPYTER_CONFIG_DIR=/opt/labdock "
KEPT = (".jupyter", ".local", ".config")  # folders of a home that survives a restart


# Folders that a running lab can write. Those on volumes survive a restart.
WRITABLE = (
    *("/tmp", "/run/lab", "/run/lab/tmp", "/var/lib/lab/1000/lab"),
    *(f"/var/cache/lab/1000/{name}" for name in ("", "cache", "cache/pip", "cache/fontconfig", "cache/torchinductor")),
)


@pytest.fixture
def plant(lab: Project, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Plant every file in every place: in data/ and notebooks/, and in temporary folders.

    The lab later mounts those folders as a home that survives a restart, and as packages in PYTHONPATH.
    """
    for place, files in (PLACES | {"site": MODULES}).items():
        top = lab.folder if place in ("data", "notebooks") else tmp_path
        for name, text in files.items():
            path = top / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if top == lab.folder:
                request.addfinalizer(partial(remove, top / place / name.partition("/")[0]))
    uid, gid = map(int, lab.container()["Config"]["User"].split(":"))
    for path in tmp_path.rglob("*"):
        os.chown(path, uid, gid)


def remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)


@contextmanager
def started_over(lab: Project, folder: Path, guard: str = "", front_end: str = "lab") -> Iterator[Project]:
    """Start the lab again, with the planted files and with notebooks/ as working folder.

    The text `guard` is removed from the entrypoint.
    """
    kept = [f"{folder / name}:/home/jovyan/{name}" for name in KEPT if (folder / name).is_dir()]
    here = {
        "working_dir": "/home/jovyan/notebooks",
        "volumes": [*kept, f"{folder / 'site'}:/srv/site"],
        "environment": {"PYTHONPATH": "/srv/site"},
    }
    layers: list[dict[str, Any]] = [{"services": {"lab": here, "server": here}}]
    if guard:
        entrypoint = lab.read("lab/server/entrypoint.sh")
        assert guard in entrypoint
        layers.append(
            with_server(lab, folder, "entrypoint.sh", entrypoint.replace(guard, "\n" if "\n" in guard else ""))
        )
    with beside(lab, folder, *layers, JUPYTER_UI=front_end) as twin:
        twin.compose("up", "--detach", "--wait", "--no-build", check=False)
        yield twin


def obeyed(project: Project) -> set[str]:
    """The planted files that the server uses."""
    found = {"modules"} if "planted in /opt/jupyter" in project.logs() else set()
    if project.container("server")["State"]["Health"]["Status"] != "healthy":
        return found | {"it does not start"}
    lab = project.client()
    pages = {"kernels": "/api/kernelspecs", "front end": "/lab", "templates": "/nbconvert/html/notebooks/iris.ipynb"}
    for what, page in pages.items():
        token = {"Authorization": f"token {lab.token}"}
        if "Planted" in requests.get(lab.address + page, headers=token, timeout=60).text:
            found.add(what)
    if get(lab, "/api/contents") == 200:
        found.add("settings")
    return found


@pytest.mark.attack(
    "Leave settings, kernels, templates, modules, sitecustomize and .pth files in home, in every mount, in pip's "
    "folders and in the server's working folder",
    "At its next start, the server asks for the token and uses only the settings of the image.",
)
@pytest.mark.parametrize("front_end", ["lab", pytest.param("notebook", marks=pytest.mark.nightly)])
def test_the_server_uses_no_planted_file(lab: Project, plant: None, tmp_path: Path, front_end: str) -> None:
    with started_over(lab, tmp_path, front_end=front_end) as next_start:
        assert obeyed(next_start) | misbehaving(next_start.client()) == set()
        assert "planted in /opt/venv" in next_start.logs()  # the control: it runs in the user's kernel


@pytest.mark.parametrize(
    "guard", [pytest.param(guard, marks=() if guard == WORST else pytest.mark.full) for guard in GUARDS]
)
def test_control_without_a_guard_the_server_uses_planted_files(
    lab: Project, plant: None, tmp_path: Path, guard: str
) -> None:
    with started_over(lab, tmp_path, guard) as next_start:
        assert GUARDS[guard] <= obeyed(next_start)


@pytest.mark.nightly
@pytest.mark.attack(
    "Write the same files from a notebook kernel of the running lab, then stop the server",
    "The result is the same.",
)
def test_the_server_uses_no_file_that_a_kernel_wrote(fresh_lab: Project) -> None:
    places = {f"/home/jovyan/{place}": files for place, files in PLACES.items()}
    places |= {
        "/run/lab/try/site": MODULES,
        "/run/lab/try/share/jupyter": CONFIGURATION,
        "/var/lib/lab/1000": CONFIGURATION | MODULES,
    }
    places |= {place: CONFIGURATION | MODULES for place in WRITABLE}
    before = fresh_lab.client()
    before.run(f"""
import pathlib
for place, files in {places!r}.items():
    for name, text in files.items():
        path = pathlib.Path(place, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
""")
    fresh_lab.compose("restart", "--timeout", "2", "lab")
    fresh_lab.compose("up", "--detach", "--wait", "--no-build")
    assert obeyed(fresh_lab) | misbehaving(fresh_lab.client()) == set()
