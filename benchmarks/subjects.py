"""The two images that are compared, each a folder with a Dockerfile and a compose.yaml that are driven alike."""

import gzip
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import copier

from engine import site
from tools.lock import LOCKS
from tools.notebook import Lab

ROOT = Path(__file__).resolve().parent.parent
BASE = "python:3.13-slim-trixie"
COLLECTED = re.compile(r"failed to prepare extraction snapshot .*parent snapshot .* does not exist", re.DOTALL)
ATTEMPTS = 3  # of a build that this ends
PIN = re.compile(r"^([a-z0-9._-]+)==([^\s;]+)", re.MULTILINE)


@dataclass
class Subject:
    """An image and how it is run. `packages`: the file below `folder` that lists the user's packages."""

    name: str
    folder: Path
    packages: str
    token: str = field(default_factory=lambda: secrets.token_hex(24))

    def __post_init__(self) -> None:
        """Choose names, a port and the settings of every command."""
        with socket.socket() as free:  # a port that is free now; the harness polls it while Compose starts
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.project = f"labdock-bench-{self.name}"
        own = {
            "LAB_NAME": self.project,
            "LAB_UID": str(os.geteuid() or 1000),
            "LAB_GID": str(os.getegid() or 1000),
            "JUPYTER_PORT": str(self.port),
            "PYTHON_IMAGE": BASE,
            "NAIVE_TOKEN": self.token,
            "COMPOSE_PROGRESS": "plain",
        }
        self.environment: Mapping[str, str] = {**os.environ, **site.settings(), **own}
        self.original = (self.folder / self.packages).read_text()

    @property
    def image(self) -> str:
        """The image's name."""
        return f"{self.project}-lab"

    def run(self, *command: str) -> str:
        """Run `command` in the subject's folder; what it printed. Raises with its output where it fails."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment, text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def build(self, *options: str, prepare: Callable[[], object] = lambda: None) -> float:
        """Build the image after `prepare`; seconds of the build alone.

        Works around a fault of Docker's image store: it collects the layers of an image that was removed or replaced,
        anybody's, while this build unpacks. On that error only, both are done again, and the time starts anew.
        """
        for attempt in range(ATTEMPTS):
            prepare()
            begin = time.monotonic()
            try:
                self.run("docker", "compose", "build", *options, "lab")
                return time.monotonic() - begin
            except RuntimeError as error:
                if not COLLECTED.search(str(error)) or attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError

    def add(self, requirement: str) -> None:
        """Put `requirement`, lines of a locked package, into the package list as first delivered.

        A comment makes the list a new one each time, so that no earlier run's layer answers.
        """
        (self.folder / self.packages).write_text(f"# {secrets.token_hex(8)}\n{self.original}{requirement}\n")

    def edit_notebook(self) -> None:
        """Change a byte of the example notebook, as saving it does."""
        with (self.folder / "notebooks/iris.ipynb").open("a") as notebook:
            notebook.write("\n")

    def measure_start(self) -> dict[str, float]:
        """Start, wait for /api, run a first cell, come to rest, stop: seconds, CPU seconds and bytes by row."""
        begin = time.monotonic()
        with (
            tempfile.TemporaryFile("w+") as said,
            subprocess.Popen(
                ["docker", "compose", "up", "--detach"], cwd=self.folder, env=self.environment, stdout=said, stderr=said
            ) as up,
        ):
            while not self.answers():
                if up.poll() or time.monotonic() - begin > 120:
                    up.terminate()
                    said.seek(0)
                    logs = self.run("docker", "compose", "logs")
                    raise RuntimeError(f"{self.name} did not start\n{said.read()[-3000:]}\n{logs}")
                time.sleep(0.02)
            found = {
                "api": time.monotonic() - begin,
                "cpu": self.stats()["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9,
            }
            if self.name == "labdock":  # the naive image checks no health
                found["healthy"] = self.healthy(begin)
        found["cell"] = self.first_cell()
        found["memory"] = self.memory_at_rest()
        self.run("docker", "compose", "down", "--timeout", "5")
        return found

    def answers(self) -> bool:
        """Whether the server answers on /api."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/api")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def healthy(self, begin: float) -> float:
        """Seconds since `begin` until the engine calls the lab healthy."""
        while ask_engine(f"/containers/{self.container()}/json")["State"]["Health"]["Status"] != "healthy":
            time.sleep(0.02)
        return time.monotonic() - begin

    def first_cell(self) -> float:
        """Seconds until a new kernel has run its first cell."""
        begin = time.monotonic()
        token = self.folder / "secrets/jupyter_token"
        lab = Lab(f"http://127.0.0.1:{self.port}", token.read_text().strip() if token.exists() else self.token)
        with lab.kernel() as kernel:
            kernel.execute_interactive("print(1 + 1)", timeout=60, output_hook=lambda _: None)
            return time.monotonic() - begin

    def memory_at_rest(self) -> float:
        """Bytes that the container holds, page cache aside, once four samples in a row agree within 1 %."""
        seen: list[float] = []
        while len(seen) < 4 or (len(seen) < 30 and max(seen[-4:]) > 1.01 * min(seen[-4:])):
            time.sleep(0.5)
            memory = self.stats()["memory_stats"]
            detail = memory["stats"]
            seen.append(memory["usage"] - detail.get("total_inactive_file", detail.get("inactive_file", 0)))
        return seen[-1]

    def container(self) -> str:
        """The id of the lab's container."""
        labels = [f"com.docker.compose.project={self.project}", "com.docker.compose.service=lab"]
        (found,) = ask_engine(f"/containers/json?filters={json.dumps({'label': labels}, separators=(',', ':'))}")
        return found["Id"]

    def stats(self) -> dict[str, Any]:
        """The engine's own count of what the lab's container has used so far."""
        return ask_engine(f"/containers/{self.container()}/stats?stream=false&one-shot=true")

    def sizes(self) -> dict[str, float]:
        """Bytes of the image: all files as a container sees them, and its layers, saved and compressed."""
        run = ("docker", "run", "--rm", "--network=none", "--user=0:0", "--entrypoint=du")
        unpacked = self.run(*run, self.image, "-sxk", "/").split()[0]
        with subprocess.Popen(["docker", "save", self.image], stdout=subprocess.PIPE) as save:
            counter = Counter()
            with gzip.GzipFile(fileobj=counter, mode="wb", compresslevel=6) as packed:
                shutil.copyfileobj(save.stdout, packed, 1 << 20)
        return {"unpacked": float(unpacked) * 1024, "compressed": float(counter.size)}

    def remove(self) -> None:
        """Remove containers, network and image."""
        self.run("docker", "compose", "down", "--volumes", "--rmi", "all", "--timeout", "2")


