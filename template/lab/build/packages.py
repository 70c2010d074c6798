"""Changes pyproject.toml and requirements.lock: `packages.py add|remove|lock|outdated [NAME ...]`, in stage `packages`.

stdin: a tar archive with pyproject.toml, requirements.lock, and a file `index` with the address of the package index.
stdout: a tar archive with the new pyproject.toml and requirements.lock. stderr: the changes, or one sentence that says
why nothing changed.
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from run_and_explain import BUNDLE, Source, masked, python_settings, restored
from run_and_explain import reason as common_reason

PROJECT, LOCK = "pyproject.toml", "requirements.lock"
CERTIFICATES = Path("/run/ca.pem")  # LAB_CA_BUNDLE
WHEELS = BUNDLE / "wheels"
INDEX = "index"  # a file in the archive, not a variable: PIP_INDEX_URL may contain a password


class Refused(Exception):
    """One sentence for the user."""


def uv(*arguments: str) -> None:
    """Run uv. If it fails, raise `Refused` with the reason as one sentence."""
    done = subprocess.run(["uv", "--quiet", "--no-progress", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refused(reason(" ".join(re.sub(r"[│╰─▶×├]", " ", masked(done.stderr)).split())))


def reason(said: str) -> str:
    """Explain uv's error output `said` in one sentence for the user."""
    if found := re.search(r"Failed to parse: `(.*?)`", said):
        return f"'{found[1]}' is not a package name. Write NAME or NAME>=VERSION, in quotes."
    if found := re.search(r"The dependency `(.*?)` could not be found", said):
        return f"'{found[1]}' is not in {PROJECT}. Write a name from the list of dependencies in that file."
    if found := re.search(r"Because (\S+) was not found in the package registry", said):
        return f"no package has the name '{found[1]}'. Look up the right name in the package index."
    if found := re.search(r"Because (\S+) was not found in the provided package locations", said):
        name = found[1]
        return f"'{name}' is not in lab/bundle. On a machine with a network, run 'make bundle PKG={name}'."
    if "No solution found" in said:
        why = said.partition("dependencies")[2].lstrip(" :").rstrip(".")
        return f"no versions fit together: {why or said}."
    addresses = " ".join(os.environ.get(name, "") for name in ("UV_DEFAULT_INDEX", "UV_INDEX")).strip()
    source = Source("the package index", "PIP_INDEX_URL", masked(addresses), CERTIFICATES)
    return common_reason(said, source) or f"uv failed: {said}."


def listed() -> dict[str, Any]:
    """The table [project] of the user's list, which people edit by hand."""
    fix = f"Correct the file, or run 'git checkout {PROJECT}' to get its last committed version."
    try:
        found = tomllib.loads(Path(PROJECT).read_text(encoding="utf-8")).get("project")
    except ValueError as error:  # no TOML, or no UTF-8
        raise Refused(f"{PROJECT} cannot be read ({error}; is a comma or a quotation mark missing?). {fix}") from None
    if not isinstance(found, dict):
        raise Refused(f"{PROJECT} has no table [project] with your packages. {fix}")
    return found


def resolve(*options: str) -> None:
    """Write a new lock, for every platform, and for the project's oldest Python and all later ones."""
    oldest = re.search(r">=\s*(3\.\d+)", str(listed().get("requires-python")))
    version = ("--python-version", oldest[1]) if oldest else ()
    layout = ("--universal", "--generate-hashes", "--no-annotate", "--no-header")
    uv("pip", "compile", *layout, "--python", sys.executable, *version, *options, PROJECT, "--output-file", LOCK)


def entries(lock: str) -> list[tuple[str, str]]:
    """Name and text of each entry of a lock. A name comes twice if platforms need different versions."""
    found = re.findall(r"^[\w.-]+==.*\n(?: .*\n)*", lock, re.MULTILINE)
    return [(text.partition("==")[0], text) for text in found]


def resolve_here() -> dict[str, str]:
    """Resolve the list for this platform with the packages of the bundle. Locked versions are preferred.

    Returns: name -> the entry in a lock.
    """
    here = Path("here.lock")
    here.write_bytes(Path(LOCK).read_bytes())
    layout = ("--generate-hashes", "--no-annotate", "--no-header", "--no-index")
    uv("pip", "compile", *layout, "--python", sys.executable, PROJECT, "--output-file", str(here))
    return dict(entries(here.read_text(encoding="utf-8")))


def version(entry: str) -> str:
    """NAME==VERSION of an entry."""
    return entry.split()[0]


def merge(before: dict[str, str], after: dict[str, str]) -> None:
    """Write the differences of two results for this platform to the lock. Entries of other platforms do not change.

    A bundle contains the wheels of one platform. So the lock cannot be resolved for all platforms.
    """
    new = {name: entry for name, entry in after.items() if version(before.get(name, "?")) != version(entry)}
    old = {*new, *(before.keys() - after.keys())}
    kept = [found for found in entries(Path(LOCK).read_text(encoding="utf-8")) if found[0] not in old]
    Path(LOCK).write_text("".join(text for _, text in sorted([*kept, *new.items()], key=lambda found: found[0])))


def versions() -> dict[str, str]:
    """The versions in the lock, by name. If platforms differ, a name has several versions."""
    found: dict[str, str] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", Path(LOCK).read_text(encoding="utf-8"), re.MULTILINE):
        found[name] = f"{found[name]}, {version}" if name in found else version
    return found


def changes(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """One line for each package that differs."""
    return [
        f"  {name} {old.get(name, '(new)')} -> {new.get(name, '(gone)')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def run(command: str, names: list[str]) -> bool:
    """Run `command` in the current folder and print the changes. Return whether to keep the changed files."""
    if command in ("add", "remove") and not names:
        raise Refused(f"no package is named. Run 'make {command} PKG=\"NAME\"'.")
    if restored() and command in ("lock", "outdated"):
        raise Refused(
            "this project was restored from lab/bundle, which has no newer versions. "
            "Make a new bundle on a machine with a network."
        )
    listed()
    old = versions()
    before = resolve_here() if restored() else {}
    if command in ("add", "remove"):
        uv(command, "--frozen", "--", *names)  # edits the list only
    if restored():
        merge(before, resolve_here())
    else:
        resolve(*(["--upgrade"] if command in ("lock", "outdated") else []))
    shown = changes(old, versions())
    keep = command != "outdated"
    unchanged = "the lock has these versions already" if keep else "every version is the newest"
    print("\n".join(shown) or f"Nothing changes: {unchanged}.", file=sys.stderr)
    if shown:
        count = len(shown)
        newer = f"Newer versions: {count}. `make lock` writes them to the lock."
        print(f"Packages changed: {count}. `make up` builds them." if keep else newer, file=sys.stderr)
    return keep


def main() -> None:
    os.chdir(tempfile.mkdtemp())
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        archive.extractall(filter="data")
    os.environ |= python_settings(Path(INDEX).read_text(encoding="utf-8").split(), CERTIFICATES)
    try:
        keep = run(sys.argv[1], sys.argv[2:])
    except Refused as refused:
        sys.exit(f"labdock: {refused}")
    if keep:
        with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
            for name in (PROJECT, LOCK):
                archive.add(name)


if __name__ == "__main__":
    main()
