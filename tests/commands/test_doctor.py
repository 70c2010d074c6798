"""`make doctor` finds each problem in settings, files and the running lab, and prints a command that fixes it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.doctor import UPDATE, doctor, fix, problems, wanted
from tests.support.project import Project
from tests.support.repository import ROOT
from tests.support.requirements import lacking
from tests.support.waiting import becomes, until

DATA = ROOT / "tests/data"


def appended(line: str) -> Callable[[Project], object]:
    def spoil(project: Project) -> None:
        with (project.folder / ".env").open("a") as env:
            env.write(f"{line}\n")

    return spoil


def written(path: str, text: str) -> Callable[[Project], object]:
    return lambda project: (project.folder / path).write_text(text, encoding="utf-8")


Fault = tuple[Callable[[Project], object], str]  # what goes wrong, and the words of doctor's line about it

# The printed commands fix these. The faults of a group are there at once, so that doctor runs once for all of them.
FIXED: dict[str, list[Fault]] = {
    "settings": [
        (appended("JUPYTER_USERNAME=A B"), "JUPYTER_USERNAME is 'A B'"),
        (appended("JUPYTER_PORT=x"), "JUPYTER_PORT is 'x'"),
        (appended("LAB_UMASK=9"), "LAB_UMASK is '9'"),
        (appended("LAB_TZ=Europe/Stock holm"), "LAB_TZ is 'Europe/Stock holm'"),
        (appended("JUPYTER_UI=x"), "JUPYTER_UI is 'x'"),
        (appended("LAB_MEMORY=much"), "LAB_MEMORY is 'much'"),
        (appended("LAB_CPUS=1.5"), "LAB_CPUS is '1.5', not a whole number"),
    ],
    "more settings": [
        (appended("LAB_MEMORY=0g"), "LAB_MEMORY is '0g'"),
        (appended("LAB_NAME=iris-study-000000"), "which does not fit this folder's path. The folder was moved"),
        (
            lambda project: (
                appended("HTTPS_PROXY=http://proxy.example:1\nNO_PROXY=.example")(project),
                written("compose.override.yaml", "services: {db: {image: postgres}, lab: {}}")(project),
            ),
            "NO_PROXY is '.example' and lacks db, so requests to these services go to the proxy. Run ",
        ),
        (
            lambda project: (
                appended("LAB_PIDS=1\nLAB_UMASK=022")(project) or os.truncate(env(project), size(project) - 1)
            ),
            "LAB_PIDS is '1'",  # and the last line has no end
        ),
    ],
    "lines": [
        (appended("LAB_UDI=5"), "LAB_UDI in .env is not a setting"),
        (appended(" export LAB_UDJ = 5"), "LAB_UDJ in .env is not a setting"),
        (appended("LAB_UDK: 5"), "LAB_UDK in .env is not a setting"),
        (appended("two words"), "'two ...', is not NAME=VALUE"),
        (appended("LAB_UID"), "'LAB_UID ...', is not NAME=VALUE"),
    ],
    "folders": [
        (lambda project: os.chown(project.folder / "data", 77, 77), "data/ belongs to 77:77"),
        (lambda project: (project.folder / "notebooks").chmod(0o777), "every user of this machine can write"),
    ],
    "folders and token": [
        (lambda project: shutil.rmtree(project.folder / "data"), "data/ is missing"),
        (lambda project: (project.folder / "notebooks").chmod(0o500), "the lab cannot write notebooks/"),
        (written("secrets/jupyter_token", "\ufeffshort\r\n"), "contains 5 characters"),
    ],
}
# No printed command fixes these, or not in seconds. The line says what to do.
FOUND: list[list[Fault]] = [
    [
        (appended("LAB_UID=root"), "LAB_UID is 'root', not a number"),
        (written("requirements.lock", ""), "Run 'make add PKG=\"ipykernel\"'"),
        (appended("LAB_MEMORY=3g"), "LAB_SCRATCH is '1g' and LAB_MEMORY is '3g'"),
        (appended("PIP_INDEX_URL=https://a:b@one/simple https://a:b/c@two"), "PIP_INDEX_URL is '...@two'"),
        (appended("LAB_CA_BUNDLE=/nowhere.pem"), "LAB_CA_BUNDLE is '/nowhere.pem'"),
    ],
    [
        (
            appended("PIP_INDEX_URL=one/simple"),
            "PIP_INDEX_URL is 'one/simple', which is not the address of a package index",
        ),
        (written("compose.override.yaml", "services: []"), "Compose prints"),
    ],
    [(appended("PIP_INDEX_URL='https://a:b c@one/simple'"), "PIP_INDEX_URL is 'https://a:...'")],
]


def env(project: Project) -> Path:
    return project.folder / ".env"


def size(project: Project) -> int:
    return env(project).stat().st_size


@pytest.fixture
def sudo(sound: Project, tmp_path: Path) -> None:
    """The tests are root already, and `sudo` may be missing."""
    if os.geteuid():
        lacking("only root can give a folder away")
    program(sound, tmp_path, "sudo", 'exec "$@"')


def program(project: Project, folder: Path, name: str, script: str) -> None:
    """Put a stand-in for a program first on PATH."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    project.environment["PATH"] = f"{folder}:{os.environ['PATH']}"


