"""The two images that are compared. Each is a folder with a Dockerfile and a compose.yaml; both run the same way."""

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

from engine import machine
from tools.lock import LOCKS
from tools.notebook import LabClient

ROOT = Path(__file__).resolve().parent.parent
BASE = "python:3.13-slim-trixie"
COLLECTED = re.compile(r"failed to prepare extraction snapshot .*parent snapshot .* does not exist", re.DOTALL)
ATTEMPTS = 3  # of a build that fails with this error
PIN = re.compile(r"^([a-z0-9._-]+)==([^\s;]+)", re.MULTILINE)


@dataclass
class Subject:
    """An image and how to run it. `packages`: the file below `folder` that lists the user's packages."""

    name: str
    folder: Path
    packages: str
    token: str = field(default_factory=lambda: secrets.token_hex(24))

    def __post_init__(self) -> None:
        """Choose names, a port, and the environment of every command."""
        with socket.socket() as free:  # a free port; `measure_start` polls it while Compose starts the lab
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
        self.environment: Mapping[str, str] = {**os.environ, **machine.settings(), **own}
        self.original = (self.folder / self.packages).read_text()

    @property
    def image(self) -> str:
        """The image's name."""
        return f"{self.project}-lab"

    def run(self, *command: str) -> str:
        """Run `command` in the subject's folder and return its output; raises `RuntimeError` if it fails."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment, text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def build(self, *options: str, prepare: Callable[[], object] = lambda: None) -> float:
        """Run `prepare`, then build the image. Return the seconds of the build alone.

        Works around a bug in Docker's image store. Two images can share layers. If one of them was removed or
        replaced, the store can delete these layers while a build unpacks them. Only after that error: prepare, build
        and measure again.
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
        """Add `requirement`, the lock's lines of a package, to the original package list.

        A random comment makes the list new each time, so the build never uses a layer of an earlier run.
        """
        (self.folder / self.packages).write_text(f"# {secrets.token_hex(8)}\n{self.original}{requirement}\n")

    def edit_notebook(self) -> None:
        """Change the example notebook by one byte, as a save does."""
        with (self.folder / "notebooks/iris.ipynb").open("a") as notebook:
            notebook.write("\n")

    def measure_start(self, more: Callable[[LabClient], dict[str, float]] = lambda lab: {}) -> dict[str, float]:
        """Start the lab, wait for /api, run a cell, wait until memory is stable, stop: seconds and bytes by row.

        `more` measures other rows while the lab runs.
        """
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
                "cpu": sum(stats["cpu_stats"]["cpu_usage"]["total_usage"] for stats in self.stats()) / 1e9,
            }
            if self.name != "naive":  # the naive image has no health check
                found["healthy"] = self.healthy(begin)
        found["cell"] = self.first_cell()
        found["memory"] = self.memory_at_rest()
        found.update(more(self.client()))
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
        """Seconds since `begin` until the engine reports the lab as healthy."""
        while any(self.health(container) != "healthy" for container in self.containers()):
            time.sleep(0.02)
        return time.monotonic() - begin

    def health(self, container: str) -> str:
        """The health of a container, as the engine reports it."""
        return ask_engine(f"/containers/{container}/json")["State"]["Health"]["Status"]

    def client(self) -> LabClient:
        """The running lab."""
        token = self.folder / "secrets/jupyter_token"
        return LabClient(f"http://127.0.0.1:{self.port}", token.read_text().strip() if token.exists() else self.token)

    def first_cell(self) -> float:
        """Seconds until a new notebook kernel has run its first cell."""
        begin = time.monotonic()
        with self.client().kernel() as kernel:
            kernel.execute_interactive("print(1 + 1)", timeout=60, output_hook=lambda _: None)
            return time.monotonic() - begin

    def memory_at_rest(self) -> float:
        """Bytes that all containers use without page cache, once four samples in a row differ by less than 1 %."""
        seen: list[float] = []
        while len(seen) < 4 or (len(seen) < 30 and max(seen[-4:]) > 1.01 * min(seen[-4:])):
            time.sleep(0.5)
            seen.append(sum(held(stats) for stats in self.stats()))
        return seen[-1]

    def containers(self, project: str = "", service: str = "") -> list[str]:
        """The ids of the running containers of this project, or of another Compose project. `service`: only these."""
        labels = [f"com.docker.compose.project={project or self.project}"]
        labels += [f"com.docker.compose.service={service}"] if service else []
        found = ask_engine(f"/containers/json?filters={json.dumps({'label': labels}, separators=(',', ':'))}")
        return [container["Id"] for container in found]

    def stats(self, project: str = "", service: str = "") -> list[dict[str, Any]]:
        """The engine's statistics of each running container."""
        found = self.containers(project, service)
        return [ask_engine(f"/containers/{each}/stats?stream=false&one-shot=true") for each in found]

    def sizes(self) -> dict[str, float]:
        """Bytes of the image: all files as a container sees them, and the compressed output of `docker save`."""
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


