"""Code in an editor's container tries to use files outside `notebooks/` and `data/`."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.devcontainer.conftest import Cli
from tests.support.project import Project, Render
from tests.support.variants import beside

# Files that the host executes or trusts later.
TRUSTED = (
    *(".git/hooks/pre-commit", ".git/config", ".git/HEAD", "Makefile", "Dockerfile", "compose.yaml"),
    *("compose.override.yaml", ".devcontainer/devcontainer.json", ".github/workflows/lab.yml"),
    *(".pre-commit-config.yaml", "lab/commands/up.sh", "tests/test_lab.py", "pyproject.toml", "requirements.lock"),
    *(".env", "secrets/jupyter_token", "README.md"),
)
CANARY = "kept-from-everybody-inside"
# Every folder in which the project could be.
PLACES = "/workspace /workspace/.. /home/jovyan / /run /project"
WRITE = f"""
for place in {PLACES}; do for name in "$@"; do
    if mkdir -p "$(dirname "$place/$name")" && echo 'touch /tmp/ran' >>"$place/$name"; then echo "$place/$name"; fi
    rm -f "$place/$name"; ln -s /tmp/theirs "$place/$name"
done; done 2>/dev/null || true
"""
READ = f"grep -rlsaI -D skip '{CANARY}' / --exclude-dir=proc --exclude-dir=sys || true"
# Three repositories: an ordinary one, a bare one, and one whose settings are in another folder.
PLANT = """
git init -q notebooks/planted && git -C notebooks/planted config core.fsmonitor /tmp/ran
git init -q --bare data/planted && cd data/planted
git config core.bare false && git config core.worktree .. && git config core.fsmonitor 'touch ran; false'
mkdir ../apart ../its && cp HEAD ../apart && echo ../its >../apart/commondir && cp -r config objects refs ../its
"""
EVERYTHING = {"services": {"lab": {"volumes": [".:/project"]}}}


def fingerprints(folder: Path) -> dict[str, str]:
    """The hash of every file of the project that the lab must not change."""
    work = ("data", "notebooks")
    files = [path for path in folder.rglob("*") if path.relative_to(folder).parts[0] not in work and path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def inside(cli: Cli, project: Project, script: str, *arguments: str) -> str:
    return cli(project, "exec", "sh", "-c", script, "sh", *arguments)


@pytest.fixture
def hidden(fresh_copy: Project) -> Iterator[Project]:
    """The opened copy, with a secret word in .env and in a file next to the token.

    No program in the container may read this word.
    """
    env, beside_token = fresh_copy.folder / ".env", fresh_copy.folder / "secrets/database"
    before = env.read_text()
    env.write_text(f"{before}OWN={CANARY}\n")
    beside_token.write_text(CANARY)
    yield fresh_copy
    env.write_text(before)
    beside_token.unlink(missing_ok=True)


@pytest.mark.attack(
    "Write files that the host uses later: git's hooks and configuration, Makefile, Dockerfile, Compose files, dev "
    "container, workflows",
    "The container has only git's files, and these are read-only.",
)
def test_what_the_host_trusts_cannot_be_written(cli: Cli, fresh_copy: Project) -> None:
    before = fingerprints(fresh_copy.folder)
    assert set(TRUSTED) <= before.keys() | {".git/hooks/pre-commit"}
    inside(cli, fresh_copy, WRITE, *TRUSTED)
    assert fingerprints(fresh_copy.folder) == before


@pytest.mark.attack(
    "Search every file of the editor's container for the content of `.env` and of other files in `secrets/`. Repeat "
    "this after the host has replaced the files",
    "No file contains this content. The token is the only file of `secrets/` in the container.",
)
def test_settings_and_secrets_cannot_be_read(cli: Cli, hidden: Project) -> None:
    assert inside(cli, hidden, READ) == ""
    for name in (".env", "secrets/database"):
        file = hidden.folder / name
        file.rename(file.with_name(f"{file.name}.old"))
        file.write_text(CANARY)
    assert inside(cli, hidden, READ) == ""
    (hidden.folder / "secrets").rename(hidden.folder / "secrets.old")
    (hidden.folder / "secrets").mkdir()
    (hidden.folder / "secrets/database").write_text(CANARY)
    try:
        assert inside(cli, hidden, READ) == ""
    finally:
        (hidden.folder / "secrets/database").unlink()
        (hidden.folder / "secrets").rmdir()
        (hidden.folder / "secrets.old").rename(hidden.folder / "secrets")
        for name in (".env", "secrets/database"):
            (hidden.folder / f"{name}.old").unlink()


@pytest.mark.full
def test_a_lab_that_mounts_the_project_is_noticed(hidden: Project, tmp_path: Path) -> None:
    """The control of both tests: in a lab that mounts the whole project, the same attempts succeed.

    They change files that the host executes, and find the secret word.
    """
    before = fingerprints(hidden.folder)
    saved = {name: (hidden.folder / name).read_bytes() for name in before}
    with beside(hidden, tmp_path, EVERYTHING) as twin:
        twin.serve()
        found = twin.shell(READ).splitlines()
        twin.compose("exec", "--no-TTY", "lab", "sh", "-c", WRITE, "sh", "Makefile", ".git/config")
        after = fingerprints(hidden.folder)
    for name, content in saved.items():
        (hidden.folder / name).unlink(missing_ok=True)
        (hidden.folder / name).write_bytes(content)
    assert {"/project/.env", "/project/secrets/database"} <= set(found)
    assert {name for name in before if after.get(name) != before[name]} >= {"Makefile", ".git/config"}


# --- git ------------------------------------------------------------------------------------------
@pytest.mark.full
def test_history_and_diffs_can_be_read(cli: Cli, fresh_copy: Project) -> None:
    assert inside(cli, fresh_copy, "git log --format=%s").splitlines() == ["work"]
    assert (
        inside(cli, fresh_copy, "echo changed >>notebooks/iris.ipynb && git diff --stat notebooks").count("iris") == 1
    )
    assert "1 insertion" in inside(
        cli, fresh_copy, "git diff --shortstat notebooks; git checkout notebooks 2>&1 || true"
    )
    assert "nbformat" in inside(cli, fresh_copy, "git show HEAD:notebooks/iris.ipynb")
    fresh_copy.run("git", "checkout", "--quiet", "notebooks")
    fresh_copy.commit("committed on the host, while the editor is open")
    assert inside(cli, fresh_copy, "git log --format=%s -1").strip().endswith("while the editor is open")


@pytest.mark.attack(
    "Commit, create a branch or change git's configuration in the editor's container",
    "git fails, because it cannot write.",
)
@pytest.mark.parametrize(
    "command", ["git commit --allow-empty -m planted", "git branch planted", "git config core.fsmonitor /tmp/ran"]
)
def test_git_cannot_write_inside(cli: Cli, fresh_copy: Project, command: str) -> None:
    said = inside(
        cli, fresh_copy, f"export GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_EMAIL=a@b; {command} 2>&1 && echo done || true"
    )
    assert "ead-only" in said and "done" not in said


@pytest.mark.full
def test_a_password_in_gits_configuration_is_refused(fresh_project: Project) -> None:
    fresh_project.commit()
    fresh_project.run("git", "remote", "add", "origin", "https://me:hunter2@forge.example/lab.git")
    fresh_project.set_env(LAB_GIT="./.git")
    done = fresh_project.make("up", check=False)
    assert "a file 'config' in ./.git contains credentials ('url = ...')" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    before_an_editor = fresh_project.run("sh", ".devcontainer/initialize.sh", check=False)
    assert before_an_editor.returncode == 1 and before_an_editor.stderr == done.stderr.partition("make:")[0]
    (fresh_project.folder / ".env").unlink()
    fresh_project.make("env")
    assert "LAB_GIT=\n" in fresh_project.read(".env")


def test_a_password_of_a_submodule_counts(render: Render, tmp_path: Path) -> None:
    project = render(tmp_path / "lab")
    project.commit()
    module = project.folder / ".git/modules/sub"
    module.mkdir(parents=True)
    (module / "config").write_text('[remote "origin"]\n\turl = https://me:hunter2@forge.example/sub.git\n')
    project.set_env(LAB_GIT="./.git")
    said = project.run("sh", "-c", ". lab/commands/lib/all.sh && check_git").stdout
    assert "contains credentials ('url = ...')" in said and "hunter2" not in said


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [
        ("remote.origin.url", "https://me:hunter2@forge.example/lab.git", True),
        ("remote.origin.url", "https://hunter2@forge.example/lab.git", True),
        ("http.https://forge.example/.extraHeader", "AUTHORIZATION: basic hunter2", True),
        ("remote.origin.url", "https://forge.example/lab.git", False),
        ("remote.origin.url", "ssh://git@forge.example/lab.git", False),
        ("remote.origin.url", "git@forge.example:lab.git", False),
    ],
)
def test_what_counts_as_a_password(render: Render, tmp_path: Path, name: str, value: str, refused: bool) -> None:
    project = render(tmp_path / "lab")
    project.commit()
    project.run("git", "config", name, value)
    project.set_env(LAB_GIT="./.git")
    said = project.run("sh", "-c", ". lab/commands/lib/all.sh && check_git").stdout
    assert ("contains credentials" in said) is refused
    assert "hunter2" not in said
    project.set_env(LAB_GIT="./nowhere")
    said = project.run("sh", "-c", ". lab/commands/lib/all.sh && check_git").stdout
    assert said == "LAB_GIT is './nowhere', which is not a folder. Run 'git init', or leave LAB_GIT empty in .env.\n"


@pytest.mark.full
@pytest.mark.attack(
    "In a mount, create a git repository or a bare git repository. Its settings name a program that git runs",
    "`make doctor` reports it.",
)
def test_a_planted_repository_is_reported(cli: Cli, fresh_copy: Project) -> None:
    told = " is a git repository that code in the lab can write. "
    assert told not in fresh_copy.make("doctor", check=False).stdout
    inside(cli, fresh_copy, PLANT)
    fresh_copy.run("git", "-C", "data/planted", "status")
    assert (fresh_copy.folder / "data/ran").exists(), "the control: git on the host runs the program"
    try:
        said = fresh_copy.make("doctor", check=False).stdout
    finally:
        inside(cli, fresh_copy, "rm -r notebooks/planted data/planted data/ran data/apart data/its")
    assert {line.partition(told)[0] for line in said.splitlines() if told in line} == {
        f"note  {path}" for path in ("notebooks/planted/.git", "data/planted", "data/apart")
    }
