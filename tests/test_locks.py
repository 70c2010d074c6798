"""Every lock has what each processor and each Python needs, wheels with hashes; the package index is asked."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

UV = Path(sys.executable).with_name("uv")
PROCESSORS = ("x86_64", "aarch64")
PYTHONS = ("3.12", "3.13", "3.14")
LOCKS = {path.stem: path for path in (ROOT / "locks").glob("*.lock")} | {"server": ROOT / "template/lab/server.lock"}
AS_SOURCE = "pyspark"  # has no wheels: lab/build.lock holds what builds it
# TensorFlow has no wheels for 3.14, which copier.yml refuses.
OFFERED = [
    (lock, python) for lock in sorted(LOCKS) for python in PYTHONS if (lock[:10], python) != ("tensorflow", "3.14")
]


def lacking(lock: Path, python: str, processor: str, folder: Path) -> str:
    """Why uv would not install `lock`; empty where it would."""
    target = ("--python-version", python, "--python-platform", f"{processor}-manylinux_2_28", "--target", folder)
    wheels = ("--only-binary", ":all:", *(("--no-binary", AS_SOURCE) if AS_SOURCE in lock.read_text() else ()))
    command = [UV, "pip", "sync", "--quiet", "--dry-run", "--require-hashes", *target, *wheels, lock]
    return subprocess.run(command, text=True, capture_output=True).stderr


def marks(lock: str) -> Any:
    """An index that serves no metadata apart hands out whole wheels, which are gigabytes for some."""
    if lock.startswith(("pytorch", "spark", "tensorflow")):
        return pytest.mark.nightly
    return () if lock in ("science", "server") else pytest.mark.full


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize(("lock", "python"), [pytest.param(*offer, marks=marks(offer[0])) for offer in OFFERED])
def test_a_lock_installs(lock: str, python: str, processor: str, tmp_path: Path) -> None:
    assert lacking(LOCKS[lock], python, processor, tmp_path) == ""


def test_what_has_no_wheels_is_noticed(tmp_path: Path) -> None:
    assert "no usable wheels" in lacking(LOCKS["science"], "3.8", "x86_64", tmp_path)


def test_an_entry_without_a_hash_is_noticed(tmp_path: Path) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text("six==1.17.0\n")
    assert "hash" in lacking(lock, "3.13", "x86_64", tmp_path)
