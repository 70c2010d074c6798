"""Changes pyproject.toml and the locks: `packages.py add|remove|sync|lock|outdated|extend [NAME ...]`.

The program runs in the image `packages`.

stdin: a tar archive with pyproject.toml, the locks, the files SERVER and EXCLUDED, and a file `index` with the address
of the package index. stdout: a tar archive with the new pyproject.toml and the new locks. stderr: the changes, or one
sentence that says why nothing changed.
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

from run_and_explain import BUNDLE, Source, bundled_files, masked, python_settings, restored
from run_and_explain import reason as common_reason

PROJECT, LOCK = "pyproject.toml", "requirements.lock"
# The server's extensions are a group in PROJECT, and this group has a lock. Without extensions, the lock is empty.
GROUP, EXTENSIONS = "server", "server-extensions.lock"
# SERVER: the lock of the server's packages. Extensions must fit these versions. EXCLUDED: packages that the server's
# environment never contains.
SERVER, EXCLUDED = "server.lock", "excluded-packages.txt"
CERTIFICATES = Path("/run/ca.pem")  # LAB_CA_BUNDLE
WHEELS = BUNDLE / "wheels"
NOTHING_NEWER = (
    "this project was restored from lab/bundle, which has no newer versions. "
    "Make a new bundle on a machine with a network."
)
# The file in the archive with PIP_INDEX_URL. This address may contain a password, so it is not in the environment.
INDEX = "index"


class Refused(Exception):
    """One sentence for the user."""


def uv(*arguments: str) -> None:
    """Run uv. If it fails, raise `Refused` with the reason as one sentence."""
    done = subprocess.run(["uv", "--quiet", "--no-progress", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise Refused(reason(masked(done.stderr)))


def reason(printed: str) -> str:
    """Explain uv's error output in one sentence for the user."""
    said = " ".join(printed.split())
    if found := re.search(r"Failed to parse: `(.*?)`", said):
        return f"'{found[1]}' is not a package name. Write NAME or NAME>=VERSION, in quotes."
    if found := re.search(r"The dependency `(.*?)` could not be found", said):
        return f"'{found[1]}' is not in {PROJECT}. Write a name from the list of dependencies in that file."
    if found := re.search(r"Because (\S+) was not found in the provided package locations", said):
        name = found[1]
        return f"'{name}' is not in lab/bundle. On a machine with a network, run 'make bundle PKG={name}'."
    if "No solution found when resolving dependencies" in said and "hint: An index" not in said:
        if found := re.search(r"Because (\S+) was not found in the package registry", said):
            return f"no package has the name '{found[1]}'. Look up the right name in the package index."
        why = said.partition(" cause: ")[2].partition(" hint: ")[0].rstrip(".")
        return f"no versions fit together: {why or said}."
    addresses = " ".join(os.environ.get(name, "") for name in ("UV_DEFAULT_INDEX", "UV_INDEX")).strip()
    source = Source("the package index", "PIP_INDEX_URL", masked(addresses), CERTIFICATES)
    return common_reason(printed, source) or f"uv failed: {said}."


def extensions() -> list[str]:
    """The server's extensions in the user's list."""
    return tomllib.loads(Path(PROJECT).read_text(encoding="utf-8")).get("dependency-groups", {}).get(GROUP, [])


def listed() -> dict[str, Any]:
    """The table [project] in pyproject.toml, which people edit by hand."""
    fix = f"Correct the file, or run 'git checkout {PROJECT}' to get its last committed version."
    try:
        table = tomllib.loads(Path(PROJECT).read_text(encoding="utf-8"))
        found = table.get("project")
    except ValueError as error:  # the file is not TOML, or not UTF-8
        raise Refused(f"{PROJECT} cannot be read ({error}; is a comma or a quotation mark missing?). {fix}") from None
    if not isinstance(found, dict):
        raise Refused(f"{PROJECT} has no table [project] with your packages. {fix}")
    sources = table.get("tool", {}).get("uv", {}).get("sources", {})
    check([f"{name} @ git+{source['git']}" for name, source in sources.items() if "git" in source])
    check(found.get("dependencies", []))
    return found


