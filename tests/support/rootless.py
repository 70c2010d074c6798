"""Rootless engines for an ordinary user that the tests create: Docker under rootlesskit, and Podman.

The programs are unpacked from Debian's packages, not installed. The user exists in one mount namespace only. In this
namespace, /etc contains the user, and /dev/net/tun has its usual mode. Nothing on this machine changes, and everything
ends with the namespace.
"""

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.common import locked
from engine.daemon import Daemon
from engine.debian import Apt
from tests.support.project import Project
from tests.support.waiting import until

# Packages from this machine's own release, because the programs are linked with its libraries.
PROGRAMS = (
    *("uidmap", "slirp4netns", "libslirp0", "libglib2.0-0", "iproute2", "libbpf1", "libelf1", "libmnl0", "libbsd0"),
    *("rootlesskit", "podman", "conmon", "catatonit", "netavark", "aardvark-dns", "golang-github-containers-common"),
    *("golang-github-containers-image", "libgpgme11", "libassuan0", "libsubid4", "libseccomp2", "libyajl2"),
    "libdevmapper1.02.1",
)
SUBORDINATE = 65536  # the number of the user's subordinate ids. The first id is the uid times this number

# This script runs as root in a mount namespace. It mounts the user's /etc and creates tun. It ends when its standard
# input ends.
ENTER = """
for place in etc var/lib; do
    mount -t overlay -o "lowerdir=$1/$place:/$place" overlay "/$place"
done
mkdir -p /dev/net
mount -t tmpfs -o mode=755 tmpfs /dev/net
mknod -m 666 /dev/net/tun c 10 200
echo ready
exec cat
"""


@dataclass
class RootlessUser:
    """An ordinary user with its own home and namespace. `environment` has the variables that select the engine."""

    name: str
    uid: int
    home: Path
    namespace: int  # the id of the process that keeps the namespace
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *command: str | Path, cwd: Path | None = None) -> list[str]:
        """`command`, run as this user in the folder `cwd`, or at home."""
        return [
            *("nsenter", f"--mount=/proc/{self.namespace}/ns/mnt", "--"),
            *("setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--"),
            *("env", f"--chdir={cwd or self.home}"),
            *map(str, command),
        ]

    def settings(self) -> dict[str, str]:
        """The variables that a login sets, and those that select the engine."""
        own = {"HOME": str(self.home), "USER": self.name, "LOGNAME": self.name, "TMPDIR": str(self.home / "tmp")}
        return {**own, "XDG_RUNTIME_DIR": str(self.home / "run"), **self.environment}

    def run(self, *command: str | Path, check: bool = True, **options: Any) -> str:
        """Run `command` as this user and return its output."""
        done = subprocess.run(
            self.command(*command),
            env={**os.environ, **self.settings()},
            text=True,
            capture_output=True,
            **options,
        )
        if check and done.returncode:
            raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def owns(self, path: Path) -> bool:
        """Does the file belong to the user on the host?"""
        status = path.lstat()
        return (status.st_uid, status.st_gid) == (self.uid, self.uid)


