"""The secret of the logins is kept in a file. If it is damaged or cannot be kept, the server still starts."""

import os
from pathlib import Path

import pytest

from tests.support.build_programs import load

made = load("cookie_key", "server")
TOKENS = (b"a" * 64, b"b" * 64)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The server's folder."""
    return tmp_path / "state"


def key(folder: Path | None, token: bytes = TOKENS[0]) -> bytes:
    """The key of the next start of the server."""
    return made.cookie_key(token, str(folder) if folder else None)


def test_a_restart_keeps_the_key_and_a_new_token_changes_it(state: Path) -> None:
    first, second = (key(state, token) for token in TOKENS)
    assert len({first, second}) == 2 and len(first) == 32
    assert [key(state, token) for token in TOKENS] == [first, second]
    assert key(state.parent / "another") != first


def test_only_the_server_can_read_the_secret(state: Path) -> None:
    before = os.umask(0)
    try:
        key(state)
    finally:
        os.umask(before)
    (file,) = state.iterdir()
    assert (state.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert len(file.read_bytes()) == 32 and file.read_bytes() not in (key(state), *TOKENS)


@pytest.mark.parametrize("damage", [b"", b"short", bytes(33)])
def test_a_damaged_secret_is_replaced(state: Path, damage: bytes) -> None:
    key(state)
    (file,) = state.iterdir()
    file.write_bytes(damage)
    assert key(state) == key(state)
    assert len(file.read_bytes()) == 32


def test_a_start_that_was_killed_leaves_no_obstacle(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends before the file has its name. The next start makes another secret."""
    monkeypatch.setattr(Path, "replace", lambda *_: os.kill(os.getpid(), 9))
    if (child := os.fork()) == 0:
        key(state)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    monkeypatch.undo()
    assert [file.name for file in state.iterdir()] == ["cookie-secret.new"]
    assert key(state) == key(state)
    assert [file.name for file in state.iterdir()] == ["cookie-secret"]


def test_nothing_is_written_through_a_link(state: Path, tmp_path: Path) -> None:
    """The control: the name that the link takes is the one that the server writes."""
    state.mkdir()
    (state / "cookie-secret.new").symlink_to(tmp_path / "elsewhere")
    key(state)
    assert not (tmp_path / "elsewhere").exists() and (state / "cookie-secret").is_file()


def test_without_a_folder_each_start_has_another_key(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the folder cannot be used, the log says so too."""
    assert key(None) != key(None)
    assert capsys.readouterr().err == ""
    state.write_text("a file, not a folder")
    assert key(state) != key(state)
    said = capsys.readouterr().err
    assert said.startswith("labdock: the server cannot keep the secret of its logins (") and "File exists" in said
