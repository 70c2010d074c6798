"""Words are true: tables are generated and current, links lead somewhere, what pages name exists."""

import ast
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.project import Project
from tests.support.reader import FENCE
from tests.support.updates import FILES, FOLDERS
from tools import files, reference

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
IN_PROJECT = ROOT / "template/README.md.jinja"
LINK = re.compile(r"\]\(([^)\s]+)\)")


def shown(page: Path) -> str:
    return str(page.relative_to(ROOT))


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
    typed = "\n".join([*re.findall(r"`([^`\n]+)`", FENCE.sub("", text)), *(block for _, block in FENCE.findall(text))])
    return set(re.findall(r"\bmake ([a-z][a-z-]*)", typed)) - known


def unknown_tests(text: str) -> set[str]:
    """The tests, or files of tests in a project, that the text names in backticks and that do not exist."""
    files = list((ROOT / "tests").rglob("test_*.py"))
    known = {file.name for file in files}
    for file in files:
        known.update(re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8")))
    named = re.findall(r"`(tests/[\w./-]*|test_\w+(?:\.py)?)`", FENCE.sub("", text))
    return {
        name
        for name in named
        if name not in known and not (ROOT / name).exists() and not (ROOT / "template" / name).exists()
    }


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
        ("template/Dockerfile.jinja", "# The lab's image.", "# An image.", "files.md"),
        ("copier.yml", "  - /compose.override.yaml\n_exclude", "_exclude", "files.md"),
        ("Makefile", "demo-down: .venv/ready ## Stop", "demo-stop: .venv/ready ## Stop", "commands.md"),
        ("tests/attack/test_escape.py", "mark.attack(", "mark.full(", "attacks.md"),
        ("tests/attack/test_anonymous.py", '"where the token is typed"', '"a page"', "attacks.md"),
    ],
)
def test_a_changed_source_is_noticed(tmp_path: Path, file: str, old: str, new: str, page: str) -> None:
    for sources in ["docs/reference/*.md", "template/**/*", *(sources for sources, _ in reference.PARTS.values())]:
        for source in filter(Path.is_file, ROOT.glob(sources)):
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


def test_every_file_of_a_project_stands_in_the_table(case: Project) -> None:
    listed = set(re.findall(r"^\| `([^`]+)`", (ROOT / "docs/reference/files.md").read_text(), re.MULTILINE))
    assert case.files() - listed == set()


def test_a_file_that_does_not_say_what_it_is_is_noticed() -> None:
    assert files.sentence("lab/x.sh", "#!/bin/sh\n# Ends a lab.\n# Twice.\nset -eu\n") == "Ends a lab."
    with pytest.raises(ValueError, match=r"lab/x\.sh does not say what it is"):
        files.sentence("lab/x.sh", "set -eu\n# Too late.\n")


def test_the_readme_of_a_project_says_whose_a_file_is() -> None:
    """What an update leaves alone, and two that it never holds."""
    (rows,) = re.findall(r"^\| Yours: .*\n\|.*\n((?:\|.*\n)+)", IN_PROJECT.read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for row in rows.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert named == {*FOLDERS, *FILES, ".env", "lab/bundle/"}


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


@pytest.mark.parametrize("page", [*PAGES, IN_PROJECT], ids=shown)
def test_who_is_told_to_install_copier_is_told_how_it_is_found(page: Path) -> None:
    """On a fresh machine, pipx puts commands where no shell looks."""
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"pipx\s+install\s+copier", text)) == len(re.findall(r"pipx\s+ensurepath", text))


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_the_tests_that_a_page_names_exist(page: Path) -> None:
    assert unknown_tests(page.read_text(encoding="utf-8")) == set()


def test_a_test_that_does_not_exist_is_noticed() -> None:
    """A file by its path or its name alone, and a test by its name."""
    named = "`tests/repo/test_docs.py`, `tests/attack/`, `test_server.py`, `test_nothing_runs_as_root`, test_none.py"
    assert unknown_tests(named) == set()
    wrong = {"tests/test_none.py", "tests/none/", "test_none.py", "test_none"}
    assert unknown_tests(" ".join(f"`{name}`" for name in wrong)) == wrong
