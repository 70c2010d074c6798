"""`make doctor` finds each fault of settings and files, and the command that it prints mends it."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, lacking
from tests.support.doctor import doctor, faults, mend
from tests.support.project import Project

DATA = ROOT / "tests/data"
USUAL = {"umask", "unknown setting", "copied .env", "two words", "owner", "token"}  # the others: `make test-full`


def appended(line: str) -> Callable[[Project], object]:
    def spoil(project: Project) -> None:
        with (project.folder / ".env").open("a") as env:
            env.write(f"{line}\n")

    return spoil


def written(path: str, text: str) -> Callable[[Project], object]:
    return lambda project: (project.folder / path).write_text(text, encoding="utf-8")


# Mended by the command that is printed.
MENDED: dict[str, tuple[Callable[[Project], object], str]] = {
    "name": (appended("JUPYTER_USERNAME=A B"), "JUPYTER_USERNAME is 'A B'"),
    "port": (appended("JUPYTER_PORT=x"), "JUPYTER_PORT is 'x'"),
    "umask": (appended("LAB_UMASK=9"), "LAB_UMASK is '9'"),
    "ui": (appended("JUPYTER_UI=x"), "JUPYTER_UI is 'x'"),
    "limits": (appended("LAB_MEMORY=much"), "LAB_MEMORY is 'much'"),
    "no line end": (
        lambda project: appended("LAB_PIDS=1\nLAB_UMASK=022")(project) or os.truncate(env(project), size(project) - 1),
        "LAB_PIDS is '1'",
    ),
    "everybody": (lambda project: (project.folder / "data").chmod(0o777), "everybody on this machine can write data/"),
    "copied .env": (appended("LAB_NAME=iris-study-000000"), "made for another folder"),
    "unknown setting": (appended("LAB_UDI=5"), "LAB_UDI in .env is no setting"),
    "unknown, exported": (appended(" export LAB_UDI = 5"), "LAB_UDI in .env is no setting"),
    "colon": (appended("LAB_UDI: 5"), "LAB_UDI in .env is no setting"),
    "two words": (appended("two words"), "'two ...', is not NAME=VALUE"),
    "name alone": (appended("LAB_UID"), "'LAB_UID ...', is not NAME=VALUE"),
    "no folder": (lambda project: shutil.rmtree(project.folder / "data"), "data/ is missing"),
    "owner": (lambda project: os.chown(project.folder / "data", 77, 77), "data/ belongs to 77:77"),
    "mode": (lambda project: (project.folder / "notebooks").chmod(0o500), "the lab cannot write notebooks/"),
    "token": (written("secrets/jupyter_token", "\ufeffshort\r\n"), "holds 5 characters"),
}
# Which no command mends, or not in seconds: the sentence says what to do.
FOUND: dict[str, tuple[Callable[[Project], object], str]] = {
    "ids": (appended("LAB_UID=root"), "LAB_UID is 'root', not a number"),
    "packages": (written("requirements.lock", ""), "run 'make add PKG=\"ipykernel\"'"),
    "scratch": (appended("LAB_MEMORY=2g"), "three folders of LAB_SCRATCH, '1g', fill LAB_MEMORY, '2g'"),
    "no address": (appended("PIP_INDEX_URL=https://a:b@one/simple https://a:b/c@two"), "PIP_INDEX_URL names '...@two'"),
    "no scheme": (appended("PIP_INDEX_URL=one/simple"), "PIP_INDEX_URL names 'one/simple', no address of an index"),
    "space in a password": (
        appended("PIP_INDEX_URL='https://a:b c@one/simple'"),
        "PIP_INDEX_URL names 'https://a:...'",
    ),
    "no CA": (appended("LAB_CA_BUNDLE=/nowhere.pem"), "LAB_CA_BUNDLE is '/nowhere.pem'"),
    "override": (written("compose.override.yaml", "services: []"), "Compose says"),
}


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
    """Put a program in front of the machine's own."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    project.environment["PATH"] = f"{folder}:{os.environ['PATH']}"


def test_a_sound_project(sound: Project) -> None:
    assert faults(sound) == doctor(sound)["note"] == []
    assert len(doctor(sound)["ok"]) > 15


@pytest.mark.parametrize("fault", [f if f in USUAL else pytest.param(f, marks=pytest.mark.full) for f in MENDED])
def test_what_doctor_prints_mends(sound: Project, sudo: None, fault: str) -> None:
    spoil, words = MENDED[fault]
    spoil(sound)
    (sentence,) = (sentence for sentence in faults(sound) if words in sentence)
    mend(sound, sentence)
    for further in faults(sound):  # a folder that root makes belongs to root
        mend(sound, further)
    assert faults(sound) == []


