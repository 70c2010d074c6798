"""`make pin`: each build uses the base image and packages that were recorded, or says that they are gone."""

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.build_sources import package, publish, registry, served, stand_in
from tests.support.project import Project, Render
from tests.support.variants import without_environments

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
    """The name of a base image in the test's own registry. Its apt uses the test's mirror only."""
    folder = tmp_path_factory.mktemp("registry")
    with registry(folder, port) as address:
        name = f"{address}/{BASE}"
        push(name, folder, "first")
        yield name
    docker("image", "rm", "--force", name)


def push(name: str, folder: Path, mark: str) -> None:
    """Push another image of the same name."""
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
    """A project that uses this base image and this mirror.

    Its image has labdock-dummy and no environments, so a build takes seconds.
    """
    without_environments(fresh_project)
    fresh_project.replace(
        "Dockerfile",
        "ca-certificates curl fonts-wqy-microhei git less locales nano openssh-client procps tzdata unzip wget",
        "labdock-dummy",
    )
    fresh_project.replace(
        "Dockerfile", "localedef --no-archive -i en_US -f UTF-8 en_US.UTF-8 && rm -r /usr/share/i18n", "true"
    )
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


def test_a_new_project_has_the_file_without_pins(render: Render) -> None:
    project = render()
    script = f". lab/commands/lib/pins.sh; pinned '${{PYTHON_IMAGE:-{BASE}}}' ''"
    assert project.run("sh", "-euc", script).stdout == project.read(PINS)


def test_the_file_has_a_list_for_the_packages_of_the_build(render: Render) -> None:
    """The control: without such packages, it has no such list."""
    project = render()
    for build, expected in (("'gcc=1\nlibpq-dev=2'", "gcc=1 libpq-dev=2"), ("''", None)):
        text = project.run("sh", "-euc", f". lab/commands/lib/pins.sh; pinned x 'git=1\njq=2' {build}").stdout
        arguments = yaml.safe_load(text)["services"]["pinned"]["build"]["args"]
        assert (arguments["DEBIAN_PINS"], arguments.get("DEBIAN_BUILD_PINS")) == ("git=1 jq=2", expected)


@pytest.mark.nightly
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
    assert f"Pinned in {PINS}: {base}@{digest}. Debian packages: 1. " in said

    project.environment["PYTHON_IMAGE"] = f"{base}@{digest}"
    assert (
        "the digest comes from compose.pins.yaml. In .env, set PYTHON_IMAGE" in project.make("up", check=False).stderr
    )
    project.environment["PYTHON_IMAGE"] = base

    # The registry and the mirror get newer versions, and keep the pinned ones.
    tmp_path.joinpath("second").mkdir()
    push(base, tmp_path / "second", "second")
    publish(mirror[0], "labdock-dummy_1.0.deb", "labdock-dummy_2.0.deb")
    assert built(project) == ("first", "1.0")
    kept = project.read(PINS)
    (project.folder / PINS).write_text(loose)
    assert built(project) == ("second", "2.0"), "the control: without pins"
    (project.folder / PINS).write_text(kept)

    # The mirror drops the pinned version: the error names the fix, and the fix works.
    publish(mirror[0], "labdock-dummy_2.0.deb")
    # Without a change, the build would take the step from its cache.
    project.replace("lab/build/run_and_explain.py", "import os\n", "import os  # changed\n")
    done = project.make("up", check=False)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-2] == (
        "labdock: the image was not built: the Debian mirror no longer has the pinned labdock-dummy 1.0. "
        "Run 'make pin' to update compose.pins.yaml."
    )
    project.make("pin")
    assert pinned(project)["DEBIAN_PINS"] == "labdock-dummy=2.0"
    assert built(project) == ("second", "2.0")


@pytest.mark.nightly
def test_a_failure_leaves_the_pins(project: Project, base: str, mirror: tuple[Path, str]) -> None:
    before = project.read(PINS)
    publish(mirror[0])
    done = project.make("pin", check=False)
    assert done.returncode != 0
    assert "labdock: the image was not built: " in done.stderr
    project.environment["PYTHON_IMAGE"] = f"{base}-none"
    done = project.make("pin", check=False)
    assert f"labdock: the digest of {base}-none cannot be looked up (" in done.stderr
    assert "). Set PYTHON_IMAGE in .env to an image in a registry." in done.stderr
    project.environment["PYTHON_IMAGE"] = f"{base}@sha256:{'0' * 64}"
    assert f"Remove '@sha256:{'0' * 64}' from PYTHON_IMAGE in .env." in project.make("pin", check=False).stderr
    assert project.read(PINS) == before


LATE = 'case "$1 $2" in "buildx imagetools") echo sha256:{digest}; exit ;; "compose build") exit ;; {fails} esac'


@pytest.mark.parametrize("there", [True, False], ids=["a file", "no file"])
def test_a_late_failure_leaves_the_pins_as_they_were(fresh_project: Project, tmp_path: Path, there: bool) -> None:
    """Stand-ins for registry and builder succeed. The last step, which lists the packages, fails."""
    pins = fresh_project.folder / PINS
    if not there:
        pins.unlink()
    before = pins.read_text() if there else None
    (tmp_path / "left").mkdir()
    fresh_project.environment["TMPDIR"] = str(tmp_path / "left")
    fails = f'"run --rm") cp {pins} {tmp_path}/seen; exit 1 ;;'
    stand_in(fresh_project, tmp_path / "bin", "docker", LATE.format(digest="0" * 64, fails=fails))
    done = fresh_project.make("pin", check=False)
    assert done.returncode != 0 and "Pinned" not in done.stdout
    assert "0" * 64 in (tmp_path / "seen").read_text()  # the failure came late
    assert (pins.read_text() if pins.exists() else None) == before
    assert list((tmp_path / "left").iterdir()) == []
    if not there:  # else the end of the test cannot read the project
        pins.write_text("services: {pinned: {}}\n")
