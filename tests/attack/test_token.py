"""A token hunt: it is in `secrets/` and in the server's memory, and nowhere else that a program can look."""

import json
from pathlib import Path

import pytest
import requests

from tests.support.mutants import beside, with_server
from tests.support.project import Project

CONFIG = "jupyter_server_config.py"
# Inside, by a kernel: every file that it can read but the secret itself, what each process was started with.
HUNT = """
import os, pathlib, stat
token = pathlib.Path("/run/secrets/jupyter_token").read_bytes().strip()
found = []
for process in pathlib.Path("/proc").glob("[0-9]*"):
    for name in ("environ", "cmdline"):
        try:
            if token in (process / name).read_bytes():
                found.append(f"{name} of {process.name}")
        except OSError:
            pass  # it has ended, or is another user's
for top in ("/dev", "/etc", "/home", "/opt/labdock", "/root", "/run", "/tmp", "/usr/local", "/var", "/workspace"):
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            try:
                if stat.S_ISREG(os.lstat(path).st_mode) and token in pathlib.Path(path).read_bytes():
                    found.append(path)
            except OSError:
                pass
print(*sorted(found))
"""
SECRET = "/run/secrets/jupyter_token\n"


@pytest.mark.attack("a kernel searches files, environments and command lines for the token", "it is in secrets/ only")
def test_a_kernel_finds_the_token_in_its_file_only(lab: Project) -> None:
    assert lab.lab().run(HUNT) == SECRET


@pytest.mark.full
def test_the_hunt_finds_what_jupyter_itself_would_write(lab: Project, tmp_path: Path) -> None:
    """The control: without its guard the server writes the token into a file; and an environment shows it."""
    config = lab.read(f"lab/server/{CONFIG}")
    (guard,) = [
        line for line in config.splitlines(keepends=True) if line.startswith("ServerApp.write_server_info_file")
    ]
    leak = {"services": {"lab": {"environment": {"LEAK": (lab.folder / "secrets/jupyter_token").read_text()}}}}
    with beside(lab, tmp_path, with_server(lab, tmp_path, CONFIG, config.replace(guard, "")), leak) as twin:
        twin.compose("up", "--detach", "--wait", "--no-build")
        found = twin.lab().run(HUNT)
    assert "/run/lab/jpserver-" in found and "environ of 1" in found


@pytest.mark.attack("the token in what the engine shows: inspect, image history, log", "it is in none of them")
def test_the_engine_shows_no_token(lab: Project) -> None:
    token = lab.lab().token
    lab.lab().run("print(1)")  # whatever a use of the lab leaves there
    image = lab.container()["Image"]
    shown = [
        json.dumps(lab.containers()),
        *(lab.run("docker", "image", *what, image).stdout for what in (("inspect",), ("history", "--no-trunc"))),
        lab.logs(),
    ]
    assert all(shown)
    assert [text for text in shown if token in text] == []


@pytest.mark.attack("the pages without a token, which hold it for whoever has logged in", "a stranger's page does not")
def test_only_those_who_are_in_get_a_page_with_the_token(lab: Project) -> None:
    running = lab.lab()

    def holds_token(page: str, **headers: str) -> bool:
        return running.token in requests.get(f"{running.address}{page}", headers=headers, timeout=30).text

    pages = ("/lab", "/tree", "/login", "/api", "/api/status", "/api/me", "/static/favicon.ico")
    assert not [page for page in pages if holds_token(page)]
    assert holds_token("/lab", Authorization=f"token {running.token}")  # an open page outlives the server's restart
