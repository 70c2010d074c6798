"""make bundle and make restore: one archive, and a lab from it where no way leads out."""

import json
import re
import shutil
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Render
from tests.support.apart import Run, engine_apart
from tests.support.project import Project
from tests.support.reader import blocks
from tests.support.refusal import name_of

pytestmark = [pytest.mark.full, pytest.mark.types("docs/how-to/closed-network.md")]
PAGE = ROOT / "docs/how-to/closed-network.md"
FILE, SLUG = "iris-study-bundle.tar", "iris-study"
SOURCE = "docopt"  # has no wheel
# What is written beside .env, by a mend of `make doctor` and by editors; and what `make sbom` writes.
LEFT = {".env.bak", ".env.new", ".env~", ".env.swp", ".sbom.new", "sbom.cdx.json", "provenance.json"}
BRIDGES = "lo|docker0|docker_gwbridge|br-[0-9a-f]+|veth[0-9a-f]+"  # loopback, and what the engine makes


def block(text: str) -> str:
    """The block of the docs that holds `text`: what a reader types is what is tested."""
    (found,) = (b for b in blocks(PAGE.read_text()) if text in b)
    return found


@pytest.fixture(scope="module")
def packed(new_project: Render) -> Iterator[Project]:
    """A pinned project with work, secrets, a service and a package that comes as source in it, after `make bundle`."""
    project = new_project()
    project.run("docker", "tag", "python:3.13-slim-trixie", "seen:1")
    (project.folder / "compose.override.yaml").write_text(
        "services: {viewer: {image: 'seen:1', init: true, command: [sleep, infinity]}}\n"
    )
    project.compose("build", "lab")
    show = ("docker", "run", "--rm", "--network=none", "--entrypoint=dpkg-query", f"{name_of(project)}-lab")
    version = project.run(*show, "--show", "--showformat=${Version}", "git").stdout
    project.replace("compose.pins.yaml", 'DEBIAN_PINS: ""', f"DEBIAN_PINS: git={version}")
    project.run("make", "add", f"PKG={SOURCE}")
    inspect = ("docker", "image", "inspect", "--format", '{{join .RepoDigests " "}}', "python:3.13-slim-trixie")
    digest = project.run(*inspect).stdout.split()[0].partition("@")[2]
    project.replace("compose.pins.yaml", "-slim-trixie}", f"-slim-trixie}}@{digest}")
    for name in ("notebooks/größer 1.ipynb", "data/patients.csv", "secrets/jupyter_token", "data/.hidden", *LEFT):
        (project.folder / name).write_text("{}")
    project.folder.joinpath(".venv-tests").mkdir()
    project.folder.joinpath(".venv-tests/pip").write_text("not yours")
    said = project.run("sh", "-euc", block("make bundle")).stdout.splitlines()
    assert re.fullmatch(rf"Wrote {FILE}, \d+ MB, SHA-256 [0-9a-f]{{64}}\.", said[-2])
    assert said[-1] == f"There: tar xf {FILE} && cd {SLUG} && make restore"
    yield project
    (project.folder / FILE).unlink()


@pytest.mark.parametrize(
    ("service", "image"), [("{build: ./viewer}", "NAME-viewer"), ("{build: ./viewer, image: 'seen:1'}", "seen:1")]
)
def test_a_service_that_is_built_is_refused(fresh_project: Project, service: str, image: str) -> None:
    """Its mend, an image alone, is what the other tests' bundle holds."""
    own = f"services:\n  viewer: {service}\n  db: {{image: postgres}}\n"
    (fresh_project.folder / "compose.override.yaml").write_text(own)
    done = fresh_project.make("bundle", check=False)
    image = image.replace("NAME", name_of(fresh_project))
    assert done.stdout == "" and done.stderr.splitlines()[0] == (
        "labdock: service viewer is built here, and a bundle lacks what it is built from: run 'docker compose build "
        f"viewer', and put 'image: {image}' in place of its 'build:' in compose.override.yaml."
    )


