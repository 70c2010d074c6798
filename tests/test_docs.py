"""Words are true: tables are generated and current, links lead somewhere, and what a reader types works."""

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, git
from tools import reference
from tools.demo import running_lab

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
IN_PROJECT = ROOT / "template/README.md.jinja"
TYPED = [ROOT / "README.md", ROOT / "docs/tutorial/first-lab.md"]  # every block of these is run
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def shown(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each fenced block."""
    return FENCE.findall(text)


def targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*?##-? ", (ROOT / makefile).read_text(), re.MULTILINE))


def dead_links(text: str, page: Path) -> list[str]:
    """Links of `text` to a file, or a heading in it, that does not exist; `page` is where they start."""
    dead = []
    for link in LINK.findall(FENCE.sub("", text)):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in headings(target.read_text(encoding="utf-8"))):
            dead.append(link)
    return dead


def headings(text: str) -> set[str]:
    """The anchors of a page's headings."""
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def unknown_targets(text: str, known: set[str]) -> set[str]:
    """What the text tells readers to `make` though there is no such target."""
    typed = "\n".join([*re.findall(r"`([^`\n]+)`", FENCE.sub("", text)), *(block for _, block in blocks(text))])
    return set(re.findall(r"\bmake ([a-z][a-z-]*)", typed)) - known


def unknown_tests(text: str) -> set[str]:
    """The tests that the text names in backticks and that do not exist."""
    files = list((ROOT / "tests").rglob("test_*.py"))
    known = {file.name for file in files}
    for file in files:
        known.update(re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8")))
    named = re.findall(r"`(tests/[\w./-]*|test_\w+(?:\.py)?)`", FENCE.sub("", text))
    return {name for name in named if name not in known and not (ROOT / name).exists()}


# --- generated tables -------------------------------------------------------------------------------
def test_the_generated_tables_are_current() -> None:
    assert [shown(page) for page, _ in reference.stale()] == [], "run: make docs"


def test_every_part_stands_on_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert sorted(name for _, name, _ in reference.MARKED.findall(text)) == sorted(reference.PARTS)


@pytest.mark.parametrize(
    ("file", "old", "new", "page"),
    [
        ("copier.yml", 'choices: ["3.12", ', 'choices: ["3.11", "3.12", ', "questions.md"),
        ("template/sample.env.jinja", "LAB_PIDS=512", "LAB_PIDS=513", "settings.md"),
        ("template/sample.env.jinja", "# Front end", "# The front end", "settings.md"),
        ("template/Makefile", "up: ## Build", "up: ## Really build", "commands.md"),
        ("Makefile", "demo-down: .venv/ready ## Stop", "demo-stop: .venv/ready ## Stop", "commands.md"),
        ("tests/attack/test_escape.py", "mark.attack(", "mark.full(", "attacks.md"),
        ("tests/attack/test_anonymous.py", '"where the token is typed"', '"a page"', "attacks.md"),
    ],
)
def test_a_changed_source_is_noticed(tmp_path: Path, file: str, old: str, new: str, page: str) -> None:
    for sources in ["docs/reference/*.md", *(sources for sources, _ in reference.PARTS.values())]:
        for source in ROOT.glob(sources):
            copy = tmp_path / source.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
    reference.write(tmp_path)
    assert not list(reference.stale(tmp_path))
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    assert [found.name for found, _ in reference.stale(tmp_path)] == [page]


def unmarked(text: str) -> list[str]:
    """The tests of a file of attacks that the table leaves out, though neither name nor docstring says control."""
    tests = [test for test in reference.tests(ast.parse(text)) if not reference.attack(test)]
    return [test.name for test in tests if "control" not in f"{test.name} {ast.get_docstring(test)}".lower()]


def test_every_attack_stands_in_the_table() -> None:
    files = list((ROOT / "tests/attack").glob("test_*.py"))
    assert files
    assert [test for file in files for test in unmarked(file.read_text(encoding="utf-8"))] == []


def test_an_attack_without_its_marker_is_noticed() -> None:
    text = """
CASES = {"c": 1, "d": 2}
@pytest.mark.attack("a", "b")
@pytest.mark.parametrize("case", CASES)
def test_marked(): ...
@pytest.mark.attack("a")
def test_half(): ...
class TestMore:
    def test_unmarked(): ...
    def test_succeeds(): "The control."
    def test_the_control(): ...
"""
    assert unmarked(text) == ["test_half", "test_unmarked"]
    section = reference.attacks(f'"""Of one kind.\n\nMore."""{text}')
    assert section.startswith("\n## Of one kind\n\n| What is tried |")
    assert section.endswith("| --- |\n| a: c, d | b | `test_marked` |\n")


# --- words ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    assert dead_links(page.read_text(encoding="utf-8"), page) == []


def test_a_dead_link_is_noticed() -> None:
    text = "[a](docs/none.md) [b](README.md#nowhere) [c](README.md#labdock) [d](https://example.com)"
    assert dead_links(text, ROOT / "README.md") == ["docs/none.md", "README.md#nowhere"]


@pytest.mark.parametrize("page", [*PAGES, IN_PROJECT], ids=shown)
def test_commands_exist(page: Path) -> None:
    known = targets("template/Makefile") | (set() if page == IN_PROJECT else targets("Makefile"))
    assert unknown_targets(page.read_text(encoding="utf-8"), known) == set()


def test_a_command_that_does_not_exist_is_noticed() -> None:
    assert unknown_targets("Type `make nothing`, or\n```sh\nmake up nowhere\nmake never\n```\n", {"up"}) == {
        "nothing",
        "never",
    }


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_the_tests_that_a_page_names_exist(page: Path) -> None:
    assert unknown_tests(page.read_text(encoding="utf-8")) == set()


def test_a_test_that_does_not_exist_is_noticed() -> None:
    """A file by its path or its name alone, and a test by its name."""
    named = "`tests/test_docs.py`, `tests/attack/`, `test_server.py`, `test_nothing_runs_as_root`, test_none.py"
    assert unknown_tests(named) == set()
    wrong = {"tests/test_none.py", "tests/none/", "test_none.py", "test_none"}
    assert unknown_tests(" ".join(f"`{name}`" for name in wrong)) == wrong


@pytest.mark.parametrize("page", [*TYPED, IN_PROJECT], ids=shown)
def test_a_block_is_posix_shell_or_powershell(page: Path) -> None:
    for language, block in blocks(page.read_text(encoding="utf-8")):
        assert language in {"sh", "powershell"}, block
        if language == "sh":
            assert subprocess.run(["sh", "-n"], input=block, text=True).returncode == 0, block


# --- what a reader types ----------------------------------------------------------------------------
class Reader:
    """Types the blocks of a page one after another into a clone, the folder carried on from block to block."""

    def __init__(self, page: Path, clone: Path) -> None:
        self.blocks = [block for language, block in blocks(page.read_text(encoding="utf-8")) if language == "sh"]
        self.folder = clone
        # Any free port; `make test` here is this very suite, so it is collected and not run again.
        self.environment = {**os.environ, "JUPYTER_PORT": "0", "PYTEST_ADDOPTS": "--collect-only --quiet"}

    def type(self, block: str) -> None:
        end = self.folder.parent / "pwd"
        script = f"set -eu\n{block}\npwd >'{end}'"
        done = subprocess.run(
            ["sh", "-c", script], cwd=self.folder, env=self.environment, text=True, capture_output=True
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        self.folder = Path(end.read_text().strip())


@pytest.fixture(scope="module")
def clone(engine: None, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clean clone with nothing prepared; what its commands start is stopped in the end."""
    folder = tmp_path_factory.mktemp("reader") / "labdock"
    git("clone", "--quiet", str(template), str(folder), cwd=template)
    yield folder
    for project in (folder / "demo", folder.parent / "iris-study"):
        if project.exists():
            subprocess.run(
                ["docker", "compose", "down", "--volumes", "--rmi", "all", "--timeout", "2"],
                cwd=project, capture_output=True,
            )  # fmt: skip


def has_plot(notebook: Path) -> bool:
    return "image/png" in notebook.read_text(encoding="utf-8")


@pytest.mark.full
def test_the_readme_can_be_typed(clone: Path) -> None:
    reader = Reader(ROOT / "README.md", clone)
    for block in reader.blocks:
        reader.type(block)
    assert has_plot(clone / "demo/notebooks/iris.ipynb")
    assert (clone.parent / "iris-study/compose.yaml").exists()
    shutil.rmtree(clone.parent / "iris-study")


@pytest.mark.full
def test_the_tutorial_leads_to_the_plot(clone: Path) -> None:
    reader = Reader(ROOT / "docs/tutorial/first-lab.md", clone)
    *before, last = reader.blocks
    for block in before:
        reader.type(block)
    # Where the tutorial says "Run All Cells", which this stands for.
    assert not has_plot(reader.folder / "notebooks/iris.ipynb")
    running_lab(reader.folder).run_notebook("notebooks/iris.ipynb")
    assert has_plot(reader.folder / "notebooks/iris.ipynb")
    assert not (clone / "demo").exists()
    reader.type(last)
    left = subprocess.run(["docker", "compose", "ps", "--all", "--quiet"], cwd=reader.folder, capture_output=True)
    assert left.stdout == b""


def test_a_block_that_fails_is_noticed(tmp_path: Path) -> None:
    reader = Reader(ROOT / "README.md", tmp_path)
    with pytest.raises(AssertionError, match="make nothing"):
        reader.type("make nothing\ntrue")
