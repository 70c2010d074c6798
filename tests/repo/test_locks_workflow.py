"""locks.yml of this repository, run on this machine: newer versions become one pull request, which GitHub accepts."""

import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT, git
from tests.support.workflows import HostedRunner, Workflow

RENEW = Workflow((ROOT / ".github/workflows/locks.yml").read_text()).jobs["renew"]
GH = 'case "$1 $2" in "pr list") echo "${OPEN:-0}" ;; esac'
# Every tool in the development lock gets another version, and so do the files that repeat these versions.
MAKE = f"""
test "$*" = lock
sed -i -E 's/^([a-z0-9-]+)==[^ ;]+/\\1==999.0/' requirements-dev.lock
PYTHONPATH=. {sys.executable} -c 'from tools.lock import repin; repin()'
"""
# GitHub refuses a push that changes a workflow if the push uses the workflow's own token.
HOOK = """#!/bin/sh
while read -r old new ref; do
    ! git diff-tree -r --name-only main "$new" | grep '^.github/workflows/' || exit 1
done
"""


@pytest.fixture
def runner(template: Path, tmp_path: Path) -> HostedRunner:
    git("clone", "--quiet", "--bare", str(template), "origin.git", cwd=tmp_path)
    git("update-ref", "refs/heads/main", "HEAD", cwd=tmp_path / "origin.git")
    git("symbolic-ref", "HEAD", "refs/heads/main", cwd=tmp_path / "origin.git")
    hook = tmp_path / "origin.git/hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOOK)
    hook.chmod(0o755)
    git("clone", "--quiet", "--depth=1", f"file://{tmp_path}/origin.git", "checkout", cwd=tmp_path)
    return HostedRunner(tmp_path / "checkout", tmp_path / "runner", GH)


def renew(runner: HostedRunner, make: str) -> str:
    """Run the job; its output."""
    runner.program("make", make)
    done = runner.run(RENEW)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_newer_versions_become_one_pull_request(runner: HostedRunner) -> None:
    origin = runner.workspace.parent / "origin.git"
    renew(runner, "exit 0")
    assert runner.calls() == [] and "locks" not in git("branch", cwd=origin).split()

    renew(runner, MAKE)
    assert [call.split(" --")[0] for call in runner.calls()] == ["auth setup-git", "pr list", "pr create"]
    changed = git("diff", "--name-only", "main", "locks", cwd=origin).splitlines()
    assert {"requirements-dev.lock", ".pre-commit-config.yaml"} < set(changed)
    assert any(name.startswith("template/") and name.endswith("/workflows/update.yml") for name in changed)
    versions = git("grep", "-ho", "copier==[0-9][0-9.]*", "locks", "--", "*.lock", "*.yml", cwd=origin).split()
    assert versions == ["copier==999.0"] * 2  # in the lock and in the template's workflow

    # The next night: the pull request is still open.
    git("switch", "--quiet", "main", cwd=runner.workspace)
    git("branch", "--quiet", "-D", "locks", cwd=runner.workspace)
    runner.environment["OPEN"] = "1"
    renew(runner, MAKE)
    assert [call.split(" --")[0] for call in runner.calls()[3:]] == ["auth setup-git", "pr list"]


def test_a_changed_workflow_would_be_refused(runner: HostedRunner) -> None:
    """The negative control."""
    runner.program("make", "echo '# newer' >>.github/workflows/ci.yml")
    done = runner.run(RENEW)
    assert done.returncode != 0 and "[remote rejected] locks -> locks (pre-receive hook declined)" in done.stdout
