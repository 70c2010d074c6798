"""A project that its user has changed, and `copier update` on it."""

import re
import shutil
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml

from tests.cases import CASES
from tests.support import shared
from tests.support.project import Project
from tests.support.repository import CANDIDATE, ROOT, git

# tag -> commit, the oldest first
RELEASES = {
    line.split()[2]: line.split()[0]
    for line in git("log", "--format=%H %s", "--reverse", "--grep=^release: v", cwd=ROOT).splitlines()
}

# The files of the user, as in copier.yml: every file in FOLDERS, and FILES.
FOLDERS = ("notebooks/", "data/", "secrets/")
FILES = ("README.md", "pyproject.toml", "requirements.lock", "compose.override.yaml")
USER_FILES = ("notebooks/iris.ipynb", *FILES)
# Files of the user that are in no template.
PRIVATE = {".env": "LAB_UID=4321\nMINE=1\n", "secrets/jupyter_token": "t" * 64, "data/patients.csv": "id\n7\n"}

# A user's edits to template files. No release changed these lines. DELETED is a file that the user deletes.
EDITS = {
    ".gitignore": ("/.venv*/\n.DS_Store\n", "/.venv*/\n.DS_Store\n/mine/\n"),
    "Dockerfile": ('CMD ["serve"]\n', 'CMD ["serve"]\nENV MINE=1\n'),
}
DELETED = ".gitattributes"
OVERRIDE = "services: {lab: {environment: {MINE_TOO: '1'}}}"
ADDED = "toolz"  # a package without dependencies
NOTE = "\n## Data\n\nAsk Ada for the data.\n"  # what the user adds to README.md

# Two releases that exist in tests only, and the line that the newer one adds at the top of the Dockerfile.
OLD, NEW = "998.0.0", CANDIDATE
COMMENT = "# A comment of the newer release."
IRIS = "{% if environment == 'science' %}iris.ipynb{% endif %}"


def edit(folder: Path, path: str, old: str, new: str) -> None:
    """Replace `old` in a file of a folder. Fails if the file does not contain it."""
    Project(folder, {}).replace(path, old, new)


def releases_of(template: Path, folder: Path, spoil_settings: bool = False) -> Path:
    """The template with two tags. OLD is this tree. NEW changes files of the template and of the user.

    `spoil_settings` removes the lines of copier.yml that exclude the user's files from an update.
    """
    git("clone", "--quiet", "--no-tags", str(template), str(folder), cwd=template)
    if spoil_settings:
        settings = (folder / "copier.yml").read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in settings if "_copier_operation == 'update'" not in line]
        assert len(kept) < len(settings)
        (folder / "copier.yml").write_text("".join(kept), encoding="utf-8")
        git("commit", "--quiet", "--all", "--message", "spoilt", cwd=folder)
    git("tag", OLD, cwd=folder)
    edit(folder, "template/Dockerfile.jinja", "# The lab's image.", f"{COMMENT}\n# The lab's image.")
    edit(folder, f"template/notebooks/{IRIS}", "Iris: from measurements", "Irises: from measurements")
    edit(folder, "template/README.md.jinja", "This page is yours", "This page is still yours")
    edit(folder, "template/lab/README.md.jinja", "# Manual of the lab", "# New manual of the lab")
    edit(folder, "template/pyproject.toml.jinja", '    "seaborn",\n', '    "seaborn",\n    "xarray",\n')
    edit(folder, "locks/science.lock", "asttokens==", "asttokens-next==")
    edit(folder, "template/lab/locks/server.lock", "jupyterlab==", "jupyterlab==999.")  # a fix of the server
    edit(folder, "template/compose.override.yaml", "services: {}", "services: {} # new")
    for path in ("notebooks/second.ipynb", "data/example.csv", "secrets/example"):
        (folder / "template" / path).write_text("{}\n")
    git("add", "--all", "--force", cwd=folder)
    git("commit", "--quiet", "--message", "newer", cwd=folder)
    git("tag", NEW, cwd=folder)
    return folder


def start(source: Path, folder: Path, version: str, **answers: Any) -> Project:
    """A project of a release in git, with the files that a used lab contains. Each project is made once in a run."""
    data = {"project_name": "Iris study", **answers}

    def make(new: Path) -> None:
        copier.run_copy(str(source), new, data=data, defaults=True, quiet=True, vcs_ref=version)
        for path, text in PRIVATE.items():
            (new / path).write_text(text)
        Project(new, data).commit()

    made = shared.once(f"started-{shared.key(str(source), version, data)}", make)
    shutil.copytree(made, folder, symlinks=True)
    return Project(folder, answers_of(folder))


