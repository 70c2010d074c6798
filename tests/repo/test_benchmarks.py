"""The code of the benchmarks: the workaround for Docker's bug, the optimizations that it removes, the Dask clusters."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.ablation import MEASURES, Measure
from benchmarks.cluster import ROWS, TASKS, WORKERS, Jobs, table
from benchmarks.subjects import ATTEMPTS, ROOT, Subject
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


# --- the Dask cluster -----------------------------------------------------------------------------
OTHER = {"entrypoint", "command", "environment", "healthcheck"}  # what the containers with plain TCP have of their own
HARDENING = {"cap_drop", "cgroup", "cpu_quota", "mem_limit", "memswap_limit", "pids_limit", "read_only", "ulimits"}
RIGHT = {"workers": 2, "seconds": [2.0, 1.0], "results": [[5], [5]]}
SQUARES = sum(number * number for number in range(1000))


@pytest.fixture(scope="module")
def dask(render: Render) -> Project:
    project = render(scale_out="dask")
    project.environment = {"LAB_NAME": "bench", "LAB_UID": "1000", "LAB_GID": "1000"}
    return project


def other_clusters(project: Project, change: tuple[str, str]) -> dict[str, Any]:
    """The services of a project with the other clusters of the benchmark, after a change of their file."""
    text = (ROOT / "benchmarks/other_clusters.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    (project.folder / "compose.override.yaml").write_text(text.replace(*change), encoding="utf-8")
    return project.config()["services"]


def differences(services: dict[str, Any], role: str) -> set[str]:
    ours, plain = services[role], services[f"plain-{role}"]
    return {key for key in ours.keys() | plain.keys() if ours.get(key) != plain.get(key)} - OTHER


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (("", ""), set()),
        (("    scale: 2\n", "    scale: 2\n    pids_limit: 9\n"), {"pids_limit"}),
        (("    scale: 2\n", "    scale: 2\n    read_only: false\n"), {"read_only"}),
    ],
    ids=["as it is", "another limit", "a file system that can be written"],
)
def test_containers_with_plain_tcp_are_as_hardened(dask: Project, change: tuple[str, str], found: set[str]) -> None:
    services = other_clusters(dask, change)
    assert differences(services, "scheduler") == set()
    assert differences(services, "worker") == found


def test_bare_processes_have_no_hardening(dask: Project) -> None:
    services = other_clusters(dask, ("", ""))
    assert services["worker"].keys() >= HARDENING
    assert not (HARDENING | {"security_opt"}) & services["bare"].keys()
    assert services["bare"]["privileged"]


def jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **said: Any) -> Jobs:
    (tmp_path / "packages").touch()
    monkeypatch.setattr(Subject, "run", lambda self, *command: json.dumps(RIGHT | said))
    return Jobs(Subject("cluster", tmp_path, "packages"))


def test_the_first_time_of_a_job_is_not_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert jobs(monkeypatch, tmp_path).run("join", "plain", 2, 1000) == [1.0]


@pytest.mark.parametrize(
    ("job", "said", "error"),
    [
        ("join", {"results": [[5], [6]]}, r"'join' of size 1000 on tls://scheduler:8786 gave \[6\], not \[5\]"),
        ("tasks", {}, rf"'tasks' of size 1000 on .* gave \[5\], not \[{SQUARES}\]"),
        ("join", {"workers": 1}, "'cluster' has 1 workers, not 2"),
    ],
    ids=["two results", "a wrong sum", "a worker is missing"],
)
def test_a_wrong_result_ends_the_benchmark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, job: str, said: dict[str, Any], error: str
) -> None:
    with pytest.raises(RuntimeError, match=error):
        jobs(monkeypatch, tmp_path, **said).run(job, "cluster", 2, 1000)


@pytest.mark.parametrize(("seconds", "missed"), [(1.0, 0), (1.1, 2), (1.2, 4), (6.0, 5)])
def test_the_table_names_missed_targets(monkeypatch: pytest.MonkeyPatch, seconds: float, missed: int) -> None:
    monkeypatch.setattr(report, "machine", lambda: "A machine.")
    names = [f"{name}-{workers}" for name in ("local", "cluster", "plain", "bare", "pandas") for workers in WORKERS]
    samples = {(job, name): [1.0] for job in ROWS for name in names}
    samples |= {(job, "cluster-2"): [seconds] for job in ROWS}
    samples |= {(f"tasks {count}", name): [1.0] for count in TASKS for name in ("local", "cluster")}
    samples |= {("joined", "cluster"): [seconds], ("memory", "scheduler"): [7e7], ("memory", "worker"): [1e8]}
    found = table(samples, 1)
    assert found.count("**missed**") == missed
    assert found.count("| met |") == 5 - missed