class Counter:
    """A file that only counts what is written to it."""

    size = 0

    def write(self, data: bytes) -> int:
        """Count."""
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept."""


class UnixConnection(HTTPConnection):
    """HTTP over a unix socket, whose path is the host."""

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


@cache
def engine_socket() -> str:
    """Where plain `docker` talks to."""
    form = ("docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    address = subprocess.run(form, text=True, capture_output=True, check=True).stdout.strip()
    return address.removeprefix("unix://")


def ask_engine(path: str) -> Any:
    """What the engine's API says; far quicker than its command line, which would count into what is measured."""
    connection = UnixConnection(engine_socket())
    try:
        connection.request("GET", path.replace('"', "%22"), headers={"Host": "engine"})
        return json.load(connection.getresponse())
    finally:
        connection.close()


def render(folder: Path) -> Subject:
    """labdock's project with default answers."""
    answers = {"project_name": "Bench"}
    copier.run_copy(str(ROOT), folder, data=answers, defaults=True, quiet=True, vcs_ref="HEAD")
    if os.geteuid() == 0:
        for name in ("data", "notebooks", "secrets"):
            os.chown(folder / name, 1000, 1000)
    return Subject("labdock", folder, "requirements.lock")


def naive(folder: Path, labdock: Path) -> Subject:
    """The naive image with the packages and notebook of the project in `labdock`, at the same versions."""
    shutil.copytree(ROOT / "benchmarks/naive", folder)
    shutil.copytree(labdock / "notebooks", folder / "notebooks")
    (folder / "data").mkdir()
    (folder / "no-ca.pem").touch()
    (folder / "requirements.txt").write_text("\n".join(pinned()) + "\n")
    return Subject("naive", folder, "requirements.txt")


def pinned() -> list[str]:
    """`name==version` for each package that server.in and the user's list name, from their locks."""
    lines = []
    for lock in ("server", "science"):
        target, requirements, _ = LOCKS[lock]
        versions = dict(PIN.findall((ROOT / target).read_text()))
        asked = (re.match(r"[A-Za-z0-9._-]+", line) for line in requirements().splitlines())
        lines += [f"{name[0]}=={versions[name[0]]}" for name in asked if name]
    return lines
