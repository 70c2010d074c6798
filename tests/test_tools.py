"""`make env`, `doctor`, `url` and `help`: what they say, what they write, and that they can find fault."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Render, lacking
from tests.support.project import Project

TARGETS_AT_MOST = 12
SOMEBODY = 1234  # no user of this machine


@pytest.fixture(scope="module")
def rendered(render: Render) -> Project:
    """A project as Copier left it. Not to be changed."""
    return render()


@pytest.fixture
def project(rendered: Project, tmp_path: Path) -> Project:
    """A copy of the test's own."""
    return Project(shutil.copytree(rendered.folder, tmp_path / "project/lab"), rendered.answers)


def settings(project: Project) -> dict[str, str]:
    """The lines of .env; the last of a name counts."""
    lines = (line.partition("=") for line in project.read(".env").splitlines() if re.match(r"\w+=", line))
    return {name: value for name, _, value in lines}


# --- make env -------------------------------------------------------------------------------------
@pytest.fixture
def given_away(project: Project) -> Iterator[Project]:
    """A project in a folder that everybody reaches, and that belongs to somebody."""
    if os.geteuid():
        lacking("only root can give a folder away")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(project.folder, f"{folder}/lab")
        subprocess.run(["chown", "-R", f"{SOMEBODY}:{SOMEBODY + 1}", folder], check=True)
        yield Project(Path(folder, "lab"), project.answers)


def owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


def test_env_takes_the_callers_ids(given_away: Project) -> None:
    somebody = ("setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY + 1}", "--clear-groups")
    given_away.run(*somebody, "make", "env")
    assert settings(given_away)["LAB_UID"] == "1234"
    assert settings(given_away)["LAB_GID"] == "1235"
    assert owner(given_away.folder / ".env") == (1234, 1235)


@pytest.mark.parametrize(
    ("sudo", "folders_owner", "ids"),
    [
        ({"SUDO_UID": "4321", "SUDO_GID": "4322"}, "0:0", (4321, 4322)),
        ({}, f"{SOMEBODY}:{SOMEBODY + 1}", (1234, 1235)),
        ({}, "0:0", (1000, 1000)),
        ({"SUDO_UID": "0", "SUDO_GID": "0"}, f"{SOMEBODY}:{SOMEBODY + 1}", (1000, 1000)),
    ],
    ids=["sudo", "the folder's owner", "the first user", "root behind sudo"],
)
def test_env_by_root_hands_over_what_the_lab_writes(
    given_away: Project, sudo: dict[str, str], folders_owner: str, ids: tuple[int, int]
) -> None:
    given_away.run("chown", "-R", folders_owner, ".")
    Path(given_away.folder / "data/measured").mkdir()
    elsewhere = given_away.folder / "README.md"
    elsewhere.touch()
    os.chown(elsewhere, 77, 77)
    Path(given_away.folder / "data/link").symlink_to("../README.md")
    given_away.environment.update(sudo)
    said = given_away.make("env").stdout
    assert f"the lab will run as {ids[0]}:{ids[1]}" in said
    for name in (".env", "data", "data/measured", "notebooks", "notebooks/iris.ipynb", "secrets"):
        assert owner(given_away.folder / name) == ids, name
    assert owner(elsewhere) == (77, 77)  # a link does not lead the way out of the folder
    assert (int(settings(given_away)["LAB_UID"]), int(settings(given_away)["LAB_GID"])) == ids


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_env_never_overwrites(project: Project, kind: str) -> None:
    env = project.folder / ".env"
    if kind == "file":
        env.write_bytes(b"LAB_UID=7\r\nMINE='kept'")
    else:
        env.symlink_to("elsewhere")
    before = project.files()
    assert "left as it is" in project.make("env").stdout
    assert project.files() == before
    assert env.is_symlink() or env.read_bytes() == b"LAB_UID=7\r\nMINE='kept'"


def test_env_leaves_no_half_written_file(project: Project) -> None:
    (project.folder / "sample.env").unlink()
    assert project.make("env", check=False).returncode != 0
    assert not {name for name in project.files() if name.startswith(".env")}


def test_env_gives_each_checkout_its_name_and_changes_nothing_else(render: Render, tmp_path: Path) -> None:
    found = []
    for parent in ("one", "two"):
        project = render(folder=tmp_path / parent / "lab")
        project.run("make", "-C", str(project.folder), "env")
        sample = project.read("sample.env")
        own = {"LAB_NAME", "LAB_UID", "LAB_GID", "JUPYTER_PORT"}
        changed = {
            a.split("=")[0]
            for a, b in zip(sample.splitlines(), project.read(".env").splitlines(), strict=True)
            if a != b
        }
        assert {"LAB_NAME", "JUPYTER_PORT"} <= changed <= own
        found.append(settings(project)["LAB_NAME"])
        assert re.fullmatch(r"iris-study-[0-9a-f]{6}", found[-1])
    assert found[0] != found[1]


