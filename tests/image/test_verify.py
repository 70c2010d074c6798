"""`make verify`: the image can be built again to the same byte; where it cannot, the file that differs is named."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from engine.debian import Apt
from engine.tools import Refused
from tests.conftest import lacking
from tests.support.mutants import copy_of
from tests.support.project import Project

GREEN = re.compile(r"^(\d+) builds, one digest: (sha256:[0-9a-f]{64})$", re.MULTILINE)


def verify(project: Project, builds: int = 2) -> str:
    """The digest that all builds have."""
    done = project.run("make", "--no-print-directory", "verify", f"BUILDS={builds}")
    (found,) = GREEN.findall(done.stdout)
    assert found[0] == str(builds)
    return found[1]


@pytest.fixture
def system(fresh_project: Project) -> Project:
    """A project whose image has no environments: what is built in seconds."""
    for name in ("server /opt/jupyter", "kernel /opt/venv"):
        stage, folder = name.split()
        fresh_project.replace("Dockerfile", f"COPY --from={stage} {folder} {folder}\n", "")
    return fresh_project


def caches(project: Project) -> list[str]:
    """The caches that builds of `make verify` have left."""
    used = project.run("docker", "buildx", "du", "--verbose").stdout
    return re.findall(r"cached mount .*verify-.*", used)


@pytest.mark.full
def test_two_builds_of_the_default_are_one(fresh_project: Project) -> None:
    assert verify(fresh_project)


# What makes two builds differ, by the file that is named for it; each build has a host name of its own.
DIFFERENT = {
    "/etc/dice": "head -c 20 /dev/urandom >/etc/dice",
    "/etc/built-by": "hostname >/etc/built-by",
    "/etc/guarded": 'touch /etc/guarded; [ "$(hostname)" != host-1 ] || chmod 600 /etc/guarded',
    "/etc/linked": 'ln -s "$(hostname)" /etc/linked',
}


@pytest.mark.full
def test_what_differs_is_named(system: Project) -> None:
    """The control, in which builds do differ; what is always the same is not named."""
    line = "; ".join(["RUN touch /etc/always", *DIFFERENT.values()])
    system.replace("Dockerfile", "WORKDIR /\n", f"{line}\nWORKDIR /\n")
    done = system.run("make", "--no-print-directory", "verify", check=False)
    assert done.returncode != 0
    assert not GREEN.search(done.stdout)
    report = done.stdout.splitlines()[2:]
    assert re.match(r"layer \d+, RUN touch /etc/always;", report[0])
    assert report[1:] == [f"  {file}" for file in sorted(DIFFERENT)]
    assert "labdock: build 2 differs from the first in what is listed above (sha256:" in done.stderr
    assert caches(system) == []


# --- elsewhere, and at another time -----------------------------------------------------------------
@pytest.mark.nightly
def test_eight_builds_in_two_folders_are_one(fresh_project: Project, tmp_path: Path) -> None:
    """Each build has a host name of its own too."""
    other = copy_of(fresh_project, tmp_path / "ein anderer Ort")
    assert verify(fresh_project, 6) == verify(other)


def moved_clock(folder: Path) -> str:
    """A base image whose programs see tomorrow; its name."""
    base = "python:3.13-slim-trixie"
    try:
        Apt(folder).unpack(["libfaketime/trixie"], folder / "packages")
    except Refused as refused:
        lacking(f"no clock to move: {refused}")
    (library,) = folder.glob("packages/usr/lib/*/faketime/libfaketime.so.1")
    shutil.copy(library, folder)
    lines = (
        f"FROM {base}",
        "COPY libfaketime.so.1 /usr/local/lib/",
        "RUN echo +1d >/etc/faketimerc && echo /usr/local/lib/libfaketime.so.1 >/etc/ld.so.preload",
    )
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    (folder / ".dockerignore").write_text("*\n!libfaketime.so.1\n")
    name = f"labdock-tomorrow-{os.getpid()}"
    subprocess.run(["docker", "build", "--quiet", "--tag", name, str(folder)], check=True, capture_output=True)
    seen = subprocess.run(["docker", "run", "--rm", name, "date", "+%s"], check=True, text=True, capture_output=True)
    assert int(seen.stdout) - time.time() > 80_000
    return name


def own_layers(project: Project, folder: Path, base: str) -> list[str]:
    """The digests of the layers that the Dockerfile adds to `base`, built from nothing."""
    output = f"type=oci,tar=false,dest={folder},rewrite-timestamp=true,compression=uncompressed"
    arguments = {
        "SOURCE_DATE_EPOCH": "315532800",
        "BUILDKIT_CACHE_MOUNT_NS": f"tests-{os.getpid()}-{folder.name}",
        "PYTHON_IMAGE": base,
    }
    project.run(
        *("docker", "buildx", "bake", "--file=-", "--no-cache", "--provenance=false", f"--set=lab.output={output}"),
        *(f"--set=lab.args.{name}={value}" for name, value in arguments.items()),
        *("--set=lab.tags=", "lab"),
        input=project.compose("config").stdout,
    )
    (described,) = json.loads((folder / "index.json").read_text())["manifests"]
    manifest = json.loads((folder / "blobs" / described["digest"].replace(":", "/")).read_text())
    below = len(json.loads(project.run("docker", "image", "inspect", base).stdout)[0]["RootFS"]["Layers"])
    return [layer["digest"] for layer in manifest["layers"][below:]]


@pytest.mark.nightly
def test_tomorrow_the_layers_are_the_same(
    fresh_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two builds; the second's programs see another day. (Its base has two files more, so its digest is another.)"""
    monkeypatch.setenv("BUILDX_BAKE_ENTITLEMENTS_FS", "0")
    (tmp_path / "clock").mkdir()
    tomorrow = moved_clock(tmp_path / "clock")
    today = own_layers(fresh_project, tmp_path / "today", "python:3.13-slim-trixie")
    assert len(today) >= 5
    assert own_layers(fresh_project, tmp_path / "tomorrow", tomorrow) == today
    fresh_project.run("docker", "image", "rm", "--force", tomorrow)
    caches_of_tests = ("--filter=type=exec.cachemount", f"--filter=description~=tests-{os.getpid()}")
    fresh_project.run("docker", "buildx", "prune", "--force", *caches_of_tests)
