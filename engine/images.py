"""Provides base images. If no registry answers, stand-ins with the same names replace the official images.

stand_in.py makes the stand-ins.
"""

import os
import re
import select
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from engine import client, machine
from engine.common import Refused, locked, reason, run, step
from engine.daemon import Daemon
from engine.stand_in import LABEL, StandIn, reference

PATIENCE = 5  # seconds in which a registry must begin to answer


def provide(versions: Iterable[str], root: Path, begun: Mapping[str, StandIn] | None = None) -> dict[str, str]:
    """Make each version's image available. Return version -> "ready", or the reason why the version is skipped.

    begun: stand-ins that are already being made. They are used if no registry answers.
    """
    labels = {version: label(version) for version in versions}
    # If there is a stand-in already, no registry answered before. So do not wait again.
    registry = not any(labels.values())
    need = "no registry answers"
    states = {}
    for version, found in labels.items():
        states[version] = "ready"
        if found is None:
            objection: str | None = None
            if registry:
                registry, objection = pull(reference(version))
            if not registry:
                need = f"the registry gives no image ('{objection}')" if objection else need
                objection = stand_in(version, root, (begun or {}).get(version), need)
            states[version] = objection or "ready"
    return states


def label(version: str) -> str | None:
    """The Debian suite and the Python of a stand-in. The result is "" for an official image, and None for no image."""
    form = '{{index .Config.Labels "' + LABEL + '"}}'
    seen = run("docker", "image", "inspect", "--format", form, reference(version))
    return None if seen.returncode else seen.stdout.strip()


def pull(name: str) -> tuple[bool, str | None]:
    """Pull an image. Return True if a registry can be used, and the error message. The message may be None."""
    command, pipe = ["docker", "pull", name], subprocess.PIPE
    with (
        step(f"pulling {name}"),
        subprocess.Popen(command, text=True, stdout=pipe, stderr=pipe) as process,
    ):
        assert process.stdout  # a pipe, as asked for above
        # The first line comes when the registry has described the image.
        if not select.select([process.stdout], [], [], PATIENCE)[0]:
            process.kill()
            return False, None
        error = process.communicate()[1]
    if not process.returncode or not error.strip():
        return not process.returncode, None
    return bool(re.search(r"manifest unknown|: not found$", error.strip())), reason(error)


@contextmanager
def begun(versions: Iterable[str], own: Daemon) -> Iterator[dict[str, StandIn]]:
    """Begin the stand-ins of these versions if this machine is about to start an engine of its own."""
    found: dict[str, StandIn] = {}
    try:
        with suppress(Refused):  # `own.up()` and `provide` say what is wrong
            if not os.geteuid() and machine.debian_codename() and client.missing(ours=bool(own.pid())):
                with locked(own.root):  # wait for a `down` that is removing these files
                    own.root.mkdir(exist_ok=True)
                    for version in versions:
                        found[version] = StandIn(version, own.root)
        yield found
    finally:
        for each in found.values():
            each.abandon()


def stand_in(version: str, root: Path, begun: "StandIn | None", need: str) -> str | None:
    """Build and import a stand-in. Return None, or the reason for a failure. `need` says why the stand-in is needed."""
    if os.geteuid():
        return f"{need}, and only root can build a stand-in. Run this command with sudo."
    try:
        with locked(root):
            if label(version) is not None:
                return None  # another process has built the stand-in in the meantime
            made = begun or StandIn(version, root)
            with step(f"building a stand-in for {reference(version)} from Debian {made.suite}"):
                made.build()
    except Refused as error:
        why = str(error).rstrip(".")
        return f"{need}, and there is no stand-in ({why}). Load the image with 'docker load'."
    return None


def remove() -> None:
    """Remove the stand-ins from an engine that is not ours and still runs."""
    names = run("docker", "images", "--quiet", "--filter", f"label={LABEL}").stdout.split()
    if names:
        run("docker", "image", "rm", "--force", *names)
