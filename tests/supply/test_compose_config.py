"""compose_config.py: what `make bundle` and a build with Podman read of the Compose configuration."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.build_programs import BUILD
from tests.support.build_sources import stand_in
from tests.support.project import Render

CONFIG = {
    "name": "iris",
    "services": {
        "prepare": {"image": "iris-lab"},
        "lab": {"image": "iris-lab", "build": {"args": {"A": "1 2", "EMPTY": "", "B": 'say "=": $x'}}},
        "packages": {"image": "iris-packages", "build": {"args": None}},
        "viewer": {"build": {}},
        "server": {"build": {}, "image": "seen:1"},
        "db": {"image": "postgres"},
    },
}


def asked(config: dict[str, Any], *question: str) -> list[str]:
    """The program's answer."""
    command = (sys.executable, "-I", BUILD / "compose_config.py", *question)
    done = subprocess.run(command, input=json.dumps(config), check=True, text=True, capture_output=True)
    return done.stdout.splitlines()


def test_the_arguments_of_a_build_are_given_unless_they_are_empty() -> None:
    assert asked(CONFIG, "arguments", "lab") == ["A=1 2", 'B=say "=": $x']
    assert asked(CONFIG, "arguments", "packages") == []


def test_your_services_with_a_build_are_given() -> None:
    assert asked(CONFIG, "built") == ["viewer iris-viewer", "server seen:1"]


def test_podman_gets_every_build_argument(render: Render, tmp_path: Path) -> None:
    """Stand-ins: a `docker` that is Podman's, and a `podman` that runs Python here and records the build."""
    project = render()
    override = "services: {packages: {build: {args: {DEBIAN_PACKAGES: 'r-base gcc', QUOTED: \"it's\"}}}}\n"
    (project.folder / "compose.override.yaml").write_text(override)
    (project.folder / ".env").write_text("LAB_NAME=seen\nPIP_INDEX_URL=https://index.example/simple\n")
    project.environment["DEBIAN_MIRROR"] = "http://mirror.example/debian"
    stand_in(project, tmp_path, "docker", "[ \"$1\" != version ] || { echo 'Podman Engine'; exit; }")
    stand_in(
        project,
        tmp_path,
        "podman",
        'case $1 in\nrun) while [ "$1" != python3 ]; do shift; done; exec "$@" ;;\n'
        f'build) printf "%s\\n" "$@" >{tmp_path}/build; exit ;;\nesac',
    )
    project.run("sh", "-euc", ". lab/commands/lib/all.sh; build packages")
    words = (tmp_path / "build").read_text().splitlines()
    given = {words[number + 1] for number, word in enumerate(words) if word == "--build-arg"}
    assert given >= {
        "DEBIAN_PACKAGES=r-base gcc",
        "QUOTED=it's",
        "DEBIAN_MIRROR=http://mirror.example/debian",
        "PYTHON_IMAGE=python:3.13-slim-trixie",
    }
    assert not any(argument.startswith("DEBIAN_PINS") for argument in given)  # empty
    assert words[-5:] == ["--target", "packages", "--tag", "docker.io/library/seen-packages", "."]
    assert "id=index,env=PIP_INDEX_URL" in words
