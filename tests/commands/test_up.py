"""What `make up` and `make url` print: progress on a terminal, and the address last."""

import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.support.build_sources import stand_in
from tests.support.project import Project


def on_a_terminal(project: Project, target: str, piped: bool = False) -> tuple[str, str]:
    """What `make TARGET` shows on a terminal, and its standard output if that is `piped`, else an empty string."""
    terminal, inside = os.openpty()
    command = ("make", "--no-print-directory", target)
    out = subprocess.PIPE if piped else inside
    with subprocess.Popen(command, cwd=project.folder, text=True, stdout=out, stderr=inside) as process:
        os.close(inside)
        shown = b""
        with suppress(OSError):  # on Linux, reading fails after the last writer has closed the terminal
            while data := os.read(terminal, 65536):
                shown += data
        os.close(terminal)
        return shown.decode(), process.stdout.read() if process.stdout else ""


@pytest.mark.full
def test_up_shows_progress_on_a_terminal_and_only_the_result_in_a_pipe(lab: Project) -> None:
    shown, out = on_a_terminal(lab, "up", piped=True)
    assert "[lab " in shown and "CACHED" in shown and "Healthy" in shown
    done = lab.make("up")
    assert done.stderr == "Building what changed; the first time takes minutes ...\n"
    assert done.stdout == out


def test_up_prints_the_address_last(lab: Project) -> None:
    """The address is the last word of its line, so a terminal can make it a link.

    The lab starts even if the lock lacks a needed package.
    """
    needs = lab.read("lab/locks/required-packages.txt")
    (lab.folder / "lab/locks/required-packages.txt").write_text(f"{needs}toolz toolz>=1\n")
    done = lab.make("up")
    (lab.folder / "lab/locks/required-packages.txt").write_text(needs)
    lines = done.stdout.splitlines()
    assert lines[-1].split() == ["Address:", f"{lab.client().address}/lab"]
    assert "\x1b" not in "".join(lines)
    said = "labdock: requirements.lock lacks toolz>=1, which the lab needs. Run 'make add PKG=\"toolz>=1\"'."
    assert done.stderr.splitlines()[-1] == said


def test_a_build_that_fails_is_shown_in_a_pipe_too(engine: None, project: Project) -> None:
    project.make("env")
    project.replace("Dockerfile", "WORKDIR /\n", "WORKDIR /\nRUN echo what-went-wrong && false\n")
    done = project.make("up", check=False)
    assert done.returncode and "what-went-wrong" in done.stderr
    assert "labdock: the image was not built: " in done.stderr


def test_url_of_a_lab_that_runs(lab: Project) -> None:
    done = lab.make("url")
    assert done.stdout.splitlines()[-1] == f"Address: {lab.client().address}/lab"
    assert lab.client().token not in done.stdout


def test_url_on_a_terminal_prints_a_link_that_logs_in(lab: Project) -> None:
    """The link logs in, and the address of the page that opens does not contain the token."""
    running = lab.client()
    link = re.search(r"^Login:   (\S+)\r$", on_a_terminal(lab, "url")[0], re.MULTILINE)
    assert link and link[1].endswith(running.token)
    browser = requests.Session()
    page = browser.get(link[1], timeout=30)
    assert page.url == f"{running.address}/lab"
    assert browser.get(f"{running.address}/api/contents", timeout=30).status_code == 200
    assert running.token not in lab.logs()


def test_url_prints_no_link_for_a_token_that_would_need_escapes(lab: Project) -> None:
    file = lab.folder / "secrets/jupyter_token"
    token = file.read_bytes()
    try:
        file.write_bytes(b"&" * 32)
        shown = on_a_terminal(lab, "url")[0]
        assert "Address: " in shown and "Login:" not in shown
    finally:
        file.write_bytes(token)


@pytest.mark.full
def test_up_prints_no_link_on_a_terminal(lab: Project) -> None:
    """People copy the output of `make up` into reports."""
    shown = on_a_terminal(lab, "up")[0]
    assert "Address: " in shown and lab.client().token not in shown


def test_url_of_a_lab_without_a_port(lab: Project, tmp_path: Path) -> None:
    project = Project(lab.folder, lab.answers)
    stand_in(project, tmp_path / "bin", "docker", '[ "$1" != port ] || exit 1')
    done = project.make("url", check=False)
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr.startswith("labdock: the lab has no port on this machine. ")


def test_url_of_a_lab_that_does_not(engine: None, project: Project) -> None:
    done = project.make("url", check=False)
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr.splitlines()[0] == "labdock: the lab is not running. Start the lab with 'make up'."
