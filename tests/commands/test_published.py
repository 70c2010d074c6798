"""`make up` and `make doctor` name a lab that other computers reach without TLS, and the command that adds TLS."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.doctor import doctor, printed_command
from tests.support.project import Project, Render
from tests.support.updates import conflicts, update

OPEN = "copier update --defaults --data tls=self-signed"


def rarer(*values: str) -> list[Any]:
    """Parameters for `make test-full` only."""
    return [pytest.param(value, marks=pytest.mark.full) for value in values]


def noted(project: Project) -> list[str]:
    """The notes of `make doctor` about connections without TLS."""
    return [note for note in doctor(project)["note"] if "the connection has no TLS" in note]


@pytest.fixture(scope="module")
def project(engine: None, new_project: Render) -> Project:
    return new_project()


@pytest.mark.parametrize(
    "bind", ["0.0.0.0", *(pytest.param(bind, marks=pytest.mark.full) for bind in ("192.0.2.7", "[::]"))]
)
def test_a_published_lab_is_named(project: Project, bind: str) -> None:
    """Also before it starts. On this machine's own address, there is no note."""
    project.set_env(JUPYTER_BIND=bind, JUPYTER_PORT="9000")
    (note,) = noted(project)
    assert note.startswith(f"other computers can reach the lab at {bind}:9000, ") and printed_command(note) == OPEN


@pytest.mark.parametrize(
    "bind", ["127.0.0.1", *(pytest.param(bind, marks=pytest.mark.full) for bind in ("127.0.0.2", "[::1]", ""))]
)
def test_a_lab_on_this_machine_is_not_named(project: Project, bind: str) -> None:
    project.set_env(JUPYTER_BIND=bind)
    assert noted(project) == []


@pytest.mark.full
def test_make_up_says_it_each_time_until_tls_is_on(fresh_lab: Project, tmp_path: Path) -> None:
    """An .env of an earlier release may publish the lab, and the lab still starts."""
    assert "no TLS" not in fresh_lab.make("up").stderr  # the control
    fresh_lab.set_env(JUPYTER_BIND="0.0.0.0")
    for _ in range(2):
        done = fresh_lab.make("up")
        (line,) = [line for line in done.stderr.splitlines() if "the connection has no TLS" in line]
        assert line.startswith("note  other computers can reach the lab at 0.0.0.0:") and printed_command(line) == OPEN
        assert "Address: http://127.0.0.1:" in done.stdout
    assert len(noted(fresh_lab)) == 1
    fresh_lab.commit()
    update(fresh_lab, tls="self-signed")
    assert conflicts(fresh_lab) == set()
    done = fresh_lab.make("up")
    assert "no TLS" not in done.stderr and "Address: https://127.0.0.1:" in done.stdout
    assert noted(fresh_lab) == []
