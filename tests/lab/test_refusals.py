"""A problem ends `make up` with one line that says how to fix it. Nothing serves, restarts forever or is lost."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.client import NEEDS
from tests.support.project import Project, Render
from tests.support.refusal import answers, left, only_root, owned, refused
from tools.notebook import LabClient

TOKEN = "0123456789abcdef" * 2  # as short as a token may be


@pytest.fixture(scope="module")
def project(new_project: Render) -> Project:
    """A project that tests break and fix again. Its image is built once."""
    return new_project()


@pytest.fixture
def spoilt(project: Project) -> Iterator[Project]:
    """The same project. The test's changes to .env and the shell's settings are undone."""
    text = project.read(".env")
    yield project
    (project.folder / ".env").write_text(text)
    project.environment.clear()
    if project.ids():
        project.compose("down", "--timeout", "2")


def test_the_check_itself_can_fail(lab: Project) -> None:
    with pytest.raises(AssertionError):
        refused(lab)


# --- the engine -----------------------------------------------------------------------------------
def test_no_docker(spoilt: Project, tmp_path: Path) -> None:
    for name in ("sh", "make", "sed", "tail", "head", "cat", "tr", "cut", "id", "uname", "rm"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    path = os.environ["PATH"]
    spoilt.environment["PATH"] = str(tmp_path)
    done = spoilt.run(str(tmp_path / "make"), "up", check=False)
    spoilt.environment["PATH"] = path
    *_, said, _ = done.stderr.splitlines()
    assert done.returncode != 0
    assert said.startswith("labdock: docker is not found. Install Docker Engine 25 or later")
    assert left(spoilt) == []


def test_no_engine_answers(spoilt: Project) -> None:
    done = spoilt.run("env", "DOCKER_HOST=tcp://127.0.0.1:1", "make", "up", check=False)
    *_, said, _ = done.stderr.splitlines()
    assert done.returncode != 0
    assert said.startswith("labdock: no Docker engine answers at DOCKER_HOST, tcp://127.0.0.1:1. Start the engine.")


def test_an_engine_that_the_user_may_not_use(project: Project) -> None:
    only_root()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(project.folder, f"{folder}/lab")
        for root, _, files in os.walk(folder):
            for path in (root, *(f"{root}/{name}" for name in files)):
                os.chown(path, 1234, 1234)
        somebody = ("setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "env", f"HOME={folder}")
        done = subprocess.run(
            [*somebody, "make", "-C", f"{folder}/lab", "--no-print-directory", "up"], capture_output=True, text=True
        )
    *_, said, _ = done.stderr.splitlines()
    assert done.returncode != 0
    assert said.startswith(
        "labdock: your user has no permission to use the Docker engine. Run 'sudo usermod -aG docker"
    )


@pytest.fixture
def fake_docker(tmp_path: Path) -> Callable[..., str]:
    """A PATH whose docker claims these versions and is the real one otherwise."""

    def put(**versions: tuple[int, int]) -> str:
        engine, compose, buildx = (".".join(map(str, {**NEEDS, **versions}[what])) for what in NEEDS)
        (tmp_path / "docker").write_text(
            # Docker's client warns if it cannot read its configuration.
            f'#!/bin/sh\necho "WARNING: no config file" >&2\ncase "$*" in\n"version "*) echo {engine}.0+x ;;\n'
            f'"compose version --short") echo v{compose}.0 ;;\n'
            f'"buildx version") echo name v{buildx}.0 commit ;;\n*) exec {shutil.which("docker")} "$@" ;;\nesac\n'
        )
        (tmp_path / "docker").chmod(0o755)
        return f"{tmp_path}:{os.environ['PATH']}"

    return put


@pytest.mark.parametrize("what", NEEDS)
def test_too_old(spoilt: Project, fake_docker: Callable[..., str], what: str) -> None:
    major, minor = NEEDS[what]
    old = (major, minor - 1) if minor else (major - 1, 9)
    spoilt.environment["PATH"] = fake_docker(**{what: old})
    said = refused(spoilt, "is {}.{}.0".format(*old), f"{major}.{minor} or later", "Update ")
    assert what in said.lower()
    spoilt.environment["PATH"] = fake_docker()
    assert "ok    engine" in spoilt.make("doctor").stdout


@pytest.mark.parametrize("network", ["allowlist", "sealed", "sealed with a service"])
def test_an_engine_that_cannot_isolate_networks(
    render: Render, tmp_path: Path, fake_docker: Callable[..., str], network: str
) -> None:
    """A lab without any network needs no such engine."""
    project = render(folder=tmp_path / "lab", network=network.partition(" ")[0])
    if "service" in network:
        own = "services:\n  db: {image: db, networks: [isolated]}\n"
        (project.folder / "compose.override.yaml").write_text(own)
    checks = ("sh", "-c", ". lab/commands/lib/all.sh; for check in $before_start; do $check; done")
    for docker, said in ((27, "" if network == "sealed" else "27.0.0+x, but 28.0 or later is needed"), (28, "")):
        project.environment["PATH"] = fake_docker(engine=(docker, 0))
        printed = project.run(*checks).stdout
        assert (said in printed) if said else (printed == "")


# --- settings -------------------------------------------------------------------------------------
NO_IDS = ["0", "root", "-1", "abc", "2147483648", "4294967295", "007"]
WRONG = [
    *[("LAB_UID", value, "id -u") for value in NO_IDS],
    *[("LAB_GID", value, "id -g") for value in NO_IDS],
    *[("JUPYTER_PORT", value, "0 to 65535") for value in ("abc", "70000", "-1", "8888.5")],
    *[
        ("JUPYTER_USERNAME", value, "user name")
        for value in ("root", "..", "-ada", "A B", "../../etc", "1234", "x:y", "a" * 33)
    ],
    ("LAB_UMASK", "9", "such as 022"),
    *[("LAB_TZ", value, "such as Europe/Stockholm") for value in ("Europe/Nowhere", "../../etc/passwd", "a b")],
    ("JUPYTER_UI", "labs", "lab or notebook"),
    *[("LAB_AUDIT", value, "on or off") for value in ("yes", "ON")],
    ("JUPYTER_BIND", "everywhere", "Fix .env"),
    # Without these checks, the engine would read 0, less than a byte, or a number that is too large as "no limit".
    *[("LAB_MEMORY", value, "4g") for value in ("lots", "0g", "0", "0.1b", "-1g", "99999999999999g")],
    *[("LAB_SCRATCH", value, "500m") for value in ("50%", "0g", "17179869184g")],
    *[("LAB_PIDS", value, "32") for value in ("3", "0", "-1")],
    *[("LAB_CPUS", value, "from 1 to 9999") for value in ("0", "-1", "0.0", "many")],
    ("LAB_CPUS", "1.5", "Run 'echo LAB_CPU_PERCENT=150 >>.env'"),
    *[("LAB_CPU_PERCENT", value, "from 1 to 999999") for value in ("0", "-1", "1.5")],
    ("LAB_CA_BUNDLE", "/nowhere/ca.pem", "PEM file"),
]


@pytest.mark.parametrize(("name", "value", "fix"), {row[0]: row for row in reversed(WRONG)}.values())
def test_a_wrong_setting(spoilt: Project, name: str, value: str, fix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first wrong value of each setting."""
    monkeypatch.delenv(name, raising=False)  # this machine may need a CA
    spoilt.set_env(**{name: value})
    # Compose checks the address, and does not name the setting.
    refused(spoilt, value, fix, ".env", *([] if name == "JUPYTER_BIND" else [name]))


