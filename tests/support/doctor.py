"""What `make doctor` says, and typing what it says."""

import re

from tests.support.project import Project


def doctor(project: Project) -> dict[str, list[str]]:
    """The sentences of `make doctor` by their first word: ok, note, MEND. It fails where one is to mend."""
    done = project.make("doctor", check=False)
    assert "\x1b" not in done.stdout, "no colour is needed to read it"
    lines = [re.fullmatch(r"(ok   |MEND |note ) (\S.*)", line) for line in done.stdout.splitlines()]
    said: dict[str, list[str]] = {"ok": [], "note": [], "MEND": []}
    for line in lines:
        assert line, done.stdout
        said[line[1].strip()].append(line[2])
    assert bool(done.returncode) is bool(said["MEND"]), done.stdout + done.stderr
    return said


def faults(project: Project) -> list[str]:
    """What is to be mended, but for this machine's own disk, which may well be nearly full."""
    return [sentence for sentence in doctor(project)["MEND"] if "where the engine keeps its images" not in sentence]


def printed_command(sentence: str) -> str:
    """The command that a sentence tells to run."""
    found = re.search(r"\brun '([^']+)'", sentence)
    assert found, f"no command in: {sentence}"
    return found[1]


def mend(project: Project, sentence: str) -> None:
    """Type the command that `sentence` tells, in the project's folder."""
    project.run("sh", "-c", printed_command(sentence))
