"""Change the user's package list and lock: `packages.py add|remove|lock|outdated [NAME ...]`, in the stage `packages`.

A tar archive with pyproject.toml, requirements.lock and the package index comes in, one with the new two goes out; what
changed, or one sentence that says why nothing did, goes to the standard error.
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

PROJECT, LOCK = "pyproject.toml", "requirements.lock"
CERTIFICATES = Path("/run/ca.pem")  # the site's own (LAB_CA_BUNDLE), where there are some
WHEELS = Path("/bundle/wheels")  # of a project that was restored from a bundle: no network is asked
INDEX = "index"  # PIP_INDEX_URL, which may hold a password: it comes in the archive, so that no environment shows it


class Refused(Exception):
    """One sentence for the user."""


def uv(*arguments: str) -> None:
    """Run uv; its reason becomes one sentence."""
    done = subprocess.run(["uv", "--quiet", "--no-progress", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refused(reason(" ".join(re.sub(r"[│╰─▶×├]", " ", masked(done.stderr)).split())))


def reason(said: str) -> str:
    """What uv `said`, in the user's terms."""
    if found := re.search(r"Failed to parse: `(.*?)`", said):
        return f"'{found[1]}' names no package: write NAME or NAME>=VERSION, in quotes."
    if found := re.search(r"The dependency `(.*?)` could not be found", said):
        return f"'{found[1]}' is not in {PROJECT}: its dependencies are what `make remove` can take out."
    if re.search(r"\b40[13] (Unauthorized|Forbidden)", said):
        return f"the package index refuses your name or password (PIP_INDEX_URL is '{address()}'): mend it in .env."
    if found := re.search(r"Because (\S+) was not found in the package registry", said):
        return f"no package is called '{found[1]}': look for its name in the package index."
    if found := re.search(r"Because (\S+) was not found in the provided package locations", said):
        name = found[1]
        return f"'{name}' is not in lab/bundle, which this project was restored with: make a bundle with PKG={name}."
    if "No solution found" in said:
        why = said.partition("dependencies")[2].lstrip(" :").rstrip(".")
        return f"no versions fit together: {why or said}."
    if found := re.search(r"Failed to extract archive: (\S+)", said):
        where = "lab/bundle" if WHEELS.exists() else "the package index"
        return f"{where} gave a damaged file ({found[1]}): try again, and if it stays so do not trust {where}."
    if "UnknownIssuer" in said or "certificate" in said:
        return "the certificate of the package index is not trusted: name your site's CA bundle in .env, LAB_CA_BUNDLE."
    if "Failed to fetch" in said or "error sending request" in said:
        return f"the package index cannot be reached (PIP_INDEX_URL is '{address()}'): set it, or HTTPS_PROXY, in .env."
    return f"uv says '{said}'."


def masked(text: str) -> str:
    """`text` without the name and password of any address."""
    return re.sub(r"//\S*@", "//", text)


def address() -> str:
    """Every package index, for a message."""
    return masked(" ".join(os.environ.get(name, "") for name in ("UV_DEFAULT_INDEX", "UV_INDEX")).strip())


def listed() -> dict[str, Any]:
    """The table [project] of the user's list, which people edit by hand."""
    mend = f"mend it, or run 'git checkout {PROJECT}' for its last state."
    try:
        found = tomllib.loads(Path(PROJECT).read_text(encoding="utf-8")).get("project")
    except ValueError as error:  # no TOML, or no UTF-8
        raise Refused(f"{PROJECT} cannot be read ({error}; is a comma or a quotation mark missing?): {mend}") from None
    if not isinstance(found, dict):
        raise Refused(f"{PROJECT} has no table [project], which names your packages: {mend}")
    return found


def resolve(*options: str) -> None:
    """Write the lock anew: for every platform, and from the oldest Python that the project names."""
    oldest = re.search(r">=\s*(3\.\d+)", str(listed().get("requires-python")))
    version = ("--python-version", oldest[1]) if oldest else ()
    layout = ("--universal", "--generate-hashes", "--no-annotate", "--no-header")
    uv("pip", "compile", *layout, "--python", sys.executable, *version, *options, PROJECT, "--output-file", LOCK)


def entries(lock: str) -> list[tuple[str, str]]:
    """Name and text of each entry of a lock; a name comes twice where platforms differ."""
    found = re.findall(r"^[\w.-]+==.*\n(?: .*\n)*", lock, re.MULTILINE)
    return [(text.partition("==")[0], text) for text in found]


def resolve_here() -> dict[str, str]:
    """The entries, by name, that the list needs on this platform: from the bundle, locked versions first."""
    here = Path("here.lock")
    here.write_bytes(Path(LOCK).read_bytes())
    layout = ("--generate-hashes", "--no-annotate", "--no-header")
    bundle = ("--no-index", "--find-links", str(WHEELS))
    uv("pip", "compile", *layout, *bundle, "--python", sys.executable, PROJECT, "--output-file", str(here))
    return dict(entries(here.read_text(encoding="utf-8")))


def version(entry: str) -> str:
    """NAME==VERSION of an entry."""
    return entry.split()[0]


def merge(before: dict[str, str], after: dict[str, str]) -> None:
    """Write to the lock what differs between two results for this platform; other platforms' entries stay.

    A bundle holds one platform's wheels, so that the lock cannot be resolved for all of them.
    """
    new = {name: entry for name, entry in after.items() if version(before.get(name, "?")) != version(entry)}
    old = {*new, *(before.keys() - after.keys())}
    kept = [found for found in entries(Path(LOCK).read_text(encoding="utf-8")) if found[0] not in old]
    Path(LOCK).write_text("".join(text for _, text in sorted([*kept, *new.items()], key=lambda found: found[0])))


def versions() -> dict[str, str]:
    """What the lock holds: versions by name; several where platforms differ."""
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
    """Do what was asked in the current folder, and say what changed; whether the files are to be kept."""
    if command in ("add", "remove") and not names:
        raise Refused(f'which package? make {command} PKG="NAME"')
    if WHEELS.exists() and command in ("lock", "outdated"):
        raise Refused("this project was restored with lab/bundle, which holds no newer versions: bring another bundle.")
    listed()
    old = versions()
    before = resolve_here() if WHEELS.exists() else {}
    if command in ("add", "remove"):
        uv(command, "--frozen", "--", *names)  # edits the list only
    if WHEELS.exists():
        merge(before, resolve_here())
    else:
        resolve(*(["--upgrade"] if command in ("lock", "outdated") else []))
    shown = changes(old, versions())
    keep = command != "outdated"
    unchanged = "Nothing changes: " + ("every version is there already." if keep else "every version is the newest.")
    print("\n".join(shown) or unchanged, file=sys.stderr)
    if shown:
        said = "Packages changed: {}. `make up` builds them." if keep else "Newer: {}. `make lock` takes them all."
        print(said.format(len(shown)), file=sys.stderr)
    return keep


def main() -> None:
    if CERTIFICATES.exists() and CERTIFICATES.stat().st_size:
        os.environ["SSL_CERT_FILE"] = str(CERTIFICATES)
    os.chdir(tempfile.mkdtemp())
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        archive.extractall(filter="data")
    if indexes := Path(INDEX).read_text(encoding="utf-8").split():
        os.environ["UV_DEFAULT_INDEX"] = indexes[0]
        os.environ["UV_INDEX"] = " ".join(indexes[1:])  # asked first
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
