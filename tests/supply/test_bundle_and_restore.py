"""make bundle and make restore: one archive, and a lab from it on a machine without a network."""

import json
import os
import re
import shutil
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.build_sources import stand_in
from tests.support.isolated_engine import Run, isolated_engine
from tests.support.page_commands import blocks
from tests.support.project import Project, Render
from tests.support.repository import ROOT

pytestmark = [pytest.mark.full, pytest.mark.types("docs/how-to/closed-network.md")]
PAGE = ROOT / "docs/how-to/closed-network.md"
FILE, SLUG = "iris-study-bundle.tar", "iris-study"
SOURCE = "docopt"  # has no wheel
# Copies of .env that users and editors make, what `make sbom` writes, and what macOS adds on foreign file systems.
LEFT = {".env.bak", ".env.new", ".env~", ".env.swp", ".sbom.new", "sbom.cdx.json", "provenance.json"}
APPLE = {"._README.md", "notebooks/._birthdays.ipynb", "data/._patients.csv"}
BRIDGES = "lo|docker0|docker_gwbridge|br-[0-9a-f]+|veth[0-9a-f]+"  # loopback, and what the engine makes
# Apple's tar adds such files to an archive too, unless it is told not to.
APPLES_TAR = '[ "${COPYFILE_DISABLE:-}" = 1 ] || { echo "tar: added ._ files" >&2; exit 1; }'


def block(text: str) -> str:
    """The block of the page that contains `text`. The test types what a reader types."""
    (found,) = (b for b in blocks(PAGE.read_text()) if text in b)
    return found


