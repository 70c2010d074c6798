"""Writes the contents of an image as a CycloneDX document. The input is the image's file system as a tar archive.

    docker export CONTAINER | sbom.py NAME >sbom.cdx.json

debsbom describes Debian's packages. cyclonedx-py describes the Python packages of each environment. This program puts
both descriptions and Python itself into one document, and checks the document against CycloneDX's schema.
"""

import json
import platform
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

TOOLS = Path(sys.executable).parent
ROOT = Path("/tmp/image")
# The files of an image that the tools read. Other files are not unpacked.
READ = re.compile(
    r"(opt|usr)/((?!\.dist-info/).)*\.dist-info/(METADATA|RECORD|direct_url\.json)"
    r"|var/lib/dpkg/(status|arch)|usr/lib/os-release"
)
VERSION = "1.6"

Document = dict[str, Any]


def unpack() -> None:
    """Unpack the files that match `READ` from the archive on stdin to ROOT."""
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as image:
        for member in image:
            if member.isfile() and READ.fullmatch(member.name.removeprefix("./")):
                image.extract(member, ROOT, filter="data")


def run(*command: str | Path) -> None:
    """Run a tool. If it fails, end the program with the tool's error."""
    done = subprocess.run(command, check=False, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"labdock: {Path(command[0]).name} failed: {done.stderr.strip() or done.stdout.strip()}")


def distribution() -> Document:
    """The packages that dpkg lists."""
    target = ROOT / "distribution"
    run(
        TOOLS / "debsbom",
        "generate",
        "--sbom-type=cdx",
        f"--cdx-schema-version={VERSION}",
        f"--root={ROOT}",
        "--out",
        target,
    )
    return json.loads(target.with_suffix(".cdx.json").read_text())


def environment(packages: Path) -> Document:
    """The Python packages in a folder."""
    # cyclonedx-py asks a Python interpreter for the folders of its packages. This script prints the answer, so the
    # image's interpreter does not run here.
    python = ROOT / "python"
    python.write_text(f"#!/bin/sh\necho '{json.dumps(['/nothing', str(packages)])}'\n")
    python.chmod(0o755)
    target = ROOT / "environment.json"
    run(
        TOOLS / "cyclonedx-py",
        "environment",
        "--output-reproducible",
        f"--sv={VERSION}",
        "--output-file",
        target,
        python,
    )
    return json.loads(target.read_text())


def placed(document: Document, place: str) -> Document:
    """The components of a document. Each gets its place, and a name that is unique in the final document."""
    name = {component["bom-ref"]: f"{place}#{component['bom-ref']}" for component in document["components"]}
    components, dependencies = [], []
    for component in document["components"]:
        properties = [*component.get("properties", []), {"name": "labdock:place", "value": place}]
        components.append({**component, "bom-ref": name[component["bom-ref"]], "properties": properties})
    for dependency in document.get("dependencies", []):
        if dependency["ref"] in name:
            targets = [name[ref] for ref in dependency.get("dependsOn", []) if ref in name]
            dependencies.append({"ref": name[dependency["ref"]], "dependsOn": targets})
    return {
        "components": components,
        "dependencies": dependencies,
        "tools": document["metadata"]["tools"]["components"],
    }


def described(name: str) -> Document:
    """The image's document."""
    parts = [placed(distribution(), "/var/lib/dpkg")]
    for packages in sorted({path.parent for path in ROOT.rglob("*.dist-info")}):
        place = "/" + str(packages.relative_to(ROOT))
        parts.append(placed(environment(packages), place))
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', (ROOT / "usr/lib/os-release").read_text(), re.MULTILINE))
    system = {"type": "operating-system", "bom-ref": "system", "name": release["ID"], "version": release["VERSION_ID"]}
    version = platform.python_version()  # the tools run on the same base image
    python = {"type": "platform", "bom-ref": "python", "name": "python", "version": version}
    python["purl"] = f"pkg:generic/python@{version}"
    tools = {(tool["name"], tool["version"]): tool for part in parts for tool in part["tools"]}
    for tool in tools.values():
        tool.pop("bom-ref", None)
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": VERSION,
        "version": 1,
        "metadata": {
            "component": {"type": "container", "bom-ref": "image", "name": name},
            "tools": {"components": [tools[key] for key in sorted(tools)]},
        },
        "components": [system, python, *(component for part in parts for component in part["components"])],
        "dependencies": [dependency for part in parts for dependency in part["dependencies"]],
    }


if __name__ == "__main__":
    unpack()
    text = json.dumps(described(sys.argv[1]), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if error := JsonStrictValidator(SchemaVersion.from_version(VERSION)).validate_str(text):
        sys.exit(f"labdock: the document does not fit CycloneDX {VERSION}: {error}")
    sys.stdout.write(text)