@pytest.mark.full
@pytest.mark.parametrize("fault", FOUND)
def test_doctor_finds(sound: Project, fault: str) -> None:
    spoil, words = FOUND[fault]
    spoil(sound)
    assert words in "".join(faults(sound))


def test_several_lines_are_mended_one_after_the_other(sound: Project) -> None:
    """Each command names a line by its number: none of them moves another."""
    before = sound.read(".env")
    appended("LAB_UDI=5\nLAB_UID\nDB_PORT=6\nDB_NOTE='two\nlines'")(sound)
    written("compose.override.yaml", "services: {lab: {labels: {note: '${DB_NOTE}'}}}\n")(sound)
    found = faults(sound)
    assert len(found) == 3
    for sentence in found:
        mend(sound, sentence)
    assert faults(sound) == []
    assert sound.read(".env") == f"{before}# LAB_UDI=5\n# LAB_UID\n# DB_PORT=6\nDB_NOTE='two\nlines'\n"


def test_of_an_env_that_compose_cannot_read_nothing_else_is_said(sound: Project) -> None:
    """No setting is known; and the rest of the line might be a password."""
    appended("PIP_INDEX_URL https://reader:s3cret@index.example/simple")(sound)
    said = doctor(sound)
    assert (
        "PIP_INDEX_URL ...', is not NAME=VALUE" in said["MEND"][0] and "key cannot contain a space" in said["MEND"][1]
    )
    assert "s3cret" not in "".join(said["MEND"])
    assert said["ok"] == [] and len(said["MEND"]) == 2


def test_doctor_knows_the_users_own_settings(sound: Project) -> None:
    appended("DB_PORT=5")(sound)
    assert len(faults(sound)) == 1
    (sound.folder / "compose.override.yaml").write_text("services: {lab: {labels: {port: '${DB_PORT}'}}}\n")
    assert faults(sound) == []


def test_a_setting_less_is_no_fault(sound: Project) -> None:
    """An .env of an earlier release starts every later lab."""
    lines = [line for line in sound.read(".env").splitlines() if not line.startswith(("LAB_UMASK=", "LAB_PIDS="))]
    env(sound).write_text("\n".join(lines) + "\n")
    said = doctor(sound)
    assert faults(sound) == []
    assert said["note"] == [".env has no line for LAB_UMASK LAB_PIDS: the defaults in sample.env hold."]


def test_of_too_many_files_not_all_are_searched(sound: Project, tmp_path: Path) -> None:
    program(sound, tmp_path, "find", "[ $1 = notebooks ] || exit 0; yes data/many | head -n ${MANY:-500001}")
    (note,) = doctor(sound)["note"]
    assert "hold more than 500000 files" in note
    sound.environment["MANY"] = "500000"
    assert doctor(sound)["note"] == []


def test_no_env_is_no_fault(sound: Project) -> None:
    env(sound).unlink()
    assert doctor(sound)["note"] == ["there is no .env, and every default holds: 'make env' writes one."]


def test_doctor_without_an_engine_says_only_that(sound: Project) -> None:
    sound.environment["DOCKER_HOST"] = "tcp://127.0.0.1:1"
    (sentence,) = faults(sound)
    assert "no Docker engine answers" in sentence


# --- port -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("listens", "bind", "clashes"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        pytest.param("0.0.0.0", "127.0.0.1", True, marks=pytest.mark.full),
        pytest.param("127.0.0.1", "0.0.0.0", True, marks=pytest.mark.full),
        pytest.param("127.0.0.2", "127.0.0.1", False, marks=pytest.mark.full),
        pytest.param("127.0.0.2", "0.0.0.0", True, marks=pytest.mark.full),
    ],
)
def test_a_port_that_is_taken(sound: Project, listens: str, bind: str, clashes: bool) -> None:
    with socket.socket() as other:
        other.bind((listens, 0))
        sound.set_env(JUPYTER_PORT=str(other.getsockname()[1]), JUPYTER_BIND=bind)
        assert faults(sound) == []  # bound, but nobody listens
        other.listen()
        found = faults(sound)
        assert len(found) == clashes
        for sentence in found:
            assert sentence.startswith(f"port {other.getsockname()[1]} is taken by another program: ")
            mend(sound, sentence)
        assert faults(sound) == []