def test_doctor_finds_nothing_in_a_new_project(sound: Project) -> None:
    printed = doctor(sound)
    assert wanted(printed) == printed["note"] == []
    assert len(printed["ok"]) > 15
    # Copier itself compares the versions: tests/update/test_copier.py.
    assert f"note  {UPDATE}" in sound.make("doctor").stdout.splitlines()


@pytest.mark.parametrize(
    "group", [g if g == "folders and token" else pytest.param(g, marks=pytest.mark.full) for g in FIXED]
)
def test_the_printed_commands_fix_the_problems(sound: Project, sudo: None, group: str) -> None:
    for line in spoiled(sound, FIXED[group]):
        fix(sound, line)
    if further := problems(sound):  # a folder that root makes belongs to root
        for line in further:
            fix(sound, line)
        assert problems(sound) == []


@pytest.mark.full
@pytest.mark.parametrize("faults", FOUND)
def test_doctor_finds(sound: Project, faults: list[Fault]) -> None:
    spoiled(sound, faults)


def spoiled(project: Project, faults: list[Fault]) -> list[str]:
    """Make each fault in the project, and return doctor's lines: exactly one line about each fault."""
    for spoil, _ in faults:
        spoil(project)
    found = problems(project)
    about = [[line for line in found if words in line] for _, words in faults]
    assert [len(lines) for lines in about] == [1] * len(faults), found
    return [line for (line,) in about]


@pytest.mark.full
def test_doctor_makes_every_check_if_compose_refuses_the_files(sound: Project) -> None:
    before = doctor(sound)["ok"]
    written("compose.override.yaml", "services: []")(sound)
    printed = doctor(sound)
    assert len(printed["FIX"]) == 1
    assert len(printed["ok"]) == len(before) - 1 and printed["ok"][-1] == "the lab answers, or is stopped"


@pytest.mark.full
def test_several_lines_of_env_are_fixed_one_after_the_other(sound: Project) -> None:
    """Each command names a line by its number, so no command may move another line."""
    before = sound.read(".env")
    appended("LAB_UDI=5\nLAB_UID\nDB_PORT=6\nDB_NOTE='two\nlines'")(sound)
    written("compose.override.yaml", "services: {lab: {labels: {note: '${DB_NOTE}'}}}\n")(sound)
    found = problems(sound)
    assert len(found) == 3
    for line in found:
        fix(sound, line)
    assert problems(sound) == []
    assert sound.read(".env") == f"{before}# LAB_UDI=5\n# LAB_UID\n# DB_PORT=6\nDB_NOTE='two\nlines'\n"


def test_if_compose_cannot_read_env_doctor_reports_only_that(sound: Project) -> None:
    """No setting is known then. Doctor does not print the rest of the line, which may be a password."""
    appended("PIP_INDEX_URL https://reader:s3cret@index.example/simple")(sound)
    printed = doctor(sound)
    unreadable, compose = printed["FIX"]
    assert "PIP_INDEX_URL ...', is not NAME=VALUE" in unreadable and "key cannot contain a space" in compose
    assert "s3cret" not in unreadable + compose
    assert printed["ok"] == []