CHECKS = "check_ids check_username check_umask check_time_zone check_port check_ui check_audit check_limits check_ca"


@pytest.mark.full
@pytest.mark.parametrize("checks", [CHECKS, "check_index"])
def test_each_wrong_value_has_its_message(project: Project, checks: str) -> None:
    """The checks of `make up` in one shell, with all values. The control: another check finds nothing."""
    rows = [row for row in WRONG if row[1] not in ("everywhere", "Europe/Nowhere")]  # Compose and the lab refuse these
    done = project.run(
        "sh",
        "-c",
        f"""
        . lab/commands/lib/all.sh
        engine=docker
        while IFS= read -r settings; do
            for check in {checks}; do $check; done | tr '\n' ' '
            echo
        done""",
        input="".join(f"{name}={value}\n" for name, value, _ in rows),
    )
    for (name, value, fix), said in zip(rows, done.stdout.splitlines(), strict=True):
        assert all(words in said for words in (f"{name} is '{value}'", fix)) is (checks == CHECKS), (name, value, said)


def test_an_env_file_that_cannot_be_read(spoilt: Project) -> None:
    with (spoilt.folder / ".env").open("a") as env:
        env.write("two words\n")
    refused(spoilt, "key cannot contain a space", "Fix .env")


@pytest.mark.full
def test_empty_counts_as_unset(spoilt: Project) -> None:
    kept = {"LAB_NAME", "JUPYTER_PORT"}  # without these two, this lab would collide with others
    names = [line.split("=")[0] for line in spoilt.read("sample.env").splitlines() if line[:1].isupper()]
    assert {"LAB_UID", "LAB_GID", "JUPYTER_UI", "LAB_MEMORY"} <= set(names)
    spoilt.set_env(**dict.fromkeys(set(names) - kept, ""))
    assert answers(spoilt.up()) == 200
    assert spoilt.container()["Config"]["User"] == "1000:1000"