@pytest.fixture(scope="module")
def packed(new_project: Render, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project after `make bundle`, with pins, files, secrets, a service, and a package that is built from source.

    Its environment is small: every test of this file packs, copies or builds it.
    """
    project = new_project(environment="minimal")
    project.run("docker", "tag", "python:3.13-slim-trixie", "seen:1")
    (project.folder / "compose.override.yaml").write_text(
        "services: {viewer: {image: 'seen:1', init: true, command: [sleep, infinity]}}\n"
    )
    project.compose("build", "lab")
    show = ("docker", "run", "--rm", "--network=none", "--entrypoint=dpkg-query", f"{project.compose_name()}-lab")
    version = project.run(*show, "--show", "--showformat=${Version}", "git").stdout
    project.replace("compose.pins.yaml", 'DEBIAN_PINS: ""', f"DEBIAN_PINS: git={version}")
    project.run("make", "add", f"PKG={SOURCE}")
    inspect = ("docker", "image", "inspect", "--format", '{{join .RepoDigests " "}}', "python:3.13-slim-trixie")
    digest = project.run(*inspect).stdout.split()[0].partition("@")[2]
    project.replace("compose.pins.yaml", "-slim-trixie}", f"-slim-trixie}}@{digest}")
    for name in (
        "notebooks/größer 1.ipynb",
        "data/patients.csv",
        "secrets/jupyter_token",
        "data/.hidden",
        *LEFT,
        *APPLE,
    ):
        (project.folder / name).write_text("{}")
    project.folder.joinpath(".venv-tests").mkdir()
    project.folder.joinpath(".venv-tests/pip").write_text("not yours")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(project, "environment", dict(project.environment))
        stand_in(project, tmp_path_factory.mktemp("bin"), "tar", APPLES_TAR)
        said = project.run("sh", "-euc", block("make bundle")).stdout.splitlines()
    assert re.fullmatch(rf"Wrote {FILE}, \d+ MB, SHA-256 [0-9a-f]{{64}}\.", said[-2])
    assert said[-1] == f"On the other machine: tar xf {FILE} && cd {SLUG} && make restore"
    yield project
    (project.folder / FILE).unlink()


@pytest.mark.parametrize(
    ("service", "image"), [("{build: ./viewer}", "NAME-viewer"), ("{build: ./viewer, image: 'seen:1'}", "seen:1")]
)
def test_a_service_that_is_built_is_refused(fresh_project: Project, service: str, image: str) -> None:
    """The other tests' bundle has what the error asks for: a service with an image only."""
    own = f"services:\n  viewer: {service}\n  db: {{image: postgres}}\n"
    (fresh_project.folder / "compose.override.yaml").write_text(own)
    done = fresh_project.make("bundle", check=False)
    image = image.replace("NAME", fresh_project.compose_name())
    assert done.stderr.splitlines()[0] == (
        "labdock: service viewer has a 'build:', but a bundle does not contain the files for that build. "
        f"Run 'docker compose build viewer', then replace this 'build:' with 'image: {image}' in compose.override.yaml."
    )


def test_a_service_with_a_digest_is_refused(fresh_project: Project) -> None:
    """Docker writes no digest into an archive."""
    image = f"postgres:18@sha256:{'0' * 64}"
    (fresh_project.folder / "compose.override.yaml").write_text(f"services: {{db: {{image: '{image}'}}}}\n")
    said = fresh_project.make("bundle", check=False).stderr.splitlines()[0]
    assert said.startswith(
        f"labdock: a service uses the image {image}, and a bundle cannot contain its digest. Remove '@"
    )


@pytest.fixture(scope="module")
def unpacked(packed: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The bundle, unpacked as on another machine. Tests that damage it repair it."""
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
    private = {
        ".env",
        "data/patients.csv",
        "data/.hidden",
        "secrets/jupyter_token",
        ".venv-tests/pip",
        FILE,
        *LEFT,
        *APPLE,
    }
    files = {name for name in members if not name.startswith("lab/bundle/")}
    own = packed.files() - private - {"data/.gitkeep", "lab/bundle/.gitkeep"}
    assert files == own
    assert "notebooks/größer 1.ipynb" in files
    assert not (packed.folder / ".bundle.new").exists()


def test_the_bundle_holds_what_a_rebuild_needs(packed: Project, members: set[str]) -> None:
    parts = {name.removeprefix("lab/bundle/") for name in members if name.startswith("lab/bundle/")}
    assert {"images.tar", "contents", "SHA256SUMS", "project.sha256"} <= parts
    wheels = {re.split(r"-\d", Path(name).name)[0].lower().replace("_", "-") for name in parts if name.endswith(".whl")}
    assert {"uv", "jupyterlab", "ipykernel", "humanize", "setuptools", "debsbom"} <= wheels
    # What `make test` installs on your machine fits every platform and every Python.
    tests = re.findall(r"^([\w.-]+)==(\S+) \\$", packed.read("tests/requirements.lock"), re.MULTILINE)
    assert len(tests) > 5
    assert {f"wheels/{name.replace('-', '_')}-{version}-py3-none-any.whl" for name, version in tests} <= parts
    assert any(name.startswith(f"wheels/{SOURCE}-") and name.endswith(".tar.gz") for name in parts)
    assert {Path(name).name.split("_")[0] for name in parts if name.endswith(".deb")} >= {"git", "less"}
    with tarfile.open(packed.folder / FILE) as archive:
        listed = archive.extractfile(f"{SLUG}/lab/bundle/SHA256SUMS").read().decode()  # type: ignore[union-attr]
        projects = archive.extractfile(f"{SLUG}/lab/bundle/project.sha256").read().decode()  # type: ignore[union-attr]
    assert set(re.findall(r"  \./(.*)", listed)) == parts - {"SHA256SUMS", "project.sha256"}
    assert set(re.findall(r"  \./(.*)", projects)) == {name for name in members if not name.startswith("lab/bundle/")}


def test_in_a_git_repository_the_bundle_has_the_files_of_git(packed: Project, tmp_path: Path) -> None:
    copy = shutil.copytree(packed.folder, tmp_path / "lab", ignore=shutil.ignore_patterns(FILE))
    project = Project(copy, packed.answers)
    with (project.folder / ".gitignore").open("a") as ignored:
        ignored.write("/scratch/\n")
    (project.folder / "scratch").mkdir()
    (project.folder / "scratch/large.bin").write_text("x")
    project.commit()
    (project.folder / "new.md").write_text("not committed yet")
    nested = project.folder / "other"
    project.run("git", "init", "--quiet", str(nested))
    (nested / ".env").write_text("PASSWORD=1\n")
    (project.folder / "README.md").unlink()
    (project.folder / "notebooks/.env").write_text("PASSWORD=1\n")
    for folder in ("data", "notebooks"):  # links to another disk, whose files belong to the bundle
        (project.folder / folder).rename(tmp_path / folder)
        (project.folder / folder).symlink_to(tmp_path / folder)
    done = project.run("make", "bundle", "PKG=humanize", "WITH_DATA=yes")
    with tarfile.open(project.folder / FILE) as archive:
        names = {member.name.removeprefix(f"{SLUG}/") for member in archive if member.isfile()}
    (project.folder / FILE).unlink()
    assert {"new.md", "data/patients.csv", "data/.hidden", "notebooks/birthdays.ipynb"} <= names
    assert "labdock: other/ is a git repository of its own" in done.stderr
    assert not [name for name in names if name.startswith("other/")]
    unwanted = {"scratch/large.bin", "README.md", ".env", "notebooks/.env", "secrets/jupyter_token", ".git/config"}
    assert not names & {*unwanted, *LEFT, *APPLE}


def engine_holds(project: Project) -> set[str]:
    """The names of all images, and the ids of all containers, running or not. (A name may get a new image.)"""
    images = project.run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").stdout
    return {*images.splitlines(), *project.run("docker", "ps", "--all", "--quiet").stdout.split()}


# Step -> the program that fails, and the arguments with which it fails. The names of the bundle's images exist from
# `docker save` to the end of the command.
STEPS = {
    "gather": ("docker", "buildx\\ bake*"),
    "save the images": ("docker", "save\\ *"),
    "write the archive": ("tar", f"-cf\\ {FILE}.new\\ *"),
}


@pytest.mark.parametrize(
    "step", [s if s == "write the archive" else pytest.param(s, marks=pytest.mark.nightly) for s in STEPS]
)
def test_a_failure_leaves_nothing_behind(packed: Project, tmp_path: Path, step: str) -> None:
    program, words = STEPS[step]
    project = Project(packed.folder, packed.answers, dict(packed.environment))
    listed = "docker images --format '{{.Repository}}:{{.Tag}}'"
    stand_in(project, tmp_path, program, f'case "$*" in {words}) {listed} >{tmp_path}/during; exit 1 ;; esac')
    before = engine_holds(packed), packed.files()
    assert project.make("bundle", check=False).returncode != 0
    during = {*(tmp_path / "during").read_text().splitlines()} - before[0]
    assert any(name.startswith(f"{SLUG}-lab:") for name in during) == (step != "gather")
    # Other tests use the engine at the same time. Their labs are called SLUG-NUMBER.
    own = (f"{SLUG}-lab:", f"{SLUG}-base:", packed.compose_name())
    mine = {name for name in engine_holds(packed) - before[0] if name.startswith(own)}
    assert (mine, packed.files()) == (set(), before[1])


# --- a machine without a network ----------------------------------------------------------------------
@pytest.fixture(scope="module")
def alone() -> Iterator[tuple[dict[str, str], Run]]:
    """The settings of an engine without a network, and a function that runs other functions in this network."""
    with isolated_engine() as (daemon, there):
        there(daemon.start)
        yield {"DOCKER_HOST": f"unix://{daemon.socket}", "JUPYTER_PORT": "0"}, there


@pytest.fixture(scope="module")
def restored(packed: Project, alone: tuple[dict[str, str], Run], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The lab, started on this engine with the commands in the docs."""
    environment, there = alone
    folder = tmp_path_factory.mktemp("restored")
    shutil.copy(packed.folder / FILE, folder)
    reader = Project(folder, packed.answers, environment)
    there(reader.run, "sh", "-euc", block("make restore"))
    (folder / FILE).unlink()
    yield Project(folder / SLUG, packed.answers, environment)
    shutil.rmtree(folder)


def test_the_engine_has_no_network(restored: Project, alone: tuple[dict[str, str], Run]) -> None:
    """The engine without a network has only loopback and its own bridges. The other engine has more interfaces."""
    _, there = alone
    assert restored.containers()
    assert uplinks(there(socket.if_nameindex)) == []
    assert uplinks(socket.if_nameindex()) != []


def base(project: Project) -> str:
    """The base image of its builds."""
    return project.config()["services"]["lab"]["build"]["args"]["PYTHON_IMAGE"]


def uplinks(found: list[tuple[int, str]]) -> list[str]:
    """The network interfaces through which another machine might be reached."""
    return [name for _, name in found if not re.fullmatch(BRIDGES, name)]


def test_the_lab_runs_from_the_bundle(restored: Project, packed: Project, alone: tuple[dict[str, str], Run]) -> None:
    _, there = alone
    lab = restored.client()
    assert there(lab.run, f"import {SOURCE}; print(1)") == "1\n"
    assert restored.compose_name() != packed.compose_name() and restored.container("viewer")["State"]["Running"]
    assert len(lab.token) >= 32 and lab.token != "{}"
    assert (restored.folder / "notebooks/größer 1.ipynb").exists()
    # Offline, no registry can look up the digest, so it is not used. With an empty PYTHON_IMAGE, it is used again.
    assert re.fullmatch(rf"{SLUG}-base:[0-9a-f]+", base(restored))
    assert "@sha256:" in base(packed)
    assert base(Project(restored.folder, {}, {**restored.environment, "PYTHON_IMAGE": ""})) == base(packed)


@pytest.mark.nightly
def test_make_test_runs_offline(restored: Project, alone: tuple[dict[str, str], Run]) -> None:
    """`make test` installs pytest from the bundle. The controls: a bundle without it, and no bundle."""
    _, there = alone
    assert re.search(r"\d+ passed in", there(restored.make, "test").stdout)
    project = Project(restored.folder, {}, {**restored.environment, "PIP_RETRIES": "0"})
    for part, sentence in (
        ("wheels/pytest-*.whl", "lab/bundle lacks packages of tests/requirements.lock. Make a new bundle "),
        ("SHA256SUMS", "pip cannot install tests/requirements.lock (see the lines above). Check PIP_INDEX_URL, "),
    ):
        shutil.rmtree(restored.folder / ".venv-tests")
        (path,) = restored.folder.glob(f"lab/bundle/{part}")
        path.rename(restored.folder / "aside")
        done = there(lambda: project.make("test", check=False))
        (restored.folder / "aside").rename(path)
        assert done.stderr.splitlines()[-2].startswith(f"labdock: {sentence}")


@pytest.mark.nightly
def test_a_second_restore_keeps_your_settings(restored: Project, alone: tuple[dict[str, str], Run]) -> None:
    """.env does not change, except the base image, which has another name in each bundle. The next test builds."""
    _, there = alone
    line = f"PYTHON_IMAGE={base(restored)}\n"
    mine = restored.read(".env") + "# mine\nLAB_PIDS = 400 # more\n"
    older, none = (mine.replace(line, new) for new in (f"PYTHON_IMAGE={SLUG}-base:older\n", ""))
    for before, after in ((none.removesuffix("\n"), none + line), (older, mine)):
        (restored.folder / ".env").write_text(before)
        there(restored.make, "restore")
        assert restored.read(".env") == after


def test_make_add_takes_packages_of_the_bundle_and_rebuilds(
    restored: Project, alone: tuple[dict[str, str], Run]
) -> None:
    _, there = alone
    before = restored.read("requirements.lock")
    done = there(lambda: restored.run("make", "add", "PKG=polars", check=False))
    assert (
        "labdock: 'polars' is not in lab/bundle. On a machine with a network, run 'make bundle PKG=polars'"
        in done.stderr
    )
    assert restored.read("requirements.lock") == before
    done = there(lambda: restored.run("make", "add", "PKG=humanize>=4"))
    assert "  humanize (new) -> 4." in done.stderr
    # The old entries keep every line, also those of other platforms.
    assert {*before.splitlines()} <= {*restored.read("requirements.lock").splitlines()}
    image = restored.container()["Image"]
    lab = there(restored.up)
    assert restored.container()["Image"] != image
    assert there(lab.run, "import humanize; print(humanize.intcomma(1234567))") == "1,234,567\n"
    inside = "find / -xdev -path /bundle -o -path '/var/lib/apt/lists/*_*' -o -name 'humanize*.whl' -o -name '*.deb'"
    assert restored.shell(f"{inside} 2>/dev/null || true") == ""
    assert there(lab.run, f"import {SOURCE}; print({SOURCE}.__name__)") == f"{SOURCE}\n"  # built from source, there
    done = there(lambda: restored.run("make", "remove", "PKG=humanize"))
    assert restored.read("requirements.lock") == before
    for target in ("lock", "outdated"):
        done = there(lambda target=target: restored.make(target, check=False))
        assert "labdock: this project was restored from lab/bundle, which has no newer versions. " in done.stderr


def test_the_pins_hold_there_too(restored: Project, packed: Project, alone: tuple[dict[str, str], Run]) -> None:
    """The rebuild used the pins. The negative control: other pins are refused."""
    _, there = alone
    pins = restored.read("compose.pins.yaml")
    (pinned,) = re.findall(r"\bgit=\S+", pins)
    assert pinned in packed.read("compose.pins.yaml")
    restored.replace("compose.pins.yaml", pinned, "git=1:0")
    done = there(lambda: restored.make("up", check=False))
    (restored.folder / "compose.pins.yaml").write_text(pins)
    assert done.stderr.splitlines()[-2] == (
        "labdock: the image was not built: the bundle in lab/bundle lacks git 1:0. "
        "Copy compose.pins.yaml from the bundle into this folder."
    )


@pytest.mark.nightly
def test_what_the_image_holds_is_listed_there(restored: Project, alone: tuple[dict[str, str], Run]) -> None:
    _, there = alone
    there(restored.make, "sbom")
    listed = {component["name"] for component in json.loads(restored.read("sbom.cdx.json"))["components"]}
    assert {SOURCE, "jupyterlab", "git"} <= listed


@pytest.mark.nightly
def test_another_bundle_has_the_same_parts(
    restored: Project, members: set[str], alone: tuple[dict[str, str], Run]
) -> None:
    """The next bundle has everything that the first one had, needed or not."""
    _, there = alone
    there(restored.make, "bundle")
    with tarfile.open(restored.folder / FILE) as archive:
        again = {member.name.removeprefix(f"{SLUG}/") for member in archive if member.isfile()}
    (restored.folder / FILE).unlink()
    parts = {name for name in members if name.startswith(("lab/bundle/wheels/", "lab/bundle/debs/"))}
    assert parts and parts - again == set()
    restored.replace("Dockerfile", "WORKDIR /\n", "RUN true\nWORKDIR /\n")
    there(restored.make, "up")


@pytest.mark.nightly
def test_without_the_bundle_nothing_is_built_there(
    restored: Project, alone: tuple[dict[str, str], Run], tmp_path: Path
) -> None:
    """The negative control: with an empty lab/bundle, the same project needs the network, and says so."""
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
    assert said.startswith(f"labdock: {named}") and "differs from the file that was bundled. Unpack" in said
    assert f"{SLUG}-lab:" not in unpacked.run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").stdout
    assert not (unpacked.folder / ".env").exists()


def test_a_missing_part_is_refused(unpacked: Project) -> None:
    (deb,) = unpacked.folder.glob("lab/bundle/debs/git_*.deb")
    whole = deb.read_bytes()
    deb.unlink()
    assert "labdock: ./debs/git_" in unpacked.make("restore", check=False).stderr
    deb.write_bytes(whole)
    sums = unpacked.folder / "lab/bundle/SHA256SUMS"
    sums.rename(unpacked.folder / "aside")
    said = unpacked.make("restore", check=False).stderr
    (unpacked.folder / "aside").rename(sums)
    assert "labdock: lab/bundle is empty. Unpack a bundle" in said


@pytest.fixture
def foreign(unpacked: Project) -> Iterator[Project]:
    """An undamaged bundle for another processor. It passes the check of its files, and is refused after that."""
    contents, sums = (unpacked.folder / "lab/bundle" / name for name in ("contents", "SHA256SUMS"))
    before = contents.read_text(), sums.read_text()
    contents.write_text(re.sub("platform=.*", "platform=linux/sparc", before[0]))
    sums.write_text("".join(line for line in before[1].splitlines(keepends=True) if "./contents" not in line))
    yield Project(unpacked.folder, unpacked.answers, dict(unpacked.environment))
    contents.write_text(before[0])
    sums.write_text(before[1])


@pytest.mark.parametrize("there", [["sha256sum"], ["shasum"], []], ids=["sha256sum", "shasum", "neither"])
def test_either_program_checks_the_files(foreign: Project, tmp_path: Path, there: list[str]) -> None:
    """Older versions of macOS have shasum only."""
    for folder in reversed(os.environ["PATH"].split(":")):
        for program in Path(folder).glob("*") if Path(folder).is_dir() else ():
            if program.name not in {"sha256sum", "shasum"} - {*there}:
                (tmp_path / program.name).unlink(missing_ok=True)
                (tmp_path / program.name).symlink_to(program)
    foreign.environment["PATH"] = str(tmp_path)
    said = foreign.make("restore", check=False).stderr
    if not there:
        assert "labdock: neither sha256sum nor shasum is found. Install one of them." in said
        return
    assert "labdock: the engine runs linux/" in said and ", but the bundle is for linux/sparc. " in said
    flip(foreign.folder / "Dockerfile")
    said = foreign.make("restore", check=False).stderr
    flip(foreign.folder / "Dockerfile")
    assert "labdock: ./Dockerfile differs from the file that was bundled. " in said