def test_make_works_from_another_folder(project: Project, tmp_path: Path) -> None:
    subprocess.run(["make", "-C", str(project.folder), "env"], cwd=tmp_path, check=True, capture_output=True)
    assert (project.folder / ".env").exists()
    assert not list(tmp_path.glob(".env*"))


# --- make help ------------------------------------------------------------------------------------
def made(makefile: str) -> tuple[list[str], list[str]]:
    """The targets of a Makefile, and what it says are no files."""
    targets = re.findall(r"^([a-z][\w-]*):(?!=)", makefile, re.MULTILINE)
    return targets, makefile.partition(".PHONY: ")[2].splitlines()[0].split()


def test_help_lists_every_target_on_one_screen(project: Project) -> None:
    shown = project.make("help").stdout
    assert project.run("make", "--no-print-directory").stdout == shown
    listed = re.findall(r"^  make (\w+) +\S", shown, re.MULTILINE)
    targets, _ = made(project.read("Makefile"))
    rarer = re.search(r"^  Also:([a-z ]+) \(", shown, re.MULTILINE)[1].split()
    assert sorted(listed + rarer) == sorted(targets)
    assert len(listed) <= TARGETS_AT_MOST
    assert len(shown.splitlines()) <= 24
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("makefile", [ROOT / "Makefile", ROOT / "template/Makefile"], ids=["root", "template"])
def test_phony_names_the_targets_in_their_order(makefile: Path) -> None:
    """Whatever files lie beside it, and nothing that cannot be made."""
    targets, phony = made(makefile.read_text(encoding="utf-8"))
    assert phony == targets


def test_a_phony_target_that_is_none_is_noticed() -> None:
    assert made(".PHONY: a clean\na: b ## A\n\ttrue\nB := c\n") == (["a"], ["a", "clean"])


# --- settings as Compose reads them ---------------------------------------------------------------
LINES = [
    "LAB_UID=1234",
    "LAB_UID = 1234",
    "  LAB_UID=1234  ",
    "export LAB_UID=1234",
    "LAB_UID='1234'",
    'LAB_UID="1234" # mine',
    "LAB_UID=1234 # mine",
    "LAB_UID=1234\r",
    "LAB_UID=1\nLAB_UID=1234",
    "\ufeffLAB_UID=1234",
    "OTHER=1234\nLAB_UID=${OTHER}",
    "LAB_UID=",
    "LAB_UID=''",
    "#LAB_UID=1234",
    "MY_LAB_UID=1234",
    "LAB_UID=1#2",
]


def seen(project: Project) -> tuple[str, str]:
    """LAB_UID as the scripts see it, and as Compose puts it into compose.yaml."""
    script = project.run("sh", "-c", ". lab/tools/lib.sh; setting LAB_UID 1000").stdout.strip()
    return script, project.config()["services"]["lab"]["user"].split(":")[0]


@pytest.mark.parametrize("lines", LINES)
def test_scripts_see_what_compose_sees(engine: None, project: Project, lines: str) -> None:
    (project.folder / ".env").write_bytes(f"{lines}\n".encode())
    script, compose = seen(project)
    assert script == compose
    assert script == ("1000" if lines in LINES[-5:-1] else "1#2" if "1#2" in lines else "1234")


@pytest.mark.parametrize("value", ["5", ""])
def test_the_shell_comes_before_the_file(engine: None, project: Project, value: str) -> None:
    (project.folder / ".env").write_text("LAB_UID=1234\n")
    project.environment["LAB_UID"] = value
    assert seen(project) == (value or "1000",) * 2


# --- make doctor ----------------------------------------------------------------------------------
def appended(line: str) -> Callable[[Project], object]:
    def spoil(project: Project) -> None:
        with (project.folder / ".env").open("a") as env:
            env.write(f"{line}\n")

    return spoil


def written(path: str, text: str) -> Callable[[Project], object]:
    return lambda project: (project.folder / path).write_text(text, encoding="utf-8")


