"""What plain `docker` sees: is there an engine, is it new enough, are its plugins there."""

import os
import re
import shutil
import socket
from pathlib import Path

from engine.tools import Refused, reason, run

# start_interval of health checks asks for engine 25, build.provenance for Compose 2.39.
NEEDS = {"engine": (25, 0), "compose": (2, 39), "buildx": (0, 12)}
QUESTIONS = {
    "engine": ("docker", "version", "--format", "{{.Server.Version}}"),
    "compose": ("docker", "compose", "version", "--short"),
    "buildx": ("docker", "buildx", "version"),
}
PROGRAMS = Path("/usr/local/bin")
PLUGINS = Path("/usr/local/lib/docker/cli-plugins")


def missing(ours: bool) -> str | None:
    """Why `docker` is of no use yet, or None; refuse what is too old for us.

    ours: the engine is one we brought, so a missing plugin is ours to link.
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
            raise Refused(
                f"Docker's {what} is {seen[0] if seen else 'missing'}, and "
                f"{least[0]}.{least[1]} or newer is needed: update it with your package manager, "
                "or stop and remove Docker and run this again as root."
            )
    return None


def check_address(ours: Path) -> None:
    """Refuse if `docker` looks elsewhere than at `ours`."""
    form = "{{.Endpoints.docker.Host}}"
    address = os.environ.get("DOCKER_HOST") or run("docker", "context", "inspect", "-f", form).stdout
    path = address.strip().removeprefix("unix://") or str(ours)
    if Path(path).resolve() != ours.resolve():
        raise Refused(
            f"docker is told to talk to {address.strip()}, where nothing answers: start that "
            "engine, or unset DOCKER_HOST and run `docker context use default`."
        )


def check_free(ours: Path) -> None:
    """Refuse if somebody listens on the socket that is to be ours."""
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(ours)) == 0:
            raise Refused(
                f"{ours} belongs to a program that does not answer as Docker does: find it with `ss -xlp` and stop it."
            )


def link(packages: Path, record: Path) -> None:
    """Link Docker's client and plugins where `docker` has none; write each link to `record`."""
    if not shutil.which("docker"):
        make_link(PROGRAMS / "docker", packages / "usr/bin/docker", record)
    for name in ("compose", "buildx"):
        if run(*QUESTIONS[name]).returncode:
            file = f"docker-{name}"
            make_link(PLUGINS / file, packages / "usr/libexec/docker/cli-plugins" / file, record)


def make_link(path: Path, target: Path, record: Path) -> None:
    """Link `path` to `target`, written to `record` first; raises `Refused` where something is in the way."""
    if os.path.lexists(path):
        raise Refused(f"{path} exists but does not work: remove it and run this again.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with record.open("a") as lines:
        lines.write(f"{path}\n")
    path.symlink_to(target)


def unlink(packages: Path, record: Path) -> None:
    """Remove the links in `record`, those that still are ours."""
    for path in map(Path, record.read_text().splitlines() if record.exists() else ()):
        if path.is_symlink() and path.readlink().is_relative_to(packages):
            path.unlink()
