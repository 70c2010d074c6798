"""`make verify`: two builds make the same image, byte by byte. If they do not, the files that differ are named."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.common import Refused
from engine.debian import Apt
from tests.support.build_sources import stand_in
from tests.support.project import Project, Render
from tests.support.requirements import lacking
from tests.support.variants import copy_of, without_environments

BASE = "python:3.13-slim-trixie"
GREEN = re.compile(r"^All (\d+) builds are equal\. Digest: (sha256:[0-9a-f]{64})$", re.MULTILINE)


def verify(project: Project, builds: int = 2) -> str:
    """The digest that all builds have."""
    done = project.run("make", "--no-print-directory", "verify", f"BUILDS={builds}")
    (found,) = GREEN.findall(done.stdout)
    assert found[0] == str(builds)
    return found[1]


@pytest.fixture
def system(fresh_project: Project) -> Project:
    """A project whose image has no environments, so that it is built in seconds."""
    without_environments(fresh_project)
    return fresh_project


def caches(project: Project) -> list[str]:
    """The caches that `make verify` left behind."""
    used = project.run("docker", "buildx", "du", "--verbose").stdout
    return re.findall(r"cached mount .*verify-.*", used)


@pytest.mark.nightly
def test_two_builds_are_one(system: Project) -> None:
    """With both environments: test_eight_builds_in_two_folders_are_one. In `make test-full`: the next test's report."""
    assert verify(system)


# File -> the command that makes the file differ between two builds. Each build has another host name.
DIFFERENT = {
    "/etc/dice": "head -c 20 /dev/urandom >/etc/dice",
    "/etc/built-by": "hostname >/etc/built-by",
    "/etc/guarded": 'touch /etc/guarded; [ "$(hostname)" != host-1 ] || chmod 600 /etc/guarded',
    "/etc/linked": 'ln -s "$(hostname)" /etc/linked',
}


@pytest.mark.nightly
def test_what_differs_is_named(system: Project) -> None:
    """The negative control: these builds do differ. A file that is always the same is not named."""
    line = "; ".join(["RUN touch /etc/always", *DIFFERENT.values()])
    system.replace("Dockerfile", "WORKDIR /\n", f"{line}\nWORKDIR /\n")
    done = system.run("make", "--no-print-directory", "verify", check=False)
    assert done.returncode != 0
    assert not GREEN.search(done.stdout)
    report = done.stdout.splitlines()[2:]
    assert re.match(r"layer \d+, RUN touch /etc/always;", report[0])
    assert report[1:] == [f"  {file}" for file in sorted(DIFFERENT)]
    assert "labdock: build 2 differs from build 1. The list above names the files that differ." in done.stderr
    assert caches(system) == []


@pytest.mark.nightly
def test_a_build_that_fails_says_why(system: Project) -> None:
    step = "RUN printf 'lab%s\\n' 'dock: the disk is away.' >&2; exit 1\n"  # BuildKit's log repeats the command
    system.replace("Dockerfile", "WORKDIR /\n", f"{step}WORKDIR /\n")
    done = system.make("verify", check=False)
    assert "labdock: the image was not built: the disk is away." in done.stderr.splitlines()
    assert "sed: " not in done.stderr and not GREEN.search(done.stdout)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("#9 1.5 labdock: the package index is away.", "the package index is away."),
        ("ERROR: OCI exporter is not supported for the docker driver.", "this engine cannot write an image to a file."),
        ("ERROR: write /blobs: no space left on device", "the disk of the engine or of "),
        ("ERROR: bang", "a step of the build failed. Read its error in the lines above."),
    ],
)
def test_a_failed_build_is_explained(fresh_project: Project, tmp_path: Path, words: str, reason: str) -> None:
    """A stand-in for the builder fails with these words. The command leaves no file behind."""
    fails = f"cat >/dev/null; echo '{words}'; exit 1"
    stand_in(fresh_project, tmp_path / "bin", "docker", f'case "$1 $2" in "buildx bake") {fails} ;; esac')
    (tmp_path / "left").mkdir()
    fresh_project.environment["TMPDIR"] = str(tmp_path / "left")
    done = fresh_project.make("verify", check=False)
    assert words in done.stderr
    assert any(line.startswith(f"labdock: the image was not built: {reason}") for line in done.stderr.splitlines())
    assert list((tmp_path / "left").iterdir()) == []


# --- in another folder, and on another day ------------------------------------------------------------
@pytest.mark.nightly
def test_eight_builds_in_two_folders_are_one(fresh_project: Project, tmp_path: Path) -> None:
    """Each build also has another host name."""
    other = copy_of(fresh_project, tmp_path / "ein anderer Ort")
    assert verify(fresh_project, 6) == verify(other)


