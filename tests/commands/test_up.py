"""What `make up` and `make url` print: progress on a terminal, and the address last."""

import os
import subprocess
from contextlib import suppress

import pytest

from tests.support.project import Project


def on_a_terminal(project: Project) -> tuple[str, str]:
    """The standard output of `make up`, and its error output on a terminal."""
    terminal, inside = os.openpty()
    command = ("make", "--no-print-directory", "up")
    with subprocess.Popen(command, cwd=project.folder, text=True, stdout=subprocess.PIPE, stderr=inside) as process:
        os.close(inside)
        shown = b""
        with suppress(OSError):  # on Linux, reading fails after the last writer has closed the terminal
            while data := os.read(terminal, 65536):
                shown += data
        os.close(terminal)
        assert process.stdout
        return process.stdout.read(), shown.decode()


@pytest.mark.full
def test_up_shows_progress_on_a_terminal_and_only_the_result_in_a_pipe(lab: Project) -> None:
    out, shown = on_a_terminal(lab)
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


def test_url_of_a_lab_that_does_not(engine: None, project: Project) -> None:
    done = project.make("url", check=False)
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr.splitlines()[0] == "labdock: the lab is not running. Start the lab with 'make up'."