def check(requirements: list[str]) -> None:
    """Refuse repositories and local files, because the build needs a hash for each file. Also refuse passwords."""
    # An @ after the host does not end a password. It names a version.
    for one in (re.sub(r"//[^/]*@", "//", each) for each in requirements):
        if re.search(r"(^|@ *)(git|hg|svn|bzr)\+", one):
            archive = "such as https://github.com/OWNER/NAME/archive/COMMIT.tar.gz"
            raise Refused(f"'{one}' is a repository, which has no hash. Write the address of an archive, {archive}.")
        if re.search(r"(^|@ *)(file:|[./~])", one) or ("/" in one and "://" not in one):
            raise Refused(f"'{one}' is a file, which the build cannot read. Write an address that starts with https.")
    if found := next((masked(one) for one in requirements if re.search(r"://[^/]*@", one)), None):
        raise Refused(
            f"the address '{found}' contains a password, which {PROJECT} would show to everyone. "
            "Put the package into a package index and the password into PIP_INDEX_URL."
        )


def resolve(lock: str, *options: str) -> None:
    """Write a new lock, for every platform, and for the project's oldest Python and all later versions."""
    if lock == EXTENSIONS and not extensions():
        Path(EXTENSIONS).write_text("", encoding="utf-8")
        return
    group = ("--group", f"{PROJECT}:{GROUP}", "--constraints", SERVER, "--excludes", EXCLUDED)
    oldest = re.search(r">=\s*(3\.\d+)", str(listed().get("requires-python")))
    version = ("--python-version", oldest[1]) if oldest else ()
    layout = ("--universal", "--generate-hashes", "--no-annotate", "--no-header")
    sources = group if lock == EXTENSIONS else (PROJECT,)
    uv("pip", "compile", *layout, "--python", sys.executable, *version, *options, *sources, "--output-file", lock)


def entries(lock: str) -> list[tuple[str, str]]:
    """Name and text of each entry of a lock. A name comes twice if platforms need different versions."""
    found = re.findall(r"^([\w.-]+)(.*\n(?: .*\n)*)", lock, re.MULTILINE)
    return [(name, name + rest) for name, rest in found]


def resolve_here() -> dict[str, str]:
    """Resolve the list for this platform with the packages of the bundle. Locked versions are preferred.

    Returns: name -> the entry in a lock.
    """
    here = Path(tempfile.mkdtemp())
    files = bundled_files(Path(LOCK).read_text(encoding="utf-8"))
    for name in (PROJECT, LOCK):
        text = Path(name).read_text(encoding="utf-8")
        for address, file in files.items():
            text = text.replace(address, file)
        (here / name).write_text(text, encoding="utf-8")
    layout = ("--generate-hashes", "--no-annotate", "--no-header", "--no-index")
    uv("pip", "compile", *layout, "--python", sys.executable, str(here / PROJECT), "--output-file", str(here / LOCK))
    found = (here / LOCK).read_text(encoding="utf-8")
    for address, file in files.items():
        found = found.replace(file, address)
    return dict(entries(found))


def version(entry: str) -> str:
    """NAME==VERSION or NAME @ ADDRESS of an entry."""
    return re.split(r" *(?:\\|;|$)", entry, maxsplit=1, flags=re.MULTILINE)[0]


def merge(before: dict[str, str], after: dict[str, str]) -> None:
    """Write the differences of two results for this platform to the lock. Entries of other platforms do not change.

    A bundle contains the wheels of one platform. So the lock cannot be resolved for all platforms.
    """
    new = {name: entry for name, entry in after.items() if version(before.get(name, "?")) != version(entry)}
    old = {*new, *(before.keys() - after.keys())}
    kept = [found for found in entries(Path(LOCK).read_text(encoding="utf-8")) if found[0] not in old]
    Path(LOCK).write_text("".join(text for _, text in sorted([*kept, *new.items()], key=lambda found: found[0])))