FAULTS: dict[str, tuple[Callable[[Project], object], str]] = {
    "ids": (appended("LAB_UID=root"), "LAB_UID is 'root', not a number"),
    "name": (appended("JUPYTER_USERNAME=A B"), "JUPYTER_USERNAME is 'A B'"),
    "port": (appended("JUPYTER_PORT=x"), "JUPYTER_PORT is 'x'"),
    "umask": (appended("LAB_UMASK=9"), "LAB_UMASK is '9'"),
    "ui": (appended("JUPYTER_UI=x"), "JUPYTER_UI is 'x'"),
    "limits": (appended("LAB_MEMORY=much"), "LAB_MEMORY is 'much'"),
    "packages": (written("requirements.lock", ""), "run 'make add PKG=\"ipykernel\"'"),
    "scratch": (appended("LAB_MEMORY=2g"), "three folders of LAB_SCRATCH, '1g', fill LAB_MEMORY, '2g'"),
    "everybody": (lambda project: (project.folder / "data").chmod(0o777), "run 'chmod o-w data'"),
    "copied .env": (appended("LAB_NAME=iris-study-000000"), "made for another folder"),
    "unknown setting": (appended("LAB_UDI=5"), "LAB_UDI in .env is no setting"),
    "no .env": (appended("two words"), "key cannot contain a space"),
    "no CA": (appended("LAB_CA_BUNDLE=/nowhere.pem"), "LAB_CA_BUNDLE is '/nowhere.pem'"),
    "no folder": (lambda project: shutil.rmtree(project.folder / "data"), "data/ is missing"),
    "owner": (lambda project: os.chown(project.folder / "data", 77, 77), "sudo chown -R 1000:1000 data"),
    "mode": (lambda project: (project.folder / "notebooks").chmod(0o500), "chmod u+rwx notebooks"),
    "token": (written("secrets/jupyter_token", "\ufeffshort\r\n"), "holds 5 characters"),
    "override": (written("compose.override.yaml", "services: []"), "Compose says"),
}


@pytest.fixture
def sound(engine: None, project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in which doctor finds nothing."""
    monkeypatch.delenv("LAB_CA_BUNDLE", raising=False)
    project.make("env")
    (project.folder / "secrets/jupyter_token").write_text("\ufeff" + "x" * 32 + "\r\n")
    done = project.make("doctor")
    assert re.fullmatch(r"(ok    .+\n)+", done.stdout) and not done.stderr
    return project


@pytest.mark.parametrize("fault", FAULTS)
def test_doctor_finds(sound: Project, fault: str) -> None:
    if fault in ("owner", "mode") and os.geteuid():
        lacking("only root can give a folder away")
    spoil, sentence = FAULTS[fault]
    spoil(sound)
    done = sound.make("doctor", check=False)
    assert done.returncode != 0
    assert re.fullmatch(r"((ok   |MEND ) .+\n)+", done.stdout)  # plain text, no colour
    assert sentence in "".join(line for line in done.stdout.splitlines() if line.startswith("MEND"))


@pytest.mark.parametrize(
    ("inside", "state", "refused"),
    [(False, "Enforcing", True), (False, "Permissive", False), (True, "Enforcing", False)],
)
def test_selinux_labels_no_certificates_of_the_systems(
    sound: Project, tmp_path: Path, inside: bool, state: str, refused: bool
) -> None:
    file = (sound.folder if inside else tmp_path) / "site.pem"
    file.write_text("")
    (tmp_path / "getenforce").write_text(f"#!/bin/sh\necho {state}\n")
    (tmp_path / "getenforce").chmod(0o755)
    sound.environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    sound.set_env(LAB_CA_BUNDLE=str(file))
    assert ("copy it into this folder" in sound.make("doctor", check=False).stdout) == refused


def test_doctor_knows_the_users_own_settings(sound: Project) -> None:
    appended("DB_PORT=5")(sound)
    assert sound.make("doctor", check=False).returncode != 0
    (sound.folder / "compose.override.yaml").write_text("services: {lab: {labels: {port: '${DB_PORT}'}}}\n")
    sound.make("doctor")


def test_doctor_without_an_engine_says_only_that(sound: Project) -> None:
    sound.environment["DOCKER_HOST"] = "tcp://127.0.0.1:1"
    done = sound.make("doctor", check=False)
    assert done.returncode != 0
    assert done.stdout.count("MEND") == 1 and "no Docker engine answers" in done.stdout


# --- make url -------------------------------------------------------------------------------------
def test_url_of_a_lab_that_runs(lab: Project) -> None:
    done = lab.make("url")
    assert done.stdout.splitlines()[-1] == f"Address: {lab.lab().address}/lab"
    assert lab.lab().token not in done.stdout


def test_url_of_a_lab_that_does_not(engine: None, project: Project) -> None:
    done = project.make("url", check=False)
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr.splitlines()[0] == "labdock: the lab is not running: start it with 'make up'."
