"""`make pin`: the build stays on the base image and the packages that were recorded, or says that they are gone."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.mutants import without_environments
from tests.support.project import Project
from tests.support.supply import package, publish, registry, served

PINS = "compose.pins.yaml"
BASE = "python:3.13-slim-trixie"
SOURCES = "Types: deb\nURIs: http://nobody.invalid\nSuites: stable\nComponents: main\nTrusted: yes\n"


def docker(*arguments: str, **options: object) -> str:
    done = subprocess.run(["docker", *arguments], check=True, text=True, capture_output=True, **options)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def base(engine: None, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A base image in a registry of its own, whose apt knows the test's mirror only; its name."""
    folder = tmp_path_factory.mktemp("registry")
    with registry(folder, port) as address:
        name = f"{address}/{BASE}"
        push(name, folder, "first")
        yield name
    docker("image", "rm", "--force", name)


def push(name: str, folder: Path, mark: str) -> None:
    """Give the registry another image of the same name."""
    (folder / "debian.sources").write_text(SOURCES)
    lines = (f"FROM {BASE}", "COPY debian.sources /etc/apt/sources.list.d/", f"RUN echo {mark} >/etc/base-mark")
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    docker("build", "--quiet", "--provenance=false", "--tag", name, str(folder))
    docker("push", "--quiet", name)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A mirror with version 1.0 of labdock-dummy; its folder and address."""
    folder = tmp_path / "mirror"
    for version in ("1.0", "2.0"):
        package(folder, "labdock-dummy", version)
    publish(folder, "labdock-dummy_1.0.deb")
    gateway = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    with served(folder, gateway) as address:
        yield folder, address


@pytest.fixture
def project(fresh_project: Project, base: str, mirror: tuple[Path, str]) -> Project:
    """A project on that base and mirror, whose image holds labdock-dummy and no environments: built in seconds."""
    without_environments(fresh_project)
    fresh_project.replace("Dockerfile", "git openssh-client", "labdock-dummy")
    fresh_project.environment |= {"PYTHON_IMAGE": base, "DEBIAN_MIRROR": mirror[1], "DEBIAN_SECURITY_MIRROR": ""}
    fresh_project.environment |= {"HTTP_PROXY": "", "HTTPS_PROXY": ""}
    return fresh_project


def built(project: Project) -> tuple[str, str]:
    """Build from nothing: the base's mark and the version of labdock-dummy in the image."""
    project.compose("build", "--no-cache", "lab")
    image = project.config()["services"]["lab"]["image"]
    script = "cat /etc/base-mark; dpkg-query --show --showformat '${Version}' labdock-dummy"
    mark, version = docker("run", "--rm", "--entrypoint", "sh", image, "-c", script).splitlines()
    return mark, version


def pinned(project: Project) -> dict[str, str]:
    return yaml.safe_load(project.read(PINS))["services"]["pinned"]["build"]["args"]


@pytest.mark.full
def test_a_build_stays_on_what_was_pinned(
    project: Project, base: str, mirror: tuple[Path, str], tmp_path: Path
) -> None:
    loose = project.read(PINS)
    said = project.make("pin").stdout
    digest = json.loads(docker("image", "inspect", base))[0]["RepoDigests"][0].partition("@")[2]
    assert pinned(project) == {
        "PYTHON_IMAGE": f"${{PYTHON_IMAGE:-{BASE}}}@{digest}",
        "DEBIAN_PINS": "labdock-dummy=1.0",
    }
    assert f"Pinned in {PINS}: {base}@{digest}; packages: 1. " in said

    project.environment["PYTHON_IMAGE"] = f"{base}@{digest}"
    assert "compose.pins.yaml adds a digest: leave the digest out of .env." in project.make("up", check=False).stderr
    project.environment["PYTHON_IMAGE"] = base

    # Registry and mirror go on, and still have what was pinned.
    tmp_path.joinpath("second").mkdir()
    push(base, tmp_path / "second", "second")
    publish(mirror[0], "labdock-dummy_1.0.deb", "labdock-dummy_2.0.deb")
    assert built(project) == ("first", "1.0")
    kept = project.read(PINS)
    (project.folder / PINS).write_text(loose)
    assert built(project) == ("second", "2.0"), "the control: without pins"
    (project.folder / PINS).write_text(kept)

    # The mirror has dropped it: one sentence, which names the mend; the mend mends.
    publish(mirror[0], "labdock-dummy_2.0.deb")
    # Else the build takes the step from its cache.
    project.replace("lab/build/attempt.py", "import os\n", "import os  # changed\n")
    done = project.make("up", check=False)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-2] == (
        "labdock: the image was not built: the Debian mirror no longer has the pinned labdock-dummy 1.0. "
        "Run 'make pin' to update compose.pins.yaml."
    )
    project.make("pin")
    assert pinned(project)["DEBIAN_PINS"] == "labdock-dummy=2.0"
    assert built(project) == ("second", "2.0")


@pytest.mark.full
def test_a_failure_leaves_the_pins(project: Project, base: str, mirror: tuple[Path, str]) -> None:
    before = project.read(PINS)
    publish(mirror[0])
    done = project.make("pin", check=False)
    assert done.returncode != 0
    assert "labdock: the image was not built: " in done.stderr
    project.environment["PYTHON_IMAGE"] = f"{base}-none"
    done = project.make("pin", check=False)
    assert f"labdock: no registry tells the digest of {base}-none (" in done.stderr
    assert "): name one that does in .env, PYTHON_IMAGE." in done.stderr
    project.environment["PYTHON_IMAGE"] = f"{base}@sha256:{'0' * 64}"
    assert "leave out the digest in .env" in project.make("pin", check=False).stderr
    assert project.read(PINS) == before


def test_an_image_that_does_not_run_leaves_the_pins(fresh_project: Project, tmp_path: Path) -> None:
    """A stand-in for registry and builder: all goes well but what lists the packages."""
    (tmp_path / "docker").write_text(
        '#!/bin/sh\ncase "$1 $2" in\n'
        f"'buildx imagetools') echo 'Digest: sha256:{'0' * 64}' ;;\n"
        "'compose build') ;;\n"
        "'run --rm') exit 1 ;;\n"
        f'*) exec {shutil.which("docker")} "$@" ;;\nesac\n'
    )
    (tmp_path / "docker").chmod(0o755)
    before = fresh_project.read(PINS)
    fresh_project.environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    done = fresh_project.make("pin", check=False)
    assert done.returncode != 0 and "Pinned" not in done.stdout
    assert fresh_project.read(PINS) == before
