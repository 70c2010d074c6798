"""Every lock has wheels with hashes for each processor and each Python. The tests ask the package index."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.repository import ROOT
from tools import lock as locks

UV = Path(sys.executable).with_name("uv")
PROCESSORS = ("x86_64", "aarch64")
PYTHONS = ("3.12", "3.13", "3.14")
# The locks that projects install. The development lock is for this machine only.
LOCKS = {name: ROOT / target for name, (target, *_) in locks.LOCKS.items() if name != "dev"}
AS_SOURCE = "pyspark"  # this package has no wheels: lab/locks/build.lock has the packages that build it
# TensorFlow has no wheels for 3.14, which copier.yml refuses.
OFFERED = [
    (lock, python) for lock in sorted(LOCKS) for python in PYTHONS if (lock[:10], python) != ("tensorflow", "3.14")
]


def lacking(lock: Path, python: str, processor: str, folder: Path) -> str:
    """The reason why uv cannot install `lock`; empty if it can."""
    target = ("--python-version", python, "--python-platform", f"{processor}-manylinux_2_28", "--target", folder)
    wheels = ("--only-binary", ":all:", *(("--no-binary", AS_SOURCE) if AS_SOURCE in lock.read_text() else ()))
    command = [UV, "pip", "sync", "--quiet", "--dry-run", "--require-hashes", *target, *wheels, lock]
    return subprocess.run(command, text=True, capture_output=True).stderr


def marks(lock: str) -> Any:
    """Some indexes serve no separate metadata. Then uv downloads whole wheels, which have gigabytes in some locks."""
    if lock.startswith(("pytorch", "spark", "tensorflow")):
        return pytest.mark.nightly
    return () if lock in ("science", "server") else pytest.mark.full


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize(("lock", "python"), [pytest.param(*offer, marks=marks(offer[0])) for offer in OFFERED])
def test_a_lock_installs(lock: str, python: str, processor: str, tmp_path: Path) -> None:
    assert lacking(LOCKS[lock], python, processor, tmp_path) == ""


def hashes(text: str) -> dict[str, set[str]]:
    """The hashes of each NAME==VERSION in a lock."""
    found: dict[str, set[str]] = {}
    for name, rest in re.findall(r"^([\w.-]+==[^\s;\\]+)(.*\n(?: .*\n)*)", text, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r"--hash=sha256:(\w+)", rest))
    return found


def foreign(text: str, python: str) -> dict[str, set[str]]:
    """The hashes in a lock that do not belong to any file of that version in the package index."""
    wanted = re.sub(r" *\\\n +--hash=\S+", "", text)
    layout = ("--universal", "--generate-hashes", "--no-deps", "--no-annotate", "--no-header", "--no-python-downloads")
    command = [UV, "pip", "compile", "--quiet", *layout, "--python-version", python, "-"]
    # uv reads the correct hashes from the index.
    said = subprocess.run(command, input=wanted, check=True, text=True, stdout=subprocess.PIPE).stdout
    known = hashes(said)
    assert known.keys() == hashes(text).keys() and all(known.values())
    return {name: wrong for name, found in hashes(text).items() if (wrong := found - known[name])}


def flipped(text: str) -> str:
    """A lock with one digit of one hash changed."""
    at = text.index("--hash=sha256:") + len("--hash=sha256:")
    return f"{text[:at]}{int(text[at], 16) ^ 1:x}{text[at + 1 :]}"


@pytest.mark.full
@pytest.mark.parametrize("name", [*LOCKS, "dev"])
def test_a_lock_holds_the_index_s_hashes(name: str) -> None:
    target, _, python = locks.LOCKS[name]
    text = (ROOT / target).read_text()
    assert foreign(text, python) == {}


@pytest.mark.full
def test_a_hash_with_another_digit_is_noticed() -> None:
    target, _, python = locks.LOCKS["build"]
    text = (ROOT / target).read_text()
    assert [len(wrong) for wrong in foreign(flipped(text), python).values()] == [1]


def test_a_lock_without_wheels_is_noticed(tmp_path: Path) -> None:
    """No package of the lock has a wheel for this Python."""
    assert "No solution found" in lacking(LOCKS["science"], "3.8", "x86_64", tmp_path)


def test_an_entry_without_a_hash_is_noticed(tmp_path: Path) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text("six==1.17.0\n")
    assert "hash" in lacking(lock, "3.13", "x86_64", tmp_path)
