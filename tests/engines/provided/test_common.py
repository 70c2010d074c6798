"""The lock: one process at a time, also if the process before removed the lock's file."""

import fcntl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.common import locked
from tests.support.waiting import until


def test_a_lock_excludes_others_after_its_file_was_removed(tmp_path: Path) -> None:
    root, file = tmp_path / "engine", tmp_path / "engine.lock"

    def second() -> None:
        with locked(root), file.open("w") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    with ThreadPoolExecutor() as pool:
        with locked(root):
            inode = file.stat().st_ino
            waiting = pool.submit(second)
            rows = Path("/proc/locks")
            until(lambda: any("-> FLOCK" in row and f":{inode} " in row for row in rows.read_text().splitlines()),
                  "the second waits", 30)  # fmt: skip
            file.unlink()
        waiting.result()
