"""A lab in the engine of an ordinary user, Docker or Podman: the user owns the files, and every other control holds."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.attack.test_escape import ATTEMPTS, REFUSED
from tests.attack.test_seccomp import RUN, expected, packed
from tests.support.hardening import FILES, failing
from tests.support.refusal import answers
from tests.support.rootless import RootlessUser, UsersProject, load, save

WORK = """
import pathlib
for mount in ("data", "notebooks"):
    folder = pathlib.Path.home() / mount / "made/deep"
    folder.mkdir(parents=True)
    (folder / "file").write_text("mine")
"""
# In Docker, uid 0 is the user: to become it or to give it a file changes nothing.
OWN = {"become root", "become root's group", "give a file away"}
# Limits that an ordinary user cannot set with cgroups version 1.
LIMITS = {"limited processes", "limited memory", "no swap", "limited CPUs"}


def settings(project: UsersProject) -> dict[str, str]:
    return dict(line.split("=", 1) for line in project.read(".env").splitlines() if re.match(r"\w+=", line))


def test_env_chooses_the_ids_that_the_engine_needs(project: UsersProject, user: RootlessUser, kind: str) -> None:
    found = settings(project)
    uid = "0" if kind == "docker" else str(user.uid)
    assert (found["LAB_UID"], found["LAB_GID"]) == (uid, uid)
    files = "compose.yaml:lab/runtime/podman.yaml:compose.override.yaml" if kind == "podman" else None
    assert found.get("COMPOSE_FILE") == files


def test_files_belong_to_the_user_who_can_delete_them(at_work: UsersProject, user: RootlessUser) -> None:
    lab = at_work.client()
    lab.run(WORK)
    lab.request("PUT", "contents/data/made/saved.txt", json={"type": "file", "format": "text", "content": "mine"})
    made = [at_work.folder / mount / "made" for mount in ("data", "notebooks")]
    files = [path for folder in made for path in (folder, *folder.rglob("*"))]
    assert len(files) == 7
    assert all(user.owns(path) for path in [*files, at_work.folder / "secrets/jupyter_token"])
    user.run("rm", "-r", *made)
    assert not any(folder.exists() for folder in made)


@contextmanager
def ids(project: UsersProject, uid: int) -> Iterator[UsersProject]:
    """The same project with other ids, as if .env had them."""
    project.environment |= {"LAB_UID": str(uid), "LAB_GID": str(uid)}
    yield project
    for name in ("LAB_UID", "LAB_GID"):
        del project.environment[name]


def test_the_user_cannot_delete_what_another_id_writes(at_work: UsersProject, user: RootlessUser) -> None:
    """The control: the files belong to the user because of the id."""
    data = at_work.folder / "data"
    data.chmod(0o777)
    script = "mkdir ~/data/theirs && touch ~/data/theirs/file"
    with ids(at_work, 1000):
        at_work.compose("run", "--rm", "--no-deps", "--entrypoint", "sh", "prepare", "-c", script)
    data.chmod(0o755)
    assert not user.owns(data / "theirs/file")
    user.run("rm", "-rf", data / "theirs", check=False)
    assert (data / "theirs/file").exists()
    shutil.rmtree(data / "theirs")


def test_another_id_is_refused_with_the_right_one(at_work: UsersProject, user: RootlessUser, kind: str) -> None:
    own = 0 if kind == "docker" else user.uid
    mend = f"Set LAB_UID={own} and LAB_GID={own} in .env"
    with ids(at_work, 1000):
        checked, up = at_work.make("doctor", check=False), at_work.make("up", check=False)
    assert checked.returncode != 0 and up.returncode != 0
    assert re.search(rf"^FIX   LAB_UID is '1000', .*\. {mend}\.$", checked.stdout, re.MULTILINE)
    assert "labdock: LAB_UID is '1000', but this engine runs without root" in up.stderr and mend in up.stderr


def test_the_lab_names_the_right_ids(at_work: UsersProject, user: RootlessUser, kind: str) -> None:
    """With plain Compose, which runs no other check."""
    with ids(at_work, 1000):
        said = at_work.compose("run", "--rm", "--no-deps", "prepare", check=False).stderr
    if kind == "docker":
        assert "belongs to uid 0, gid 0. The engine runs without root, so uid 0 is you. Set LAB_UID=0 and" in said
    else:
        assert f"belongs to uid {user.uid}, gid {user.uid}. Set LAB_UID={user.uid} and LAB_GID=" in said


def test_doctor_finds_no_problem_and_names_missing_limits(at_work: UsersProject) -> None:
    lines = at_work.make("doctor").stdout.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "note"}
    limits = at_work.run("docker", "info", "--format", "{{.CgroupVersion}}:{{.CgroupDriver}}").stdout.strip()
    limited = not re.fullmatch("1:.*|.*:none", limits)
    assert [line for line in lines if "note" in line and "limits" in line] == [] if limited else [lines[-1]]


def test_doctor_names_podmans_own_seccomp_profile(at_work: UsersProject, kind: str) -> None:
    """The tests' Podman uses the lab's profile, as this note tells users to."""
    if kind == "podman":
        at_work.environment["CONTAINERS_CONF"] = "/dev/null"
        try:
            said = at_work.make("doctor").stdout
        finally:
            del at_work.environment["CONTAINERS_CONF"]
        assert "note  Podman uses its own seccomp profile" in said
        assert f'put seccomp_profile = "{at_work.folder}/lab/runtime/seccomp.json" under [containers]' in said
    else:
        pytest.skip("Docker takes the profile from compose.yaml")


# --- every other control ----------------------------------------------------------------------------
def test_what_docker_shows_is_hardened(at_work: UsersProject, kind: str) -> None:
    if kind == "docker":
        for service in ("lab", "prepare"):
            assert failing(service, at_work.container(service)) - LIMITS == {"a numeric user that is not root"}
    else:
        pytest.skip("docker inspect shows Podman's containers in another form: the tests below look into them")


def test_the_process_has_no_power(at_work: UsersProject) -> None:
    lines = (
        line.partition(":") for line in at_work.client().run("print(open('/proc/self/status').read())").splitlines()
    )
    status = {name: value.strip() for name, _, value in lines}
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_the_process_runs_as_the_user_on_the_host(at_work: UsersProject, user: RootlessUser) -> None:
    status = Path(f"/proc/{at_work.container()['State']['Pid']}/status").read_text()
    for kind in ("Uid", "Gid"):
        assert re.search(rf"^{kind}:(.*)$", status, re.MULTILINE)[1].split() == [str(user.uid)] * 4


@pytest.mark.parametrize("what", FILES)
def test_the_image_is_the_same(at_work: UsersProject, what: str) -> None:
    command = FILES[what].replace("! -uid 0", "! -uid 0 ! -path /usr/sbin/docker-init")  # the engine adds it
    run = ("run", "--rm", "--no-deps", "--entrypoint", "sh", "prepare", "-c")
    assert at_work.compose(*run, f"{command} || true").stdout == ""


def test_every_attempt_is_refused(at_work: UsersProject, kind: str) -> None:
    program = f"""
