"""Empty cache mounts for one build. They have a name of their own, so all other caches stay as they are."""

import re
import secrets
import subprocess
from pathlib import Path


def cold(dockerfile: Path) -> str:
    """Give the Dockerfile's cache mounts a new name, so that they are empty, and return that name."""
    name = f"labdock-bench-{secrets.token_hex(6)}"
    text = re.sub(r"--mount=type=cache,(id=[^,]+,)?", f"--mount=type=cache,id={name},", dockerfile.read_text())
    if name not in text:
        raise RuntimeError(f"{dockerfile} has no cache mount.")
    dockerfile.write_text(text)
    return name


def remove(names: list[str]) -> None:
    """Remove the build caches with these names, and no others."""
    listing = subprocess.run(["docker", "buildx", "du", "--verbose"], text=True, capture_output=True, check=True).stdout
    for record in listing.split("\n\n"):
        found = re.search(r"^ID:\s+(\S+)", record, re.MULTILINE)
        if found and any(name in record for name in names):
            prune = ["docker", "buildx", "prune", "--force", "--filter", f"id={found[1]}"]
            subprocess.run(prune, capture_output=True, check=True)
