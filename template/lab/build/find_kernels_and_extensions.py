"""Finds the kernels and front-end extensions in your packages that the server can offer.

The build runs this program in /opt/venv.

Kernels: packages such as bash_kernel contain no kernel specification, but a module that writes one. This program runs
the module.

Extensions: OFFERED gets a link to each front-end extension that works alone. Other extensions have two halves, a
front-end extension and a server extension (the server half). Both halves must be in the server's environment. LEFT_OUT
names the packages of these extensions, and language packs.
"""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

SHARE = Path(sys.prefix, "share/jupyter")
OFFERED = SHARE / "offered/labextensions"
LEFT_OUT = SHARE / "offered/left-out.txt"
# The server halves that every server has. jupyter-lsp is not in this list, because jupyter_server_config.py turns
# jupyter-lsp off.
OF_THE_SERVER = {"jupyter-resource-usage", "jupyter-server-terminals", "jupyterlab", "notebook", "notebook-shim"}
WRITES_KERNEL = re.compile(r"\binstall_kernel_spec\b.*--sys-prefix|--sys-prefix.*\binstall_kernel_spec\b", re.DOTALL)


def normal(name: str) -> str:
    """The name of a package, as a package index compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(package: Distribution) -> set[str]:
    """The names of the packages that a package requires, without its extras."""
    found = [re.match(r"[\w.-]+", text) for text in package.requires or [] if "extra ==" not in text]
    return {normal(name[0]) for name in found if name}


def paths(package: Distribution) -> list[str]:
    """The paths of a package's files, from the package's own list."""
    return [file.as_posix() for file in package.files or []]


def write_kernels(packages: dict[str, Distribution]) -> None:
    """Run each module NAME.install that writes a kernel specification. If one module fails, only its kernel is lost."""
    for package in packages.values():
        for path in paths(package):
            name, slash, file = path.partition("/")
            if slash and file == "install.py":
                text = Path(str(package.locate_file(path))).read_text(encoding="utf-8", errors="replace")
                if WRITES_KERNEL.search(text):
                    command = (sys.executable, "-m", f"{name}.install", "--sys-prefix")
                    subprocess.run(command, check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})


def server_halves(packages: dict[str, Distribution]) -> set[str]:
    """The names of the packages with a server extension, without those in OF_THE_SERVER."""
    halves = {
        name
        for name, package in packages.items()
        if any("etc/jupyter/jupyter_server_config.d/" in path for path in paths(package))
    }
    return halves - OF_THE_SERVER


def extensions(packages: dict[str, Distribution]) -> dict[str, str]:
    """The front-end extensions, as folders below labextensions/, and the name of each extension's package."""
    found = {}
    for name, package in packages.items():
        for path in paths(package):
            if match := re.search(r"share/jupyter/labextensions/((?:@[^/]+/)?[^/]+)/package\.json$", path):
                found[match[1]] = name
    return found


def sort(packages: dict[str, Distribution]) -> tuple[set[str], set[str]]:
    """The extensions that work alone, and the names of the packages of all other extensions."""
    halves = server_halves(packages)
    needs = {name: required(package) for name, package in packages.items()}
    alone: set[str] = set()
    left_out = {
        name
        for name, package in packages.items()
        if any(point.group == "jupyterlab.languagepack" for point in package.entry_points)
    }
    for extension, name in extensions(packages).items():
        described = json.loads((SHARE / "labextensions" / extension / "package.json").read_text(encoding="utf-8"))
        declared = described.get("jupyterlab", {}).get("discovery", {}).get("server")
        # A package such as jupyter-collaboration contains nothing itself, and requires each half.
        whole = {other for other, names in needs.items() if name in names and ({other} | names) & halves}
        half = not needs[name] and whole - halves
        if declared or ({name} | needs[name]) & halves or half:
            left_out |= whole or {name}
        else:
            alone.add(extension)
    return alone, left_out


def main() -> None:
    packages = {normal(package.name): package for package in distributions()}
    write_kernels(packages)
    alone, left_out = sort(packages)
    OFFERED.mkdir(parents=True)
    for extension in sorted(alone):
        (OFFERED / extension).parent.mkdir(exist_ok=True)
        (OFFERED / extension).symlink_to(SHARE / "labextensions" / extension)
    LEFT_OUT.write_text("".join(f"{name}\n" for name in sorted(left_out)), encoding="utf-8")


if __name__ == "__main__":
    main()
