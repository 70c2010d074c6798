"""A Docker engine of our own, unpacked from Debian's packages. `down` undoes `up`.

All files are in one folder, except the socket, the lock file, the folders in TRACES, and the links to the client and
its plugins. `client.link` makes a link only if its path is free, and records each link.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine import client, machine, network
from engine.common import Refused, locked, reason, run, step
from engine.debian import Apt

NEW = ("docker.io", "docker-cli", "docker-buildx", "docker-compose", "containerd", "tini-static")
# These packages depend on the machine's Linux kernel and C library, so they come from the machine's own release.
OWN = ("runc", "iptables", "libip4tc2", "libip6tc2", "libxtables12", "libmnl0", "libnftnl11",
       "libnetfilter-conntrack3", "libnfnetlink0")  # fmt: skip
# The largest size of the build cache. If the disk has less free space than minFreeSpace, the cache shrinks to
# reservedSpace. maxUsedSpace alone is not enough, because it also counts layers that images use. Deleting these
# layers frees no space.
CACHE = {"maxUsedSpace": "45GB", "reservedSpace": "10GB", "minFreeSpace": "15GB"}
# Folders that the engine makes outside its own folder.
TRACES = (Path("/run/docker"), Path("/run/containerd"), Path("/opt/containerd"))


@dataclass(frozen=True)
class Daemon:
    """An engine. The defaults describe the engine that plain `docker` uses."""

    root: Path = Path("/var/lib/labdock/engine")
    socket: Path = Path("/run/docker.sock")

    @property
    def packages(self) -> Path:
        """Where Debian's packages are unpacked."""
        return self.root / "packages"

    def up(self) -> None:
        """If no engine works, start one for plain `docker`, Compose and buildx. Raises `Refused`."""
        why = client.missing(ours=bool(self.pid()))
        if not why:
            return
        if not machine.debian_codename():
            raise Refused(
                f"{why}. This machine is {machine.system()}, not Debian, so labdock cannot start an engine here. "
                "Install and start Docker Engine 25 or newer with Compose and buildx."
            )
        if os.geteuid():
            raise Refused(
                f"{why}, and only root can start an engine. "
                "Start Docker Engine 25 or newer, or run this command with sudo."
            )
        with locked(self.root):
            client.check_address(self.socket)
            if not self.pid():
                client.check_free(self.socket)
            self.fetch()
            client.link(self.packages, self.root / "links")
            if not self.pid():
                self.start()
        if why := client.missing(ours=True):
            raise Refused(f"{why}, although labdock started an engine. Read {self.root}/log.")

    def fetch(self) -> None:
        """Download and unpack the engine, unless it is there already."""
        apt = Apt(self.root)
        self.root.mkdir(parents=True, exist_ok=True)
        names = [*(f"{name}/testing" for name in NEW), *(f"{name}/{apt.own}" for name in OWN)]
        apt.unpack(names, self.packages)
        network.wrap_iptables(self.packages, self.root / "bin")

    def start(self) -> None:
        """Start dockerd in the background and wait until it answers."""
        programs = self.packages / "usr/bin", self.packages / "usr/sbin"
        address = f"unix://{self.socket}"
        config = {
            "data-root": f"{self.root}/data",
            "exec-root": f"{self.root}/exec",
            "pidfile": f"{self.root}/pid",
            "hosts": [address],
            "init-path": f"{programs[0]}/tini-static",
            "userland-proxy-path": f"{programs[1]}/docker-proxy",
            "features": {"containerd-snapshotter": True},
            # Each lab has two networks. The engine's own default is 31 networks.
            "default-address-pools": [{"base": "172.16.0.0/12", "size": 24}],
            # Builds and containers ask a slow name server again after a second, instead of failing after ten.
            "dns-opts": ["timeout:1", "attempts:6"],
            # By default, the cache may fill most of the disk.
            "builder": {"gc": {"enabled": True, "policy": [{"all": True, **CACHE}]}},
        }
        (self.root / "config.json").write_text(json.dumps(config, indent=1))
        (self.root / "pid").unlink(missing_ok=True)  # an old file may contain the id of another process
        self.remember()
        path = [f"{self.root}/bin", *map(str, programs), os.environ.get("PATH", ""), "/usr/sbin"]
        with step("starting Docker"), (self.root / "log").open("a") as log:
            process = subprocess.Popen(
                [programs[1] / "dockerd", "--config-file", self.root / "config.json"],
                env={**os.environ, "PATH": ":".join(path)}, cwd="/", start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            until = time.monotonic() + 60
            while run(programs[0] / "docker", "-H", address, "version").returncode:
                if process.poll() is not None or time.monotonic() > until:
                    last = reason((self.root / "log").read_text())
                    raise Refused(f"dockerd did not start ({last}). Read {self.root}/log.")
                time.sleep(0.1)

    def pid(self) -> int | None:
        """The process id of our dockerd, if it runs."""
        try:
            pid = int((self.root / "pid").read_text())
            program = Path(f"/proc/{pid}/exe").readlink()
        except (OSError, ValueError):
            return None
        return pid if program.is_relative_to(self.root) else None

    def remember(self) -> None:
        """Before the first start, record the state that `down` has to restore."""
        record = self.root / "before.json"
        if not record.exists():
            there = [str(path) for path in TRACES if path.exists()]
            record.write_text(json.dumps({"forwarding": network.forwarding(self.root / "bin"), "there": there}))

    def down(self) -> bool:
        """Stop our engine and remove its files. Return False if there are none."""
        if not self.root.exists():
            return False
        if os.geteuid():
            raise Refused(f"{self.root} belongs to root. Run this command with sudo.")
        with locked(self.root), step("stopping Docker and removing its files"):
            self.stop()
            client.unlink(self.packages, self.root / "links")
            record = self.root / "before.json"
            if record.exists():
                before = json.loads(record.read_text())
                network.restore(before["forwarding"], self.root / "bin")
                for trace in TRACES:
                    if str(trace) not in before["there"]:
                        shutil.rmtree(trace, ignore_errors=True)
            shutil.rmtree(self.root)
            Path(f"{self.root}.lock").unlink()
        with suppress(OSError):  # the parent folder may contain other files
            self.root.parent.rmdir()
        return True

    def stop(self) -> None:
        """Stop dockerd with its containers, then kill processes that still run."""
        if pid := self.pid():
            os.kill(pid, signal.SIGTERM)
            until = time.monotonic() + 60
            while self.pid() and time.monotonic() < until:
                time.sleep(0.1)
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        for mount in self.mounts():
            run("umount", "--lazy", mount)

    def processes(self) -> list[int]:
        """The ids of the processes that run our programs."""
        found = []
        for program in Path("/proc").glob("[0-9]*/exe"):
            try:
                if program.readlink().is_relative_to(self.packages):
                    found.append(int(program.parent.name))
            except OSError:
                continue  # the process has ended
        return found

    def mounts(self) -> list[str]:
        """The mounts below our folder, innermost first."""
        rows = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
        return sorted((row for row in rows if Path(row).is_relative_to(self.root)), reverse=True)