@pytest.mark.parametrize("user", ["0:0", "0:1000", "1000:0"])
def test_the_entrypoint_refuses_a_real_root(lab: Project, user: str) -> None:
    prepare = ("run", "--rm", "--no-deps", "--user")
    done = lab.compose(*prepare, user, "prepare", check=False)
    assert done.returncode == 1
    assert "labdock: the lab would run as root" in done.stderr or "labdock: the lab would run in root's" in done.stderr
    lab.compose(*prepare, owned(lab), "prepare")


def test_root_does_not_serve_under_plain_compose_either(spoilt: Project) -> None:
    spoilt.environment["LAB_UID"] = "0"
    assert spoilt.compose("up", "--detach", check=False).returncode != 0
    assert "labdock: the lab would run as root (uid 0). Set LAB_UID in .env" in spoilt.logs()
    assert [c["State"]["Running"] for c in spoilt.containers()] == [False] * 3


@pytest.mark.parametrize(
    "uid", ["root", "2147483648", *(pytest.param(uid, marks=pytest.mark.full) for uid in ("-1", "text"))]
)
def test_an_invalid_uid_does_not_start_under_plain_compose(spoilt: Project, uid: str) -> None:
    """Compose, the engine or the lab itself may refuse it. (test_persistence.py starts labs in the same way.)"""
    spoilt.environment["LAB_UID"] = uid
    assert spoilt.compose("up", "--detach", check=False).returncode != 0
    assert not any(container["State"]["Running"] for container in spoilt.containers())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("JUPYTER_USERNAME", "root", "not a user name"),
        ("JUPYTER_USERNAME", "A B", "not a user name"),
        ("JUPYTER_USERNAME", "1234", "a number"),
        ("JUPYTER_USERNAME", "a" * 33, "at most 32"),
        ("LAB_UMASK", "9", "such as 022"),
        ("JUPYTER_UI", "x", "Set it to lab or notebook"),
        ("LAB_AUDIT", "yes", "Set it to on or off"),
    ],
)
def test_the_entrypoint_refuses_what_compose_accepts(lab: Project, name: str, value: str, said: str) -> None:
    """The control: with valid values the lab starts, in all other tests. Each message names the value."""
    done = lab.compose("run", "--rm", "--no-deps", "--env", f"{name}={value}", "prepare", check=False)
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("labdock: "))
    assert line.startswith(f"labdock: {name} is '{value}'") and said in line


# --- another lab's name -----------------------------------------------------------------------------
@pytest.mark.full
@pytest.mark.parametrize("target", ["up", "reset"])
def test_a_lab_of_another_folder_with_the_same_name_keeps_running(spoilt: Project, lab: Project, target: str) -> None:
    """The folder is a copy with its .env. The printed command gives it a name of its own."""
    before = lab.container()["Id"]
    spoilt.set_env(LAB_NAME=lab.compose_name())
    done = spoilt.make(target, check=False)
    said = f"LAB_NAME is '{lab.compose_name()}', and the lab of {lab.folder} has this name too. Run '"
    assert said in done.stderr and done.returncode != 0
    assert lab.container()["Id"] == before
    spoilt.run("sh", "-c", done.stderr.partition(said)[2].partition("'")[0])
    assert spoilt.compose_name() != lab.compose_name()
    spoilt.make("up")


# --- mounts ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("folder", ["data", pytest.param("notebooks", marks=pytest.mark.full)])
@pytest.mark.parametrize(
    ("owner", "mode", "fix"),
    [
        ("4321:4322", 0o755, "Set LAB_UID=4321 and LAB_GID=4322 in .env, or run 'sudo chown -R {lab} {folder}/'"),
        ("0:0", 0o755, "Run 'sudo chown -R {lab} data notebooks secrets'"),
        ("{lab}", 0o500, "Run 'chmod u+rwx {folder}'"),
        pytest.param("{lab}", 0o600, "Run 'chmod u+rwx {folder}'", marks=pytest.mark.full),
    ],
    ids=["another user's", "root's", "read-only", "no way into it"],
)
def test_a_mount_that_cannot_be_written(spoilt: Project, folder: str, owner: str, mode: int, fix: str) -> None:
    only_root()
    lab = owned(spoilt)
    path = spoilt.folder / folder
    try:
        spoilt.run("chown", owner.format(lab=lab), folder)
        path.chmod(mode)
        refused(spoilt, f"cannot write {folder}/", fix.format(lab=lab, folder=folder))
    finally:
        spoilt.run("chown", "-R", lab, folder)
        path.chmod(0o755)