def held(stats: dict[str, Any]) -> float:
    """Bytes of memory that a container uses, without the page cache that Linux can free at once."""
    memory, detail = stats["memory_stats"], stats["memory_stats"]["stats"]
    return memory["usage"] - detail.get("total_inactive_file", detail.get("inactive_file", 0))


class Counter:
    """A file that only counts the bytes written to it."""

    size = 0

    def write(self, data: bytes) -> int:
        """Add the size of `data`."""
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: no data is kept."""


class UnixConnection(HTTPConnection):
    """HTTP over a unix socket; `host` is the socket's path."""

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


@cache
def engine_socket() -> str:
    """The path of the socket that `docker` uses."""
    form = ("docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    address = subprocess.run(form, text=True, capture_output=True, check=True).stdout.strip()
    return address.removeprefix("unix://")


def ask_engine(path: str) -> Any:
    """Call the engine's API. The `docker` command is slower, and its time would be part of the result."""
    connection = UnixConnection(engine_socket())
    try:
        connection.request("GET", path.replace('"', "%22"), headers={"Host": "engine"})
        return json.load(connection.getresponse())
    finally:
        connection.close()


def draw(image: str, plot: str, data: object, picture: str) -> None:
    """Write docs/images/`picture`. Runs `plot` in an image with matplotlib; it reads JSON and prints an SVG."""
    run = ["docker", "run", "--rm", "--interactive", "--network=none", "--entrypoint=python", image, "-c", plot]
    drawn = subprocess.run(run, check=True, text=True, capture_output=True, input=json.dumps(data)).stdout
    lines = (line.rstrip() for line in drawn.splitlines())
    (ROOT / "docs/images" / picture).write_text("\n".join(lines) + "\n")


def render(folder: Path, name: str = "labdock", ref: str = "HEAD", **more: str) -> Subject:
    """Render a project of a version (a git reference) with default answers, and with `more`."""
    answers = {"project_name": "Bench", **more}
    copier.run_copy(str(ROOT), folder, data=answers, defaults=True, quiet=True, vcs_ref=ref)
    if os.geteuid() == 0:
        for own in ("data", "notebooks", "secrets", "egress/log", "certs"):
            if (folder / own).exists():
                os.chown(folder / own, 1000, 1000)
    return Subject(name, folder, "requirements.lock")


def naive(folder: Path, labdock: Path) -> Subject:
    """Make the naive image's folder, with the notebook and the package versions of the project in `labdock`."""
    shutil.copytree(ROOT / "benchmarks/naive", folder)
    shutil.copytree(labdock / "notebooks", folder / "notebooks")
    (folder / "data").mkdir()
    (folder / "no-ca.pem").touch()
    (folder / "requirements.txt").write_text("\n".join(pinned()) + "\n")
    return Subject("naive", folder, "requirements.txt")


def pinned() -> list[str]:
    """`name==version` for each package in server.in and in the user's list, with the versions of their locks."""
    lines = []
    for lock in ("server", "science"):
        target, requirements, _ = LOCKS[lock]
        versions = dict(PIN.findall((ROOT / target).read_text()))
        asked = (re.match(r"[A-Za-z0-9._-]+", line) for line in requirements().splitlines())
        lines += [f"{name[0]}=={versions[name[0]]}" for name in asked if name]
    return lines
