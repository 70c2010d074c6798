"""Base images: from a registry, else a stand-in; a version that has neither is skipped by name."""

import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from engine import images, stand_in
from engine.daemon import Daemon
from engine.debian import Apt

MADISON = "python3.13-venv | 3.13.15-1 | http://mirror.example/debian testing/main amd64 Packages"


@pytest.fixture
def debian(programs, os_release, monkeypatch, tmp_path):
    """Root on Debian with an engine; no registry answers."""
    os_release(ID="debian", VERSION_CODENAME="bookworm")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("engine.daemon.Daemon.root", tmp_path / "engine")
    programs.docker()
    programs.add("apt-cache", f'case "$*" in *3.13-venv) echo "{MADISON}" ;; esac')
    for suite in stand_in.SUITES:
        (tmp_path / f"engine/{suite}/apt").mkdir(parents=True)
        (tmp_path / f"engine/{suite}/apt/updated").touch()
    return tmp_path / "engine"


@pytest.mark.parametrize(("has", "suite"), [("trixie testing", "trixie"), ("testing", "testing")])
def test_the_release_of_the_images_comes_before_testing(debian, monkeypatch, has, suite):
    monkeypatch.setattr(Apt, "unpack", lambda *arguments: None)
    monkeypatch.setattr(stand_in.StandIn, "start", lambda *arguments: None)
    monkeypatch.setattr(Apt, "has", lambda apt, package: apt.suites[0] in has.split())
    assert stand_in.StandIn("3.13", debian).suite == suite


def test_a_version_without_stand_in_is_skipped_by_name(debian, programs, command_line, monkeypatch, capsys):
    monkeypatch.setattr(Apt, "unpack", lambda *arguments: None)
    for step in ("start", "build"):
        monkeypatch.setattr(stand_in.StandIn, step, lambda *arguments: None)
    monkeypatch.setattr("engine.up", lambda versions: images.provide(versions, debian))
    assert command_line("up", "3.12", "3.13") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "skipped python:3.12-slim-trixie: no registry answers, and there is no stand-in "
        "(Debian has no package python3.12). Load the image with 'docker load'.",
        "ready python:3.13-slim-trixie",
    ]
    assert command_line("up", "3.12") == 1


@pytest.mark.parametrize(
    ("pull", "why"),
    [
        ("exit 1", "no registry answers"),
        ("echo toomanyrequests >&2; exit 1", "the registry gives no image ('toomanyrequests')"),
    ],
)
def test_a_stand_in_that_fails_is_skipped_with_the_reason(debian, programs, monkeypatch, pull, why):
    monkeypatch.setattr(Apt, "unpack", lambda *arguments: None)
    programs.add("apt-get", "exit 1")
    programs.docker(pull=pull)
    reason = images.provide(["3.13"], debian)["3.13"]
    assert reason.startswith(f"{why}, and there is no stand-in (")
    assert "name no Debian archive" in reason


@pytest.fixture
def begun(debian, programs, monkeypatch):
    """A stand-in that was begun before an engine answers, and whether it was built."""
    built = []

    def start(self, root, lists):
        self.folder = tempfile.TemporaryDirectory(dir=root)
        self.process = subprocess.Popen(["/bin/sleep", "60"])

    monkeypatch.setattr(Apt, "unpack", lambda *arguments: None)
    monkeypatch.setattr(stand_in.StandIn, "start", start)
    monkeypatch.setattr(stand_in.StandIn, "build", lambda self: built.append(self))
    programs.docker(engine="; exit 1")
    with images.begun(["3.13"], Daemon(debian)) as found:
        programs.docker()
        yield found["3.13"], built
    assert found["3.13"].process.poll() is not None
    assert not Path(found["3.13"].folder.name).exists()


def test_a_stand_in_that_was_begun_is_used(debian, begun):
    stand_in, built = begun
    assert images.provide(["3.13"], debian, {"3.13": stand_in}) == {"3.13": "ready"}
    assert built == [stand_in]


