"""A value in .env that Compose changes is named, with its line and without a part of the value."""

import json
import re
import subprocess
from collections.abc import Iterable

import pytest

from tests.support.doctor import doctor
from tests.support.project import Project

pytestmark = pytest.mark.usefixtures("engine")  # the commands read .env with Compose

SECRET = "s3cret"
# Line -> the value that its writer means. Compose reads these as they are meant.
MEANT = {
    "DB_WORD='pa$s3cret'": "pa$s3cret",
    "DB_WORD='pa$$s3cret'": "pa$$s3cret",
    "DB_WORD='pa${s3cret'": "pa${s3cret",
    "DB_WORD='pa #s3cret'": "pa #s3cret",
    "DB_WORD=pa$$s3cret": "pa$s3cret",
    'DB_WORD="pa$$s3cret"': "pa$s3cret",
    'DB_WORD="pa\\$s3cret"': "pa$s3cret",
    "DB_WORD=pa$": "pa$",
    "DB_WORD=pa$1$-$(id)": "pa$1$-$(id)",
    "DB_WORD=pa#s3cret": "pa#s3cret",
    "DB_WORD=pa # s3cret is not in this file": "pa",
    "DB_WORD='pa' # a comment": "pa",
    'DB_WORD="pa"#comment': "pa",
    " export DB_WORD = 'pa$s3cret'\r": "pa$s3cret",
    "OTHER=x\nDB_WORD=$OTHER-${OTHER}": "x-x",
    "DB_WORD=${DB_NO:-x}": "x",
    "DB_WORD='two\nlines $s3cret'": "two\nlines $s3cret",
}
# Line -> the value that its writer means, and what the message says. Compose loses a part of the value.
LOST = {
    "DB_WORD=pa$s3cret": ("pa$s3cret", "start of a variable's name"),
    'DB_WORD="pa$s3cret"': ("pa$s3cret", "start of a variable's name"),
    "DB_WORD=pa${s3cret}x": ("pa${s3cret}x", "start of a variable's name"),
    "DB_WORD=pa$$x$s3cret": ("pa$x$s3cret", "start of a variable's name"),
    "DB_WORD: pa$s3cret\r": ("pa$s3cret", "start of a variable's name"),
    "DB_WORD='pa's3cret": ("pas3cret", "after the closing quote"),
    'DB_WORD="pa" s3cret': ("pa s3cret", "after the closing quote"),
}
UNREADABLE = ["DB_WORD=pa${s3cret", "DB_WORD=pa${}s3cret"]


def compose_reads(project: Project, *names: str) -> list[str] | None:
    """The values of these names in .env as Compose reads them; None if it cannot read the file."""
    labels = {name: f"${{{name}-}}" for name in names}
    file = json.dumps({"services": {"any": {"image": "any", "labels": labels}}})
    command = ["docker", "compose", "--project-directory", ".", "--file", "-", "config", "--format", "json"]
    done = subprocess.run(command, cwd=project.folder, input=file, text=True, capture_output=True)
    if done.returncode:
        return None
    found = json.loads(done.stdout)["services"]["any"]["labels"]
    return [found[name].replace("$$", "$") for name in names]


def numbered(lines: Iterable[str]) -> tuple[str, list[str]]:
    """One .env with all these lines, in which each has a name of its own, and these names."""
    text = [line.replace("DB_WORD", f"DB_WORD_{number}") for number, line in enumerate(lines)]
    return "\n".join(text), [f"DB_WORD_{number}" for number, _ in enumerate(text)]


def said(project: Project, text: str) -> list[str]:
    """What the check says if .env ends with this text."""
    (project.folder / ".env").write_bytes(f"LAB_UID=1000\n{text}\n".encode())
    return project.run("sh", "-euc", ". lab/commands/lib/all.sh; check_env_values").stdout.splitlines()


def test_a_value_that_compose_reads_as_written_is_no_problem(project: Project) -> None:
    text, names = numbered(MEANT)
    assert said(project, text) == []
    assert compose_reads(project, *names) == [*MEANT.values()]


def test_a_value_that_loses_a_part_is_named(project: Project) -> None:
    text, names = numbered(LOST)
    messages = said(project, text)
    read = compose_reads(project, *names)
    assert (
        read
        and [name for name, value, (meant, _) in zip(names, read, LOST.values(), strict=True) if value == meant] == []
    )
    assert len(messages) == len(LOST)
    for number, (name, (_, words), message) in enumerate(zip(names, LOST.values(), messages, strict=True), 2):
        assert message.startswith(f"line {number} of .env: Compose ") and f" {name}" in message
        assert words in message and SECRET not in message


@pytest.mark.parametrize("line", UNREADABLE)
def test_a_value_that_compose_cannot_read_is_named(project: Project, line: str) -> None:
    (message,) = said(project, line)
    assert compose_reads(project, "DB_WORD") is None
    assert message.startswith("line 2 of .env: Compose cannot read '${' in DB_WORD.") and SECRET not in message


def test_the_two_ways_to_write_it_work(project: Project) -> None:
    """The message names single quotes and `$$`."""
    (message,) = said(project, "DB_WORD=pa$s3cret")
    assert "Write DB_WORD='VALUE' with single quotes, or write '$$' for '$'." in message
    for line in ("DB_WORD='pa$s3cret'", "DB_WORD=pa$$s3cret"):
        assert said(project, line) == [] and compose_reads(project, "DB_WORD") == ["pa$s3cret"]


@pytest.mark.full
def test_doctor_and_up_say_it(sound: Project) -> None:
    before = sound.read(".env")
    sound.set_env(PIP_INDEX_URL="https://me:pa$s3cret@index.example/simple")
    (line,) = (line for line in doctor(sound)["FIX"] if "start of a variable's name" in line)
    number = len(before.splitlines()) + 1
    assert line.startswith(f"line {number} of .env: Compose reads a '$' in PIP_INDEX_URL")
    sound.set_env(LAB_UMASK="x")  # `up` ends here, before it builds
    lines = sound.make("up", check=False).stderr.splitlines()
    assert f"labdock: {line}" in lines and "LAB_UMASK is 'x'" in "".join(lines)

    (sound.folder / ".env").write_text(f"{before}PIP_INDEX_URL=https://me:pa #s3cret@index.example/simple\n")
    (note,) = doctor(sound)["note"]
    assert note.startswith(f"line {number} of .env: Compose reads the text after ' #' in PIP_INDEX_URL as a comment.")


def test_a_file_that_compose_cannot_read_shows_no_password(sound: Project) -> None:
    for value, words in (
        ("pa${s3cret", "cannot read '${' in PIP_INDEX_URL"),
        ('"pas3cret', "unterminated quoted value"),
    ):
        (sound.folder / ".env").write_text(f"PIP_INDEX_URL={value}\n")
        text = "".join(doctor(sound)["FIX"]) + sound.make("up", check=False).stderr
        assert words in text
        assert SECRET not in re.sub(r".*level=.*", "", text)


@pytest.mark.full
def test_doctor_has_a_note_for_the_override_file(sound: Project) -> None:
    """The control: `$$`, and a variable that is set."""
    override = sound.folder / "compose.override.yaml"
    override.write_text("services:\n  lab:\n    labels: {word: 'pa$$s3cret', own: '${DB_PORT}'}\n")
    sound.set_env(DB_PORT="5")
    assert doctor(sound)["note"] == []
    override.write_text("services:\n  lab:\n    labels: {word: 'pa$s3cret'}\n")
    (note,) = doctor(sound)["note"]
    assert note.startswith("line 3 of compose.override.yaml: Compose reads a '$'") and SECRET not in note