@pytest.mark.full
def test_secrets_that_cannot_be_written_and_then_can(fresh_project: Project) -> None:
    only_root()
    fresh_project.run("chown", "0:0", "secrets")
    said = refused(fresh_project, "cannot write secrets/")
    command = said.partition("'sudo ")[2].partition("'")[0]  # as printed
    fresh_project.run(*command.split())
    assert answers(fresh_project.up()) == 200


@pytest.mark.parametrize("folder", ["data", "notebooks", "secrets"])
def test_a_folder_was_deleted(spoilt: Project, folder: str) -> None:
    (spoilt.folder / folder).rename(spoilt.folder / "aside")
    try:
        refused(spoilt, f"{folder}/ is missing", f"Run 'mkdir {folder}'")
        assert not (spoilt.folder / folder).exists()
    finally:
        (spoilt.folder / "aside").rename(spoilt.folder / folder)


# --- the token ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("token", "words"),
    [
        pytest.param(
            b"", "contains 0 characters, but at least 32 are needed. Run 'rm secrets/jupyter_token'", id="empty"
        ),
        pytest.param(b" \r\n" * 20, "contains 0 characters", id="white space", marks=pytest.mark.full),
        pytest.param(TOKEN[1:].encode() + b"\n", "contains 31 characters", id="short"),
        pytest.param(b"\xff\xfe" * 40, "characters that are not ASCII", id="no text", marks=pytest.mark.full),
    ],
)
def test_an_invalid_token_is_refused(spoilt: Project, token: bytes, words: str) -> None:
    file = spoilt.folder / "secrets/jupyter_token"
    file.write_bytes(token)
    try:
        refused(spoilt, "secrets/jupyter_token", words, "The next start makes a new token")
    finally:
        file.unlink()


RARER_FORMS = [pytest.param(form, marks=pytest.mark.nightly) for form in ("{}\r\n", "\ufeff{}")]


@pytest.mark.full
@pytest.mark.parametrize("form", ["\ufeff \t{}  \r\n\r\n", "{:.16}\n{:.16}", *RARER_FORMS])
def test_white_space_in_the_token_does_not_count(spoilt: Project, form: str) -> None:
    """The second half of TOKEN is like the first. A second `make up` leaves the lab as it is."""
    file = spoilt.folder / "secrets/jupyter_token"
    file.write_bytes(form.format(TOKEN, TOKEN).encode())
    try:
        spoilt.make("up")
        before = spoilt.container()["State"]["StartedAt"]
        assert "restarts" not in spoilt.make("up").stderr
        assert spoilt.container()["State"]["StartedAt"] == before
        address = spoilt.client().address
        assert [answers(LabClient(address, token)) for token in (TOKEN, TOKEN[1:], "")] == [200, 403, 403]
    finally:
        file.unlink()


# --- the port -------------------------------------------------------------------------------------
def test_a_port_that_another_lab_holds(spoilt: Project, lab: Project) -> None:
    port = lab.client().address.rpartition(":")[2]
    before = lab.container()
    spoilt.set_env(JUPYTER_PORT=port)
    refused(spoilt, f"port {port} is in use", "Set JUPYTER_PORT to another port")
    assert lab.container()["Id"] == before["Id"]
    assert lab.container()["State"]["StartedAt"] == before["State"]["StartedAt"]
    assert answers(lab.client()) == 200


@pytest.mark.full
def test_a_port_that_a_program_uses_until_it_ends(spoilt: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        spoilt.set_env(JUPYTER_PORT=port)
        refused(spoilt, f"port {port} is in use")
    assert spoilt.up().address == f"http://127.0.0.1:{port}"


NVIDIA = "{deploy: {resources: {reservations: {devices: [{driver: nvidia, count: all, capabilities: [gpu]}]}}}}"


@pytest.mark.full
@pytest.mark.parametrize(
    ("lab", "said"),
    [
        ("{command: nothing}", "the command of a service is 'nothing'."),
        ("{healthcheck: {test: [CMD, 'false'], start_period: 0s, interval: 1s}}", "Read the lines above"),
        (NVIDIA, "no GPU. Install the NVIDIA Container Toolkit"),
    ],
)
def test_a_lab_that_does_not_come_up(spoilt: Project, lab: str, said: str) -> None:
    override = spoilt.folder / "compose.override.yaml"
    text = override.read_text()
    override.write_text(f"services: {{lab: {lab}}}\n")
    try:
        refused(spoilt, said)
    finally:
        override.write_text(text)


def test_a_refusal_leaves_a_running_lab_alone(lab: Project) -> None:
    before = lab.container()
    lab.environment["JUPYTER_UI"] = "labs"
    try:
        assert lab.make("up", check=False).returncode != 0
    finally:
        lab.environment.clear()
    assert lab.container()["Id"] == before["Id"]
    assert answers(lab.client()) == 200
