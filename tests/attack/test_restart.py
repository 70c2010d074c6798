"""A lab comes back after the engine restarts, and one that refuses does not loop."""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from engine import site
from engine.daemon import Daemon
from tests.conftest import lacking
from tests.support.project import Project
from tests.support.waiting import until

NEW_NETWORK, UP, SET_FLAGS = 0x40000000, 0x1, 0x8914  # CLONE_NEWNET, IFF_UP, SIOCSIFFLAGS
QUICK = "{interval: 1s, start_period: 1s, start_interval: 500ms, retries: 2}"
Run = Callable[..., Any]


def apart() -> None:
    """Give this thread, and what it starts, a network of its own, of which only loopback is up."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "no network of its own")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", UP))


@pytest.fixture
def own() -> Iterator[tuple[Daemon, Run]]:
    """An engine of the test's own, stopped, and what runs a function where the ports of its labs are reached.

    It has a network apart, so that the other engine's labs notice nothing.
    """
    if os.geteuid() or not site.debian_codename():
        lacking("only root on Debian can bring up an engine of the test's own")
    # A short path, since sockets lie in it.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, ThreadPoolExecutor(1, initializer=apart) as there:
        daemon = Daemon(Path(folder, "engine"), Path(folder, "socket"))
        daemon.fetch()
        try:
            yield daemon, lambda function, *arguments: there.submit(function, *arguments).result()
        finally:
            there.submit(daemon.down).result()


def moved(lab: Project, folder: Path, daemon: Daemon) -> Project:
    """A copy of `lab`, not started, on another engine, which has the image already."""
    lab.run("cp", "-a", str(lab.folder), str(folder))
    return Project(folder, lab.answers, {"DOCKER_HOST": f"unix://{daemon.socket}", "COMPOSE_PROJECT_NAME": folder.name})


@pytest.mark.full
@pytest.mark.attack(
    "the engine is restarted", "labs come back with their token and files; one that refuses does not loop"
)
def test_a_running_lab_comes_back_and_a_refusing_one_does_not_loop(
    lab: Project, own: tuple[Daemon, Run], tmp_path: Path
) -> None:
    daemon, there = own
    running, refusing = (moved(lab, tmp_path / name, daemon) for name in ("running", "refusing"))
    (refusing.folder / "compose.override.yaml").write_text(f"services: {{lab: {{healthcheck: {QUICK}}}}}\n")
    there(daemon.start)
    image = lab.config()["services"]["lab"]["image"]
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
        running.run("docker", "load", stdin=saved.stdout)
    for project in (running, refusing):
        there(project.compose, "up", "--detach", "--wait", "--no-build")
    before = running.lab()
    kept = {"type": "file", "format": "text", "content": "kept"}
    there(lambda: before.request("PUT", "contents/data/kept.txt", json=kept))
    (refusing.folder / "secrets/jupyter_token").write_text("")

    there(daemon.stop)
    there(daemon.start)
    until(lambda: running.container()["State"].get("Health", {}).get("Status") == "healthy", "the lab is back")
    after = running.lab()
    assert after.token == before.token
    assert there(lambda: after.request("GET", "contents/data/kept.txt").json()["content"]) == "kept"
    assert there(after.run, "print(1)") == "1\n"
    until(lambda: "labdock: secrets/jupyter_token holds 0 characters" in refusing.logs(), "the other refuses")
    state = refusing.container()
    assert state["State"]["Status"] == "running" and state["RestartCount"] == 0
    until(lambda: refusing.container()["State"]["Health"]["Status"] == "unhealthy", "the other is unhealthy")
    said = refusing.make("doctor", check=False).stdout
    assert "MEND  the lab refused to start: secrets/jupyter_token holds 0 characters" in said
    assert "Then run 'make up'." in said
