"""The workers of a run share what is expensive, and each file's fixtures are set up once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import shared
from tests.support.repository import ROOT
from tests.support.workers import shares, shares_folder


@pytest.fixture(scope="module")
def setups() -> Path:
    """A file of the run with a line for each time that this fixture is set up."""
    path = shared.folder() / "setups"
    with path.open("a") as lines:
        lines.write("set up\n")
    return path


@pytest.mark.parametrize("number", range(9))
def test_a_fixture_of_a_file_is_set_up_in_one_worker(setups: Path, number: int) -> None:
    assert setups.read_text() == "set up\n"


def test_only_a_file_with_such_a_fixture_stays_together(tmp_path: Path) -> None:
    assert shares(Path(__file__))
    assert not shares(ROOT / "tests/template/test_questions.py")
    (tmp_path / "conftest.py").write_text('@pytest.fixture(scope="module")\n')
    (tmp_path / "test_it.py").touch()
    assert shares(tmp_path / "test_it.py") and not shares_folder(tmp_path / "test_it.py")


def test_a_folder_with_a_fixture_of_its_own_stays_together(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('@pytest.fixture(scope="package")\n')
    for name in ("test_it.py", "test_more.py"):
        (tmp_path / name).touch()
        assert shares(tmp_path / name) and shares_folder(tmp_path / name)


def test_what_is_shared_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shared.FOLDER, str(tmp_path))
    made = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("made")

    with ThreadPoolExecutor() as pool:
        found = set(pool.map(lambda _: shared.once("thing", make).read_text(), range(9)))
    assert found == {"made"} and len(made) == 1


def test_what_failed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shared.FOLDER, str(tmp_path))

    def fail(path: Path) -> None:
        path.mkdir()
        raise RuntimeError("it fails")

    with pytest.raises(RuntimeError):
        shared.once("thing", fail)
    assert not (tmp_path / "thing").exists()
    assert shared.once("thing", Path.mkdir).is_dir()
