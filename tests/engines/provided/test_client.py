"""What `docker` finds on a machine; nothing that exists is overwritten."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from engine import client
from engine.common import Refused
from engine.daemon import Daemon


def test_a_new_enough_engine_is_used(programs):
    programs.docker()
    assert client.missing(ours=False) is None


@pytest.mark.parametrize(
    ("old", "names"),
    [
        ({"engine": "24.0.9"}, ("engine is 24.0", "25.0", "Update it")),
        ({"compose": "2.38.2"}, ("compose is 2.38", "2.39", "Update it")),
        ({"buildx": "0.11.2"}, ("buildx is 0.11", "0.12", "Update it")),
        ({"compose": "; exit 1"}, ("Docker has no compose. Install compose 2.39",)),
    ],
    ids=["engine", "compose", "buildx", "no-compose"],
)
def test_a_too_old_part_is_refused_with_its_version_and_the_fix(programs, old, names):
    programs.docker(**old)
    with pytest.raises(Refused) as refused:
        client.missing(ours=False)
    for name in (*names, "with your package manager"):
        assert name in str(refused.value)


def test_without_an_engine_and_root_there_is_one_sentence(programs, os_release, command_line, monkeypatch, capsys):
    os_release(ID="debian", VERSION_CODENAME="trixie")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert command_line("up") == 1
    said = capsys.readouterr().err
    assert "No container engine answers (docker is not installed)" in said
    assert "only root" in said and "sudo" in said and said.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_gets_that_sentence_too(tmp_path):
    program = "import os, sys; from engine.__main__ import main; os.setuid(65534); sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "up"],
        env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/nothing", "PYTHONPATH": str(Path.cwd())},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("labdock: No container engine answers") and done.stderr.count("\n") == 1


def test_without_an_engine_and_debian_there_is_one_sentence(programs, os_release, command_line, capsys):
    os_release(ID="fedora", PRETTY_NAME="Fedora Linux 42")
    assert command_line("up") == 1
    said = capsys.readouterr().err
    assert "is Fedora Linux 42, not Debian" in said and "Install and start" in said
    assert said.count("\n") == 1 and not any(call.startswith("apt") for call in programs.calls)


def test_a_second_run_starts_nothing(programs):
    programs.docker(image="echo")
    for name in ("apt-get", "apt-cache", "dpkg", "dockerd", "perl"):
        programs.add(name, "exit 1")
    assert engine.up(["3.13", "3.14"]) == {"3.13": "ready", "3.14": "ready"}
    asked = {" ".join(call.split()[:3]) for call in programs.calls}
    assert asked == {
        "docker version --format", "docker compose version", "docker buildx version",
        "docker image inspect",
    }  # fmt: skip


def test_the_socket_of_another_program_is_refused(tmp_path):
    ours = tmp_path / "docker.sock"
    client.check_free(ours)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(ours))
        other.listen()
        with pytest.raises(Refused, match=r"docker\.sock belongs to a program"):
            client.check_free(ours)
    client.check_free(ours)  # no program listens any more


def test_another_address_of_docker_is_refused(programs, monkeypatch):
    programs.docker()
    client.check_address(Path("/run/docker.sock"))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(Refused, match=r"docker uses tcp://127\.0\.0\.1:1, .* unset DOCKER_HOST"):
        client.check_address(Path("/run/docker.sock"))


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folders for links, below a temporary folder."""
    monkeypatch.setattr(client, "PROGRAMS", tmp_path / "places/bin")
    monkeypatch.setattr(client, "PLUGINS", tmp_path / "places/plugins")
    return tmp_path / "places"


def linked(places: Path) -> set[str]:
    return {path.name for path in places.rglob("*") if path.is_symlink()}


def test_links_are_made_only_at_free_places_and_removed_again(programs, places, tmp_path):
    packages, record = tmp_path / "packages", tmp_path / "links"
    client.link(packages, record)
    assert linked(places) == {"docker", "docker-compose", "docker-buildx"}
    foreign = client.PROGRAMS / "docker"
    foreign.unlink()
    foreign.symlink_to("/bin/true")  # replaced since: not ours any more
    client.unlink(packages, record)
    assert linked(places) == {"docker"}


def test_a_working_client_gets_no_link(programs, places, tmp_path):
    programs.docker()
    client.link(tmp_path, tmp_path / "links")
    assert not linked(places)


def test_a_broken_plugin_is_not_overwritten(programs, places, tmp_path):
    programs.docker(compose="; exit 1")
    plugin = client.PLUGINS / "docker-compose"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("broken, but not ours")
    with pytest.raises(Refused, match=r"docker-compose exists but does not work\. Remove it"):
        client.link(tmp_path, tmp_path / "links")
    assert plugin.read_text() == "broken, but not ours"


def test_a_process_id_counts_only_for_our_program(tmp_path):
    own = Daemon(root=tmp_path)
    assert own.pid() is None
    (tmp_path / "pid").write_text(str(os.getpid()))
    assert own.pid() is None
    program = tmp_path / "packages/sleep"
    program.parent.mkdir()
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([program, "60"]) as process:
        (tmp_path / "pid").write_text(str(process.pid))
        assert own.pid() == process.pid and own.processes() == [process.pid]
        process.kill()