@pytest.mark.full
def test_doctor_knows_the_users_own_settings(sound: Project) -> None:
    appended("DB_PORT=5")(sound)
    assert len(problems(sound)) == 1
    (sound.folder / "compose.override.yaml").write_text("services: {lab: {labels: {port: '${DB_PORT}'}}}\n")
    assert problems(sound) == []


@pytest.mark.full
def test_a_missing_setting_is_no_problem(sound: Project) -> None:
    """An .env of an earlier release has to work with every later one."""
    lines = [line for line in sound.read(".env").splitlines() if not line.startswith(("LAB_UMASK=", "LAB_PIDS="))]
    env(sound).write_text("\n".join(lines) + "\n")
    assert problems(sound) == []
    assert doctor(sound)["note"] == [
        ".env has no line for LAB_UMASK LAB_PIDS. The defaults in sample.env apply. You need to change nothing."
    ]


@pytest.mark.full
def test_doctor_stops_its_search_after_many_files(sound: Project, tmp_path: Path) -> None:
    program(sound, tmp_path, "find", "[ $2 = notebooks ] || exit 0; yes data/many | head -n ${MANY:-500001}")
    (note,) = doctor(sound)["note"]
    assert "contain more than 500000 files" in note
    sound.environment["MANY"] = "500000"
    assert doctor(sound)["note"] == []


def test_a_missing_env_is_no_problem(sound: Project) -> None:
    env(sound).unlink()
    assert doctor(sound)["note"] == [
        "there is no .env, so every setting has its default. To create one, run 'make env'."
    ]


def test_without_an_engine_doctor_reports_only_that(sound: Project) -> None:
    sound.environment["DOCKER_HOST"] = "tcp://127.0.0.1:1"
    (line,) = problems(sound)
    assert "no Docker engine answers" in line


# --- disk -----------------------------------------------------------------------------------------
DF = """
echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
case $2 in .) echo "/dev/own 9 9 {project} 9% /" ;; *) echo "/dev/engine 9 9 {engine} 9% /" ;; esac
"""
GB = 2**20  # in the blocks of df


@pytest.mark.full
@pytest.mark.parametrize(
    ("engine_has", "project_has", "lock", "words"),
    [
        (5 * GB, 1 * GB, "", []),
        (5 * GB - 1, 1 * GB, "", ["4 GB are free in the engine's folder"]),
        (5 * GB, 1 * GB - 1, "", ["less than 1 GB is free for data/ and notebooks/"]),
        (9 * GB, 1 * GB, "torch==2.0", ["a build needs up to 10"]),
        (29 * GB, 1 * GB, "torch==2.0\nnvidia-cublas==13.0", ["a build needs up to 30"]),
        (30 * GB, 1 * GB, "torch==2.0\nnvidia-cublas==13.0", []),
    ],
)
def test_room_on_disks(
    sound: Project, tmp_path: Path, engine_has: int, project_has: int, lock: str, words: list[str]
) -> None:
    program(sound, tmp_path, "df", DF.format(engine=engine_has, project=project_has))
    (sound.folder / "requirements.lock").write_text(f"ipykernel==1.0\n{lock}\n")
    found = doctor(sound)["FIX"]
    assert len(found) == len(words)
    for line, expected in zip(found, words, strict=True):
        assert expected in line


@pytest.mark.full
def test_a_project_on_a_disk_that_is_nearly_full(sound: Project) -> None:
    """With the machine's own `df`."""
    if os.geteuid():
        lacking("only root can mount a small disk")
    small = sound.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=50m", "tmpfs", small], check=True)
    try:
        shutil.copytree(sound.folder, small / "lab", ignore=shutil.ignore_patterns("small"))
        said = "".join(problems(Project(small / "lab", sound.answers)))
    finally:
        subprocess.run(["umount", small], check=True)
    assert "less than 1 GB is free for data/ and notebooks/" in said


@pytest.mark.full
def test_an_engine_whose_disk_is_elsewhere(sound: Project, tmp_path: Path) -> None:
    program(sound, tmp_path, "df", f"case $2 in .) ;; *) exit 1 ;; esac{DF.format(engine=0, project=GB)}")
    printed = doctor(sound)
    assert printed["FIX"] == []
    assert "To see their size, run 'docker system df'" in printed["note"][0]


