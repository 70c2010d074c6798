"""Change the user's package list and lock: `packages.py add|remove|lock|outdated [NAME ...]`, in the stage `packages`.

A tar archive with pyproject.toml and requirements.lock comes in, one with the new two goes out; what changed, or one
sentence that says why nothing did, goes to the standard error.
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

PROJECT, LOCK = "pyproject.toml", "requirements.lock"
CERTIFICATES = Path("/run/ca.pem")  # the site's own (LAB_CA_BUNDLE), where there are some


class Refused(Exception):
    """One sentence for the user."""


def uv(*arguments: str) -> None:
    """Run uv; its reason becomes one sentence."""
    done = subprocess.run(["uv", "--quiet", "--no-progress", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refused(reason(" ".join(re.sub(r"[│╰─▶×├]", " ", done.stderr).split())))


def reason(said: str) -> str:
    """What uv `said`, in the user's terms."""
    if found := re.search(r"Failed to parse: `(.*?)`", said):
        return f"'{found[1]}' names no package: write NAME or NAME>=VERSION, in quotes."
    if found := re.search(r"The dependency `(.*?)` could not be found", said):
        return f"'{found[1]}' is not in {PROJECT}: its dependencies are what `make remove` can take out."
    if found := re.search(r"Because (\S+) was not found in the package registry", said):
        return f"no package is called '{found[1]}': look for its name in the package index."
    if "No solution found" in said:
        why = said.partition("dependencies")[2].lstrip(" :").rstrip(".")
        return f"no versions fit together: {why or said}."
    index = re.sub("//[^/@]*@", "//", os.environ.get("PIP_INDEX_URL", ""))  # credentials stay out of sight
    if "UnknownIssuer" in said or "certificate" in said:
        return "the certificate of the package index is not trusted: name your site's CA bundle in .env, LAB_CA_BUNDLE."
    if "Failed to fetch" in said or "error sending request" in said:
        return f"the package index cannot be reached (PIP_INDEX_URL is '{index}'): set it, or HTTPS_PROXY, in .env."
    return f"uv says '{said}'."


def resolve(*options: str) -> None:
    """Write the lock anew: for every platform, and from the oldest Python that the project names."""
    wanted = tomllib.loads(Path(PROJECT).read_text(encoding="utf-8"))["project"].get("requires-python", "")
    oldest = re.search(r">=\s*(3\.\d+)", wanted)
    version = ("--python-version", oldest[1]) if oldest else ()
    layout = ("--universal", "--generate-hashes", "--no-annotate", "--no-header")
    uv("pip", "compile", *layout, "--python", sys.executable, *version, *options, PROJECT, "--output-file", LOCK)


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
    old = versions()
    if command in ("add", "remove"):
        uv(command, "--frozen", "--", *names)  # edits the list only
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
    if index := os.environ.get("PIP_INDEX_URL"):
        os.environ["UV_DEFAULT_INDEX"] = index
    os.chdir(tempfile.mkdtemp())
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        archive.extractall(filter="data")
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
