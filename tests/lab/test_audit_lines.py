"""The lines that LAB_AUDIT writes: what they contain, how much of it, and what happens on a full disk."""

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.build_programs import load

lines = load("audit_lines", "server")


def run(channel: str, kind: str, **content: Any) -> dict[str, Any] | None:
    return lines.run(channel, {"msg_type": kind}, content)


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.glob("*")) for line in file.read_text().splitlines()]


# --- what runs code ---------------------------------------------------------------------------------
@pytest.mark.parametrize("channel", ["shell", "control"])
def test_code_and_expressions_are_written(channel: str) -> None:
    assert run(channel, "execute_request", code="1", silent=True, user_expressions={"a": "b()"}) == {
        "event": "execute_request", "silent": True, "code": "1", "expressions": '{"a": "b()"}',
    }  # fmt: skip
    assert run(channel, "execute_request", code="1", user_expressions={}) == {
        "event": "execute_request", "silent": False, "code": "1",
    }  # fmt: skip


def test_what_the_debugger_runs_is_written() -> None:
    asked = {"command": "evaluate", "arguments": {"expression": "1 + 1"}}
    assert run("control", "debug_request", **asked) == {"event": "debug_request", "content": json.dumps(asked)}
    assert run("control", "debug_request", command="debugInfo") is None


def test_an_input_is_written_without_its_text() -> None:
    """A kernel takes every message on this channel as an input."""
    for kind in ("input_reply", "kernel_info_request"):
        assert run("stdin", kind, value="secret") == {"event": "input"}


def test_an_unknown_message_is_written() -> None:
    """ipykernel runs the code of an apply_request, for example."""
    assert run("shell", "apply_request", bound=True) == {"event": "apply_request", "content": '{"bound": true}'}


@pytest.mark.parametrize("kind", ["kernel_info_request", "comm_msg", "complete_request", "inspect_request"])
def test_a_message_without_code_is_not_written(kind: str) -> None:
    assert run("shell", kind, code="x", data={}) is None


def test_long_code_is_cut() -> None:
    code = "é\ud800" * 50_000
    line = run("shell", "execute_request", code=code)
    assert line and line["code"] == code[:65_536] and line["code_length"] == 100_000
    assert line["code_sha256"] == hashlib.sha256(code.encode(errors="surrogatepass")).hexdigest()
    assert json.dumps(line).isascii()


def test_names_that_the_browser_chose_are_cut() -> None:
    header = {"username": "u" * 1000, "session": {"a": 1}, "msg_id": "m"}
    found = lines.claimed(header, {"cellId": "c"})
    assert found == {"username": "u" * 200, "session": "{'a': 1}", "msg_id": "m", "cell": "c"}


@pytest.mark.parametrize(
    "text", [b'{"a": 1, "a": 2}', b'{"a": {"b": 1, "b": 1}}', b"\xff", b"{", "{}".encode("utf-16")]
)
def test_a_message_that_kernels_read_in_two_ways_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        lines.read(text)
    assert lines.read(b'{"a": {"b": 1}, "c": {"b": 2}}') == {"a": {"b": 1}, "c": {"b": 2}}


# --- files ------------------------------------------------------------------------------------------
def test_only_the_server_can_read_the_files(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        lines.Files(tmp_path / "audit").write({"event": "a"})
    finally:
        os.umask(before)
    (file,) = (tmp_path / "audit").iterdir()
    assert ((tmp_path / "audit").stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_line_has_the_time_and_stays_one_line(tmp_path: Path) -> None:
    lines.Files(tmp_path).write({"code": "a\nb\u2028\x1b[2J"})
    (file,) = tmp_path.iterdir()
    text = file.read_bytes()
    assert text.count(b"\n") == 1 and text.endswith(b"\n") and b"\x1b" not in text
    assert text.startswith(b'{"time": "2') and json.loads(text)["time"].endswith("Z")


def test_the_files_are_bounded(tmp_path: Path) -> None:
    """Each start of the server goes on where the last one ended. The newest lines stay, in their order."""
    for number in range(100):
        lines.Files(tmp_path, size=500, count=4).write({"number": number, "code": "x" * 100})
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4 and all(file.stat().st_size <= 500 for file in files)
    numbers = [line["number"] for line in written(tmp_path)]
    assert numbers == list(range(100 - len(numbers), 100)) and len(numbers) >= 8


@pytest.mark.parametrize("short", [False, True], ids=["no byte", "half a line"])
def test_a_full_disk_is_an_error_and_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    files, write = lines.Files(tmp_path), os.write
    files.write({"number": 1})

    def full(descriptor: int, data: bytes) -> int:
        if short:
            return write(descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        files.write({"number": 2})
    monkeypatch.undo()
    files.write({"number": 3})
    assert [line["number"] for line in written(tmp_path)] == [1, 3]
