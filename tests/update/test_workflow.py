"""update.yml of a project, run on this machine: the template's update becomes a pull request, or says why not."""

from pathlib import Path

import pytest

from tests.conftest import git
from tests.support.actions import Runner, job
from tests.support.project import Project
from tests.support.updates import COMMENT, NEW, OLD, start, version

WORKFLOW = ".github/workflows/update.yml"
GITHUB = "https://github.com/example/labdock.git"
GH = 'case "$1 $2" in "pr list") echo "${OPEN:-0}" ;; esac'
BRANCH = "template-update"


@pytest.fixture
def runner(releases: Path, tmp_path: Path) -> Runner:
    """A project of the older release, its template on GitHub, as a workflow checks it out."""
    project = start(releases, tmp_path / "lab", OLD)
    project.replace(".copier-answers.yml", f"_src_path: {releases}", "_src_path: gh:example/labdock")
    return checked_out(project, releases, tmp_path)


def checked_out(project: Project, template: Path, folder: Path) -> Runner:
    project.commit()
    git("clone", "--quiet", "--bare", str(project.folder), "origin.git", cwd=folder)
    git("clone", "--quiet", "--depth=1", f"file://{folder}/origin.git", "checkout", cwd=folder)
    (folder / "gitconfig").write_text(f'[safe]\ndirectory = *\n[url "{template}"]\ninsteadOf = {GITHUB}\n')
    return Runner(folder / "checkout", folder / "bin", GH, {"GIT_CONFIG_GLOBAL": str(folder / "gitconfig")})


def take(runner: Runner, own_token: bool = False) -> tuple[int, str]:
    """Run the job; its end and what it said."""
    steps = job(runner.checkout / WORKFLOW, "template")
    done = runner.run(steps, GH_TOKEN="secret", OWN_TOKEN=str(own_token).lower())
    return done.returncode, done.stdout


def branches(runner: Runner) -> set[str]:
    """The branches of the project on its forge."""
    return set(git("branch", "--format=%(refname:short)", cwd=runner.checkout.parent / "origin.git").split())


def proposed(runner: Runner, path: str) -> str:
    return git("show", f"{BRANCH}:{path}", cwd=runner.checkout.parent / "origin.git")


# --- the update arrives ---------------------------------------------------------------------------------
@pytest.mark.full
def test_the_template_s_update_becomes_one_pull_request(runner: Runner) -> None:
    status, said = take(runner)
    assert status == 0, said
    assert COMMENT in proposed(runner, "Dockerfile") and f"_commit: {NEW}" in proposed(runner, ".copier-answers.yml")
    assert git("log", "--format=%s", "-1", BRANCH, cwd=runner.checkout.parent / "origin.git").endswith(NEW)
    assert [call.split(" --")[0] for call in runner.calls()] == ["auth setup-git", "pr list", "pr create"]
    assert f"--head {BRANCH}" in runner.calls()[-1]
    assert COMMENT not in git("show", "main:Dockerfile", cwd=runner.checkout.parent / "origin.git")

    # The week after, nobody has merged it yet.
    git("switch", "--quiet", "main", cwd=runner.checkout)
    git("branch", "--quiet", "-D", BRANCH, cwd=runner.checkout)
    runner.environment["OPEN"] = "1"
    status, said = take(runner)
    assert status == 0, said
    assert [call.split(" --")[0] for call in runner.calls()[3:]] == ["auth setup-git", "pr list"]

    # And once it is merged, there is nothing to do.
    git("branch", "--quiet", "--move", "--force", BRANCH, "main", cwd=runner.checkout)
    assert take(runner)[0] == 0
    assert len(runner.calls()) == 5


# --- or not ---------------------------------------------------------------------------------------------
def nothing_happened(runner: Runner) -> bool:
    return branches(runner) == {"main"} and runner.calls() == []


def test_a_conflict_fails_and_names_the_files(releases: Path, tmp_path: Path) -> None:
    project = start(releases, tmp_path / "lab", OLD)
    project.replace(".copier-answers.yml", f"_src_path: {releases}", f"_src_path: {GITHUB}")
    project.replace("Dockerfile", "# The lab's image.", "# Mine.\n# The lab's image.")
    runner = checked_out(project, releases, tmp_path)
    status, said = take(runner)
    assert status != 0 and nothing_happened(runner)
    assert said.splitlines()[-1].startswith("::error::") and said.endswith("Undecided: Dockerfile\n")
    assert "run 'copier update' on your machine" in said


@pytest.mark.full
def test_a_rejected_piece_fails_too(runner: Runner) -> None:
    runner.program("copier", "touch lab/commands/up.sh.rej")
    status, said = take(runner)
    assert status != 0 and said.endswith("Undecided: lab/commands/up.sh.rej\n") and nothing_happened(runner)


@pytest.mark.full
def test_an_update_that_copier_refuses_fails(runner: Runner) -> None:
    (runner.checkout / "Dockerfile").write_text("changed\n")
    status, said = take(runner)
    assert status != 0 and "dirty" in said and nothing_happened(runner)


@pytest.mark.full
def test_a_changed_workflow_needs_a_token_of_the_user_s(releases: Path, tmp_path: Path) -> None:
    """GitHub refuses to take it from the workflow's own token; the job says so before it tries."""
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
    assert f"::error::the update to {NEW} changes .github/workflows" in said and "UPDATE_TOKEN" in said

    git("switch", "--quiet", "main", cwd=runner.checkout)
    git("branch", "--quiet", "-D", BRANCH, cwd=runner.checkout)
    status, said = take(runner, own_token=True)
    assert status == 0, said
    assert "# newer" in proposed(runner, WORKFLOW)


def test_a_template_on_somebody_s_disk_is_a_warning(releases: Path, tmp_path: Path) -> None:
    project = start(releases, tmp_path / "lab", OLD)
    runner = checked_out(project, releases, tmp_path)
    status, said = take(runner)
    assert status == 0 and nothing_happened(runner)
    assert f"::warning::the template is '{releases}', a folder that only your machine has" in said
    assert version(Project(runner.checkout, {})) == OLD


# --- the other job --------------------------------------------------------------------------------------
# tests/supply/test_packages.py and test_pin.py see what these really do.
MAKE = """
echo "$*" >>../made
case $*:$NEWER in
env:*) touch .env ;;
lock:yes) echo newer >requirements.lock ;;
pin:yes) sed -i 's/@sha256:a*/@sha256:b/' compose.pins.yaml ;;
esac
"""


def renew(runner: Runner, newer: str) -> str:
    """Run the job; what was made in it."""
    runner.program("make", MAKE)
    runner.environment["NEWER"] = newer
    made = runner.checkout.parent / "made"
    made.write_text("")
    done = runner.run(job(runner.checkout / WORKFLOW, "renew"), GH_TOKEN="secret", PIP_INDEX_URL="")
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
