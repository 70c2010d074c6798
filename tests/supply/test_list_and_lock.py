"""`make up` and `make doctor` notice that the lock does not fit the list in pyproject.toml."""

import os
import sys
from importlib.metadata import Distribution
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.build_programs import load
from tests.support.package_index import wheel
from tests.support.project import Project

HASH = f" \\\n    --hash=sha256:{'0' * 64}\n"
LOCK = (
    f"# a note\ndask==2026.8.0{HASH}distributed==2026.8.0{HASH}numpy==2.3.5{HASH}tomli==2 ; python_version < '3'{HASH}"
)
LIST = '[project]\nname = "x"\n# numbers\ndependencies = [\n    "dask[distributed]",\n    "numpy>=2",\n]\n'
# Name -> what the installed package needs.
INSTALLED = {
    "dask": ["numpy", "distributed ; extra == 'distributed'", "bokeh ; extra == 'diagnostics'"],
    "distributed": ["dask", "pywin32 ; sys_platform == 'win32'"],
    "numpy": [],
}


class Installed(Distribution):
    """A package that needs others."""

    def __init__(self, needs: list[str]) -> None:
        self.needs = needs

    def read_text(self, filename: str) -> str | None:
        return "".join(f"Requires-Dist: {one}\n" for one in self.needs) if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        raise NotImplementedError


@pytest.fixture(scope="module")
def program() -> ModuleType:
    return load("compare_list")


def compared(program: ModuleType, listed: str, lock: str = LOCK) -> str:
    return program.sentence(listed, lock, {name: Installed(needs) for name, needs in INSTALLED.items()})


# The list after an edit, and what the sentence says. An empty text: the edit changes nothing for the lock.
EDITS = {
    "# numbers\n": ("", ""),
    '    "numpy>=2",': ("  'NumPy >= 2' , # for plots", ""),
    '"numpy>=2"': ('"numpy>=2", "pywin32 ; sys_platform == \'win32\'"', ""),
    "numpy>=2": ("numpy>=2.4", "it has numpy 2.3.5 instead of numpy>=2.4. Run 'make sync' to correct only these "),
    ",\n]": (',\n    "humanize>=4",\n]', "it lacks humanize. "),
    "dask[distributed]": ("dask", "it still has distributed. "),
    "[distributed]": ("[diagnostics]", "it lacks bokeh for dask[diagnostics], still has distributed. "),
    '"dask[distributed]",': ("", "it still has dask, still has distributed. "),
    "dependencies": ("other", "it still has dask, still has distributed, still has numpy. "),
    "]\n": ("\n", "pyproject.toml or requirements.lock cannot be read ("),
    '"numpy>=2",\n': ('"numpy>>2",\n', "pyproject.toml or requirements.lock cannot be read ("),
}


@pytest.mark.parametrize("part", EDITS)
def test_an_edit_of_the_list_is_noticed_and_a_comment_is_not(program: ModuleType, part: str) -> None:
    new, said = EDITS[part]
    found = compared(program, LIST.replace(part, new, 1))
    assert said in found if said else found == ""
    assert "\n" not in found


def test_many_differences_are_counted(program: ModuleType) -> None:
    more = ", ".join(f'"x{number}"' for number in range(9))
    said = compared(program, LIST.replace('"numpy>=2",', f'"numpy>=2", {more}'))
    assert "it lacks x0, lacks x1, lacks x2, lacks x3, lacks x4 and 4 more. " in said


def test_a_package_from_an_address_fits_the_same_address_only(program: ModuleType) -> None:
    address = "https://f.example/numpy-2.3.5-py3-none-any.whl"
    listed, lock = LIST.replace("numpy>=2", f"numpy @ {address}"), LOCK.replace("numpy==2.3.5", f"numpy @ {address}")
    assert compared(program, listed, lock) == ""
    for wrong in ((listed, LOCK), (LIST, lock), (listed.replace("2.3.5", "2.4"), lock)):
        assert "it has numpy from another address. " in compared(program, *wrong)
    sources = f'[tool.uv.sources]\nnumpy = {{ url = "{address}" }}\n'
    assert compared(program, LIST + sources, lock) == ""


