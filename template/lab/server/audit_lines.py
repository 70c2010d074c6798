"""What the server writes if LAB_AUDIT is on: a line for each message that makes a kernel run code, never its output."""

import errno
import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CODE = 65_536  # characters of code in a line
NAME = 200  # characters of a name that the browser chose
# Messages without code. All others are written, also messages that a new front end invents.
NO_CODE = {
    "kernel_info_request", "comm_info_request", "comm_open", "comm_msg", "comm_close", "complete_request",
    "inspect_request", "is_complete_request", "history_request", "usage_request", "create_subshell_request",
    "delete_subshell_request", "list_subshell_request",
}  # fmt: skip


class Files:
    """The lines, in files that only this user can read: 00000001.jsonl and so on. The oldest files are deleted."""

    def __init__(self, folder: Path, size: int = 10_000_000, count: int = 10) -> None:
        self.folder, self.size, self.count = folder, size, count

    def write(self, what: dict[str, Any]) -> None:
        """Append a line with the time and `what`. Raises OSError if this fails. Then the file is as it was before."""
        time = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        line = json.dumps({"time": time, **what}).encode() + b"\n"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        files = self.files()
        number = int(files[-1].stem) if files else 1
        if files and files[-1].stat().st_size + len(line) > self.size:
            number += 1
        append(self.folder / f"{number:08}.jsonl", line)
        for old in self.files()[: -self.count]:
            old.unlink()

    def files(self) -> list[Path]:
        """The files, the oldest first."""
        return sorted(self.folder.glob("[0-9]" * 8 + ".jsonl"))


def append(file: Path, line: bytes) -> None:
    """Append the whole line or nothing. Raises OSError."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    before = os.fstat(descriptor).st_size
    try:
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.ftruncate(descriptor, before)
        raise
    finally:
        os.close(descriptor)


def read(text: bytes) -> dict[str, Any]:
    """A JSON object of a message. Raises ValueError if kernels could read it in two ways."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            raise ValueError("a message contains a name twice")
        return found

    return json.loads(text.decode(), object_pairs_hook=once)


def no_code(channel: str, header: dict[str, Any]) -> bool:
    """Does the header say that the message contains no code? A kernel takes every message on stdin as an input."""
    return channel != "stdin" and header["msg_type"] in NO_CODE


def run(channel: str, header: dict[str, Any], content: dict[str, Any]) -> dict[str, Any] | None:
    """What a message makes a kernel run. None if the message contains no code."""
    kind = str(header["msg_type"])
    if channel == "stdin":
        return {"event": "input"}  # without the text, which may be a password
    if no_code(channel, header) or (kind == "debug_request" and content.get("command") == "debugInfo"):
        return None
    if kind != "execute_request":
        return {"event": kind[:NAME], **shortened("content", json.dumps(content))}
    expressions = content.get("user_expressions")
    return {
        "event": kind,
        "silent": bool(content.get("silent")),
        **shortened("code", str(content.get("code"))),
        **(shortened("expressions", json.dumps(expressions)) if expressions else {}),
    }


def shortened(name: str, text: str) -> dict[str, Any]:
    """The text, or its start with the length and the SHA-256 of the whole text."""
    if len(text) <= CODE:
        return {name: text}
    whole = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return {name: text[:CODE], f"{name}_length": len(text), f"{name}_sha256": whole}


def claimed(header: dict[str, Any], metadata: dict[str, Any]) -> dict[str, str]:
    """What the browser says about itself and the cell. The server cannot check it."""
    names = {name: header.get(name) for name in ("username", "session", "msg_id")} | {"cell": metadata.get("cellId")}
    return {name: str(value)[:NAME] for name, value in names.items() if value}