def answers_of(folder: Path) -> dict[str, Any]:
    """The answers file of a project, with `_commit`."""
    return yaml.safe_load((folder / ".copier-answers.yml").read_text(encoding="utf-8"))


def work_on(project: Project, delete_example: bool) -> None:
    """Change everything that users change, and commit it. The lab still builds and runs."""
    (example,) = (project.folder / "notebooks").glob("*.ipynb")
    text = example.read_text(encoding="utf-8")
    (example.parent / "mine.ipynb").write_text(text.replace("# ", "# My own ", 1), encoding="utf-8")
    if delete_example:
        example.unlink()
    else:
        example.write_text(text.replace("# ", "# Our ", 1), encoding="utf-8")
    project.replace("pyproject.toml", "dependencies = [\n", f'dependencies = [\n    "{ADDED}",\n')
    every = (ROOT / "locks/science-full.lock").read_text(encoding="utf-8")
    with (project.folder / "requirements.lock").open("a") as lock:
        lock.writelines(re.findall(rf"^{ADDED}==.*\n(?: .*\n)+", every, re.MULTILINE))
    project.replace("compose.override.yaml", "services: {}", OVERRIDE)
    with (project.folder / "README.md").open("a", encoding="utf-8") as readme:
        readme.write(NOTE)
    edit_template_files(project)
    project.commit()


def edit_template_files(project: Project) -> None:
    """Change and delete files of the template, as users do."""
    for path, (old, new) in EDITS.items():
        project.replace(path, old, new)
    (project.folder / DELETED).unlink()


def update(project: Project, **answers: Any) -> None:
    """Run `copier update --defaults` with these new answers, without `--trust`."""
    copier.run_update(project.folder, data=answers, defaults=True, overwrite=True, quiet=True, unsafe=False)


def conflicts(project: Project) -> set[str]:
    """Files with a conflict after an update. They are unmerged in git, or end in `.rej`."""
    unmerged = project.run("git", "ls-files", "--unmerged", "-z").stdout.split("\0")
    rejected = {name for name in project.files() if name.endswith(".rej")}
    return {entry.split("\t")[1] for entry in unmerged if entry} | rejected


def version(project: Project) -> str:
    return answers_of(project.folder)["_commit"]


def contents(project: Project, *paths: str) -> dict[str, bytes]:
    return {path: (project.folder / path).read_bytes() for path in (*paths, *PRIVATE)}


def is_user_file(name: str) -> bool:
    """Does this file belong to the user?"""
    return name.startswith(FOLDERS) or name in FILES or name in PRIVATE


def user_files(project: Project) -> dict[str, bytes]:
    """Every file of the user, with its bytes."""
    return {name: (project.folder / name).read_bytes() for name in project.files() if is_user_file(name)}


def template_files(project: Project) -> dict[str, str]:
    """Every file of the template, with its text."""
    return {name: project.read(name) for name in project.files() if not is_user_file(name)}


# --- the cases of a release ----------------------------------------------------------------------
def settings_of(tag: str) -> dict[str, Any]:
    """copier.yml of a release."""
    return yaml.safe_load(git("show", f"{RELEASES[tag]}:copier.yml", cwd=ROOT))


def offers(settings: dict[str, Any], name: str, answer: Any) -> bool:
    """Does this copier.yml ask the question `name` and accept `answer`?"""
    question = settings.get(name, {"when": False})
    choices = question.get("choices")
    choices = choices.values() if isinstance(choices, dict) else choices
    return question.get("when") is not False and (choices is None or answer in choices)


def renderable(tag: str) -> list[str]:
    """The cases that a release can render, judged by its own copier.yml."""
    settings = settings_of(tag)
    return [case for case, answers in CASES.items() if all(offers(settings, *answer) for answer in answers.items())]


def rarity(tag: str, case: str) -> Any:
    """`make test` takes the newest release's default case, `make test-full` a few more, and nightly the others."""
    newest = tag == [*RELEASES][-1]
    if case == "default":
        return () if newest else pytest.mark.full
    return pytest.mark.full if newest and case in {"minimal", "unicode"} else pytest.mark.nightly


def each_release_and_case() -> list[Any]:
    """Parameters for a test: each release, with each case that it can render."""
    return [pytest.param(tag, case, marks=rarity(tag, case)) for tag in RELEASES for case in renderable(tag)]
