"""The docs are true: generated tables are current, and links, commands and tests that a page names exist."""

import ast
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.support.page_commands import FENCE
from tests.support.project import Project
from tests.support.repository import ROOT
from tests.support.updates import FILES, FOLDERS
from tools import files, messages, reference

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
IN_PROJECT = sorted((ROOT / "template").rglob("*README.md*"))  # pages that Copier renders
DECISIONS = ROOT / "docs/explanation/decisions"
LINK = re.compile(r"\]\(([^)\s]+)\)")


def shown(page: Path) -> str:
    return str(page.relative_to(ROOT))


def targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*?##-? ", (ROOT / makefile).read_text(), re.MULTILINE))


def links(text: str) -> list[str]:
    """The links of a page to this repository's own files and headings."""
    return [link for link in LINK.findall(FENCE.sub("", text)) if not re.match(r"[a-z]+:", link)]


def dead_links(text: str, page: Path) -> list[str]:
    """The links of `text` to a file or heading that does not exist. `page` is the file that holds the text."""
    dead = []
    for link in links(text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in headings(target.read_text(encoding="utf-8"))):
            dead.append(link)
    return dead


def headings(text: str) -> set[str]:
    """The anchors of a page's headings."""
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def typed_targets(text: str) -> set[str]:
    """The targets that the text tells readers to `make`."""
    typed = "\n".join([*re.findall(r"`([^`\n]+)`", FENCE.sub("", text)), *(block for _, block in FENCE.findall(text))])
    return set(re.findall(r"\bmake ([a-z][a-z-]*)", typed))


def named_tests(text: str) -> set[str]:
    """The tests, and files and folders of tests, that the text names in backticks."""
    return set(re.findall(r"`(tests/[\w./-]*|test_\w+(?:\.py)?)`", FENCE.sub("", text)))


