"""`make up` and `make doctor` name lines of compose.override.yaml that the service `server` needs."""

import pytest

from tests.support.doctor import doctor
from tests.support.project import Project

MOUNT = "/home/jovyan/mine is a mount of the service lab only, so the file browser does not show it."
PORT = "compose.override.yaml publishes port 8888 of the service lab, where nothing listens. Move these lines"
# A mount in a hidden folder is not in the file browser, so only notebooks need it.
ONLY_LAB = """
services:
  lab:
    ports: ["127.0.0.1:0:8888"]
    volumes: ["./mine:/home/jovyan/mine", "./mine:/home/jovyan/.config/mine"]
"""
BOTH = """
x-mine: &mine ["./mine:/home/jovyan/mine"]
services: {lab: {volumes: *mine}, server: {volumes: *mine}}
"""


@pytest.mark.full
def test_what_only_the_lab_has_is_named(default_image: None, fresh_project: Project) -> None:
    """The control: with the lines for both services, nothing is named, and the file browser shows the file."""
    (fresh_project.folder / "mine").mkdir()
    (fresh_project.folder / "mine/seen.txt").write_text("seen")
    override = fresh_project.folder / "compose.override.yaml"
    override.write_text(ONLY_LAB)
    said = [line for line in fresh_project.make("up").stderr.splitlines() if line.startswith("note")]
    assert [line.startswith(f"note  {start}") for line, start in zip(said, (PORT, MOUNT), strict=True)] == [True] * 2
    assert [line.startswith((PORT, MOUNT)) for line in doctor(fresh_project)["note"]] == [True] * 2

    override.write_text(BOTH)
    assert "note" not in fresh_project.make("up").stderr
    assert doctor(fresh_project)["note"] == []
    assert fresh_project.client().request("GET", "contents/mine/seen.txt").json()["content"] == "seen"