@dataclass
class UsersProject(Project):
    """A project that `user` works in."""

    user: RootlessUser | None = None

    def run(self, *command: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        assert self.user
        self.environment = {**self.user.settings(), **self.environment}
        return super().run(*self.user.command(*command, cwd=self.folder), check=check, **options)


def unpack() -> Path:
    """Unpack `PROGRAMS` into a folder of the engine and return it. `Daemon.down` removes it. Raises `Refused`."""
    own = Daemon()
    folder = own.root / "rootless"
    with locked(own.root):
        own.fetch()
        apt = Apt(own.root)
        apt.unpack([f"{name}/{apt.own}" for name in PROGRAMS], folder)
    return folder


@contextmanager
def user(programs: Path) -> Iterator[RootlessUser]:
    """A user that exists in its own namespace only. Its processes and files are removed at the end."""
    taken = {user.pw_uid for user in pwd.getpwall()}
    uid = next(number for number in range(20000, 30000) if number not in taken and not processes(number))
    name = f"rootless{uid}"
    folder = Path(tempfile.mkdtemp(prefix="labdock-", dir="/var/tmp"))
    try:
        home, etc = folder / "home", folder / "etc"
        folder.chmod(0o755)
        etc.mkdir()
        for path in (home, home / "run", home / "tmp"):
            path.mkdir(mode=0o700)
            os.chown(path, uid, uid)
        (folder / "var/lib/cni").mkdir(parents=True)  # without this folder, Podman mounts a folder over all of /var/lib
        for file, line in {
            "passwd": f"{name}:x:{uid}:{uid}::{home}:/bin/sh",
            "group": f"{name}:x:{uid}:",
            "subuid": f"{name}:{uid * SUBORDINATE}:{SUBORDINATE}",
            "subgid": f"{name}:{uid * SUBORDINATE}:{SUBORDINATE}",
            "ld.so.conf": str(next((programs / "usr/lib").glob("*/libslirp.so.0")).parent),
        }.items():
            there = Path("/etc", file)
            (etc / file).write_text((there.read_text() if there.exists() else "") + f"{line}\n")
        for file in ("resolv.conf", "hosts"):  # these may be mounts, which an overlay does not show
            shutil.copy(Path("/etc", file), etc / file)
        subprocess.run(["/sbin/ldconfig", "-f", etc / "ld.so.conf", "-C", etc / "ld.so.cache"], check=True)
        holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-euc", ENTER, "sh", str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert holder.stdin and holder.stdout
        try:
            assert holder.stdout.readline() == "ready\n", "the user's namespace could not be made"
            yield RootlessUser(name, uid, home, holder.pid)
        finally:
            end_processes(uid)
            holder.stdin.close()
            holder.wait()
    finally:
        shutil.rmtree(folder)


def save(image: str, file: Path) -> None:
    """Write an image of the engine of the tests to `file`."""
    done = subprocess.run(["docker", "save", "--output", file, image], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def load(user: RootlessUser, file: Path) -> None:
    """Load the archive that `save` wrote into the user's engine."""
    with file.open() as stream:
        user.run("docker", "load", "--quiet", stdin=stream)


def processes(uid: int) -> list[int]:
    """The processes of this user and of its subordinate ids."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):  # the process has ended
            text = status.read_text()
            owner = int(text.partition("\nUid:")[2].split()[0])
            if uid in (owner, owner // SUBORDINATE) and "\nState:\tZ" not in text:
                found.append(int(status.parent.name))
    return found


def end_processes(uid: int) -> None:
    """End all remaining processes of this user."""

    def none_left() -> bool:
        left = processes(uid)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    until(none_left, "the end of the user's processes", 30)


@contextmanager
def engine(user: RootlessUser, kind: str, programs: Path) -> Iterator[None]:
    """Start the user's engine, `docker` or `podman`, and point `docker` at it."""
    own = Daemon()
    folders = (own.root, "bin"), (programs, "usr/bin", "bin"), (own.packages, "usr/bin", "usr/sbin")
    path = [str(Path(place, part)) for place, *parts in folders for part in parts]
    user.environment = {
        "DOCKER_HOST": f"unix://{user.home}/run/{kind}.sock",
        "PATH": ":".join([*path, os.environ["PATH"], "/usr/sbin", "/sbin"]),
    }
    command = {"docker": docker, "podman": podman}[kind](user, own, programs)
    with (user.home / "log").open("w") as log:
        process = subprocess.Popen(
            user.command(*command), env={**os.environ, **user.settings()}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until(lambda: process.poll() is not None or answers(user), "an answer of the engine", 60)
        assert process.poll() is None, (user.home / "log").read_text()[-5000:]
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        end_processes(user.uid)


def answers(user: RootlessUser) -> bool:
    return bool(user.run("docker", "version", "--format", "{{.Server.Version}}", check=False).strip())


def docker(user: RootlessUser, own: Daemon, _: Path) -> list[str | Path]:
    """The command that starts Docker with its own dockerd-rootless.sh."""
    packages = own.packages
    config = {
        "data-root": f"{user.home}/docker",
        "exec-root": f"{user.home}/run/docker",
        "pidfile": f"{user.home}/run/docker.pid",
        "hosts": [f"unix://{user.home}/run/docker.sock"],
        "init-path": f"{packages}/usr/bin/tini-static",
        "userland-proxy-path": f"{packages}/usr/sbin/docker-proxy",
    }
    (user.home / "docker.json").write_text(json.dumps(config))
    script = packages / "usr/share/docker.io/contrib/dockerd-rootless.sh"
    return ["sh", script, "--config-file", user.home / "docker.json"]


CONTAINERS = """
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
conmon_path = ["{programs}/usr/bin/conmon"]
helper_binaries_dir = ["{programs}/usr/lib/podman"]
init_path = "{programs}/usr/bin/catatonit"
[engine.runtimes]
runc = ["{packages}/usr/sbin/runc"]
[containers]
seccomp_profile = "{home}/lab/lab/runtime/seccomp.json"
[network]
network_backend = "netavark"
"""
STORAGE = """
[storage]
driver = "overlay"
graphroot = "{home}/podman"
runroot = "{home}/run/podman"
"""


def podman(user: RootlessUser, own: Daemon, programs: Path) -> list[str | Path]:
    """The command that starts Podman's service with Docker's API. (crun, the usual runtime, refuses hybrid cgroups.)"""
    places = {"home": user.home, "programs": programs, "packages": own.packages}
    folder = user.home / ".config/containers"
    for path in (folder.parent, folder):
        path.mkdir()
    (folder / "containers.conf").write_text(CONTAINERS.format(**places))
    (folder / "storage.conf").write_text(STORAGE.format(**places))
    shutil.copy(programs / "etc/containers/policy.json", folder)
    (folder / "registries.conf").write_text('unqualified-search-registries = ["docker.io"]\n')
    for path in (folder.parent, *folder.rglob("*"), folder):
        os.chown(path, user.uid, user.uid)
    return ["podman", "system", "service", "--time=0", f"unix://{user.home}/run/podman.sock"]
