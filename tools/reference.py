"""Write the generated tables of the docs: `python -m tools.reference`. `make docs` runs this program.

A page marks a generated part with `<!-- generated: NAME -->` and `<!-- end -->`. `PARTS` names the source files of each
part.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tools import files, messages

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
# Answers in sample.env.jinja -> what a reader sees.
ANSWERS = {"{{ project_slug }}": "PROJECT_SLUG", "{{ python_version }}": "X.Y"}


def questions(text: str) -> str:
    """The table of the questions in copier.yml (its `text`)."""
    rows = []
    for name, question in yaml.safe_load(text).items():
        if not name.startswith("_") and question.get("when") is not False:
            rows.append((f"`{name}`", question["help"], choices(question), default(question)))
    return table(("Question", "Meaning", "Answers", "Default"), rows)


def choices(question: dict[str, Any]) -> str:
    """The answers that a question accepts."""
    offered = question.get("choices")
    if offered:
        return ", ".join(f"`{value}`" for value in (offered.values() if isinstance(offered, dict) else offered))
    return {"str": "text", "bool": "yes or no"}[question["type"]]


def default(question: dict[str, Any]) -> str:
    """The default as a reader sees it."""
    value = question.get("default")
    if value is None:
        return f"none, for example {question['placeholder']}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if "{{" in value:
        return "made from the name"
    return f"`{value}`" if value else "empty"


def settings(text: str) -> str:
    """The tables of the settings in sample.env.jinja (its `text`), one for each heading (`# --- Network ---`).

    Raises `ValueError` if a setting has no complete sentence in the comment above it, or if no heading comes before it.
    """
    for answer, seen in ANSWERS.items():
        text = text.replace(answer, seen)
    condition = re.compile(r"{% if (\w+) ([=!]=) '(\w+)' %}|{% endif %}")
    if "{{" in text or "{%" in condition.sub("", text):
        raise ValueError("sample.env.jinja uses an answer that tools/reference.py does not know. Add it to ANSWERS.")
    tables: dict[str, list[tuple[str, ...]]] = {}
    rows, comment, only = None, [], ""
    for line in text.splitlines():
        if found := condition.fullmatch(line):
            question, equal, answer = found.groups()
            only = f" Only with{'' if equal == '==' else 'out'} `{question}: {answer}`." if question else ""
        elif found := re.fullmatch(r"# -{3,} (.+?) -{3,}", line):
            rows, comment = tables.setdefault(found[1], []), []
        elif line.startswith("#"):
            comment.append(line[1:].strip())
        elif found := re.fullmatch(r"([A-Z_]+)=(.*)", line):
            name, value = found.groups()
            meaning = " ".join(comment)
            if rows is None or not meaning.endswith((".", ".)")):
                raise ValueError(
                    f"sample.env.jinja: {name} needs a heading, and a comment of whole sentences above it."
                )
            rows.append((f"`{name}`", f"`{value}`" if value else "empty", meaning + only))
            comment = []
        else:
            comment = []
    return "".join(
        f"\n## {heading}\n\n{table(('Setting', 'Default', 'Meaning'), rows)}"
        for heading, rows in tables.items()
        if rows
    )


def commands(text: str) -> str:
    """The table of the targets in a Makefile (its `text`) and their help."""
    found = re.findall(r"^([a-z-]+):.*?##-? (.*)$", text, re.MULTILINE)
    return table(("Command", "What it does"), [(f"`make {target}`", help_) for target, help_ in found])


def attacks(text: str) -> str:
    """The section for one test file (its `text`). It lists attacks and results. Without the marker, it is empty."""
    if "mark.attack" not in text:
        return ""
    module = ast.parse(text)
    rows = []
    for test in tests(module):
        if marked := attack(test):
            listed = [f" Cases: {names}." for names in cases(module, test)]
            rows.append((f"{marked[0]}.{''.join(listed)}", marked[1], f"`{test.name}`"))
    if not rows:
        return ""
    heading = (ast.get_docstring(module) or "").partition("\n")[0].rstrip(".")
    return f"\n## {heading}\n\n{table(('Attack', 'Result', 'Test'), rows)}"


def tests(module: ast.Module) -> list[ast.FunctionDef]:
    """Every test of a module, also in classes, in the order of the file."""
    found = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return sorted(found, key=lambda test: test.lineno)


def attack(test: ast.FunctionDef) -> tuple[str, str] | None:
    """The arguments of `@pytest.mark.attack(tried, result)` of a test. None without the marker."""
    for decorator in test.decorator_list:
        match decorator:
            case ast.Call(ast.Attribute(attr="attack"), [ast.Constant(str(tried)), ast.Constant(str(result))]):
                return tried, result
    return None


def cases(module: ast.Module, test: ast.FunctionDef) -> list[str]:
    """The cases of a test.

    If `parametrize` uses a dict of the module, or a list made from it, the result contains one string with all keys of
    this dict.
    """
    dicts = {}
    for node in module.body:
        match node:
            case ast.Assign([ast.Name(name)], ast.Dict(keys)) | ast.AnnAssign(ast.Name(name), _, ast.Dict(keys)):
                dicts[name] = keys
    found = []
    for decorator in test.decorator_list:
        match decorator:
            case ast.Call(
                ast.Attribute(attr="parametrize"),
                [_, ast.Name(name) | ast.ListComp(_, [ast.comprehension(_, ast.Name(name))])],
            ) if name in dicts:
                found.append("; ".join(as_code(ast.literal_eval(key)) for key in dicts[name]))
    return found


def as_code(case: str) -> str:
    """The name of a case. If the name is the input itself, such as `../`, a reader sees it as code."""
    return f"`{case}`" if re.search(r"\W", case) and " " not in case else case


def bench(text: str) -> str:
    """The table of the tests for docker-bench-security, from `BENCH` in a test file (its `text`)."""
    for node in ast.parse(text).body:
        match node:
            case ast.AnnAssign(ast.Name("BENCH"), _, ast.Dict() as listed):
                rows = [
                    (number, asked, f"`{test}`" + (f": {check}" if check else ""))
                    for number, (asked, test, check) in ast.literal_eval(listed).items()
                ]
                return table(("Number", "Requirement", "Test"), rows)
    raise ValueError("no BENCH = {…} in the test")


def walls(text: str) -> str:
    """The tables of the ways out of a lab, from `WAYS` and `PROXY_WAYS` in a test file (its `text`)."""
    found = {}
    for node in ast.parse(text).body:
        match node:
            case ast.Assign([ast.Name("WAYS" | "PROXY_WAYS" as name)], ast.Dict(keys, values)):
                found[name] = [(ast.literal_eval(k), v.id) for k, v in zip(keys, values, strict=True)]  # type: ignore
    shown = {"OPEN": ("leads out", "stopped"), "LISTED": ("a listed domain", ""), "ANYWHERE": ("stopped", "stopped")}
    rows = [(way, shown[kind][0], shown[kind][1], shown[kind][1]) for way, kind in found["WAYS"]]
    through = [(way, shown[kind][0]) for way, kind in found["PROXY_WAYS"]]
    head = ("Way out", "`open`", "`allowlist`", "`sealed`")
    return f"{table(head, rows)}\n{table(('Way through the proxy', '`allowlist`'), through)}"


def public(text: str) -> str:
    """The table of paths that need no token, from `PUBLIC` in a test file (its `text`)."""
    for node in ast.parse(text).body:
        match node:
            case ast.Assign([ast.Name("PUBLIC")], listed):
                rows = [(f"`{pattern}`", reason) for pattern, reason in ast.literal_eval(listed).items()]
                return table(("Path", "Why"), rows)
    raise ValueError("no PUBLIC = {…} in the test")


def of_files(copier: Path) -> str:
    """The table of a project's files. `copier` is the path of copier.yml, with the folder `template` next to it."""
    rows = files.rows(copier.parent / "template", copier.read_text(encoding="utf-8"))
    return table(("File", "What it is", "Whose", "Only with"), rows)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def of_text(make: Callable[[str], str]) -> Callable[[Path], str]:
    """A function that reads the file at a path and calls `make` with its text."""
    return lambda path: make(path.read_text(encoding="utf-8"))


