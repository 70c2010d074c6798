"""Provides base images. If no registry answers, stand-ins with the same names replace the official images.

A stand-in is made of Debian's own packages. For a Dockerfile, a stand-in is like the official slim image. Python and
pip have the same paths, pip can install packages, and the same folders are left out.
"""

import os
import re
import select
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from engine import client, machine
from engine.daemon import Daemon
from engine.debian import Apt, sources
from engine.tools import Refused, locked, must, reason, run, step

LABEL = "org.labdock.stand-in"
SUITES = ("trixie", "testing")  # the release in the images' names comes first
PATIENCE = 5  # seconds in which a registry must begin to answer
SETUP = Path(__file__).with_name("make_base_image.sh")
LEFT_OUT = tuple(f"/usr/share/{part}" for part in ("doc", "groff", "info", "linda", "lintian", "locale", "man"))
# dpkg's settings in the image
DPKG = ("force-unsafe-io", *(f"path-exclude={path}/*" for path in LEFT_OUT), "path-include=/usr/share/doc/*/copyright")


def reference(version: str) -> str:
    """The base image of Python `version`, such as 3.13."""
    return f"python:{version}-slim-trixie"


def provide(versions: Iterable[str], root: Path, begun: Mapping[str, "StandIn"] | None = None) -> dict[str, str]:
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
def begun(versions: Iterable[str], own: Daemon) -> Iterator[dict[str, "StandIn"]]:
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


class StandIn:
    """A stand-in that is being made. In the background, mmdebstrap makes a root file system with Debian and Python.

    `build` imports the file system as an image.
    """

    def __init__(self, version: str, root: Path) -> None:
        """Start mmdebstrap. Raises `Refused` if the download fails, or Debian has no package of this Python."""
        self.version = version
        for suite in SUITES:
            apt = Apt(root / suite, suite)
            if apt.has(f"python{version}-venv"):
                break
        else:
            raise Refused(f"Debian has no package python{version}")
        self.suite = suite
        apt.unpack(["mmdebstrap"], root / suite / "mmdebstrap")
        self.start(root, apt.lists)

    def start(self, root: Path, lists: Path) -> None:
        """Start mmdebstrap. It uses the package lists in `lists`, and writes root.tar into a folder of its own."""
        version, suite = self.version, self.suite
        archives, mirrors, programs = sources([suite]), machine.debian_mirrors(), root / suite / "mmdebstrap/usr/bin"
        packages = (f"python{version}", f"python{version}-venv", "ca-certificates", "netbase", "tzdata")
        self.folder = tempfile.TemporaryDirectory(dir=root)
        self.errors = Path(self.folder.name, "errors")
        settings = Path(self.folder.name, "dpkg.cfg")
        settings.write_text("".join(f"{line}\n" for line in DPKG))
        env = {
            **os.environ,
            "PATH": f"{programs}:{os.environ.get('PATH', '')}:/usr/sbin",
            "STANDIN_VERSION": version,
            "STANDIN_SUITE": suite,
            "STANDIN_MIRROR": mirrors["DEBIAN_MIRROR"],
            "STANDIN_SECURITY": mirrors.get("DEBIAN_SECURITY_MIRROR", ""),
            "STANDIN_NOTES": self.folder.name,
        }
        command = (
            "perl", programs / "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--skip=update",
            f"--setup-hook=cp '{lists}'/*_dists_* \"$1/var/lib/apt/lists\"",
            f"--include={','.join(packages)}",
            *(f"--aptopt={line}" for line in apt_settings()),
            # With --dpkgopt, mmdebstrap would filter each package in a separate process. This takes 10 s.
            f"--extract-hook=cp '{settings}' \"$1/etc/dpkg/dpkg.cfg.d/docker\"",
            f"--extract-hook=cd \"$1\" && rm -rf {' '.join(f'.{path}' for path in LEFT_OUT)}",
            f"--customize-hook=sh '{SETUP}' \"$1\"",
            suite, f"{self.folder.name}/root.tar", *archives,
        )  # fmt: skip
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
            )

    def build(self) -> None:
        """Wait for the file system and import it as an image."""
        try:
            if self.process.wait():
                raise Refused(f"mmdebstrap failed: {reason(self.errors.read_text(errors='replace'))}")
            changes = (
                f'LABEL {LABEL}="debian {self.suite} python{self.version}"',
                "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
                f"ENV PYTHON_VERSION={Path(self.folder.name, 'version').read_text().strip()}",
                'CMD ["python3"]',
            )
            options = [part for change in changes for part in ("--change", change)]
            must("docker", "import", *options, f"{self.folder.name}/root.tar", reference(self.version))
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Stop mmdebstrap, which removes its own files, and remove the other files."""
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


def apt_settings() -> list[str]:
    """The machine's apt settings for its mirror: proxies, certificates, and checks of dates."""
    dump = run("apt-config", "dump", "--format", '%F "%v";%n', "Acquire").stdout
    return re.findall(r"^Acquire::(?:https?|Check-|Retries)\S* .*;$", dump, re.MULTILINE)


def remove() -> None:
    """Remove the stand-ins from an engine that is not ours and still runs."""
    names = run("docker", "images", "--quiet", "--filter", f"label={LABEL}").stdout.split()
    if names:
        run("docker", "image", "rm", "--force", *names)
