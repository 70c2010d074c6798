"""Moves large packages out of a virtual environment, into a separate layer of the image.

Usage: `split_layers.py ENVIRONMENT LARGE`.

Packages of more than 10 MB go to the same path below LARGE. The image copies LARGE as a separate layer. This layer does
not change if you add a small package, so the engine does not compress or unpack the layer again.
"""

import sys
from pathlib import Path

LEAST = 10_000_000  # bytes


def size(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def split(environment: Path, large: Path) -> None:
    """Move each package of more than `LEAST` bytes to the same path below `large`."""
    large.mkdir()
    for package in environment.glob("lib/python*/site-packages/*/"):
        if size(package) > LEAST:
            target = large / package.relative_to(environment)
            target.parent.mkdir(parents=True, exist_ok=True)
            package.rename(target)


if __name__ == "__main__":
    split(Path(sys.argv[1]), Path(sys.argv[2]))
