"""Downloads packages for `make bundle`: Python packages for a later `make add`, and Debian packages.

    bundle.py PARTS

BUNDLE_PACKAGES names Python packages. BUNDLE_SYSTEM names the Debian packages in the lab's image, as
NAME:ARCHITECTURE=VERSION. The program downloads these Debian packages to PARTS/debs, which becomes a repository for
apt. It also downloads the packages in DEBIAN_BUILD_PACKAGES. It does not download packages that the base image
contains.
"""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

from run_and_explain import restored, run_and_explain

LOCKS = Path("/build")
BASE = Path("/base")  # dpkg's list of the base image's packages


def constraints(lock: str) -> str:
    """Write a pip constraints file with the versions of a lock, without hashes. Return its path."""
    text = (LOCKS / lock).read_text(encoding="utf-8")
    file = Path(tempfile.gettempdir(), f"{lock}.txt")
    file.write_text("\n".join(re.findall(r"^([a-z0-9].*\S) *\\$", text, re.MULTILINE)), encoding="utf-8")
    return str(file)


def download(wheels: Path, lock: str, names: list[str]) -> None:
    """Download packages and their dependencies in the locked versions. If that fails, end the program.

    uv selects the files, because it asks your indexes in their order. pip would take a higher version from any index.
    """
    if not names:
        return
    if wrong := [name for name in names if name.startswith("-")]:
        sys.exit(f"labdock: '{wrong[0]}' is not a package name. Write NAME or NAME>=VERSION, in quotes.")
    folder = Path(tempfile.mkdtemp())
    (folder / "asked.txt").write_text("\n".join(names), encoding="utf-8")
    asked, selected = str(folder / "asked.txt"), str(folder / "selected.txt")
    offline = ("--no-index",) if restored() else ()
    select = ("uv", "pip", "compile", "--quiet", "--no-progress", "--generate-hashes", *offline)
    fetch = ("pip", "download", "--quiet", "--no-deps", "--require-hashes")
    for command in (
        (*select, "--constraints", constraints(lock), "--output-file", selected, asked),
        (*fetch, "--dest", str(wheels), "--requirement", selected),
    ):
        if status := run_and_explain(*command):
            sys.exit(status)


def build_requirements(source: Path) -> list[str]:
    """The packages that a build of this source archive needs, from its pyproject.toml."""
    with tarfile.open(source) as archive:
        for member in archive:
            if Path(member.name).parts[1:] == ("pyproject.toml",) and (file := archive.extractfile(member)):
                return tomllib.loads(file.read().decode()).get("build-system", {}).get("requires", [])
    return []


def add_debs(debs: Path, installed: list[str]) -> None:
    """Download the Debian packages that the base image lacks, and write the list `Packages` for apt."""
    query = ("dpkg-query", "--show", "--showformat", "${Package}:${Architecture}=${Version}\n")
    here, base = (
        subprocess.run((*query, *option), check=True, text=True, capture_output=True).stdout.split()
        for option in ((), ("--admindir", str(BASE)))
    )
    missing = sorted({*installed, *here} - {*base})
    for command in (("update", "-qq", "--error-on=any"), ("download", "-qq", *missing)):
        if status := run_and_explain("apt-get", *command):
            sys.exit(status)
    with (debs / "Packages").open("w", encoding="utf-8") as listed:
        for deb in sorted(debs.glob("*.deb")):
            file = deb.rename(deb.with_name(deb.name.replace("%3a", "_")))  # apt would decode the name
            fields = subprocess.run(("dpkg-deb", "--field", file), check=True, text=True, capture_output=True).stdout
            content = file.read_bytes()
            listed.write(f"{fields}Filename: ./{file.name}\nSize: {len(content)}\n")
            listed.write(f"SHA256: {hashlib.sha256(content).hexdigest()}\n\n")


def main() -> None:
    """The command line."""
    parts = Path(sys.argv[1])
    wheels, debs = parts / "wheels", parts / "debs"
    download(wheels, "requirements.lock", os.environ.get("BUNDLE_PACKAGES", "").split())
    sources = sorted(wheels.glob("*.tar.gz"))
    download(wheels, "build.lock", [name for source in sources for name in build_requirements(source)])
    debs.mkdir()
    os.chdir(debs)
    add_debs(debs, os.environ.get("BUNDLE_SYSTEM", "").split())


if __name__ == "__main__":
    main()
