"""A release in one command: `python -m tools.release VERSION [TARGET ...]`, as `make release VERSION=1.2.3` does.

It makes the TARGETs (checks), moves "Unreleased" of CHANGELOG.md into a section of its own and commits that as
`release: vVERSION`. All or nothing: what is refused, or fails, leaves the tree as it was.
"""

import datetime
import os
import re
import subprocess
import sys
from pathlib import Path

from engine.tools import Refused

CHANGELOG = "CHANGELOG.md"
SECTION = re.compile(r"^## (.+)\n((?:(?!## ).*\n)*)", re.MULTILINE)


def git(*arguments: str) -> str:
    """What git prints, in the current folder."""
    return subprocess.run(["git", *arguments], check=True, text=True, capture_output=True).stdout.strip()


def number(version: str) -> tuple[int, ...]:
    """1.2.3 as numbers; raises `Refused` where it is none."""
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
        raise Refused(f"VERSION is '{version}', not three numbers: make release VERSION=1.2.3")
    return tuple(map(int, version.split(".")))


def released() -> list[tuple[int, ...]]:
    """The versions of the release commits, lowest first; (0, 0, 0) where there is none."""
    subjects = git("log", "--format=%s", "--grep=^release: v").splitlines()
    found = [number(subject.removeprefix("release: v")) for subject in subjects if subject.startswith("release: v")]
    return sorted(found) or [(0, 0, 0)]


def unreleased(changelog: str) -> str:
    """What stands under "Unreleased", without the white space around it."""
    return dict(SECTION.findall(changelog)).get("Unreleased", "").strip()


def removed(changelog: str) -> set[str]:
    """What stands in backticks under a heading "Removed": files, settings, answers that old projects lose."""
    parts = re.findall(r"^### Removed\n((?:(?!##).*\n?)*)", changelog, re.MULTILINE)
    return {name for part in parts for name in re.findall(r"`([^`\n]+)`", part)}


def refuse(version: str, changelog: str) -> None:
    """Raise `Refused` where `version` cannot be released from this tree."""
    new, last = number(version), released()[-1]
    if (branch := git("branch", "--show-current")) != "main":
        raise Refused(f"the branch is '{branch}', and a release is made on main: git switch main")
    if changes := git("status", "--porcelain"):
        raise Refused(f"the tree is not clean ({changes.splitlines()[0].strip()}): commit it or take it back")
    if new <= last:
        raise Refused(f"VERSION is {version}, not above {'.'.join(map(str, last))}, the last release")
    if not unreleased(changelog):
        raise Refused(f'{CHANGELOG} says nothing under "Unreleased": write what is new there')
    if new[0] == last[0] and "### Removed" in unreleased(changelog):
        raise Refused(f'{CHANGELOG} has a heading "Removed", so this is a major release: VERSION={last[0] + 1}.0.0')


def moved(changelog: str, version: str, date: datetime.date) -> str:
    """CHANGELOG.md with what was under "Unreleased" in a section of its own."""
    return changelog.replace("## Unreleased\n", f"## Unreleased\n\n## {version} ({date})\n", 1)


def release(version: str, checks: list[str]) -> None:
    """Refuse, check, write, commit."""
    path = Path(CHANGELOG)
    before = path.read_text(encoding="utf-8")
    refuse(version, before)
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKEOVERRIDES")}
    for check in checks:
        if subprocess.run(["make", check], env=environment).returncode:
            raise Refused(f"'make {check}' failed: nothing was released")
    refuse(version, before)  # a check may have changed a file
    path.write_text(moved(before, version, datetime.datetime.now(datetime.UTC).date()), encoding="utf-8")
    try:
        subprocess.run(["git", "commit", "--quiet", "--message", f"release: v{version}", CHANGELOG], check=True)
    except BaseException:
        path.write_text(before, encoding="utf-8")
        raise
    print(f"v{version} is committed. What makes it public: git push origin main")


def main() -> None:
    """The command line."""
    version, *checks = sys.argv[1:]
    try:
        release(version, checks)
    except subprocess.CalledProcessError as error:
        sys.exit(f"labdock: '{' '.join(error.cmd[:2])}' failed: {(error.stderr or 'the lines above say why').strip()}")
    except Refused as refused:
        sys.exit(f"labdock: {refused}")


if __name__ == "__main__":
    main()