import subprocess, sys
print(subprocess.run([sys.executable, "-"], input={ATTEMPTS!r}, text=True, capture_output=True, check=True).stdout)
"""
    results = json.loads(at_work.client().run(program))
    # The Linux kernel checks first whether a program runs, and only then whether the root is read-only.
    left = {name for name, result in results.items() if result not in REFUSED | {"ENOENT", "ETXTBSY"}}
    assert left == (OWN if kind == "docker" else set())


def test_every_system_call_is_refused_as_in_the_shared_lab(at_work: UsersProject) -> None:
    program = f"""
import subprocess
command = ["sh", "-c", {RUN!r}]
print(subprocess.run(command, input={packed()!r}, text=True, capture_output=True, check=True).stdout)
"""
    results = json.loads(at_work.client().run(program))
    assert {n: seen for n, seen in results["refused"].items() if seen not in expected(n)} == {}


# --- from the build to the end ----------------------------------------------------------------------
@pytest.mark.nightly
def test_up_builds_and_down_leaves_nothing(project: UsersProject, user: RootlessUser, tmp_path: Path) -> None:
    """With the user's own commands. This test runs last, after the lab of the tests above was removed."""
    base = project.config()["services"]["lab"]["build"]["args"]["PYTHON_IMAGE"]
    save(base, tmp_path / "base.tar")
    load(user, tmp_path / "base.tar")
    assert answers(project.up()) == 200
    assert "FIX" not in project.make("doctor").stdout
    project.make("outdated")  # it needs the second image
    project.make("down")
    assert project.containers() == []
