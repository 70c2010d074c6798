"""This repository, and a clone with the working tree as its newest release."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CANDIDATE = "999.0.0"  # above every release, so that Copier takes it for the newest


def git(*arguments: str, cwd: Path) -> str:
    return subprocess.run(["git", *arguments], cwd=cwd, check=True, text=True, capture_output=True).stdout.strip()


def clone_with_candidate(clone: Path) -> None:
    """Clone the repository, tag each release commit, and tag the working tree as the candidate."""
    git("clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone), cwd=ROOT)
    for line in git("log", "--format=%H %s", "--grep=^release: v", cwd=clone).splitlines():
        commit, _, version = line.partition(" release: ")
        git("tag", "--force", version, commit, cwd=clone)
    kept = {name for name in git("ls-files", "-z", cwd=clone).split("\0") if name}
    current = {
        name
        for name in git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
        if name and (ROOT / name).exists()
    }
    for name in kept - current:
        (clone / name).unlink()
    for name in current:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name)
    git("add", "--all", cwd=clone)
    git("commit", "--quiet", "--allow-empty", "--message", "candidate", cwd=clone)
    git("tag", CANDIDATE, cwd=clone)
