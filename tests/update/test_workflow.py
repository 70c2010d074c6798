"""update.yml of a project, run on this machine: it opens a pull request for the template's update, or says why not."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.project import Project
from tests.support.repository import git
from tests.support.updates import COMMENT, NEW, OLD, start, version
from tests.support.workflows import HostedRunner, Workflow

WORKFLOW = ".github/workflows/update.yml"
GITHUB = "https://github.com/example/labdock.git"
GH = 'case "$1 $2" in "pr list") echo "${OPEN:-0}" ;; esac'
BRANCH = "template-update"


@pytest.fixture
def runner(releases: Path, tmp_path: Path) -> HostedRunner:
    """A checkout of a project of the older release, whose template is on GitHub."""
    project = start(releases, tmp_path / "lab", OLD)
    project.replace(".copier-answers.yml", f"_src_path: {releases}", "_src_path: gh:example/labdock")
    return checked_out(project, releases, tmp_path)


def checked_out(project: Project, template: Path, folder: Path) -> HostedRunner:
    project.commit()
    git("clone", "--quiet", "--bare", str(project.folder), "origin.git", cwd=folder)
    git("clone", "--quiet", "--depth=1", f"file://{folder}/origin.git", "checkout", cwd=folder)
    (folder / "gitconfig").write_text(f'[safe]\ndirectory = *\n[url "{template}"]\ninsteadOf = {GITHUB}\n')
    settings = {"GIT_CONFIG_GLOBAL": str(folder / "gitconfig")}
    return HostedRunner(folder / "checkout", folder / "runner", GH, environment=settings)


def job(runner: HostedRunner, name: str) -> dict[str, Any]:
    return Workflow((runner.workspace / WORKFLOW).read_text()).jobs[name]


def take(runner: HostedRunner) -> tuple[int, str]:
    """Run the job `template`; its status and output."""
    done = runner.run(job(runner, "template"))
    return done.returncode, done.stdout


def branches(runner: HostedRunner) -> set[str]:
    """The project's branches on GitHub."""
    return set(git("branch", "--format=%(refname:short)", cwd=runner.workspace.parent / "origin.git").split())


def proposed(runner: HostedRunner, path: str) -> str:
    return git("show", f"{BRANCH}:{path}", cwd=runner.workspace.parent / "origin.git")


# --- the update arrives ---------------------------------------------------------------------------------
@pytest.mark.full
def test_the_template_s_update_becomes_one_pull_request(runner: HostedRunner) -> None:
    status, said = take(runner)
    assert status == 0, said
    assert COMMENT in proposed(runner, "Dockerfile") and f"_commit: {NEW}" in proposed(runner, ".copier-answers.yml")
    assert git("log", "--format=%s", "-1", BRANCH, cwd=runner.workspace.parent / "origin.git").endswith(NEW)
    assert [call.split(" --")[0] for call in runner.calls()] == ["auth setup-git", "pr list", "pr create"]
    assert f"--head {BRANCH}" in runner.calls()[-1]
    assert COMMENT not in git("show", "main:Dockerfile", cwd=runner.workspace.parent / "origin.git")

    # The next week: the pull request is still open.
    git("switch", "--quiet", "main", cwd=runner.workspace)
    git("branch", "--quiet", "-D", BRANCH, cwd=runner.workspace)
    runner.environment["OPEN"] = "1"
    status, said = take(runner)
    assert status == 0, said
    assert [call.split(" --")[0] for call in runner.calls()[3:]] == ["auth setup-git", "pr list"]

    # Once it is merged, nothing is left to do.
    git("branch", "--quiet", "--move", "--force", BRANCH, "main", cwd=runner.workspace)
    assert take(runner)[0] == 0
    assert len(runner.calls()) == 5


# --- or not ---------------------------------------------------------------------------------------------
def nothing_happened(runner: HostedRunner) -> bool:
    return branches(runner) == {"main"} and runner.calls() == []


@pytest.mark.full
def test_a_conflict_fails_and_names_the_files(releases: Path, tmp_path: Path) -> None:
    project = start(releases, tmp_path / "lab", OLD)
    project.replace(".copier-answers.yml", f"_src_path: {releases}", f"_src_path: {GITHUB}")
    project.replace("Dockerfile", "# The lab's image.", "# Mine.\n# The lab's image.")
    runner = checked_out(project, releases, tmp_path)
    status, said = take(runner)
    assert status != 0 and nothing_happened(runner)
    assert said.splitlines()[-1].startswith("::error::") and said.endswith("Files: Dockerfile\n")
    assert "Run 'copier update' on your machine" in said


