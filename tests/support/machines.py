"""Several machines on this one. Each has a network namespace and an engine of its own, and a switch joins them.

No machine reaches this one, another network, or a machine other than those of the switch.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import machine
from engine.daemon import Daemon
from tests.support.isolated_engine import isolate
from tests.support.project import Project
from tests.support.requirements import lacking

NETWORK = "198.18.0"  # a network for tests (RFC 2544)


class Namespace:
    """A network namespace. Functions run in a thread of it."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(1, initializer=isolate)
        thread = self.run(threading.get_native_id)
        self.path = f"/proc/{os.getpid()}/task/{thread}/ns/net"

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return self.executor.submit(function, *arguments).result()

    def ip(self, *words: str) -> None:
        self.run(lambda: subprocess.run(["ip", *words], check=True, capture_output=True, text=True))


@dataclass
class Machine:
    """A machine: its address, its engine and its network."""

    number: int
    daemon: Daemon
    inside: Namespace
    switch: Namespace

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number}"

    def plug_in(self) -> None:
        """Connect it to the switch."""
        port = f"port{self.number}"
        self.switch.ip("link", "add", port, "type", "veth", "peer", "name", "lan", "netns", self.inside.path)
        self.switch.ip("link", "set", port, "master", "switch", "up")
        self.inside.ip("address", "add", f"{self.address}/24", "dev", "lan")
        self.inside.ip("link", "set", "lan", "up")

    def link(self, state: str) -> None:
        """Cut its cable (`down`), or connect it again (`up`)."""
        self.switch.ip("link", "set", f"port{self.number}", state)

    def received(self) -> int:
        """The bytes that it has received through its cable."""
        devices = self.inside.run(Path("/proc/thread-self/net/dev").read_text)
        return int(devices.partition("lan:")[2].split()[0])

    def rules(self) -> int:
        """The number of its firewall's rules. The engine adds some for each published port and each network."""
        save = [str(self.daemon.root / "bin/iptables-save")]
        return len(self.inside.run(lambda: subprocess.run(save, check=True, capture_output=True)).stdout.splitlines())

    def start(self) -> None:
        self.inside.run(self.daemon.start)

    def crash(self) -> None:
        """End everything at once, as without power: the engine, and all processes of all containers."""
        ids = self.docker("ps", "--quiet", "--no-trunc").split()
        inits = [int(pid) for pid in self.docker("inspect", "--format", "{{.State.Pid}}", *ids).split()] if ids else []
        for pid in (*self.daemon.processes(), *inits):
            with suppress(ProcessLookupError):
                if pid:  # a container that has just ended has 0, which would mean our own processes
                    os.kill(pid, signal.SIGKILL)
        for mount in self.daemon.mounts():
            subprocess.run(["umount", "--lazy", mount], capture_output=True)
        shutil.rmtree(self.daemon.root / "exec", ignore_errors=True)  # /run of a real machine is empty after a start

    def docker(self, *arguments: str, stderr: int = subprocess.PIPE, **options: Any) -> str:
        command = ["docker", "--host", f"unix://{self.daemon.socket}", *arguments]
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, stderr=stderr, **options).stdout

    def project(self, folder: Path, answers: dict[str, Any]) -> Project:
        """The project in this folder, driven with this machine's engine."""
        return Project(folder, answers, {"DOCKER_HOST": f"unix://{self.daemon.socket}", "JUPYTER_PORT": "0"})


@contextmanager
def machines(number: int, image: str) -> Iterator[list[Machine]]:
    """Machines whose engines have an image of the usual engine. At the end, nothing of them is left."""
    if os.geteuid() or not machine.debian_codename() or not shutil.which("ip"):
        lacking("only root on Debian with the program ip can make other machines")
    with tempfile.TemporaryDirectory(prefix="m", dir="/tmp") as name, ExitStack() as stack:  # sockets need short paths
        switch = Namespace()
        switch.ip("link", "add", "switch", "type", "bridge")
        switch.ip("link", "set", "switch", "up")
        found = []
        for count in range(1, number + 1):
            folder = Path(name, str(count))
            daemon = Daemon(folder / "engine", folder / "socket")
            each = Machine(count, daemon, Namespace(), switch)
            stack.callback(each.inside.run, daemon.down)
            fill(each, found[0] if found else None, image)
            each.plug_in()
            found.append(each)
        for each in found:
            each.start()
        yield found


def fill(new: Machine, first: Machine | None, image: str) -> None:
    """Give a machine the engine's programs and the image. The second has the files of the first: none changes."""
    root = new.daemon.root
    if first:
        root.mkdir(parents=True)
        for part in ("packages", "data/containerd"):
            (root / part).parent.mkdir(exist_ok=True)
            subprocess.run(["cp", "-a", "--link", first.daemon.root / part, root / part], check=True)
        for database in (root / "data/containerd").rglob("*.db"):
            copy = database.with_suffix(".copy")
            shutil.copyfile(database, copy)
            copy.replace(database)
        new.daemon.fetch()
        return
    root.mkdir(parents=True)
    if Daemon().packages.exists():
        subprocess.run(["cp", "-a", "--link", Daemon().packages, root / "packages"], check=True)
    new.daemon.fetch()
    new.start()
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
        new.docker("load", stdin=saved.stdout)
    new.inside.run(new.daemon.stop)
