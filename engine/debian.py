"""Debian's packages, verified by Debian's keyring, without touching this machine's own apt.

apt gets a source list, package lists and a cache of its own; mirror, proxies and certificates
are the machine's. Packages are unpacked, never installed.
"""

import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from engine import site
from engine.tools import Refused, must, run, step

KEYRINGS = Path("/usr/share/keyrings")
SUITES = ("trixie", "testing")  # the release that the images are named after comes first


def keyring() -> Path:
    """The keys that sign Debian's archive."""
    found = sorted(KEYRINGS.glob("debian-archive-keyring.[gp]*"))
    if not found:
        raise Refused(
            f"{KEYRINGS} holds no debian-archive-keyring, so no package can be verified: "
            "apt-get install debian-archive-keyring"
        )
    return found[0]


def sources(suites: Iterable[str]) -> list[str]:
    """One-line apt sources for these suites on the machine's own mirror."""
    mirror = site.debian_mirrors().get("DEBIAN_MIRROR")
    if not mirror:
        raise Refused(
            "This machine's apt sources name no Debian archive: add one below "
            "/etc/apt/sources.list.d and run this again."
        )
    return [f"deb [signed-by={keyring()}] {mirror} {suite} main" for suite in suites]


class Apt:
    """An apt whose state is in `root/apt`; only Debian has one."""

    def __init__(self, root: Path) -> None:
        """Raises `Refused` where the machine is not Debian."""
        self.own = site.debian_codename()
        if not self.own:
            raise Refused(f"this machine is {site.system()}, not Debian")
        self.folder = root / "apt"
        settings = (
            f"Dir::Etc::SourceList={self.folder}/sources.list",
            "Dir::Etc::SourceParts=-",
            f"Dir::State::Lists={self.folder}/lists",
            f"Dir::Cache={self.folder}",
            "Dir::Cache::pkgcache=packages.bin",
            "Dir::Cache::srcpkgcache=sources.bin",
            "APT::Sandbox::User=root",
            "APT::Update::Error-Mode=any",  # else a mirror that is down is only a warning
        )
        self.options = [part for setting in settings for part in ("-o", setting)]

    def update(self) -> None:
        """Fetch the lists of packages."""
        with step("reading Debian's package lists"):
            for part in ("lists/partial", "archives/partial"):
                (self.folder / part).mkdir(parents=True, exist_ok=True)
            suites = dict.fromkeys((str(self.own), *SUITES))
            (self.folder / "sources.list").write_text("\n".join(sources(suites)) + "\n")
            must("apt-get", *self.options, "update")
            (self.folder / "updated").touch()

    def suite_of(self, package: str) -> str | None:
        """The first of `SUITES` that carries a package, if any does."""
        if not (self.folder / "updated").exists():
            self.update()
        rows = run("apt-cache", *self.options, "madison", package).stdout
        return next((suite for suite in SUITES if re.search(rf"\s{suite}/main\s", rows)), None)

    def unpack(self, packages: Sequence[str], target: Path) -> None:
        """Download `name/suite` packages, verified, and unpack them to `target`, if not done."""
        if target.exists():
            return
        self.update()
        with (
            step(f"downloading {packages[0]} and more"),
            tempfile.TemporaryDirectory(dir=target.parent) as folder,
        ):
            must("apt-get", *self.options, "download", *packages, cwd=Path(folder))
            for archive in sorted(Path(folder).glob("*.deb")):
                must("dpkg", "-x", archive, f"{folder}/root")
            Path(folder, "root").rename(target)