@pytest.fixture(scope="module")
def unpacked(packed: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The bundle, unpacked as on another machine. Tests that damage it mend it."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(packed.folder / FILE) as archive:
        archive.extractall(folder, filter="tar")
    yield Project(folder / SLUG, packed.answers)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def members(packed: Project) -> set[str]:
    with tarfile.open(packed.folder / FILE) as archive:
        return {member.name.removeprefix(f"{SLUG}/") for member in archive if member.isfile()}


def test_the_page_has_no_other_command() -> None:
    page = blocks(PAGE.read_text())
    assert sorted(page) == sorted([block("make bundle"), block("make restore")])


# --- what is in it ----------------------------------------------------------------------------------
def test_the_bundle_holds_the_project_and_nothing_private(packed: Project, members: set[str]) -> None:
    private = {".env", "data/patients.csv", "data/.hidden", "secrets/jupyter_token", ".venv-tests/pip", FILE, *LEFT}
    files = {name for name in members if not name.startswith("lab/bundle/")}
    own = packed.files() - private - {"data/.gitkeep", "lab/bundle/.gitkeep"}
    assert files == own
    assert "notebooks/größer 1.ipynb" in files
    assert not (packed.folder / ".bundle.new").exists()


def test_the_bundle_holds_what_a_rebuild_needs(packed: Project, members: set[str]) -> None:
    parts = {name.removeprefix("lab/bundle/") for name in members if name.startswith("lab/bundle/")}
    assert {"images.tar", "contents", "SHA256SUMS", "project.sha256"} <= parts
    wheels = {re.split(r"-\d", Path(name).name)[0].lower().replace("_", "-") for name in parts if name.endswith(".whl")}
    assert {"uv", "jupyterlab", "ipykernel", "pandas", "humanize", "setuptools", "debsbom"} <= wheels
    assert any(name.startswith(f"wheels/{SOURCE}-") and name.endswith(".tar.gz") for name in parts)
    assert {Path(name).name.split("_")[0] for name in parts if name.endswith(".deb")} >= {"git", "openssh-client"}
    with tarfile.open(packed.folder / FILE) as archive:
        listed = archive.extractfile(f"{SLUG}/lab/bundle/SHA256SUMS").read().decode()  # type: ignore[union-attr]
        projects = archive.extractfile(f"{SLUG}/lab/bundle/project.sha256").read().decode()  # type: ignore[union-attr]
    assert set(re.findall(r"  \./(.*)", listed)) == parts - {"SHA256SUMS", "project.sha256"}
    assert set(re.findall(r"  \./(.*)", projects)) == {name for name in members if not name.startswith("lab/bundle/")}


def test_git_decides_where_there_is_git(packed: Project, tmp_path: Path) -> None:
    copy = shutil.copytree(packed.folder, tmp_path / "lab", ignore=shutil.ignore_patterns(FILE))
    project = Project(copy, packed.answers)
    with (project.folder / ".gitignore").open("a") as ignored:
        ignored.write("/scratch/\n")
    (project.folder / "scratch").mkdir()
    (project.folder / "scratch/large.bin").write_text("x")
    project.commit()
    (project.folder / "new.md").write_text("not committed yet")
    (project.folder / "README.md").unlink()
    project.run("make", "bundle", "PKG=humanize", "WITH_DATA=yes")
    with tarfile.open(project.folder / FILE) as archive:
        names = {member.name.removeprefix(f"{SLUG}/") for member in archive if member.isfile()}
    (project.folder / FILE).unlink()
    assert {"new.md", "data/patients.csv", "data/.hidden"} <= names
    assert not names & {"scratch/large.bin", "README.md", ".env", "secrets/jupyter_token", ".git/config", *LEFT}


# --- a machine without a network ----------------------------------------------------------------------
@pytest.fixture(scope="module")
def alone() -> Iterator[tuple[dict[str, str], Run]]:
    """The settings that lead to an engine from which no way leads out, and what runs a function there."""
    with engine_apart() as (daemon, there):
        there(daemon.start)
        yield {"DOCKER_HOST": f"unix://{daemon.socket}", "JUPYTER_PORT": "0"}, there


@pytest.fixture(scope="module")
def restored(packed: Project, alone: tuple[dict[str, str], Run], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The lab, brought up there as the docs say."""
    environment, there = alone
    folder = tmp_path_factory.mktemp("restored")
    shutil.copy(packed.folder / FILE, folder)
    reader = Project(folder, packed.answers, environment)
    there(reader.run, "sh", "-euc", block("make restore"))
    (folder / FILE).unlink()
    yield Project(folder / SLUG, packed.answers, environment)
    shutil.rmtree(folder)


def test_no_way_leads_out(restored: Project, alone: tuple[dict[str, str], Run]) -> None:
    """What the machine has besides loopback are the engine's own bridges; the other engine's machine has more."""
    _, there = alone
    assert restored.containers()
    assert uplinks(there(socket.if_nameindex)) == []
    assert uplinks(socket.if_nameindex()) != []


def base(project: Project) -> str:
    """The base image of its builds."""
    return project.config()["services"]["lab"]["build"]["args"]["PYTHON_IMAGE"]


def uplinks(found: list[tuple[int, str]]) -> list[str]:
    """The network interfaces that may lead out."""
    return [name for _, name in found if not re.fullmatch(BRIDGES, name)]


def test_the_lab_runs_from_the_bundle(restored: Project, packed: Project, alone: tuple[dict[str, str], Run]) -> None:
    _, there = alone
    lab = restored.lab()
    assert there(lab.run, "import pandas; print(1)") == "1\n"
    assert name_of(restored) != name_of(packed) and restored.container("viewer")["State"]["Running"]
    assert len(lab.token) >= 32 and lab.token != "{}"
    assert (restored.folder / "notebooks/größer 1.ipynb").exists()
    # No registry is there to ask for the digest; back where one is, it holds again.
    assert re.fullmatch(rf"{SLUG}-base:[0-9a-f]+", base(restored))
    assert "@sha256:" in base(packed)
    assert base(Project(restored.folder, {}, {**restored.environment, "PYTHON_IMAGE": ""})) == base(packed)


def test_it_is_restored_again_over_what_is_yours(restored: Project, alone: tuple[dict[str, str], Run]) -> None:
    """What is in .env stays, but for the base image, which an older bundle called otherwise; the next test builds."""
    _, there = alone
    line = f"PYTHON_IMAGE={base(restored)}\n"
    mine = restored.read(".env") + "# mine\nLAB_PIDS = 400 # more\n"
    older, none = (mine.replace(line, new) for new in (f"PYTHON_IMAGE={SLUG}-base:older\n", ""))
    for before, after in ((none.removesuffix("\n"), none + line), (older, mine)):
        (restored.folder / ".env").write_text(before)
        there(restored.make, "restore")
        assert restored.read(".env") == after


def test_it_takes_what_the_bundle_holds_and_builds_again(restored: Project, alone: tuple[dict[str, str], Run]) -> None:
    _, there = alone
    before = restored.read("requirements.lock")
    done = there(lambda: restored.run("make", "add", "PKG=polars", check=False))
    assert "labdock: 'polars' is not in lab/bundle, from which this project was restored. " in done.stderr
    assert restored.read("requirements.lock") == before
    done = there(lambda: restored.run("make", "add", "PKG=humanize>=4"))
    assert "  humanize (new) -> 4." in done.stderr
    # Entries of other platforms, and every hash of those that were there, stay.
    assert {*before.splitlines()} <= {*restored.read("requirements.lock").splitlines()}
    image = restored.container()["Image"]
    lab = there(restored.up)
    assert restored.container()["Image"] != image
    assert there(lab.run, "import humanize; print(humanize.intcomma(1234567))") == "1,234,567\n"
    inside = "find / -xdev -path /bundle -o -path '/var/lib/apt/lists/?*' -o -name 'humanize*.whl' -o -name '*.deb'"
    assert restored.shell(f"{inside} 2>/dev/null || true") == ""
    assert there(lab.run, f"import {SOURCE}; print({SOURCE}.__name__)") == f"{SOURCE}\n"  # built from source, there
    done = there(lambda: restored.run("make", "remove", "PKG=humanize"))
    assert restored.read("requirements.lock") == before
    for target in ("lock", "outdated"):
        done = there(lambda target=target: restored.make(target, check=False))
        assert "labdock: this project was restored from lab/bundle, which has no newer versions. " in done.stderr


def test_the_pins_hold_there_too(restored: Project, packed: Project, alone: tuple[dict[str, str], Run]) -> None:
    """The rebuild kept them; the control: others are refused."""
    _, there = alone
    pins = restored.read("compose.pins.yaml")
    (pinned,) = re.findall("DEBIAN_PINS: (git=.+)", pins)
    assert pinned in packed.read("compose.pins.yaml")
    restored.replace("compose.pins.yaml", pinned, "git=1:0")
    done = there(lambda: restored.make("up", check=False))
    (restored.folder / "compose.pins.yaml").write_text(pins)
    assert done.stderr.splitlines()[-2] == (
        "labdock: the image was not built: the bundle in lab/bundle lacks git 1:0. "
        "Take compose.pins.yaml from the bundle."
    )


def test_what_the_image_holds_is_listed_there(restored: Project, alone: tuple[dict[str, str], Run]) -> None:
    _, there = alone
    there(restored.make, "sbom")
    listed = {component["name"] for component in json.loads(restored.read("sbom.cdx.json"))["components"]}
    assert {SOURCE, "jupyterlab", "git"} <= listed


def test_another_bundle_has_the_same_parts(
    restored: Project, members: set[str], alone: tuple[dict[str, str], Run]
) -> None:
    """The next bundle holds what the first one brought, needed or not; and what is there is built from as before."""
    _, there = alone
    there(restored.make, "bundle")
    with tarfile.open(restored.folder / FILE) as archive:
        again = {member.name.removeprefix(f"{SLUG}/") for member in archive if member.isfile()}
    (restored.folder / FILE).unlink()
    parts = {name for name in members if name.startswith(("lab/bundle/wheels/", "lab/bundle/debs/"))}
    assert parts and parts - again == set()
    restored.replace("Dockerfile", "WORKDIR /\n", "RUN true\nWORKDIR /\n")
    there(restored.make, "up")


def test_without_the_bundle_nothing_is_built_there(
    restored: Project, alone: tuple[dict[str, str], Run], tmp_path: Path
) -> None:
    """The control: the same project with an empty lab/bundle asks the network, and says that it cannot be reached."""
    _, there = alone
    without = shutil.ignore_patterns("bundle")
    copy = shutil.copytree(restored.folder, tmp_path / "lab", ignore=without)
    bare = Project(copy, restored.answers, restored.environment)
    (bare.folder / "lab/bundle").mkdir()
    (bare.folder / "lab/bundle/.gitkeep").touch()
    done = there(lambda: bare.run("make", "add", "PKG=humanize", check=False))
    assert "labdock: the image was not built: the package index cannot be reached" in done.stderr


# --- damage -----------------------------------------------------------------------------------------
def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("lab/bundle/wheels/uv-*.whl", "./wheels/uv-"),
        ("lab/bundle/images.tar", "./images.tar"),
        ("Dockerfile", "./Dockerfile"),
    ],
)
def test_a_changed_byte_is_refused_and_nothing_is_loaded(unpacked: Project, part: str, named: str) -> None:
    (path,) = unpacked.folder.glob(part)
    flip(path)
    done = unpacked.make("restore", check=False)
    flip(path)
    said = next(line for line in done.stderr.splitlines() if line.startswith("labdock: "))
    assert said.startswith(f"labdock: {named}") and "is not what the bundle was made with: unpack" in said
    assert f"{SLUG}-lab:" not in unpacked.run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").stdout
    assert not (unpacked.folder / ".env").exists()


def test_a_missing_part_and_another_processor_are_refused(unpacked: Project) -> None:
    (deb,) = unpacked.folder.glob("lab/bundle/debs/git_*.deb")
    whole = deb.read_bytes()
    deb.unlink()
    assert "labdock: ./debs/git_" in unpacked.make("restore", check=False).stderr
    deb.write_bytes(whole)
    contents, sums = (unpacked.folder / "lab/bundle" / name for name in ("contents", "SHA256SUMS"))
    contents.write_text(re.sub("platform=.*", "platform=linux/sparc", contents.read_text()))
    sums.write_text("".join(line for line in sums.read_text().splitlines(keepends=True) if "./contents" not in line))
    assert "the bundle is for linux/sparc: " in unpacked.make("restore", check=False).stderr
    sums.unlink()
    assert "labdock: lab/bundle holds no bundle: " in unpacked.make("restore", check=False).stderr
