"""Base images: the real ones where a registry answers, else stand-ins of the same name.

A stand-in is made of Debian's own packages and resembles the official slim image in what a
Dockerfile can tell: where Python and pip are, what may be installed, what is left out.
"""

import os
import re
import select
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from engine import site
from engine.debian import Apt, sources
from engine.tools import Refused, locked, must, reason, run, step

LABEL = "org.labdock.stand-in"
PATIENCE = 5  # seconds for a registry to begin answering
SETUP = Path(__file__).with_name("standin.sh")
LEFT_OUT = ("doc", "groff", "info", "linda", "lintian", "locale", "man")  # of /usr/share


def reference(version: str) -> str:
    """The base image of Python `version`, such as 3.13."""
    return f"python:{version}-slim-trixie"


def provide(versions: Iterable[str], root: Path) -> dict[str, str]:
    """Make each version's image exist; return version -> "ready", or why it is skipped."""
    labels = {version: label(version) for version in versions}
    # A stand-in is proof enough that no registry answers here: do not wait for one again.
    registry = not any(labels.values())
    states = {}
    for version, found in labels.items():
        states[version] = "ready"
        if found is None:
            objection: str | None = None
            if registry:
                registry, objection = pull(reference(version))
            if not registry:
                objection = stand_in(version, root)
            states[version] = objection or "ready"
    return states


def label(version: str) -> str | None:
    """None: there is no such image. Else what it stands in with; "" for an official image."""
    form = '{{index .Config.Labels "' + LABEL + '"}}'
    seen = run("docker", "image", "inspect", "--format", form, reference(version))
    return None if seen.returncode else seen.stdout.strip()


def pull(name: str) -> tuple[bool, str | None]:
    """Pull an image; return whether a registry answered, and what it objected, if it did."""
    command, pipe = ["docker", "pull", name], subprocess.PIPE
    with (
        step(f"asking for {name}"),
        subprocess.Popen(command, text=True, stdout=pipe, stderr=pipe) as process,
    ):
        assert process.stdout  # a pipe, as asked for above
        # The first line comes once the registry has described the image.
        if not select.select([process.stdout], [], [], PATIENCE)[0]:
            process.kill()
            return False, None
        error = process.communicate()[1]
    if process.returncode and re.search(r"manifest unknown|: not found$", error.strip()):
        return True, reason(error)
    return not process.returncode, None


def stand_in(version: str, root: Path) -> str | None:
    """Build and import a stand-in; return None, or why there is none."""
    if os.geteuid():
        return "no registry answers, and only root can build a stand-in"
    try:
        with locked(root):
            if label(version) is not None:
                return None  # somebody else has built it meanwhile
            apt = Apt(root)
            suite = apt.suite_of(f"python{version}-venv")
            if not suite:
                return f"no registry answers, and Debian has no python{version} package"
            apt.unpack(["mmdebstrap/testing"], root / "mmdebstrap")
            with step(f"building a stand-in for {reference(version)} from Debian {suite}"):
                build(version, suite, root)
    except Refused as error:
        return f"no registry answers, and there is no stand-in: {error}"
    return None


def build(version: str, suite: str, root: Path) -> None:
    """Make a root file system of `suite` with its Python, and import it as an image."""
    programs = root / "mmdebstrap/usr/bin"
    packages = (f"python{version}", f"python{version}-venv", "ca-certificates", "netbase", "tzdata")
    archives, mirrors = sources([suite]), site.debian_mirrors()
    with tempfile.TemporaryDirectory(dir=root) as folder:
        env = {
            **os.environ,
            "PATH": f"{programs}:{os.environ.get('PATH', '')}:/usr/sbin",
            "STANDIN_VERSION": version,
            "STANDIN_SUITE": suite,
            "STANDIN_MIRROR": mirrors["DEBIAN_MIRROR"],
            "STANDIN_SECURITY": mirrors.get("DEBIAN_SECURITY_MIRROR", ""),
            "STANDIN_NOTES": folder,
        }
        must(
            "perl", programs / "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase",
            f"--include={','.join(packages)}",
            *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in LEFT_OUT),
            "--dpkgopt=path-include=/usr/share/doc/*/copyright", "--dpkgopt=force-unsafe-io",
            *(f"--aptopt={line}" for line in apt_settings()),
            f"--customize-hook=sh '{SETUP}' \"$1\"",
            suite, f"{folder}/root.tar", *archives, env=env,
        )  # fmt: skip
        changes = (
            f'LABEL {LABEL}="debian {suite} python{version}"',
            "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            f"ENV PYTHON_VERSION={Path(folder, 'version').read_text().strip()}",
            'CMD ["python3"]',
        )
        options = [part for change in changes for part in ("--change", change)]
        must("docker", "import", *options, f"{folder}/root.tar", reference(version))


def apt_settings() -> list[str]:
    """The machine's apt settings for reaching its mirror: proxies, certificates, validity."""
    dump = run("apt-config", "dump", "--format", '%F "%v";%n', "Acquire").stdout
    return re.findall(r"^Acquire::(?:https?|Check-|Retries)\S* .*;$", dump, re.MULTILINE)


def remove() -> None:
    """Remove the stand-ins from an engine that is not ours and lives on."""
    names = run("docker", "images", "--quiet", "--filter", f"label={LABEL}").stdout.split()
    if names:
        run("docker", "image", "rm", "--force", *names)