# --- certificates ---------------------------------------------------------------------------------
VALID = (DATA / "nobodys-ca.pem").read_text()
BUNDLES = {
    "valid": (VALID, ""),
    "damaged": (VALID + VALID.replace("MII", "AAA"), "a certificate in this file is damaged"),
    "words": ("see the intranet\n", "which contains no certificate in PEM form"),
    "empty": ("", "which contains no certificate in PEM form"),
}


@pytest.mark.parametrize("kind", [k if k == "damaged" else pytest.param(k, marks=pytest.mark.full) for k in BUNDLES])
def test_certificates(sound: Project, kind: str) -> None:
    text, words = BUNDLES[kind]
    (sound.folder / "site.pem").write_text(text)
    sound.set_env(LAB_CA_BUNDLE="site.pem")
    found = problems(sound)
    assert len(found) == bool(words) and words in "".join(found)


@pytest.mark.full
def test_doctor_converts_a_certificate_in_der_form(sound: Project) -> None:
    sound.run("openssl", "x509", "-in", str(DATA / "nobodys-ca.pem"), "-outform", "der", "-out", "site.cer")
    sound.set_env(LAB_CA_BUNDLE="site.cer")
    (line,) = problems(sound)
    fix(sound, line)
    sound.set_env(LAB_CA_BUNDLE="site.cer.pem")  # as the line says
    assert problems(sound) == []


@pytest.mark.full
@pytest.mark.parametrize(
    ("inside", "state", "refused"),
    [(False, "Enforcing", True), (False, "Permissive", False), (True, "Enforcing", False)],
)
def test_a_ca_bundle_outside_the_project_is_refused_under_selinux(
    sound: Project, tmp_path: Path, inside: bool, state: str, refused: bool
) -> None:
    file = shutil.copy(DATA / "nobodys-ca.pem", (sound.folder if inside else tmp_path) / "site.pem")
    program(sound, tmp_path, "getenforce", f"echo {state}")
    sound.set_env(LAB_CA_BUNDLE=str(file))
    assert ("Copy the file into the project's folder" in "".join(problems(sound))) == refused


# --- a running lab --------------------------------------------------------------------------------
# Stops the server's process. The brackets keep grep from finding this script itself.
FREEZE = """
for process in /proc/[0-9]*; do
    if grep -aq "python.*-m.[j]upyterlab" $process/cmdline; then kill -s STOP ${process#/proc/}; exit; fi
done
exit 1
"""


@pytest.mark.full
def test_a_frozen_server_is_found_and_fixed(lab: Project) -> None:
    assert problems(lab) == []
    lab.shell(FREEZE, "server")
    (line,) = problems(lab)
    assert line.startswith("the server runs but does not answer. Run 'docker compose restart server'.")
    fix(lab, line)
    becomes(lab, "healthy")
    assert problems(lab) == []
    assert lab.client().run("print(1)") == "1\n"


@pytest.mark.full
def test_a_paused_lab_is_found_and_fixed(lab: Project) -> None:
    pause = ("docker", "pause", lab.container()["Id"])
    # The Linux kernel refuses while a process of the lab waits for the disk.
    until(lambda: lab.run(*pause, check=False).returncode == 0, "the lab is paused")
    (line,) = problems(lab)
    assert line.startswith("the service lab is paused")
    fix(lab, line)
    assert problems(lab) == []
    assert lab.client().run("print(1)") == "1\n"


@pytest.mark.full
def test_a_port_that_another_lab_uses(lab: Project, tmp_path: Path) -> None:
    """The control: the lab's own use of its port is no problem."""
    port = lab.client().address.rpartition(":")[2]
    before = lab.read(".env")
    lab.set_env(JUPYTER_PORT=port)
    assert problems(lab) == []
    lab.run("cp", "-a", str(lab.folder), str(tmp_path / "lab"))
    other = Project(tmp_path / "lab", lab.answers)
    (lab.folder / ".env").write_text(before)
    (copied,) = problems(other)
    assert "does not fit this folder's path. The folder was moved, or .env was copied" in copied
    fix(other, copied)
    (used,) = problems(other)
    assert used.startswith(f"port {port} is used by container {lab.container('server')['Name'].lstrip('/')}. ")
    fix(other, used)
    assert problems(other) == []