def test_a_stand_in_that_was_begun_is_abandoned_if_a_registry_answers(debian, begun, programs):
    stand_in, built = begun
    programs.add("docker", "case $1 in pull) echo Pulling ;; *) exit 1 ;; esac")
    assert images.provide(["3.13"], debian, {"3.13": stand_in}) == {"3.13": "ready"}
    assert built == []


def test_no_stand_in_is_begun_if_an_engine_answers(debian, programs):
    with images.begun(["3.13"], Daemon(debian)) as found:
        assert found == {}


def test_no_registry_is_asked_if_there_is_a_stand_in(debian, programs):
    programs.docker(image='case "$*" in *3.13-slim*) echo debian ;; *) exit 1 ;; esac')
    assert images.provide(["3.12", "3.13"], debian)["3.13"] == "ready"
    assert not any(call.startswith("docker pull") for call in programs.calls)


def test_a_registry_is_asked_once_if_there_is_no_stand_in(debian, programs):
    images.provide(["3.11", "3.12"], debian)
    assert sum(call.startswith("docker pull") for call in programs.calls) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("echo Pulling from python", (True, None)),
        ("echo docker.io/library/python:9: not found >&2; exit 1", (True, "not found")),
        ("echo dial tcp: lookup host: no such host >&2; exit 1", (False, "no such host")),
        ("exec /bin/sleep 60", (False, None)),
    ],
    ids=["answers", "knows-no-such-image", "unreachable", "silent"],
)
def test_a_registry_has_a_time_limit(programs, monkeypatch, answer, expected):
    monkeypatch.setattr(images, "PATIENCE", 0.5)
    programs.add("docker", answer)
    begin = time.monotonic()
    answered, objection = images.pull("python:9")
    assert time.monotonic() - begin < 30
    assert answered == expected[0]
    assert (expected[1] or "") in (objection or "") and bool(expected[1]) == bool(objection)


# Run in a container: prints a line for each difference from the official image.
FINDINGS = r"""
say() { echo "$*"; }
[ -z "$(find / -xdev -name '*.pyc' -path '*python3*' ! -path '*-packages*' -print -quit)" ] ||
    say stdlib bytecode
[ -z "$(find / -xdev -name EXTERNALLY-MANAGED -print -quit)" ] || say marker
for name in python3 python pip pip3; do
    [ "$(command -v $name)" = /usr/local/bin/$name ] || say "$name is elsewhere"
done
[ ! -e /usr/bin/python3 ] || say /usr/bin/python3
[ -n "$(find / -xdev -perm -4000 -type f -print -quit)" ] || say no setuid files
for name in ca-certificates netbase tzdata; do
    dpkg-query -W $name >/dev/null || say "$name missing"
done
grep -q '^Suites: ' /etc/apt/sources.list.d/debian.sources || say no deb822 sources
[ -z "$(find /var/lib/apt/lists /var/log -type f -size +0 -print -quit)" ] || say leftovers
export PYTHONDONTWRITEBYTECODE=1
[ "$(python -c 'import platform; print(platform.python_version())')" = "$PYTHON_VERSION" ] ||
    say PYTHON_VERSION
python -m venv /tmp/v && /tmp/v/bin/pip --version >/dev/null || say no venv
python -m pip install --no-index --dry-run pip >/dev/null || say pip refuses
"""


def findings(before: str = "") -> list[str]:
    """The differences of this machine's python:3.13-slim-trixie from the official image."""
    name = stand_in.reference("3.13")
    command = ["docker", "run", "--rm", "--network=none", name, "sh", "-c", before + FINDINGS]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.full
def test_the_image_is_like_the_official_one(engine):
    assert findings() == []


@pytest.mark.full
def test_a_difference_would_be_seen(engine):
    spoil = (
        "stdlib=$(python3 -c 'import os; print(os.path.dirname(os.__file__))');"
        "touch $stdlib/EXTERNALLY-MANAGED; python3 -m compileall -q $stdlib/json;"
        "rm /usr/local/bin/pip3; apt-get -v >/var/log/x;"
    )
    assert findings(spoil) == [
        "stdlib bytecode",
        "marker",
        "pip3 is elsewhere",
        "leftovers",
        "pip refuses",
    ]
