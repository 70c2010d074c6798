"""Reads the output of `make doctor`, and runs the commands that it prints."""

import re

from tests.support.project import Project

# Doctor prints these notes for every project, and for every lab that runs.
UPDATE = "'copier check-update' tells you if the template has a newer version."
CACHES = "caches, temporary files and packages from 'pip install' take "


def doctor(project: Project) -> dict[str, list[str]]:
    """The lines of `make doctor`, sorted by first word (ok, note, FIX). The notes for every project are left out.

    Doctor must fail if there is a FIX, and only then.
    """
    done = project.make("doctor", check=False)
    assert "\x1b" not in done.stdout, "no colour is needed to read it"
    lines = [re.fullmatch(r"(ok   |FIX  |note ) (\S.*)", line) for line in done.stdout.splitlines()]
    printed: dict[str, list[str]] = {"ok": [], "note": [], "FIX": []}
    for line in lines:
        assert line, done.stdout
        if line[2] != UPDATE and not line[2].startswith(CACHES):
            printed[line[1].strip()].append(line[2])
    assert bool(done.returncode) is bool(printed["FIX"]), done.stdout + done.stderr
    return printed


def problems(project: Project) -> list[str]:
    """The FIX lines of `make doctor`, without the line about low disk space on this machine."""
    return wanted(doctor(project))


def wanted(printed: dict[str, list[str]]) -> list[str]:
    """The same lines as `problems`, from the result of `doctor`."""
    return [line for line in printed["FIX"] if "free in the engine's folder" not in line]


def printed_command(line: str) -> str:
    """The command that a line tells you to run."""
    found = re.search(r"\b[Rr]un '([^']+)'", line)
    assert found, f"no command in: {line}"
    return found[1]


def fix(project: Project, line: str) -> None:
    """Run the command that `line` prints, in the project's folder."""
    project.run("sh", "-c", printed_command(line))
