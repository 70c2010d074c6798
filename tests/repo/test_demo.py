"""`make demo` prints the classification report, and a second run keeps the container. `make demo-down` removes all."""

import json
import subprocess
from pathlib import Path

import pytest
import requests

from tests.support import shared
from tests.support.project import Project

ROOT = Path(__file__).resolve().parents[2]


def make(target: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", target, f"DIR={folder}"]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True)


@pytest.fixture
def folder(engine: None, tmp_path: Path):
    folder = tmp_path / "demo"
    yield folder
    if folder.exists():
        make("demo-down", folder)


@pytest.mark.full
def test_demo_shows_the_report_twice_and_cleans_up(folder: Path) -> None:
    first = make("demo", folder)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "setosa" in first.stdout and "weighted avg" in first.stdout
    address = first.stdout.split()[-1]
    assert first.stdout.splitlines()[-1] == f"Address: {address}"
    assert requests.get(address, timeout=10).status_code == 200  # the login page

    shared.leave(Project(folder, {}).compose_name())
    notebook = json.loads((folder / "notebooks/iris.ipynb").read_text())
    kinds = {
        kind for cell in notebook["cells"] for output in cell.get("outputs", []) for kind in output.get("data", {})
    }
    assert "image/png" in kinds

    container = ["docker", "compose", "ps", "--quiet", "lab"]
    before = subprocess.run(container, cwd=folder, text=True, capture_output=True).stdout
    second = make("demo", folder)
    assert second.returncode == 0, second.stdout + second.stderr
    assert subprocess.run(container, cwd=folder, text=True, capture_output=True).stdout == before != ""

    assert make("demo-down", folder).returncode == 0
    assert not folder.exists()
    assert not subprocess.run(
        ["docker", "ps", "--quiet", "--filter", f"id={before.strip()}"], capture_output=True
    ).stdout


def test_demo_leaves_a_folder_of_yours_alone(engine: None, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for target in ("demo", "demo-down"):
        done = make(target, tmp_path)
        assert done.returncode != 0
        assert f"labdock: {tmp_path}" in done.stderr
        assert (tmp_path / "thesis.txt").read_text() == "years of work"
