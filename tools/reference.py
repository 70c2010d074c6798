"""The generated tables of docs/reference: `python -m tools.reference`, as `make docs` does.

Each page holds `<!-- generated: NAME -->` … `<!-- end -->`; what stands between is written from the files that
decide it, so that no table is copied by hand.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tools.files import rows

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
# What sample.env.jinja takes from the answers, as a reader should see it.
ANSWERS = {"{{ project_slug }}": "PROJECT_SLUG", "{{ python_version }}": "X.Y"}


def questions(text: str) -> str:
    """The table of what copier.yml (its `text`) asks."""
    rows = []
    for name, question in yaml.safe_load(text).items():
        if not name.startswith("_") and question.get("when") is not False:
            rows.append((f"`{name}`", question["help"], choices(question), default(question)))
    return table(("Question", "What it decides", "Answers", "Default"), rows)


def choices(question: dict[str, Any]) -> str:
    """What may be answered."""
    offered = question.get("choices")
    if offered:
        return ", ".join(f"`{value}`" for value in (offered.values() if isinstance(offered, dict) else offered))
    return {"str": "text", "bool": "yes or no"}[question["type"]]


def default(question: dict[str, Any]) -> str:
    """The default as a reader should see it; a question without one has to be answered."""
    value = question.get("default")
    if value is None:
        return f"none, for example {question['placeholder']}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if "{{" in value:
        return "made from the name"
    return f"`{value}`" if value else "empty"


def settings(text: str) -> str:
    """The table of what sample.env.jinja (its `text`) sets: each comment explains the lines that follow it."""
    for answer, seen in ANSWERS.items():
        text = text.replace(answer, seen)
    if "{{" in text or "{%" in text:
        raise ValueError("sample.env.jinja uses an answer that tools/reference.py does not know: add it to ANSWERS")
    rows, comment, last = [], [], ""
    for line in text.splitlines():
        if line.startswith("#"):
            comment = [*comment, line[1:].strip()] if last.startswith("#") else [line[1:].strip()]
        elif found := re.match(r"([A-Z_]+)=(.*)", line):
            name, value = found.groups()
            rows.append((f"`{name}`", f"`{value}`" if value else "empty", " ".join(comment) if comment else "as above"))
            comment = []
        last = line
    return table(("Setting", "Default", "Meaning"), rows)


def commands(text: str) -> str:
    """The table of a Makefile's (its `text`) targets and their help."""
    found = re.findall(r"^([a-z-]+):.*?##-? (.*)$", text, re.MULTILINE)
    return table(("Command", "What it does"), [(f"`make {target}`", help_) for target, help_ in found])


def attacks(text: str) -> str:
    """The section of one file of tests (its `text`): what each test tries and what comes of it."""
    module = ast.parse(text)
    rows = [
        (": ".join([marked[0], *cases(module, test)]), marked[1], f"`{test.name}`")
        for test in tests(module)
        if (marked := attack(test))
    ]
    if not rows:
        return ""
    heading = (ast.get_docstring(module) or "").partition("\n")[0].rstrip(".")
    return f"\n## {heading}\n\n{table(('What is tried', 'What comes of it', 'Test'), rows)}"


def tests(module: ast.Module) -> list[ast.FunctionDef]:
    """Every test of a module, those in classes too."""
    found = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return sorted(found, key=lambda test: test.lineno)


def attack(test: ast.FunctionDef) -> tuple[str, str] | None:
    """What `@pytest.mark.attack(tried, result)` says over a test; None without it."""
    for decorator in test.decorator_list:
        match decorator:
            case ast.Call(ast.Attribute(attr="attack"), [ast.Constant(str(tried)), ast.Constant(str(result))]):
                return tried, result
    return None


def cases(module: ast.Module, test: ast.FunctionDef) -> list[str]:
    """The cases of a test, in one string for each dict of its module that it is parametrised with."""
    dicts = {}
    for node in module.body:
        match node:
            case ast.Assign([ast.Name(name)], ast.Dict(keys)) | ast.AnnAssign(ast.Name(name), _, ast.Dict(keys)):
                dicts[name] = keys
    found = []
    for decorator in test.decorator_list:
        match decorator:
            case ast.Call(ast.Attribute(attr="parametrize"), [_, ast.Name(name)]) if name in dicts:
                found.append(", ".join(ast.literal_eval(key) for key in dicts[name]))
    return found


def bench(text: str) -> str:
    """The table of the tests that answer docker-bench-security: `BENCH` in a test file (its `text`)."""
    for node in ast.parse(text).body:
        match node:
            case ast.AnnAssign(ast.Name("BENCH"), _, ast.Dict() as listed):
                rows = [
                    (number, asked, f"`{test}`" + (f": {check}" if check else ""))
                    for number, (asked, test, check) in ast.literal_eval(listed).items()
                ]
                return table(("Number", "What it asks for", "Test"), rows)
    raise ValueError("no BENCH = {…} in the test")


def public(text: str) -> str:
    """The table of what answers without the token: PUBLIC of a test (its `text`)."""
    for node in ast.parse(text).body:
        match node:
            case ast.Assign([ast.Name("PUBLIC")], listed):
                rows = [(f"`{pattern}`", reason) for pattern, reason in ast.literal_eval(listed).items()]
                return table(("Path", "Why"), rows)
    raise ValueError("no PUBLIC = {…} in the test")


def files(copier: Path) -> str:
    """The table of a project's files, from the template beside copier.yml."""
    listed = rows(copier.parent / "template", copier.read_text(encoding="utf-8"))
    return table(("File", "What it is", "Whose", "Only with"), listed)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def of_text(make: Callable[[str], str]) -> Callable[[Path], str]:
    """What `make` makes of a file's text."""
    return lambda path: make(path.read_text(encoding="utf-8"))


# marker -> the files that decide (a pattern), and what is made of each
PARTS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "questions": ("copier.yml", of_text(questions)),
    "settings": ("template/sample.env.jinja", of_text(settings)),
    "bench": ("tests/lab/test_docker_bench.py", of_text(bench)),
    "project": ("template/Makefile", of_text(commands)),
    "template": ("Makefile", of_text(commands)),
    "files": ("copier.yml", files),
    "public": ("tests/attack/test_anonymous.py", of_text(public)),
    "attacks": ("tests/*/test_*.py", of_text(attacks)),
}


def written(page: str, root: Path = ROOT) -> str:
    """The text of a page with its generated parts made from the files below `root`."""

    def part(match: re.Match[str]) -> str:
        sources, make = PARTS[match[2]]
        made = (make(source) for source in sorted(root.glob(sources)))
        return match[1] + "".join(made) + match[3]

    return MARKED.sub(part, page)


def stale(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Each page below `root` that is not what its sources say, and what it should be."""
    for page in sorted((root / "docs/reference").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := written(text, root)) != text:
            yield page, new


def write(root: Path = ROOT) -> None:
    """Write every stale page again."""
    for page, text in stale(root):
        page.write_text(text, encoding="utf-8")
        print(f"wrote {page.relative_to(root)}")


if __name__ == "__main__":
    write()