@pytest.mark.full
def test_a_port_taken_on_every_address_of_ipv6(sound: Project) -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as other:
        sound.set_env(JUPYTER_PORT=str(other.getsockname()[1]))
        assert len(faults(sound)) == 1


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
        (5 * GB - 1, 1 * GB, "", ["4 GB are free where the engine keeps its images"]),
        (5 * GB, 1 * GB - 1, "", ["less than 1 GB is free for data/ and notebooks/"]),
        (9 * GB, 1 * GB, "torch==2.0", ["a build takes up to 10"]),
        (29 * GB, 1 * GB, "torch==2.0\nnvidia-cublas==13.0", ["a build takes up to 30"]),
        (30 * GB, 1 * GB, "torch==2.0\nnvidia-cublas==13.0", []),
    ],
)
def test_room_on_disks(
    sound: Project, tmp_path: Path, engine_has: int, project_has: int, lock: str, words: list[str]
) -> None:
    program(sound, tmp_path, "df", DF.format(engine=engine_has, project=project_has))
    (sound.folder / "requirements.lock").write_text(f"ipykernel==1.0\n{lock}\n")
    found = doctor(sound)["MEND"]
    assert len(found) == len(words)
    for sentence, expected in zip(found, words, strict=True):
        assert expected in sentence


def test_a_project_on_a_disk_that_is_nearly_full(sound: Project) -> None:
    """With the machine's own `df`."""
    if os.geteuid():
        lacking("only root can mount a small disk")
    small = sound.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=50m", "tmpfs", small], check=True)
    try:
        shutil.copytree(sound.folder, small / "lab", ignore=shutil.ignore_patterns("small"))
        said = "".join(faults(Project(small / "lab", sound.answers)))
    finally:
        subprocess.run(["umount", small], check=True)
    assert "less than 1 GB is free for data/ and notebooks/" in said


@pytest.mark.full
def test_an_engine_whose_disk_is_elsewhere(sound: Project, tmp_path: Path) -> None:
    program(sound, tmp_path, "df", f"case $2 in .) ;; *) exit 1 ;; esac{DF.format(engine=0, project=GB)}")
    said = doctor(sound)
    assert said["MEND"] == []
    assert "'docker system df' says how much they take" in said["note"][0]


# --- certificates ---------------------------------------------------------------------------------
VALID, EXPIRED = ((DATA / name).read_text() for name in ("nobodys-ca.pem", "expired.pem"))
BUNDLES = {
    "valid": (VALID, "", ""),
    "with an expired one": (VALID + EXPIRED, "", "1 certificates in LAB_CA_BUNDLE have expired: CN"),
    "expired": (EXPIRED, "which holds expired certificates only", ""),
    "damaged": (VALID + EXPIRED.replace("MII", "AAA"), "a certificate in it is damaged", ""),
    "words": ("see the intranet\n", "which holds no certificate in PEM form", ""),
    "empty": ("", "which holds no certificate in PEM form", ""),
}


@pytest.mark.parametrize("kind", [k if k == "expired" else pytest.param(k, marks=pytest.mark.full) for k in BUNDLES])
def test_certificates(sound: Project, kind: str) -> None:
    text, fault, note = BUNDLES[kind]
    (sound.folder / "site.pem").write_text(text)
    sound.set_env(LAB_CA_BUNDLE="site.pem")
    said = doctor(sound)
    for words, found in ((fault, faults(sound)), (note, said["note"])):
        assert len(found) == bool(words)
        assert words in "".join(found)


@pytest.mark.full
def test_a_certificate_in_another_form_is_brought_into_ours(sound: Project) -> None:
    sound.run("openssl", "x509", "-in", str(DATA / "nobodys-ca.pem"), "-outform", "der", "-out", "site.cer")
    sound.set_env(LAB_CA_BUNDLE="site.cer")
    (sentence,) = faults(sound)
    mend(sound, sentence)
    sound.set_env(LAB_CA_BUNDLE="site.cer.pem")  # as it says
    assert faults(sound) == []


@pytest.mark.full
@pytest.mark.parametrize(
    ("inside", "state", "refused"),
    [(False, "Enforcing", True), (False, "Permissive", False), (True, "Enforcing", False)],
)
def test_selinux_labels_no_certificates_of_the_systems(
    sound: Project, tmp_path: Path, inside: bool, state: str, refused: bool
) -> None:
    file = shutil.copy(DATA / "nobodys-ca.pem", (sound.folder if inside else tmp_path) / "site.pem")
    program(sound, tmp_path, "getenforce", f"echo {state}")
    sound.set_env(LAB_CA_BUNDLE=str(file))
    assert ("copy it into this folder" in "".join(faults(sound))) == refused