# Name of the part -> its source files (a pattern), and the function that makes a piece of the part from each file.
PARTS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "questions": ("copier.yml", of_text(questions)),
    "settings": ("template/sample.env.jinja", of_text(settings)),
    "bench": ("tests/lab/test_docker_bench.py", of_text(bench)),
    "project": ("template/Makefile", of_text(commands)),
    "template": ("Makefile", of_text(commands)),
    "files": ("copier.yml", of_files),
    "public": ("tests/attack/test_anonymous.py", of_text(public)),
    "walls": ("tests/attack/test_walls.py", of_text(walls)),
    "attacks": ("tests/**/test_*.py", of_text(attacks)),
    "messages": ("template", messages.page),
}


def written(page: str, root: Path = ROOT) -> str:
    """The text of a page, with new generated parts from the files below `root`."""

    def part(match: re.Match[str]) -> str:
        sources, make = PARTS[match[2]]
        made = (make(source) for source in sorted(root.glob(sources)))
        return match[1] + "".join(made) + match[3]

    return MARKED.sub(part, page)


def stale(root: Path = ROOT) -> Iterator[tuple[Path, str]]:
    """Each page below `root` whose generated parts are out of date, and its new text."""
    for page in sorted((root / "docs").rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (new := written(text, root)) != text:
            yield page, new


def write(root: Path = ROOT) -> None:
    """Write every page that is out of date."""
    for page, text in stale(root):
        page.write_text(text, encoding="utf-8")
        print(f"wrote {page.relative_to(root)}")


if __name__ == "__main__":
    write()
