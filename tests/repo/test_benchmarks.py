"""The code of the benchmarks: the workaround for Docker's bug, and the optimizations that it removes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.ablation import MEASURES, Measure
from benchmarks.subjects import ATTEMPTS, Subject
from tests.support.project import Project, Render

COLLECTED = (
    'failed to solve: failed to prepare extraction snapshot "extract-1 sha256:ab": '
    "parent snapshot sha256:cd does not exist: not found"
)
Failing = Callable[[str, int], Subject]


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Failing:
    """A subject whose engine fails this many builds with these words."""

    def make(words: str, times: int) -> Subject:
        (tmp_path / "packages").touch()
        (tmp_path / "left").write_text("x" * times)
        docker = tmp_path / "docker"
        docker.write_text(
            f"#!/bin/sh\nleft=$(cat '{tmp_path}/left')\n[ -n \"$left\" ] || exit 0\n"
            f"printf %s \"${{left#x}}\" >'{tmp_path}/left'\necho '{words}' >&2\nexit 1\n"
        )
        docker.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return Subject("labdock", tmp_path, "packages")

    return make


def test_a_build_whose_layers_were_collected_is_prepared_and_timed_again(failing: Failing) -> None:
    prepared: list[None] = []
    assert failing(COLLECTED, ATTEMPTS - 1).build(prepare=lambda: prepared.append(None)) >= 0
    assert len(prepared) == ATTEMPTS


@pytest.mark.parametrize(
    ("words", "times", "builds"),
    [(COLLECTED, ATTEMPTS, ATTEMPTS), ("failed to solve: no space left on device", 1, 1)],
    ids=["again and again", "another fault"],
)
def test_a_build_that_fails_ends_the_benchmark(failing: Failing, words: str, times: int, builds: int) -> None:
    prepared: list[None] = []
    with pytest.raises(RuntimeError, match="failed to"):
        failing(words, times).build(prepare=lambda: prepared.append(None))
    assert len(prepared) == builds


@pytest.fixture(scope="module")
def default(render: Render) -> Project:
    return render()


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.what)
def test_each_optimization_that_is_removed_exists(default: Project, measure: Measure) -> None:
    delivered = default.read(measure.file)
    undone = measure.undo(delivered)
    assert undone != delivered
    assert abs(len(undone.splitlines()) - len(delivered.splitlines())) < 10, "only the optimization is removed"
