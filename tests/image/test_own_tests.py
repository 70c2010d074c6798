"""The rendered project's own `make test`: green on a lab as delivered, red on a loosened one."""

import re

from tests.support.project import Project

# What a user might change for convenience.
LOOSENED = """
services:
  lab:
    read_only: false
    cap_drop: !reset []
    security_opt: !reset []
    ports: !override ["0.0.0.0:0:8888"]
    volumes: ["./secrets:/run/secrets"]
"""


def test_it_passes_as_delivered_and_notices_what_was_loosened(fresh_project: Project) -> None:
    fresh_project.up()
    done = fresh_project.make("test")
    passed = set(re.findall(r"^def (test_\w+)", fresh_project.read("tests/test_lab.py"), re.MULTILINE))
    assert passed
    assert re.search(r"\d+ passed in", done.stdout.splitlines()[-1])

    (fresh_project.folder / "compose.override.yaml").write_text(LOOSENED)
    fresh_project.up()
    fresh_project.compose("exec", "--detach", "--user", "0", "lab", "sleep", "infinity")
    for folder in ("data", "notebooks"):
        (fresh_project.folder / folder).chmod(0o500)
    (fresh_project.folder / "secrets/jupyter_token").write_text("0" * 64)  # not the one it was started with
    done = fresh_project.make("test", check=False)
    assert done.returncode
    assert set(re.findall(r"^FAILED tests/test_lab.py::(test_\w+)", done.stdout, re.MULTILINE)) == passed


def test_without_a_lab_it_says_how_to_start_one(fresh_project: Project) -> None:
    done = fresh_project.make("test", check=False)
    assert done.returncode
    assert "labdock: the lab is not running: start it with 'make up'." in done.stderr
