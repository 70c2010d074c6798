"""The engine restarts."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.daemon import Daemon
from tests.support.isolated_engine import Run, isolated_engine
from tests.support.project import Project
from tests.support.waiting import becomes, until

# 30 failed checks take half a minute, and make a lab unhealthy. A slow start takes less time.
QUICK = "{interval: 1s, start_period: 1s, start_interval: 500ms, retries: 30}"


@pytest.fixture
def own() -> Iterator[tuple[Daemon, Run]]:
    """A second engine for this test, stopped. Labs on the first engine keep running."""
    with isolated_engine() as found:
        yield found


def moved(lab: Project, folder: Path, daemon: Daemon) -> Project:
    """A copy of `lab` on another engine that has its image, not started."""
    lab.run("cp", "-a", str(lab.folder), str(folder))
    return Project(folder, lab.answers, {"DOCKER_HOST": f"unix://{daemon.socket}", "COMPOSE_PROJECT_NAME": folder.name})


@pytest.mark.full
@pytest.mark.attack(
    "Restart the engine",
    "A running lab starts again with its token and files. A lab that refuses to start does not restart in a loop.",
)
def test_labs_after_a_restart_of_the_engine(lab: Project, own: tuple[Daemon, Run], tmp_path: Path) -> None:
    daemon, there = own
    running, refusing = (moved(lab, tmp_path / name, daemon) for name in ("running", "refusing"))
    (refusing.folder / "compose.override.yaml").write_text(f"services: {{server: {{healthcheck: {QUICK}}}}}\n")
    there(daemon.start)
    image = lab.config()["services"]["lab"]["image"]
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
        running.run("docker", "load", stdin=saved.stdout)
    for project in (running, refusing):
        there(project.compose, "up", "--detach", "--wait", "--no-build")
    before = running.client()
    kept = {"type": "file", "format": "text", "content": "kept"}
    there(lambda: before.request("PUT", "contents/data/kept.txt", json=kept))
    (refusing.folder / "secrets/jupyter_token").write_text("")

    there(daemon.stop)
    there(daemon.start)
    becomes(running, "healthy")
    after = running.client()
    assert after.token == before.token
    assert there(lambda: after.request("GET", "contents/data/kept.txt").json()["content"]) == "kept"
    assert there(after.run, "print(1)") == "1\n"
    until(lambda: "labdock: secrets/jupyter_token contains 0 characters" in refusing.logs(), "the other refuses")
    state = refusing.container()
    assert state["State"]["Status"] == "running" and state["RestartCount"] == 0
    becomes(refusing, "unhealthy")
    said = refusing.make("doctor", check=False).stdout
    assert "FIX   the lab refused to start: secrets/jupyter_token contains 0 characters" in said
    assert "Then run 'make up'." in said
