"""ci.yml of this repository: one gate, a release that waits for it, and a new project on a plain runner."""

from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.repository import ROOT, git
from tests.support.workflows import HostedRunner, Workflow

CI = Workflow((ROOT / ".github/workflows/ci.yml").read_text())
CHECKS = CI.jobs.keys() - {"gate", "release"}
PUSH, PULL_REQUEST = {"event_name": "push"}, {"event_name": "pull_request"}


def gate(tmp_path: Path, *results: str) -> int:
    """The status of the gate after jobs with these results."""
    needs = {str(number): {"result": result} for number, result in enumerate(results)}
    return HostedRunner(tmp_path, tmp_path / "runner", contexts={"needs": needs}).run(CI.jobs["gate"]).returncode


@pytest.mark.parametrize("result", ["failure", "skipped", "cancelled"])
def test_the_gate_opens_only_if_every_check_succeeded(tmp_path: Path, result: str) -> None:
    assert set(CI.needs("gate")) == CHECKS
    assert gate(tmp_path, "success", "success") == 0
    for results in (("success", result), (result, "success")):
        assert gate(tmp_path, *results) != 0


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_the_gate_runs_after_a_check_that_fails(check: str) -> None:
    """A gate that is skipped would count as passed."""
    assert CI.results(failing=[check], github=PULL_REQUEST)["gate"] == "success"


def test_a_release_waits_for_the_gate() -> None:
    assert CI.results(github=PUSH)["release"] == "success"
    assert CI.results(failing=["gate"], github=PUSH)["release"] == "skipped"
    assert CI.results(github=PULL_REQUEST)["release"] == "skipped"


@pytest.mark.nightly
def test_a_new_project_is_made_started_and_tested(engine: None, template: Path, tmp_path: Path) -> None:
    git("clone", "--quiet", str(template), "checkout", cwd=tmp_path)
    runner = HostedRunner(tmp_path / "checkout", tmp_path / "runner")
    project = Project(runner.home / "temp/iris-study", {})
    try:
        done = runner.run(CI.jobs["new-project"])
        assert done.returncode == 0, done.stdout[-5000:]
        assert "Address: http://127.0.0.1:" in done.stdout and " passed" in done.stdout
        assert project.containers() == []
    finally:
        project.down("--rmi", "all")