@pytest.fixture(scope="module")
def tomorrow(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a base image whose programs see the next day."""
    folder = tmp_path_factory.mktemp("clock")
    try:
        Apt(folder, "trixie").unpack(["libfaketime"], folder / "packages")
    except Refused as refused:
        lacking(f"no clock to move: {refused}")
    (library,) = folder.glob("packages/usr/lib/*/faketime/libfaketime.so.1")
    shutil.copy(library, folder)
    lines = (
        f"FROM {BASE}",
        "COPY libfaketime.so.1 /usr/share/clock/",  # not where ldconfig looks
        "RUN echo +1d >/etc/faketimerc && echo /usr/share/clock/libfaketime.so.1 >/etc/ld.so.preload",
    )
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    (folder / ".dockerignore").write_text("*\n!libfaketime.so.1\n")
    name = f"labdock-tomorrow-{os.getpid()}"
    subprocess.run(["docker", "build", "--quiet", "--tag", name, str(folder)], check=True, capture_output=True)
    seen = subprocess.run(["docker", "run", "--rm", name, "date", "+%s"], check=True, text=True, capture_output=True)
    assert int(seen.stdout) - time.time() > 80_000
    yield name
    subprocess.run(["docker", "image", "rm", "--force", name], check=True, capture_output=True)


def own_layers(project: Project, folder: Path, base: str) -> list[str]:
    """The digests of the layers that the Dockerfile adds to `base`, built from nothing into `folder`."""
    cache = f"tests-{os.getpid()}-{folder.name}"
    output = f"type=oci,tar=false,dest={folder},rewrite-timestamp=true,compression=uncompressed"
    arguments = {
        "SOURCE_DATE_EPOCH": "315532800",
        "BUILDKIT_CACHE_MOUNT_NS": cache,
        "PYTHON_IMAGE": base,
        "DEBIAN_PACKAGES": "dbus fontconfig",  # they make a user, an id of the machine, a cache
    }
    try:
        project.run(
            *("docker", "buildx", "bake", "--file=-", "--no-cache", "--provenance=false", f"--set=lab.output={output}"),
            *(f"--set=lab.args.{name}={value}" for name, value in arguments.items()),
            *("--set=lab.tags=", "lab"),
            input=project.compose("config").stdout,
        )
    finally:
        mine = ("--filter=type=exec.cachemount", f"--filter=description~={cache}")
        project.run("docker", "buildx", "prune", "--force", *mine)
    (described,) = json.loads((folder / "index.json").read_text())["manifests"]
    manifest = json.loads((folder / "blobs" / described["digest"].replace(":", "/")).read_text())
    below = len(json.loads(project.run("docker", "image", "inspect", base).stdout)[0]["RootFS"]["Layers"])
    return [layer["digest"] for layer in manifest["layers"][below:]]


@pytest.mark.nightly
def test_tomorrow_the_layers_are_the_same(fresh_project: Project, tmp_path: Path, tomorrow: str) -> None:
    """The second build's programs see the next day. (Its base image has three more files.)"""
    fresh_project.environment["BUILDX_BAKE_ENTITLEMENTS_FS"] = "0"
    today = own_layers(fresh_project, tmp_path / "today", BASE)
    # Debian, its bytecode, its modes; the server, the kernel's large packages, its others, the server's settings.
    assert len(today) == 7
    assert own_layers(fresh_project, tmp_path / "tomorrow", tomorrow) == today


@pytest.mark.nightly
@pytest.mark.parametrize("dated", [True, False], ids=["as delivered", "the control: without a date of its own"])
def test_tomorrow_the_distributions_part_is_the_same(
    system: Project, tmp_path: Path, tomorrow: str, dated: bool
) -> None:
    system.environment["BUILDX_BAKE_ENTITLEMENTS_FS"] = "0"
    if not dated:
        system.replace("lab/build/run_and_explain.py", '{"SOURCE_DATE_EPOCH": "315532800"}', "{}")
    today = own_layers(system, tmp_path / "today", BASE)
    assert (own_layers(system, tmp_path / "tomorrow", tomorrow) == today) is dated


@pytest.mark.nightly
@pytest.mark.parametrize("dated", [True, False], ids=["as delivered", "the control: with dates of its own"])
def test_javas_certificates_are_the_same(new_project: Render, tmp_path: Path, dated: bool) -> None:
    """The certificates in the store that Debian makes for `environment: spark`. Java can still read the store."""
    spark = new_project(environment="spark")
    without_environments(spark)
    spark.environment["BUILDX_BAKE_ENTITLEMENTS_FS"] = "0"
    if not dated:
        spark.replace("Dockerfile", "python /date_java_certificates.py", "true")
    first = own_layers(spark, tmp_path / "first", BASE)
    assert (own_layers(spark, tmp_path / "second", BASE) == first) is dated
    spark.compose("build", "lab")
    image = spark.config()["services"]["lab"]["image"]
    count = "grep -c BEGIN /etc/ssl/certs/ca-certificates.crt; keytool -list -cacerts -storepass changeit"
    said = spark.run("docker", "run", "--rm", "--entrypoint=sh", image, "-c", count).stdout
    assert f"Your keystore contains {said.split()[0]} entries" in said
    assert (said.count(", Jan 1, 1980, trustedCertEntry") == int(said.split()[0])) is dated
