"""Make a release: `python -m tools.release VERSION [TARGET ...]`. `make release VERSION=1.2.3` runs this.

It runs `make TARGET` for each check, moves the "Unreleased" entries of CHANGELOG.md into a section of their own, and
commits that as `release: vVERSION`. If it refuses, or a check fails, every file stays as it was.
"""

import datetime
import os
import re
import subprocess
import sys
from pathlib import Path

from engine.common import Refused

CHANGELOG = "CHANGELOG.md"
SECTION = re.compile(r"^## (.+)\n((?:(?!## ).*\n)*)", re.MULTILINE)


def git(*arguments: str) -> str:
    """The output of a git command in the current folder."""
    return subprocess.run(["git", *arguments], check=True, text=True, capture_output=True).stdout.strip()


def number(version: str) -> tuple[int, ...]:
    """The three numbers of a version such as 1.2.3. Raises `Refused` if `version` has another form."""
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
        raise Refused(f"VERSION is '{version}', which is not three numbers. Run 'make release VERSION=1.2.3'.")
    return tuple(map(int, version.split(".")))


def released() -> list[tuple[int, ...]]:
    """The versions of the release commits, lowest first. Without a release, the only version is (0, 0, 0)."""
    subjects = git("log", "--format=%s", "--grep=^release: v").splitlines()
    found = [number(subject.removeprefix("release: v")) for subject in subjects if subject.startswith("release: v")]
    return sorted(found) or [(0, 0, 0)]


def unreleased(changelog: str) -> str:
    """The text under "Unreleased", without the white space around it."""
    return dict(SECTION.findall(changelog)).get("Unreleased", "").strip()


def removed(changelog: str) -> set[str]:
    """The names in backticks under each heading "Removed": files, settings and answers that old projects lose."""
    parts = re.findall(r"^### Removed\n((?:(?!##).*\n?)*)", changelog, re.MULTILINE)
    return {name for part in parts for name in re.findall(r"`([^`\n]+)`", part)}


def refuse(version: str, changelog: str) -> None:
    """Raise `Refused` if `version` cannot be released from this tree."""
    new, last = number(version), released()[-1]
    if (branch := git("branch", "--show-current")) != "main":
        raise Refused(f"The branch is '{branch}', but releases are made on main. Run 'git switch main'.")
    if changes := git("status", "--porcelain"):
        raise Refused(f"The tree has changes ({changes.splitlines()[0].strip()}). Commit or undo them.")
    if new <= last:
        raise Refused(f"VERSION is {version}, but the last release is {'.'.join(map(str, last))}. Choose a higher one.")
    if not unreleased(changelog):
        raise Refused(f'{CHANGELOG} has nothing under "Unreleased". Write there what is new.')
    if new[0] == last[0] and "### Removed" in unreleased(changelog):
        major = f"{last[0] + 1}.0.0"
        raise Refused(f'{CHANGELOG} has a heading "Removed", which needs a major release. Use VERSION={major}.')


def moved(changelog: str, version: str, date: datetime.date) -> str:
    """CHANGELOG.md with the "Unreleased" entries in a section of their own."""
    return changelog.replace("## Unreleased\n", f"## Unreleased\n\n## {version} - {date}\n", 1)


def release(version: str, checks: list[str]) -> None:
    """Check the tree, run the checks, write the changelog and commit it."""
    path = Path(CHANGELOG)
    before = path.read_text(encoding="utf-8")
    refuse(version, before)
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKEOVERRIDES")}
    for check in checks:
        if subprocess.run(["make", check], env=environment).returncode:
            raise Refused(f"'make {check}' failed, so nothing was released. Fix what it reports.")
    refuse(version, before)  # a check may have changed a file
    path.write_text(moved(before, version, datetime.datetime.now(datetime.UTC).date()), encoding="utf-8")
    try:
        subprocess.run(["git", "commit", "--quiet", "--message", f"release: v{version}", CHANGELOG], check=True)
    except BaseException:
        path.write_text(before, encoding="utf-8")
        raise
    print(f"v{version} is committed. Run 'git push origin main' to publish it.")


def main() -> None:
    """The command line."""
    version, *checks = sys.argv[1:]
    try:
        release(version, checks)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr or "see the lines above").strip()
        sys.exit(f"labdock: '{' '.join(error.cmd[:2])}' failed: {reason}")
    except Refused as refused:
        sys.exit(f"labdock: {refused}")


if __name__ == "__main__":
    main()
