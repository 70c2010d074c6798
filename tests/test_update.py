"""`copier update`: the machinery arrives; what belongs to the user stays as it is, deletions included."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import copier
import pytest
import yaml

from tests.conftest import CANDIDATE, ROOT, git
from tests.support.project import Project

OLD, NEW = "998.0.0", CANDIDATE
# The user's, as copier.yml lists them, and the user's that no template ever held.
THEIRS = ("notebooks/iris.ipynb", "pyproject.toml", "requirements.lock", "compose.override.yaml")
PRIVATE = {".env": "LAB_UID=4321\nMINE=1\n", "secrets/jupyter_token": "t" * 64, "data/patients.csv": "id\n7\n"}
IRIS = "{% if environment == 'science' %}iris.ipynb{% endif %}"
COMMENT = "# Two environments are built side by side, in a release to come."


def edit(folder: Path, path: str, old: str, new: str) -> None:
    text = (folder / path).read_text(encoding="utf-8")
    assert old in text, f"{path} does not hold {old!r}"
    (folder / path).write_text(text.replace(old, new), encoding="utf-8")


def release(template: Path, folder: Path, spoil_settings: bool = False) -> Path:
    """The template with two tags: OLD as it is, NEW with changes in the machinery and in the user's files."""
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
    edit(folder, "template/pyproject.toml.jinja", '    "seaborn",\n', '    "seaborn",\n    "xarray",\n')
    edit(folder, "locks/science.lock", "asttokens==", "asttokens-next==")
    edit(folder, "template/lab/server.lock", "jupyterlab==", "jupyterlab==999.")  # a fix of the server
    edit(folder, "template/compose.override.yaml", "services: {}", "services: {} # new")
    for path in ("notebooks/second.ipynb", "data/example.csv", "secrets/example"):
        (folder / "template" / path).write_text("{}\n")
    git("add", "--all", "--force", cwd=folder)
    git("commit", "--quiet", "--message", "newer", cwd=folder)
    git("tag", NEW, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def releases(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release(template, tmp_path_factory.mktemp("releases") / "labdock")


def start(source: Path, folder: Path, version: str) -> Project:
    """A project of a release, in git, with the files that a lab in use holds."""
    data = {"project_name": "Iris study"}
    copier.run_copy(str(source), folder, data=data, defaults=True, quiet=True, vcs_ref=version)
    project = Project(folder, yaml.safe_load((folder / ".copier-answers.yml").read_text(encoding="utf-8")))
    for path, text in PRIVATE.items():
        (folder / path).write_text(text)
    project.commit()
    return project


def update(project: Project, **answers: str) -> None:
    """`copier update --defaults`, with these answers instead of the old ones, trusting nothing."""
    copier.run_update(project.folder, data=answers, defaults=True, overwrite=True, quiet=True, unsafe=False)


def undecided(project: Project) -> set[str]:
    """Files that an update left for the user to decide: unmerged in git, or beside a rejected piece."""
    unmerged = project.run("git", "ls-files", "--unmerged", "-z").stdout.split("\0")
    rejected = {name for name in project.files() if name.endswith(".rej")}
    return {entry.split("\t")[1] for entry in unmerged if entry} | rejected


def version(project: Project) -> str:
    return yaml.safe_load(project.read(".copier-answers.yml"))["_commit"]


def contents(project: Project, *paths: str) -> dict[str, bytes]:
    return {path: (project.folder / path).read_bytes() for path in (*paths, *PRIVATE)}


@pytest.fixture
def old(releases: Path, tmp_path: Path) -> Iterator[Project]:
    """A project of the older release."""
    project = start(releases, tmp_path / "lab", OLD)
    yield project


def assert_updated(project: Project) -> None:
    assert undecided(project) == set()
    assert version(project) == NEW
    assert project.read("Dockerfile").count(COMMENT) == 1


# --- the user's files -------------------------------------------------------------------------------
def test_edits_stay_byte_for_byte(old: Project) -> None:
    edit(old.folder, "notebooks/iris.ipynb", "centimetres", "inches")
    edit(old.folder, "pyproject.toml", '    "pandas",\n', '    "pandas",\n    "polars",\n')
    edit(old.folder, "requirements.lock", "asttokens==", "mine==")
    edit(old.folder, "compose.override.yaml", "services: {}", "services: {lab: {environment: {MINE: '1'}}}")
    old.commit()
    before = contents(old, *THEIRS)
    update(old)
    assert_updated(old)
    assert contents(old, *THEIRS) == before


def test_untouched_files_of_the_user_do_not_change_either(old: Project) -> None:
    before, files = contents(old, *THEIRS), old.files()
    update(old)
    assert_updated(old)
    assert contents(old, *THEIRS) == before
    assert old.files() == files, "no new example arrives"


def test_deleted_files_stay_deleted(old: Project) -> None:
    for path in THEIRS:
        (old.folder / path).unlink()
    for folder in ("notebooks", "data", "secrets"):
        shutil.rmtree(old.folder / folder)
    old.commit()
    files = old.files()
    update(old)
    assert_updated(old)
    assert old.files() == files


def test_without_its_settings_deleted_files_would_come_back(template: Path, tmp_path: Path) -> None:
    source = release(template, tmp_path / "spoilt", spoil_settings=True)
    project = start(source, tmp_path / "lab", OLD)
    (project.folder / "notebooks/iris.ipynb").unlink()
    project.commit()
    update(project)
    assert {"notebooks/iris.ipynb", "notebooks/second.ipynb"} & project.files()


# --- the machinery ----------------------------------------------------------------------------------
def test_an_edit_elsewhere_in_the_machinery_survives(old: Project) -> None:
    edit(old.folder, "Dockerfile", "git openssh-client", "git openssh-client tmux")
    old.commit()
    update(old)
    assert_updated(old)
    assert "git openssh-client tmux" in old.read("Dockerfile")


def test_a_conflict_shows(old: Project) -> None:
    """The proof that the checks above can fail: the user and the template changed the same line."""
    edit(old.folder, "Dockerfile", "# The lab's image.", "# My own first line.\n# The lab's image.")
    old.commit()
    update(old)
    assert undecided(old) == {"Dockerfile"}
    assert "# My own first line." in old.read("Dockerfile") and COMMENT in old.read("Dockerfile")


def pin(project: Project) -> str:
    """What `make pin` writes; the whole file."""
    edit(project.folder, "compose.pins.yaml", "-slim-trixie}", f"-slim-trixie}}@sha256:{'a' * 64}")
    edit(project.folder, "compose.pins.yaml", '""', '"git=1:2.47.3-0+deb13u1"')
    project.commit()
    return project.read("compose.pins.yaml")


def test_pins_survive(old: Project) -> None:
    before = pin(old)
    update(old)
    assert_updated(old)
    assert old.read("compose.pins.yaml") == before


def test_pins_of_another_python_are_a_conflict(old: Project) -> None:
    pin(old)
    update(old, python_version="3.14")
    assert undecided(old) == {"compose.pins.yaml"}


def test_without_pins_another_python_arrives(old: Project) -> None:
    update(old, python_version="3.14")
    assert undecided(old) == set()
    assert "python:3.14-slim-trixie}" in old.read("compose.pins.yaml")


def test_an_update_to_the_same_release_changes_nothing(old: Project) -> None:
    update(old)
    old.commit()
    update(old)
    assert old.run("git", "status", "--porcelain").stdout == ""
    assert version(old) == NEW


def test_an_updated_project_equals_a_new_one(old: Project, releases: Path, tmp_path: Path) -> None:
    update(old)
    new = start(releases, tmp_path / "new", NEW)
    machinery = {name for name in old.files() if not name.startswith(("notebooks/", "data/", "secrets/"))} - {*THEIRS}
    assert {name for name in machinery if old.read(name) != new.read(name)} == set()


def test_a_fix_of_the_servers_packages_arrives(old: Project) -> None:
    before = contents(old, *THEIRS)
    assert "jupyterlab==999." not in old.read("lab/server.lock")
    update(old)
    assert "jupyterlab==999." in old.read("lab/server.lock")
    assert contents(old, *THEIRS) == before


# --- what the machinery needs of the user's packages ------------------------------------------------
def needs(project: Project) -> list[str]:
    """What `make doctor` says of the user's packages."""
    said = project.make("doctor", check=False).stdout.splitlines()
    return [line for line in said if "requirements.lock" in line]


def test_another_environment_names_the_command_that_brings_it(engine: None, old: Project) -> None:
    assert needs(old) == ["ok    requirements.lock holds what the lab needs"]
    before = contents(old, *THEIRS)
    update(old, environment="tensorflow")
    assert_updated(old)
    assert contents(old, *THEIRS) == before
    sentence = "requirements.lock lacks tensorflow, which this lab needs: run 'make add PKG=\"tensorflow\"'."
    assert needs(old) == [f"MEND  {sentence}"]
    old.make("env")
    old.run("make", "--no-print-directory", "add", "PKG=tensorflow")
    assert needs(old) == ["ok    requirements.lock holds what the lab needs"]
    assert "\ntensorflow==" in old.read("requirements.lock") and '"tensorflow' in old.read("pyproject.toml")


def test_an_old_lock_lacks_what_new_machinery_needs(engine: None, old: Project) -> None:
    edit(old.folder, "requirements.lock", "\nipykernel==", "\nanother==")
    old.commit()
    update(old)
    assert "lacks ipykernel, which" in needs(old)[0] and needs(old)[0].startswith("MEND")


# --- real releases ----------------------------------------------------------------------------------
RELEASES = git("log", "--format=%s", "--reverse", "--grep=^release: v", cwd=ROOT).replace("release: ", "").split()


@pytest.mark.parametrize("tag", RELEASES)  # skipped by pytest, by name, until there is a first release
def test_every_release_updates_to_this_tree(template: Path, tmp_path: Path, tag: str) -> None:
    project = start(template, tmp_path / "lab", tag)
    (project.folder / "notebooks/iris.ipynb").unlink()
    edit(project.folder, "compose.override.yaml", "services: {}", "services: {} # mine")
    project.commit()
    theirs = THEIRS[1:]
    before = contents(project, *theirs)
    update(project)
    assert undecided(project) == set()
    assert version(project) == CANDIDATE
    assert contents(project, *theirs) == before
    assert not (project.folder / "notebooks/iris.ipynb").exists()
    assert "DEBIAN_PINS" in project.read("compose.pins.yaml"), "compose.yaml takes build arguments from it"
