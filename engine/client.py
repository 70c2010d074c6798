"""Checks that an engine answers plain `docker`, and that the engine and its plugins are new enough.

`link` links the client and the plugins if they are missing.
"""

import os
import re
import shutil
import socket
from pathlib import Path

from engine.common import Refused, reason, run

# start_interval of health checks needs engine 25, build.provenance needs Compose 2.39.
NEEDS = {"engine": (25, 0), "compose": (2, 39), "buildx": (0, 12)}
QUESTIONS = {
    "engine": ("docker", "version", "--format", "{{.Server.Version}}"),
    "compose": ("docker", "compose", "version", "--short"),
    "buildx": ("docker", "buildx", "version"),
}
PROGRAMS = Path("/usr/local/bin")
PLUGINS = Path("/usr/local/lib/docker/cli-plugins")


def missing(ours: bool) -> str | None:
    """Return the reason why `docker` cannot be used yet, or None. Refuse a version that is too old.

    ours: True if this package started the engine. Then this package can also link a missing plugin.
    """
    for what, least in NEEDS.items():
        answer = run(*QUESTIONS[what], seconds=20)
        seen = re.search(r"(\d+)\.(\d+)", answer.stdout)
        if answer.returncode or not seen:
            if what == "engine":
                return f"No container engine answers ({reason(answer.stderr)})"
            if ours:
                return f"Docker has no {what}"
        if not seen or tuple(map(int, seen.groups())) < least:
            wrong = (
                f"Docker's {what} is {seen[0]}, but {least[0]}.{least[1]} or newer is needed. Update it"
                if seen
                else f"Docker has no {what}. Install {what} {least[0]}.{least[1]} or newer"
            )
            raise Refused(
                f"{wrong} with your package manager, or stop and remove Docker and run this command again as root."
            )
    return None


def check_address(ours: Path) -> None:
    """Refuse if `docker` uses another socket than `ours`."""
    form = "{{.Endpoints.docker.Host}}"
    address = os.environ.get("DOCKER_HOST") or run("docker", "context", "inspect", "-f", form).stdout
    path = address.strip().removeprefix("unix://") or str(ours)
    if Path(path).resolve() != ours.resolve():
        raise Refused(
            f"docker uses {address.strip()}, but no engine answers at this address. Start that "
            "engine, or unset DOCKER_HOST and run 'docker context use default'."
        )


def check_free(ours: Path) -> None:
    """Refuse if another program listens on the socket that our engine needs."""
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(ours)) == 0:
            raise Refused(
                f"{ours} belongs to a program that does not answer like Docker. Find it with 'ss -xlp' and stop it."
            )


def link(packages: Path, record: Path) -> None:
    """Link Docker's client and plugins if they are missing. Write each link to `record`."""
    if not shutil.which("docker"):
        make_link(PROGRAMS / "docker", packages / "usr/bin/docker", record)
    for name in ("compose", "buildx"):
        if run(*QUESTIONS[name]).returncode:
            file = f"docker-{name}"
            make_link(PLUGINS / file, packages / "usr/libexec/docker/cli-plugins" / file, record)


def make_link(path: Path, target: Path, record: Path) -> None:
    """Add a line with `path` to `record`, then make `path` a link to `target`. Raises `Refused` if `path` exists."""
    if os.path.lexists(path):
        raise Refused(f"{path} exists but does not work. Remove it and run this command again.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with record.open("a") as lines:
        lines.write(f"{path}\n")
    path.symlink_to(target)


def unlink(packages: Path, record: Path) -> None:
    """Remove the links in `record` that still point to `packages`."""
    for path in map(Path, record.read_text().splitlines() if record.exists() else ()):
        if path.is_symlink() and path.readlink().is_relative_to(packages):
            path.unlink()
