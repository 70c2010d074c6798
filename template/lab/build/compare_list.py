"""Compares pyproject.toml with requirements.lock, for `make up` and `make doctor`. It runs in the lab's image.

stdin: a tar archive with the two files. stdout: one sentence for the user if the lock does not fit the list.
The packages in /opt/venv say which packages they need. The program reads this, so it needs no network.
"""

import re
import sys
import tarfile
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT, LOCK = "pyproject.toml", "requirements.lock"
MOST = 5  # the largest number of differences in the sentence


def here(requirement: Requirement, extras: Iterable[str] = ()) -> bool:
    """Is the requirement for this platform and Python, and for one of the extras?"""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def locked(lock: str) -> dict[str, str]:
    """Name -> version or address, of each entry of the lock for this platform."""
    entries = [Requirement(line) for line in re.findall(r"^(\w.*?)(?: --hash.*| *\\)?$", lock, re.MULTILINE)]
    return {canonicalize_name(one.name): one.url or str(one.specifier).lstrip("=") for one in entries if here(one)}


def needs(package: Distribution, extras: Iterable[str]) -> list[Requirement]:
    """The requirements of an installed package."""
    return [one for one in map(Requirement, package.requires or []) if here(one, extras)]


def needed(listed: list[Requirement], installed: dict[str, Distribution]) -> set[str]:
    """The names of the listed packages and of all packages that these need."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    todo = list(listed)
    while todo:
        one = todo.pop()
        name = canonicalize_name(one.name)
        key = (name, tuple(sorted(one.extras)))
        if key not in seen:
            seen.add(key)
            todo += needs(installed[name], one.extras) if name in installed else []
    return {name for name, _ in seen}


def differences(project: str, lock: str, installed: dict[str, Distribution]) -> list[str]:
    """The differences: missing packages, other versions, and packages that are no longer needed."""
    table = tomllib.loads(project)
    sources = {canonicalize_name(name) for name in table.get("tool", {}).get("uv", {}).get("sources", {})}
    listed = [one for one in map(Requirement, table["project"].get("dependencies", [])) if here(one)]
    found, there = [], locked(lock)
    for one in listed:
        name = canonicalize_name(one.name)
        version = there.get(name)
        if version is None:
            found.append(f"lacks {one.name}")
        elif "://" in version or one.url:
            found += [f"has {one.name} from another address"] if version != one.url and name not in sources else []
        elif not one.specifier.contains(version, prereleases=True):
            found.append(f"has {one.name} {version} instead of {one.name}{one.specifier}")
        if version and name in installed:
            of_extras = {each.name for each in needs(installed[name], one.extras)}
            more = of_extras - {each.name for each in needs(installed[name], ())}
            found += [f"lacks {name} for {one}" for name in sorted(more) if canonicalize_name(name) not in there]
    # Unneeded packages can be found only if the image was built from this lock.
    if all(name in installed for name in there):
        found += [f"still has {name}" for name in sorted(there.keys() - needed(listed, installed))]
    return found


def sentence(project: str, lock: str, installed: dict[str, Distribution]) -> str:
    """One sentence for the user, or nothing."""
    try:
        found = differences(project, lock, installed)
    except (ValueError, KeyError, AttributeError) as error:
        why = " ".join(str(error).split())
        return f"{PROJECT} or {LOCK} cannot be read ({why}). Correct the file, or run 'git checkout {PROJECT} {LOCK}'."
    if not found:
        return ""
    shown = ", ".join(found[:MOST]) + (f" and {len(found) - MOST} more" if len(found) > MOST else "")
    return f"{LOCK} does not fit {PROJECT}: it {shown}. Run 'make sync' to correct only these packages, then 'make up'."


def main() -> None:
    """The command line."""
    texts = {}
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        for member in archive:
            if content := archive.extractfile(member):
                texts[member.name] = content.read().decode("utf-8", "replace")
    site = [str(folder) for folder in Path("/opt/venv/lib").glob("python*/site-packages")]
    installed = {canonicalize_name(one.name): one for one in distributions(path=site)}
    if said := sentence(texts[PROJECT], texts[LOCK], installed):
        print(said)


if __name__ == "__main__":
    main()
