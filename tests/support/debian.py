"""Programs from Debian's packages, with their own libraries. This machine's packages do not change."""

from pathlib import Path

from engine.common import Refused
from engine.debian import Apt
from tests.support.requirements import lacking


def program(folder: Path, name: str, package: str) -> Path:
    """A script in `folder` that starts the program `name` of a package (`name` or `name/suite`)."""
    packages = folder / f"packages-{name}"
    try:
        Apt(folder).unpack([package], packages, dependencies=True)
    except Refused as refused:
        lacking(f"no {name} to test with: {refused}")
    (loader,) = packages.glob("**/*-linux-gnu*/ld-linux-*.so.*")
    libraries = ":".join(sorted({str(path.parent) for path in packages.glob("**/*.so.*")}))
    script = folder / name
    script.write_text(f'#!/bin/sh\nexec {loader} --library-path {libraries} {packages}/usr/bin/{name} "$@"\n')
    script.chmod(0o755)
    return script