@pytest.mark.full
def test_a_rejected_piece_fails_too(runner: HostedRunner) -> None:
    runner.program(
        "copier",
        f"""
case $1 in
check-update) echo '{{"update_available": true, "latest_version": "{NEW}"}}' ;;
update) touch lab/commands/up.sh.rej ;;
esac""",
    )
    status, said = take(runner)
    assert status != 0 and said.endswith("Files: lab/commands/up.sh.rej\n") and nothing_happened(runner)


@pytest.mark.full
def test_an_update_that_copier_refuses_fails(runner: HostedRunner) -> None:
    (runner.workspace / "Dockerfile").write_text("changed\n")
    status, said = take(runner)
    assert status != 0 and "dirty" in said and nothing_happened(runner)


@pytest.mark.full
def test_a_changed_workflow_needs_a_token_of_the_user_s(releases: Path, tmp_path: Path) -> None:
    """GitHub refuses it from the workflow's own token; the job says so before it tries."""
    template = tmp_path / "labdock"
    git("clone", "--quiet", str(releases), str(template), cwd=tmp_path)
    (workflow,) = template.glob(f"template/*/{WORKFLOW.removeprefix('.github/')}")
    workflow.write_text(workflow.read_text() + "# newer\n")
    Project(template, {}).commit()
    git("tag", "--force", NEW, cwd=template)
    project = start(releases, tmp_path / "lab", OLD)
    project.replace(".copier-answers.yml", f"_src_path: {releases}", "_src_path: gh:example/labdock")
    runner = checked_out(project, template, tmp_path)

    status, said = take(runner)
    assert status != 0 and nothing_happened(runner)
    assert f"::error::The update to {NEW} changes .github/workflows" in said and "UPDATE_TOKEN" in said

    git("switch", "--quiet", "main", cwd=runner.workspace)
    git("branch", "--quiet", "-D", BRANCH, cwd=runner.workspace)
    runner.contexts["secrets"]["UPDATE_TOKEN"] = "secret"
    status, said = take(runner)
    assert status == 0, said
    assert "# newer" in proposed(runner, WORKFLOW)


@pytest.mark.full
def test_a_template_on_somebody_s_disk_is_a_warning(releases: Path, tmp_path: Path) -> None:
    project = start(releases, tmp_path / "lab", OLD)
    runner = checked_out(project, releases, tmp_path)
    status, said = take(runner)
    assert status == 0 and nothing_happened(runner)
    assert f"::warning::The template is '{releases}', a folder on your machine." in said
    assert version(Project(runner.workspace, {})) == OLD


# --- newer packages and pins ----------------------------------------------------------------------------
# A stand-in: tests/supply/test_packages.py and test_pin.py run the real commands.
MAKE = """
echo "$*" >>../made
case $*:$NEWER in
env:*) touch .env ;;
lock:yes) echo newer >requirements.lock ;;
pin:yes) sed -i 's/@sha256:a*/@sha256:b/' compose.pins.yaml ;;
esac
"""


def renew(runner: HostedRunner, newer: str) -> str:
    """Run the job `renew`; the targets that it made."""
    runner.program("make", MAKE)
    runner.environment["NEWER"] = newer
    made = runner.workspace.parent / "made"
    made.write_text("")
    done = runner.run(job(runner, "renew"))
    assert done.returncode == 0, done.stdout
    return made.read_text()


@pytest.mark.parametrize("pinned", [False, True])
def test_newer_versions_become_one_pull_request(releases: Path, tmp_path: Path, pinned: bool) -> None:
    project = start(releases, tmp_path / "lab", OLD)
    if pinned:
        project.replace("compose.pins.yaml", "-slim-trixie}", f"-slim-trixie}}@sha256:{'a' * 64}")
    runner = checked_out(project, releases, tmp_path)
    made = "env\nlock\npin\n" if pinned else "env\nlock\n"
    assert renew(runner, newer="no") == made and nothing_happened(runner)
    assert renew(runner, newer="yes") == made
    assert branches(runner) == {"main", "newer-versions"}
    changed = git("diff", "--name-only", "main", "newer-versions", cwd=tmp_path / "origin.git").splitlines()
    assert changed == ["compose.pins.yaml", "requirements.lock"][not pinned :]
    assert [call.split(" --")[0] for call in runner.calls()] == ["auth setup-git", "pr list", "pr create"]
