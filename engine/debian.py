"""Downloads Debian's packages and checks them with Debian's keyring. This machine's own apt does not change.

apt gets its own source list, package lists and cache. It uses the machine's mirror, proxies and certificates.
Packages are unpacked, never installed.
"""

import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from engine import machine
from engine.common import Refused, locked, must, run, step

KEYRINGS = Path("/usr/share/keyrings")
FRESH = 600  # package lists are used again for this number of seconds


def keyring() -> Path:
    """The file with the keys that sign Debian's archive."""
    found = sorted(KEYRINGS.glob("debian-archive-keyring.[gp]*"))
    if not found:
        raise Refused(
            f"{KEYRINGS} has no debian-archive-keyring, so no package can be verified. "
            "Run 'apt-get install debian-archive-keyring'."
        )
    return found[0]


def sources(suites: Iterable[str]) -> list[str]:
    """One-line apt sources for these suites on the machine's own mirror."""
    mirror = machine.debian_mirrors().get("DEBIAN_MIRROR")
    if not mirror:
        raise Refused(
            "This machine's apt sources name no Debian archive. Add an archive below "
            "/etc/apt/sources.list.d and run this command again."
        )
    return [f"deb [signed-by={keyring()}] {mirror} {suite} main" for suite in suites]


class Apt:
    """apt for some suites of Debian, with its own state in `root/apt`. It needs Debian."""

    def __init__(self, root: Path, *suites: str) -> None:
        """The default suites are this machine's own release and testing. Raises `Refused` if it does not run Debian."""
        self.own = machine.debian_codename()
        if not self.own:
            raise Refused(f"this machine is {machine.system()}, not Debian")
        self.suites = suites or tuple(dict.fromkeys((self.own, "testing")))
        self.folder = root / "apt"
        self.lists = self.folder / "lists"
        settings = (
            f"Dir::Etc::SourceList={self.folder}/sources.list",
            "Dir::Etc::SourceParts=-",
            f"Dir::State::Lists={self.lists}",
            f"Dir::Cache={self.folder}",
            "Dir::Cache::pkgcache=packages.bin",
            "Dir::Cache::srcpkgcache=sources.bin",
            "APT::Sandbox::User=root",
            "APT::Update::Error-Mode=any",  # without this, apt only warns of a mirror that is down
        )
        self.options = [part for setting in settings for part in ("-o", setting)]

    def update(self) -> None:
        """Download the package lists, unless the last download was in the last `FRESH` seconds."""
        updated = self.folder / "updated"
        if updated.exists() and time.time() - updated.stat().st_mtime < FRESH:
            return
        with step("reading Debian's package lists"):
            for part in ("lists/partial", "archives/partial"):
                (self.folder / part).mkdir(parents=True, exist_ok=True)
            (self.folder / "sources.list").write_text("\n".join(sources(self.suites)) + "\n")
            must("apt-get", *self.options, "update")
            updated.touch()

    def has(self, package: str) -> bool:
        """Does a suite have a package of this name?"""
        with locked(self.folder):
            self.update()
        return bool(run("apt-cache", *self.options, "madison", package).stdout.strip())

    def unpack(self, packages: Sequence[str], target: Path, *, dependencies: bool = False) -> None:
        """Download, verify and unpack packages (`name` or `name/suite`) to `target`. If `target` exists, do nothing.

        With `dependencies`, unpack all packages that these depend on too, so that no library of this machine is used.
        """
        with locked(self.folder):
            if target.exists():
                return
            self.update()
            more = f" and {len(packages) - 1} more" if len(packages) > 1 else ""
            with (
                step(f"downloading {packages[0].partition('/')[0]}{more}"),
                tempfile.TemporaryDirectory(dir=target.parent) as folder,
            ):
                if dependencies:
                    Path(folder, "status").touch()  # to apt, no package is installed yet
                    command = ["-o", f"Dir::State::Status={folder}/status", "-o", f"Dir::Cache::Archives={folder}"]
                    command += ["--yes", "--download-only", "--no-install-recommends", "install"]
                else:
                    command = ["download"]
                must("apt-get", *self.options, *command, *packages, cwd=Path(folder))
                for archive in sorted(Path(folder).glob("*.deb")):
                    must("dpkg", "-x", archive, f"{folder}/root")
                Path(folder, "root").rename(target)
