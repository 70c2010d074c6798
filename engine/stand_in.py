"""A stand-in for a base image, made of Debian's own packages.

For a Dockerfile, a stand-in is like the official slim image: Python and pip have the same paths, pip can install
packages, and the same folders are left out.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from engine import machine
from engine.common import Refused, must, reason, run
from engine.debian import Apt, sources

LABEL = "org.labdock.stand-in"
SUITES = ("trixie", "testing")  # the release in the images' names comes first
SETUP = Path(__file__).with_name("finish_stand_in.sh")
LEFT_OUT = tuple(f"/usr/share/{part}" for part in ("doc", "groff", "info", "linda", "lintian", "locale", "man"))
# dpkg's settings in the image
DPKG = ("force-unsafe-io", *(f"path-exclude={path}/*" for path in LEFT_OUT), "path-include=/usr/share/doc/*/copyright")


def reference(version: str) -> str:
    """The base image of Python `version`, such as 3.13."""
    return f"python:{version}-slim-trixie"


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
