"""`copier update` renews the template's files. The user's files keep their edits, and deleted ones stay deleted."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cases import Answers
from tests.support.doctor import fix
from tests.support.project import Project, Render
from tests.support.repository import CANDIDATE, git
from tests.support.updates import (
    COMMENT,
    FILES,
    NEW,
    NOTE,
    OLD,
    RELEASES,
    USER_FILES,
    conflicts,
    contents,
    edit,
    releases_of,
    start,
    update,
    version,
)


def assert_updated(project: Project) -> None:
    assert conflicts(project) == set()
    assert version(project) == NEW
    assert project.read("Dockerfile").count(COMMENT) == 1


def pin(project: Project) -> None:
    """Write pins as `make pin` does, and commit."""
    edit(project.folder, "compose.pins.yaml", "-slim-trixie}", f"-slim-trixie}}@sha256:{'a' * 64}")
    edit(project.folder, "compose.pins.yaml", '""', '"git=1:2.47.3-0+deb13u1"')
    project.commit()


# --- the user's files -------------------------------------------------------------------------------
def test_edited_files_keep_every_byte(old: Project) -> None:
    edit(old.folder, "notebooks/iris.ipynb", "centimetres", "inches")
    edit(old.folder, "pyproject.toml", '    "pandas",\n', '    "pandas",\n    "polars",\n')
    edit(old.folder, "requirements.lock", "asttokens==", "mine==")
    edit(old.folder, "compose.override.yaml", "services: {}", "services: {lab: {environment: {MINE: '1'}}}")
    pin(old)
    kept = (*USER_FILES, "compose.pins.yaml")
    before = contents(old, *kept)
    update(old)
    assert_updated(old)
    assert contents(old, *kept) == before


def test_unchanged_files_of_the_user_stay_and_the_server_gets_new_packages(old: Project) -> None:
    before, files = contents(old, *USER_FILES), old.files()
    assert "jupyterlab==999." not in old.read("lab/locks/server.lock")
    update(old)
    assert_updated(old)
    assert contents(old, *USER_FILES) == before
    assert old.files() == files, "no new example arrives"
    assert "jupyterlab==999." in old.read("lab/locks/server.lock")


def test_deleted_files_stay_deleted(old: Project) -> None:
    for path in USER_FILES:
        (old.folder / path).unlink()
    for folder in ("notebooks", "data", "secrets"):
        shutil.rmtree(old.folder / folder)
    old.commit()
    files = old.files()
    update(old)
    assert_updated(old)
    assert old.files() == files


@pytest.mark.full
def test_without_its_settings_deleted_files_would_come_back(template: Path, tmp_path: Path) -> None:
    source = releases_of(template, tmp_path / "spoilt", spoil_settings=True)
    project = start(source, tmp_path / "lab", OLD)
    (project.folder / "notebooks/iris.ipynb").unlink()
    (project.folder / "README.md").unlink()
    project.commit()
    update(project)
    assert {"README.md", "notebooks/iris.ipynb", "notebooks/second.ipynb"} <= project.files()


# --- README.md ----------------------------------------------------------------------------------------
README_EDITS: dict[str, Callable[[str], str] | None] = {
    "unchanged": lambda text: text,
    "note at the end": lambda text: text + NOTE,
    "note at the start": lambda text: f"Ask Ada for the data.\n\n{text}",
    "other text": lambda text: "# Iris at our institute\n",
    "deleted": None,
}
FIRST = next(iter(RELEASES))


def with_readme(source: Path, folder: Path, tag: str, what: str) -> Project:
    """A project of a release, after a change of its README.md."""
    project = start(source, folder, tag)
    readme, change = project.folder / "README.md", README_EDITS[what]
    if change is None:
        readme.unlink()
    else:
        readme.write_text(change(readme.read_text(encoding="utf-8")), encoding="utf-8")
    project.commit()
    return project


def bytes_of(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def readme_rarity(tag: str, what: str) -> Any:
    if (tag, what) == (FIRST, "note at the end"):
        return ()
    return pytest.mark.full if tag == OLD else pytest.mark.nightly


@pytest.mark.parametrize(
    ("tag", "what"),
    [pytest.param(tag, what, marks=readme_rarity(tag, what)) for tag in (*RELEASES, OLD) for what in README_EDITS],
)
def test_an_update_never_changes_the_readme(
    template: Path, releases: Path, tmp_path: Path, tag: str, what: str
) -> None:
    """A release before lab/README.md had the manual in README.md. It stays there, too."""
    project = with_readme(releases if tag == OLD else template, tmp_path / "lab", tag, what)
    before = bytes_of(project.folder / "README.md")
    update(project)
    assert conflicts(project) == set()
    assert bytes_of(project.folder / "README.md") == before
    assert project.read("lab/README.md").startswith("# New manual" if tag == OLD else "# Manual of the lab")


@pytest.mark.full
def test_without_its_settings_the_readme_would_change(template: Path, tmp_path: Path) -> None:
    """The control: a copier.yml that does not name README.md, for a project of the oldest release."""
    source = tmp_path / "spoilt"
    git("clone", "--quiet", str(template), str(source), cwd=tmp_path)
    settings = (source / "copier.yml").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in settings if "/README.md" not in line or "lab/README.md" in line]
    assert len(settings) - len(kept) == 2
    (source / "copier.yml").write_text("".join(kept), encoding="utf-8")
    Project(source, {}).commit()
    git("tag", "--force", CANDIDATE, cwd=source)
    project = with_readme(source, tmp_path / "lab", FIRST, "note at the start")
    before = bytes_of(project.folder / "README.md")
    update(project)
    assert conflicts(project) or bytes_of(project.folder / "README.md") != before


# --- the template's files ----------------------------------------------------------------------------------
def test_a_change_of_the_same_line_is_a_conflict(old: Project) -> None:
    """The control: the tests above can fail."""
    edit(old.folder, "Dockerfile", "# The lab's image.", "# My own first line.\n# The lab's image.")
    old.commit()
    update(old)
    assert conflicts(old) == {"Dockerfile"}
    assert "# My own first line." in old.read("Dockerfile") and COMMENT in old.read("Dockerfile")


@pytest.mark.full
def test_another_python_conflicts_with_pins(old: Project) -> None:
    pin(old)
    update(old, python_version="3.14")
    assert conflicts(old) == {"compose.pins.yaml"}


@pytest.mark.full
def test_without_pins_an_update_changes_the_python(old: Project) -> None:
    update(old, python_version="3.14")
    assert conflicts(old) == set()
    assert "python:3.14-slim-trixie}" in old.read("compose.pins.yaml")


@pytest.mark.full
def test_server_extensions_stay_and_make_up_says_that_they_no_longer_fit(old: Project) -> None:
    """The newer release has another JupyterLab. Nothing of the template has the name of this lock."""
    lock, check = "lab/locks/server-extensions.lock", ("sh", "-c", ". lab/commands/lib/all.sh; check_extensions")
    (own,) = re.findall(r"^jupyterlab==\S+", old.read("lab/locks/server.lock"), re.MULTILINE)
    (old.folder / lock).write_text(f"{own} \\\n    --hash=sha256:00\n")
    old.commit()
    before = old.read(lock)
    assert old.run(*check).stdout == ""
    update(old)
    assert_updated(old)
    assert old.read(lock) == before
    (moved,) = re.findall(r"^jupyterlab==(\S+)", old.read("lab/locks/server.lock"), re.MULTILINE)
    version = own.partition("==")[2]
    sentence = f"{lock} does not fit the server: it has jupyterlab {version}, but the server has {moved}."
    assert old.run(*check).stdout == f"{sentence} Run 'make extend'.\n"


# --- the packages that the template needs ------------------------------------------------
def needs(project: Project) -> list[str]:
    """The line of `make doctor` about the packages that the lab needs."""
    said = project.make("doctor", check=False).stdout.splitlines()
    return [line for line in said if re.search(r"requirements\.lock .* (which|that) the lab needs", line)]


# Answers before the update, answers after it, and the package that the lab then needs.
SCIENCE, TENSORFLOW = {"environment": "science"}, {"environment": "tensorflow"}
NVIDIA = {**TENSORFLOW, "gpu": "nvidia"}
DASK = {"scale_out": "dask"}
SWITCHES = [
    pytest.param(SCIENCE, TENSORFLOW, "tensorflow", id="another environment", marks=pytest.mark.nightly),
    pytest.param(
        SCIENCE, NVIDIA, "tensorflow[and-cuda]", id="another environment and a GPU", marks=pytest.mark.nightly
    ),
    pytest.param(TENSORFLOW, NVIDIA, "tensorflow[and-cuda]", id="a GPU alone", marks=pytest.mark.nightly),
    pytest.param(SCIENCE, DASK, "bokeh dask[dataframe,distributed]", id="a cluster"),
]


@pytest.mark.full
@pytest.mark.parametrize(("was", "becomes", "needed"), SWITCHES)
def test_doctor_names_the_command_that_adds_a_needed_package(
    engine: None, releases: Path, tmp_path: Path, was: Answers, becomes: Answers, needed: str
) -> None:
    project = start(releases, tmp_path / "lab", OLD, **was)
    assert needs(project) == ["ok    requirements.lock contains the packages that the lab needs"]
    files = FILES if was == TENSORFLOW else USER_FILES
    before = contents(project, *files)
    update(project, **becomes)
    assert_updated(project)
    assert contents(project, *files) == before
    sentence = f"requirements.lock lacks {needed}, which the lab needs. Run 'make add PKG=\"{needed}\"'."
    assert needs(project) == [f"FIX   {sentence}"]
    project.make("env")
    fix(project, sentence)
    assert needs(project) == ["ok    requirements.lock contains the packages that the lab needs"]
    lock, listed = project.read("requirements.lock"), project.read("pyproject.toml")
    for requirement in needed.split():
        assert f'"{requirement}' in listed and f"\n{requirement.partition('[')[0]}==" in lock
    assert ("\nnvidia-cudnn-" in lock) == (becomes == NVIDIA)
    assert ("\ndistributed==" in lock) == (becomes == DASK)


@pytest.mark.full
def test_the_missing_package_for_a_gpu_is_named(releases: Path, tmp_path: Path) -> None:
    """The same as above, without an engine."""
    project = start(releases, tmp_path / "lab", OLD, **TENSORFLOW)
    check = ("sh", "-c", ". lab/commands/lib/all.sh; check_packages")
    assert project.run(*check).stdout == ""
    update(project, **NVIDIA)
    assert "Run 'make add PKG=\"tensorflow[and-cuda]\"'" in project.run(*check).stdout


@pytest.mark.full
def test_a_project_that_switches_to_a_cluster_starts_only_with_dask(
    engine: None, releases: Path, tmp_path: Path
) -> None:
    """`make up` names the missing packages before it builds. The control: with these packages, it does not."""
    project = start(releases, tmp_path / "lab", OLD, **SCIENCE)
    update(project, **DASK)
    assert_updated(project)
    needed = "bokeh dask[dataframe,distributed]"
    refused = project.run("make", "up", check=False)
    assert refused.returncode != 0 and "Building" not in refused.stderr
    said = f"labdock: requirements.lock lacks {needed}, which the lab needs. Run 'make add PKG=\"{needed}\"'."
    assert said in refused.stderr.splitlines()
    assert project.ids() == []
    with (project.folder / "requirements.lock").open("a") as lock:
        lock.writelines(f"{name}==1 \\\n    --hash=sha256:{'0' * 64}\n" for name in ("bokeh", "dask", "distributed"))
    check = ("sh", "-c", '. lab/commands/lib/all.sh; for check in $before_start; do "$check"; done')
    assert project.run(*check).stdout == ""


def test_scheduler_and_worker_name_the_packages_that_they_lack(render: Render, tmp_path: Path) -> None:
    """`docker compose up` checks nothing before, so these containers check it. The control: with Dask, they go on."""
    script = render(scale_out="dask").read("lab/server/cluster/dask.sh").replace("/opt/venv", str(tmp_path))
    run = ("sh", "-ec", f'mode=worker; refuse() {{ echo "$*"; exit 3; }}\n{script}\necho starts')
    said = subprocess.run(run, text=True, capture_output=True).stdout
    command = "Run 'make add PKG=\"bokeh dask[dataframe,distributed]\"', then 'make up'."
    assert said == f"the worker needs Dask, but requirements.lock lacks it. {command}\n"
    (tmp_path / "lib/python3.13/site-packages/distributed").mkdir(parents=True)
    assert subprocess.run(run, text=True, capture_output=True).stdout == "starts\n"


@pytest.mark.full
def test_a_lock_without_a_needed_package_is_noticed(engine: None, old: Project) -> None:
    edit(old.folder, "requirements.lock", "\nipykernel==", "\nanother==")
    old.commit()
    update(old)
    assert "lacks ipykernel, which" in needs(old)[0] and needs(old)[0].startswith("FIX")
