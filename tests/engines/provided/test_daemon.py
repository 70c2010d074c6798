"""A second engine in a network of its own: started, started again, used, and removed without a trace."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.daemon import Daemon

PROGRAM = r"""
import atexit, re, shutil, socket, subprocess, sys, tarfile
from pathlib import Path
from engine import client, network
from engine.daemon import Daemon

root = Path(sys.argv[1])
client.PROGRAMS, client.PLUGINS = root.parent / "bin", root.parent / "plugins"
own = Daemon(root=root, socket=root.parent / "docker.sock")
network.wrap_iptables(own.packages, root / "bin")

def sh(*command, **more):
    return subprocess.run(command, text=True, capture_output=True, check=True, **more).stdout

def state():
    "What Docker changes outside its folder."
    rules = sh(root / "bin/iptables-save") + sh(root / "bin/ip6tables-save")
    rules = [rule for rule in rules.splitlines() if re.match("-|:DOCKER|:FORWARD DROP", rule)]
    return rules, [name for _, name in socket.if_nameindex()], network.forwarding(root / "bin")

before = state()
atexit.register(own.down)
own.up()
pid = own.pid()
own.up()
assert pid and own.pid() == pid, "the second run started another engine"
assert "seccomp" in sh("docker", "info", "--format", "{{.SecurityOptions}}")

# An image of one static program, so that a container needs no base image.
archive = root / "image.tar"
with tarfile.open(archive, "w") as tar:
    tar.add((own.packages / "usr/bin/tini-static").resolve(), "tini")
sh("docker", "import", archive, "tiny")
sh("docker", "network", "create", "other")
options = "--rm --init --network=other --memory=32m --pids-limit=9".split()
assert "tini" in sh("docker", "run", *options, "tiny", "/tini", "--version")
assert state() != before, "Docker set no rules: the check below proves nothing"

shutil.copytree(root / "packages", root.parent / "packages", symlinks=True)
assert own.down() and not own.down()
assert not root.exists() and not own.socket.exists() and not own.processes() and not own.mounts()
network.wrap_iptables(root.parent / "packages", root / "bin")
after = state()
assert after == before, (before, after)
print("done")
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for sockets. Their paths may have 104 characters, and those of pytest are longer."""
    with tempfile.TemporaryDirectory(prefix="e") as folder:
        yield Path(folder)


@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start an engine")
def test_an_engine_starts_and_leaves_no_trace(engine: None, short_path: Path) -> None:
    """The test copies the packages of the run's engine, which is ready by then."""
    root = short_path / "engine"
    ready = Daemon().packages
    if ready.exists():
        root.mkdir()
        shutil.copytree(ready, root / "packages", symlinks=True)
    else:
        Daemon(root=root).fetch()
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", PROGRAM, str(root)],
        env={
            **os.environ,
            "DOCKER_HOST": f"unix://{short_path}/docker.sock",
            "PYTHONPATH": str(Path.cwd()),
            "PATH": f"{short_path}/bin:{os.environ['PATH']}",
        },
        text=True,
        capture_output=True,
    )
    assert done.stdout.endswith("done\n"), done.stderr