def test_an_image_of_another_lock_shows_no_leftovers(program: ModuleType) -> None:
    """Only an installed package says which other packages it needs."""
    assert compared(program, LIST.replace("numpy>=2", "numpy"), LOCK + f"humanize==4{HASH}") == ""


def test_a_new_projects_lock_fits_its_list(program: ModuleType, case: Project) -> None:
    listed, lock = case.read("pyproject.toml"), case.read("requirements.lock")
    assert program.differences(listed, lock, {}) == []
    assert program.differences(listed.replace('"ipykernel"', '"humanize"'), lock, {}) == ["lacks humanize"]


# --- in a restored project ----------------------------------------------------------------------------
@pytest.fixture
def restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """packages.py in a project whose bundle has the packages one, two and three. Package three has an address."""
    programs = load("run_and_explain"), load("packages")
    (tmp_path / "bundle/wheels").mkdir(parents=True)
    (tmp_path / "bundle/SHA256SUMS").touch()
    for program in programs:
        monkeypatch.setattr(program, "BUNDLE", tmp_path / "bundle")
    lock = f"colorama==1 ; sys_platform == 'win32'{HASH}"
    for name in ("one", "three", "two"):
        entry = wheel(tmp_path, name).replace(" --hash", " \\\n    --hash")
        (file,) = (tmp_path / "simple" / name).iterdir()
        file.rename(tmp_path / "bundle/wheels" / file.name)
        lock += entry.replace("three==1.0", f"three @ {ADDRESS}") if name != "two" else ""
    (tmp_path / "requirements.lock").write_text(lock)
    (tmp_path / "server.lock").touch()
    (tmp_path / "pyproject.toml").write_text(f'{TABLE}dependencies = [\n    "one",\n    "three @ {ADDRESS}",\n]\n')
    monkeypatch.chdir(tmp_path)
    for name, value in programs[0].python_settings([], tmp_path / "none").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    return programs[1]


ADDRESS = "https://nobody.invalid/three-1.0-py3-none-any.whl"
TABLE = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.11"\n'


def test_sync_of_a_restored_project_uses_the_bundle_and_keeps_other_platforms(restored: ModuleType) -> None:
    """The control: without an edit, nothing changes."""
    listed, lock = Path("pyproject.toml"), Path("requirements.lock")
    before = lock.read_text()
    restored.run("sync", [])
    assert lock.read_text() == before
    listed.write_text(listed.read_text().replace('"one"', '"two"'))
    restored.run("sync", [])
    assert [name for name, _ in restored.entries(lock.read_text())] == ["colorama", "three", "two"]
    assert f"three @ {ADDRESS} \\\n" in lock.read_text()
    listed.write_text(listed.read_text().replace('"two"', '"one"'))
    restored.run("sync", [])
    assert lock.read_text() == before


# --- in the lab ---------------------------------------------------------------------------------------
@pytest.mark.full
def test_up_names_an_edit_and_the_command(lab: Project) -> None:
    """The control: the lock of the lab fits its list, and a comment does not change this."""
    before = lab.read("pyproject.toml")
    try:
        lab.replace("pyproject.toml", "dependencies = [", "# mine\ndependencies = [")
        assert "ok    requirements.lock fits pyproject.toml" in lab.make("doctor", check=False).stdout
        lab.replace("pyproject.toml", '    "seaborn",\n', '    "humanize>=4",\n')
        said = (
            "requirements.lock does not fit pyproject.toml: it lacks humanize, still has seaborn. "
            "Run 'make sync' to correct only these packages, then 'make up'."
        )
        assert lab.make("up").stderr.splitlines()[-1] == f"labdock: {said}"
    finally:
        (lab.folder / "pyproject.toml").write_text(before)
