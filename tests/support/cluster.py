"""A Dask cluster over several machines: the lab and the scheduler on the first, workers on the others."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.machines import Machine, machines
from tests.support.project import Project
from tests.support.waiting import until

# The image comes from another machine, so nothing is built.
LOADED = "services: {lab: {build: !reset null, pull_policy: never}}\n"
PYTHON = ("bash", "-ic", 'exec /opt/venv/bin/python -c "$0"')
# What each notebook begins with. `addresses` are those of the workers.
BEGIN = """
from distributed import Client
client = Client()
def addresses():
    return sorted(client.scheduler_info(n_workers=-1)["workers"])
"""


@dataclass
class Cluster:
    """The machines, and the project's folder on each: the lab's on the first, a copy on each of the others."""

    machines: list[Machine]
    lab: Project
    copies: list[Project]

    @property
    def scheduler(self) -> str:
        return f"tls://{self.machines[0].address}:8786"

    def join(self, number: int, workers: int = 1, check: bool = True, **settings: str) -> subprocess.CompletedProcess:
        """Run `make join` on the machine with this number (from 1)."""
        words = {"SCHEDULER": self.scheduler, "CONTACT": self.machines[number].address, "WORKERS": str(workers)}
        return make(self.copies[number - 1], "join", check, **{**words, **settings})

    def leave(self, number: int, check: bool = True) -> subprocess.CompletedProcess:
        return make(self.copies[number - 1], "leave", check)

    def empty(self) -> None:
        """End all workers."""
        for number in range(1, len(self.machines)):
            self.leave(number)
        self.has()

    def run(self, code: str) -> str:
        """Run code in the container `lab` and return its output. Fails with the output of the code."""
        return self.lab.run("docker", "exec", *self.lab.ids("service=lab"), *PYTHON, BEGIN + code).stdout

    @contextmanager
    def running(self, code: str) -> Iterator["Running"]:
        """Run code in the container `lab` until it prints `middle`. Then it goes on when `end` is called."""
        command = ["docker", "exec", "--interactive", *self.lab.ids("service=lab"), *PYTHON, BEGIN + code]
        environment = {**self.lab.environment, "PATH": "/usr/local/bin:/usr/bin:/bin"}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=pipe) as process:
            running = Running(process)
            try:
                running.reach("middle")
                yield running
            finally:
                process.kill()

    def kill_worker(self) -> None:
        """End the program of the first worker of the second machine, in its container."""
        copy = self.copies[0]
        (container,) = copy.run("docker", "ps", "--quiet", "--filter", "name=worker-8801").stdout.split()
        copy.run("docker", "exec", container, "pkill", "-9", "-f", "cluster/worker.py")

    def logs(self) -> str:
        """The last lines of each container. The lab's machine comes last."""
        found = []
        for machine in reversed(self.machines):
            with suppress(subprocess.CalledProcessError):  # without power, it has none
                for name in machine.docker("ps", "--all", "--format", "{{.Names}}").split():
                    lines = machine.docker("logs", "--tail", "30", name, stderr=subprocess.STDOUT)
                    found.append(f"machine {machine.number}, {name}:\n{lines}")
        return "\n".join(found)

    def workers(self) -> list[str]:
        """The addresses of the workers, as the scheduler knows them."""
        return self.run("print(*addresses())").split()

    def all(self) -> list[str]:
        """The workers of the fixture `cluster_of_three`."""
        return [self.worker(1, 8801), self.worker(1, 8802), self.worker(2)]

    def has(self, *addresses: str) -> None:
        """Wait until exactly these workers are in the cluster."""
        until(lambda: self.workers() == sorted(addresses), f"the workers are {addresses}", 180)

    def worker(self, number: int, port: int = 8801) -> str:
        return f"tls://{self.machines[number].address}:{port}"


@dataclass
class Running:
    """Code that runs in the container `lab`."""

    process: subprocess.Popen[str]

    def reach(self, word: str) -> None:
        """Wait until it prints this word as a line."""
        assert self.process.stdout and self.process.stderr
        for line in self.process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"the code ended before it printed {word}: {self.process.stderr.read()}")

    def end(self) -> str:
        """Let the code go on, and return the rest of its output."""
        out, err = self.process.communicate("\n", timeout=300)
        assert self.process.returncode == 0, out + err
        return out


def make(project: Project, target: str, check: bool = True, **words: str) -> subprocess.CompletedProcess:
    command = ("make", "--no-print-directory", target, *(f"{name}={value}" for name, value in words.items()))
    return project.run(*command, check=check)


@contextmanager
def cluster(source: Project, folder: Path, image: str) -> Iterator[Cluster]:
    """Three machines. The lab and the scheduler run on the first. No worker has joined."""
    with machines(3, image) as found:
        lab = copied(source, found[0], folder / "first")
        lab.set_env(LAB_WORKERS="0", LAB_SCHEDULER_BIND=found[0].address, LAB_WORKER_MEMORY="1g")
        lab.make("up")
        copies = [copied(lab, each, folder / f"copy-{each.number}") for each in found[1:]]
        yield Cluster(found, lab, copies)


def copied(project: Project, to: Machine, folder: Path) -> Project:
    """A copy of the project on another machine, with the image. Of the secrets, it has only those of the workers."""
    subprocess.run(["cp", "-a", project.folder, folder], check=True)
    secrets = folder / "secrets"
    for path in [*secrets.glob("*"), *secrets.glob("cluster/*"), *(folder / "data").iterdir()]:
        if path.name not in ("cluster", "worker"):
            subprocess.run(["rm", "-rf", path], check=True)
    return to.project(folder, project.answers)