def unknown_tests(text: str) -> set[str]:
    """The tests that the text names and that exist neither here nor in a project."""
    files = list((ROOT / "tests").rglob("test_*.py"))
    known = {file.name for file in files}
    known |= {f"tests/{re.sub('{%.*?%}', '', file.name)}" for file in (ROOT / "template/tests").iterdir()}
    for file in files:
        known.update(re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8")))
    return {
        name
        for name in named_tests(text) - known
        if not (ROOT / name).exists() and not (ROOT / "template" / name).exists()
    }


def on_pages(find: Callable[[Path], Iterable[str]], pages: list[Path]) -> dict[str, list[str]]:
    """What `find` finds on each page, without the pages where it finds nothing."""
    return {shown(page): found for page in pages if (found := sorted(find(page)))}


# --- generated tables -------------------------------------------------------------------------------
def test_the_generated_tables_are_current() -> None:
    assert [shown(page) for page, _ in reference.stale()] == [], "run: make docs"


def test_every_part_is_on_one_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert sorted(name for _, name, _ in reference.MARKED.findall(text)) == sorted(reference.PARTS)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the pages and of all that they are made from."""
    folder = tmp_path_factory.mktemp("sources")
    for pattern in ["docs/**/*.md", "template/**/*", *(pattern for pattern, _ in reference.PARTS.values())]:
        for source in filter(Path.is_file, ROOT.glob(pattern)):
            copy = folder / source.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
    reference.write(folder)
    assert not list(reference.stale(folder))
    return folder


@pytest.mark.parametrize(
    ("file", "old", "new", "page"),
    [
        ("copier.yml", 'choices: ["3.12", ', 'choices: ["3.11", "3.12", ', "questions.md"),
        ("template/sample.env.jinja", "LAB_PIDS=512", "LAB_PIDS=513", "settings.md"),
        ("template/sample.env.jinja", "\n# Front end", "\n# The front end", "settings.md"),
        ("template/Makefile", "up: ## Builds", "up: ## Really builds", "commands.md"),
        ("template/Dockerfile.jinja", "# The lab's image.", "# An image.", "files.md"),
        ("copier.yml", "  - /compose.override.yaml\n_exclude", "_exclude", "files.md"),
        ("Makefile", "demo-down: .venv/ready ## Stops", "demo-stop: .venv/ready ## Stops", "commands.md"),
        ("tests/attack/test_escape.py", "mark.attack(", "mark.full(", "attacks.md"),
        ("tests/attack/test_anonymous.py", "the page where you type the token", "a page", "attacks.md"),
        ("template/lab/commands/rotate.sh", "exec sh", 'refuse "this is new. Fix it."\nexec sh', "troubleshooting.md"),
        ("template/lab/build/packages.py", "def main", 'fail("this is new. Fix it.")\ndef main', "troubleshooting.md"),
    ],
)
def test_a_changed_source_is_noticed(sources: Path, file: str, old: str, new: str, page: str) -> None:
    text = (sources / file).read_text()
    assert old in text
    (sources / file).write_text(text.replace(old, new))
    try:
        assert [found.name for found, _ in reference.stale(sources)] == [page]
    finally:
        (sources / file).write_text(text)


def unmarked(text: str) -> list[str]:
    """The tests of a file of attacks without the marker, except those whose name or docstring says control."""
    tests = [test for test in reference.tests(ast.parse(text)) if not reference.attack(test)]
    return [test.name for test in tests if "control" not in f"{test.name} {ast.get_docstring(test)}".lower()]


def test_every_attack_is_in_the_table() -> None:
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
    assert section.startswith("\n## Of one kind\n\n| Attack |")
    assert section.endswith("| --- |\n| a. Cases: c; d. | b | `test_marked` |\n")


def test_every_file_of_a_project_is_in_the_table(case: Project) -> None:
    listed = set(re.findall(r"^\| `([^`]+)`", (ROOT / "docs/reference/files.md").read_text(), re.MULTILINE))
    rendered = {file for file in case.files() if not file.endswith(".gitkeep")}
    assert "Dockerfile" in rendered
    assert rendered - listed == set()


def test_a_file_that_does_not_say_what_it_is_is_noticed() -> None:
    assert files.sentence("lab/x.sh", "#!/bin/sh\n# Ends a lab.\n# Twice.\nset -eu\n") == "Ends a lab."
    with pytest.raises(ValueError, match=r"lab/x\.sh has no first comment"):
        files.sentence("lab/x.sh", "set -eu\n# Too late.\n")


def test_every_silent_file_exists() -> None:
    assert files.unused(ROOT / "template") == []


def test_a_setting_without_a_sentence_of_its_own_is_refused() -> None:
    good = "# --- One ---\n\n# The first.\nA=1\n\n# The second.\nB=\n"
    assert reference.settings(good).count("\n| `") == 2
    for bad in ("# The second.\n", "# --- One ---\n", "second."):
        with pytest.raises(ValueError, match="needs a heading, and a comment"):
            reference.settings(good.replace(bad, bad[:-1] + ":" if bad == "second." else ""))


def test_the_manual_names_the_files_of_the_user() -> None:
    """The manual names the files that an update never changes, and three that the template never contains."""
    text = "".join(page.read_text(encoding="utf-8") for page in IN_PROJECT)
    (rows,) = re.findall(r"^\| Your files: .*\n\|.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    named = {name for row in rows.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert named == {*FOLDERS, *FILES, ".env", "lab/bundle/", "lab/locks/server-extensions.lock"}


# --- error messages ---------------------------------------------------------------------------------
def test_every_message_says_what_to_do() -> None:
    assert messages.unanswered(ROOT / "template") == [], "add the fix to the message, or a line to EXPLAINED"
    assert messages.unused(ROOT / "template") == [], "these lines of EXPLAINED fit no message"


def test_a_compiled_module_is_no_source(tmp_path: Path) -> None:
    """Python writes compiled modules next to the template's programs if tests import these programs."""
    copy = shutil.copytree(ROOT / "template", tmp_path / "template")
    (copy / "lab/build/__pycache__").mkdir(exist_ok=True)
    (copy / "lab/build/__pycache__/any.pyc").write_bytes(b"\xa7\r\r\n")
    assert messages.messages(copy) == messages.messages(ROOT / "template")
    copier = (ROOT / "copier.yml").read_text(encoding="utf-8")
    assert files.rows(copy, copier) == files.rows(ROOT / "template", copier)


def test_every_place_that_refuses_gives_a_message() -> None:
    """A rough count, by other means: each `refuse "…`, `Refused(` and check of a script."""
    for file in sorted((ROOT / "template/lab").rglob("*.sh")):
        text = file.read_text(encoding="utf-8")
        found = messages.of_file(file.relative_to(ROOT / "template").as_posix(), file)
        for start in re.findall(r'\brefuse "([a-zA-Z_ /]{12,})', text):
            assert any(start in message for message in found), f"{file.name}: {start}"
    found = list(messages.of_python((ROOT / "template/lab/build/packages.py").read_text(encoding="utf-8")))
    assert len(found) >= (ROOT / "template/lab/build/packages.py").read_text(encoding="utf-8").count("raise Refused(f")


SHELL = r"""
# refuse "a comment is no message at all."
them="the lab runs as $uid"
case $1 in
1) refuse "$them: run 'chmod \$HOME/${2%/*}' in $(dirname "$(pwd)/it") now." ;;
2) reason="the disk is full ($(df / | awk 'NR == 2 {print ")"}') free)" ;;
3) echo "LAB_X is '$value', no size. Set it in .env." ;;
4) echo "podman" ;;
esac
awk '{ print folder "/ belongs to " $3 ": run '\''chown " folder "'\''."; exit }'
"""


def test_messages_are_read_from_shell() -> None:
    plain = ["the lab runs as …: run 'chmod $HOME/…' in … now.", "the disk is full (… free)."]
    assert list(messages.of_shell(SHELL)) == plain
    assert list(messages.of_shell(SHELL, checks=True)) == [
        *plain,
        "LAB_X is '…', no size. Set it in .env.",
        "…/ belongs to …: run 'chown …'.",
    ]


def test_messages_are_read_from_python() -> None:
    text = """
FILE = "list.toml"
MEANINGS = [("pattern", "{what} has moved away. Look elsewhere.")]
def run(name):
    "Raises Refused for a name that does not exist here."
    fix = f"fix {FILE} yourself"
    raise Refused(f"{FILE} has no table {name}: {fix}.")
def reason(said):
    return f"the index says '{said}' to us."
def other():
    print("this is no error at all.")
    raise ValueError("only programmers see this one.")
sys.exit("labdock: this machine has no Docker.")
"""
    assert sorted(messages.of_python(text)) == [
        "list.toml has no table …: fix list.toml yourself.",
        "the index says '…' to us.",
        "this machine has no Docker.",
        "{what} has moved away. Look elsewhere.",
    ]


def test_a_message_is_split_into_fault_and_fix() -> None:
    assert messages.split("LAB_X is 'a: b'. Set it in .env.") == ("LAB_X is 'a: b'.", "Set it in .env.")
    assert messages.split("the disk is full: free some.") == ("the disk is full", "Free some.")
    assert messages.split("it failed: ….") == ("it failed: ….", "")
    assert messages.answer("it failed: ….") == ""  # the control: such a message is not answered


# --- decisions --------------------------------------------------------------------------------------
def wrong_decisions(folder: Path) -> list[str]:
    """The records that lack a part or are longer than 30 lines, and those that the index does not list by title."""
    index, wrong = (folder / "index.md").read_text(encoding="utf-8"), []
    for page in sorted(folder.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        title = text.partition("\n")[0].removeprefix("# ")
        parts = re.findall(r"^## (.+)$", text, re.MULTILINE)
        listed = f"- [{title}]({page.name})\n" in index
        whole = parts == ["Context", "Decision", "Consequences"] and text.count("\n") <= 30
        if page.name != "index.md" and not (listed and whole):
            wrong.append(page.name)
    return wrong


def test_every_decision_is_short_whole_and_listed() -> None:
    assert len(list(DECISIONS.glob("*.md"))) > 30
    assert wrong_decisions(DECISIONS) == []


def test_a_wrong_decision_is_noticed(tmp_path: Path) -> None:
    good = "# {}\n\n## Context\n\nA.\n\n## Decision\n\nB.\n\n## Consequences\n\nC.\n"
    for name, text in {"a": good, "b": good, "c": good.replace("Context", "Why"), "d": good + "\n" * 30}.items():
        (tmp_path / f"{name}.md").write_text(text.format(name))
    (tmp_path / "index.md").write_text("- [a](a.md)\n- [c](c.md)\n- [d](d.md)\n")
    assert wrong_decisions(tmp_path) == ["b.md", "c.md", "d.md"]


# --- what pages name ----------------------------------------------------------------------------------
def test_links_lead_to_files_and_headings() -> None:
    assert len([link for page in PAGES for link in links(page.read_text(encoding="utf-8"))]) > 100
    assert on_pages(lambda page: dead_links(page.read_text(encoding="utf-8"), page), PAGES) == {}


@pytest.mark.parametrize("page", ["README.md", "lab/README.md", "notebooks/README.md"])
def test_links_of_a_project_lead_to_files_and_headings(case: Project, page: str) -> None:
    assert dead_links(case.read(page), case.folder / page) == []


def test_a_dead_link_is_noticed() -> None:
    text = "[a](docs/none.md) [b](README.md#nowhere) [c](README.md#labdock) [d](https://example.com)"
    assert dead_links(text, ROOT / "README.md") == ["docs/none.md", "README.md#nowhere"]


def test_the_commands_that_a_page_names_exist() -> None:
    inside, here = targets("template/Makefile"), targets("Makefile")
    for part in (ROOT / "template/lab/commands").glob("*.mk*"):  # commands that only some answers add
        inside |= targets(str(part.relative_to(ROOT)))
    read = {page: typed_targets(page.read_text(encoding="utf-8")) for page in [*PAGES, *IN_PROJECT]}
    assert len(set().union(*read.values())) > 20
    known = {page: inside if page in IN_PROJECT else inside | here for page in read}
    assert on_pages(lambda page: read[page] - known[page], list(read)) == {}


def test_a_command_in_prose_and_in_a_block_is_found() -> None:
    """The control: an unknown one is found in the same way."""
    assert typed_targets("Type `make nothing`, make sure, or\n```sh\nmake up nowhere\nmake never\n```\n") == {
        "nothing",
        "up",
        "never",
    }


def test_whoever_installs_copier_with_pipx_gets_it_on_path() -> None:
    """On a new machine, pipx puts commands into a folder that is not on PATH."""
    texts = {page: page.read_text(encoding="utf-8") for page in [*PAGES, *IN_PROJECT]}
    installing = [page for page, text in texts.items() if re.search(r"pipx\s+install\s+copier", text)]
    assert installing
    assert [shown(page) for page in installing if not re.search(r"pipx\s+ensurepath", texts[page])] == []


def test_the_tests_that_a_page_names_exist() -> None:
    assert len(set().union(*(named_tests(page.read_text(encoding="utf-8")) for page in PAGES))) > 20
    assert on_pages(lambda page: unknown_tests(page.read_text(encoding="utf-8")), PAGES) == {}


def test_a_test_that_does_not_exist_is_noticed() -> None:
    """A file by its path or its name, a folder, and a test by its name."""
    named = (
        "`tests/repo/test_docs.py`, `tests/attack/`, `test_server.py`, `test_rare_sockets_are_refused`, test_none.py"
    )
    assert unknown_tests(named) == set()
    wrong = {"tests/test_none.py", "tests/none/", "test_none.py", "test_none"}
    assert unknown_tests(" ".join(f"`{name}`" for name in wrong)) == wrong
