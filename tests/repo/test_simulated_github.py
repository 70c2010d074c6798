"""tests/support/workflows.py, on which the tests of workflows rest: it judges and runs steps as GitHub does."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.workflows import Expression, HostedRunner, Workflow, resolved, wanted

CONTEXTS = {
    "github": {"event_name": "push"},
    "vars": {},
    "needs": {"a": {"result": "success"}, "b": {"result": "x"}},
    "steps": {"one": {"outcome": "skipped", "outputs": {}}},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps.one.outputs.unset", ""),
        ("steps.one.outcome == 'skipped'", True),
        ("github.event_name == 'push'", True),
        ("github.event_name != 'push' || vars.UNSET == ''", True),
        ("github.event_name == 'push' && vars.UNSET", ""),
        ("!(github.event_name == 'push')", False),
        ("vars.UNSET || 'it''s'", "it's"),
    ],
)
def test_an_expression_has_the_value_that_github_gives_it(text: str, value: Any) -> None:
    assert Expression(text, CONTEXTS).value == value


def test_a_function_gets_the_results_of_all_needs() -> None:
    assert resolved("${{ join(needs.*.result, ' ') }}", CONTEXTS) == "success x"


@pytest.mark.parametrize("text", ["github.event.head_commit.message", "steps.unknown.outputs.x"])
def test_an_unknown_name_is_an_error(text: str) -> None:
    with pytest.raises(KeyError):
        resolved("${{ " + text + " }}", CONTEXTS)


@pytest.mark.parametrize("text", ["1 + 1", "'a' 'b'", "github.event_name =="])
def test_an_expression_that_is_not_understood_is_an_error(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        Expression(text, CONTEXTS)


@pytest.mark.parametrize(
    ("condition", "after"),
    [
        ("", {"success"}),
        ("github.event_name == 'push'", {"success"}),
        ("always()", {"success", "failure", "skipped"}),
        ("${{ !cancelled() && github.event_name == 'push' }}", {"success", "failure", "skipped"}),
        ("failure()", {"failure"}),
    ],
)
def test_a_condition_holds_after_the_right_results(condition: str, after: set[str]) -> None:
    assert {status for status in ("success", "failure", "skipped") if wanted(condition, CONTEXTS, status)} == after


def test_a_script_outside_the_steps_is_an_error() -> None:
    with pytest.raises(AssertionError):
        Workflow("jobs:\n  a:\n    steps:\n      - run: echo\n    more:\n      run: echo\n")


@pytest.mark.parametrize(("defaults", "status"), [("", 0), ("defaults: {run: {shell: bash}}\n", 1)])
def test_a_step_runs_in_the_shell_that_the_workflow_names(tmp_path: Path, defaults: str, status: int) -> None:
    """In the shell that GitHub uses by default, only the last command of a pipe decides whether a step fails."""
    job = Workflow(f"{defaults}jobs: {{a: {{steps: [\n  run: false | cat\n]}}}}\n").jobs["a"]
    assert HostedRunner(tmp_path, tmp_path / "runner").run(job).returncode == status


def test_steps_pass_on_outputs_files_and_failures(tmp_path: Path) -> None:
    job = Workflow("""
jobs:
  a:
    steps:
      - id: first
        run: |
          echo made >file
          echo name=value >>"$GITHUB_OUTPUT"
      - run: test "$NAME" = value
        env: {NAME: "${{ steps.first.outputs.name }}"}
      - {uses: actions/upload-artifact@0, with: {name: kept, path: file, if-no-files-found: error}}
      - {uses: actions/upload-artifact@0, with: {name: none, path: missing, if-no-files-found: error}}
      - run: echo not this
      - run: echo but this
        if: failure()
""").jobs["a"]
    runner = HostedRunner(tmp_path, tmp_path / "runner")
    done = runner.run(job)
    assert done.returncode == 1 and done.stdout == "not found: missing\nbut this\n"
    assert (tmp_path / "runner/artifacts/kept/file").read_text() == "made\n"
