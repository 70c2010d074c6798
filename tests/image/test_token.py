"""The token is in its file and nowhere else that somebody could look."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.mutants import beside
from tests.support.probes import get, running_kernel
from tests.support.project import Project
from tests.support.waiting import until

PROCESSES = "for file in /proc/[0-9]*/{file}; do tr '\\0' ' ' <$file; done 2>/dev/null || true"


def seen_in(project: Project, token: str) -> set[str]:
    """Where the token shows."""
    containers = project.containers()
    image = project.container()["Image"]

    def inside(file: str) -> str:
        return project.compose("exec", "--no-TTY", "lab", "sh", "-c", PROCESSES.format(file=file)).stdout

    places = {
        "the containers' inspection": json.dumps(containers),
        "the image's inspection": project.run("docker", "image", "inspect", image).stdout,
        "the image's history": project.run("docker", "history", "--no-trunc", image).stdout,
        "the log": project.logs(),
        "arguments": inside("cmdline"),
        "environments": inside("environ"),
    }
    assert "JUPYTER_USERNAME" in places["environments"]  # they could be read
    return {place for place, text in places.items() if token in text}


def test_it_is_a_long_secret_of_its_owner(lab: Project) -> None:
    file = lab.folder / "secrets/jupyter_token"
    assert len(lab.lab().token) >= 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_uid == (lab.folder / "secrets").stat().st_uid


def test_it_shows_nowhere(lab: Project) -> None:
    running = lab.lab()
    assert [get(running, "/api/contents", token) for token in (running.token, "0" * 64)] == [
        200,
        403,
    ]  # both are logged
    with running_kernel(running):
        assert seen_in(lab, running.token) == set()


# The control: labs that give it away. What each shows is found.
SLEEP = {"entrypoint": ["sh", "-c", "exec sleep infinity"]}
LEAKS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "variable": (
        {**SLEEP, "environment": {"LEAK": "TOKEN"}},
        {"the containers' inspection", "environments"},
    ),
    "argument": (
        {"entrypoint": ["sh", "-c", "echo $0; sleep infinity; true", "TOKEN"]},
        {"the containers' inspection", "arguments", "the log"},
    ),
    "image": (
        {**SLEEP, "image": "LEAKING"},
        {"the containers' inspection", "the image's inspection", "the image's history", "environments"},
    ),
}


@pytest.mark.parametrize("leak", [pytest.param(leak, marks=pytest.mark.full) for leak in LEAKS])
def test_what_shows_it_is_noticed(lab: Project, tmp_path: Path, leak: str) -> None:
    token, (changes, places) = "0123456789abcdef" * 4, LEAKS[leak]
    leaking = f"{lab.config()['name']}-leaking"
    dockerfile = f"FROM {lab.config()['services']['lab']['image']}\nENV LEAK={token}\n"
    lab.run("docker", "build", "--quiet", "--tag", leaking, "-", input=dockerfile)
    text = json.dumps(changes).replace('TOKEN"', f'{token}"').replace("LEAKING", leaking)
    layer = {"services": {"lab": {**json.loads(text), "pull_policy": "never"}}}
    with beside(lab, tmp_path, layer) as twin:
        twin.compose("up", "--detach", "--no-build")
        until(lambda: seen_in(twin, token) == places, f"{token} is seen in {places}")
    lab.run("docker", "image", "rm", leaking)