def versions(lock: str) -> dict[str, str]:
    """The versions in a lock, by name. If platforms differ, a name has several versions."""
    found: dict[str, str] = {}
    for name, version in re.findall(
        r"^([\w.-]+)(?:==| @ )([^\s;\\]+)", Path(lock).read_text(encoding="utf-8"), re.MULTILINE
    ):
        found[name] = f"{found[name]}, {version}" if name in found else version
    return found


def changes(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """One line for each package that differs."""
    return [
        f"  {name} {old.get(name, '(new)')} -> {new.get(name, '(gone)')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def name_of(requirement: str) -> str:
    """The name in a requirement, as a package index compares names."""
    found = re.match(r"[\w.-]*", requirement)
    return re.sub(r"[-_.]+", "-", found[0] if found else "").lower()


def edit(command: str, names: list[str]) -> None:
    """Add names to a list, or remove them from every list. This changes no lock."""
    if command == "extend":
        uv("add", "--frozen", "--raw", "--group", GROUP, "--", *names)
    elif command == "add":
        uv("add", "--frozen", "--raw", "--", *names)
    else:
        extending = {name_of(str(entry)) for entry in extensions()}
        used = {name_of(entry) for entry in listed().get("dependencies", [])}
        if found := [name for name in names if name_of(name) in extending]:
            if restored():
                raise Refused(NOTHING_NEWER)
            uv("remove", "--frozen", "--group", GROUP, "--", *found)
        if others := [name for name in names if name not in found or name_of(name) in used]:
            uv("remove", "--frozen", "--", *others)


def run(command: str, names: list[str]) -> bool:
    """Run `command` in the current folder and print the changes. Return True to keep the changed files."""
    names = re.sub(r" *@ +", "@", " ".join(names)).split()  # NAME @ ADDRESS is one requirement
    check(names)
    listed()
    if not names and (command in ("add", "remove") or (command == "extend" and not extensions())):
        raise Refused(f"no package is named. Run 'make {command} PKG=\"NAME\"'.")
    if restored() and command in ("lock", "outdated", "extend"):
        raise Refused(NOTHING_NEWER)
    locks = {"add": (LOCK,), "sync": (LOCK,), "extend": (EXTENSIONS,)}.get(command, (LOCK, EXTENSIONS))
    old = {lock: versions(lock) for lock in locks}
    text = {lock: Path(lock).read_text(encoding="utf-8") for lock in locks}
    before = resolve_here() if restored() and command != "sync" else {}
    if names and command in ("add", "remove", "extend"):
        edit(command, names)
    for lock in locks:
        if not restored():
            resolve(lock, *(["--upgrade"] if command in ("lock", "outdated") else []))
        elif lock == LOCK:
            after = resolve_here()
            if command == "sync":  # an entry with a marker may be for another platform
                found = entries(text[LOCK])
                before = {
                    name: entry for name, entry in found if name in after or " ; " not in entry.partition("\n")[0]
                }
            merge(before, after)
    server = versions(SERVER)  # the lock of the extensions repeats these versions
    shown = [
        line
        for lock in locks
        for line in changes(old[lock], versions(lock))
        if lock == LOCK or line.split()[0] not in server
    ]
    keep = command != "outdated"
    unchanged = "the lock has these versions already" if keep else "every version is the newest"
    if shown:
        print("\n".join(shown), file=sys.stderr)
    elif any(text[lock] != Path(lock).read_text(encoding="utf-8") for lock in locks) and keep:
        print("The extensions fit the server's packages again. `make up` builds them.", file=sys.stderr)
    else:
        print(f"Nothing changes: {unchanged}.", file=sys.stderr)
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
            for name in (PROJECT, LOCK, EXTENSIONS):
                archive.add(name)


if __name__ == "__main__":
    main()
