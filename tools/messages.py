"""The error messages of a project, read from its own scripts, for docs/how-to/troubleshooting.md.

A message is text that a script prints when something is wrong. Its variable parts become `…`. Most messages already say
how to fix the problem. `EXPLAINED` adds a sentence to the messages that need one.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from tools.files import path_of

# Topic -> the files whose messages belong to it. The first pattern that fits decides.
TOPICS = {
    "The container engine": ["lab/commands/lib/checks/engine*"],
    "Starting the lab": [
        "lab/commands/lib/print_address.sh",
        "lab/commands/lib/running_lab.sh",
        "lab/commands/up.sh",
        "lab/commands/rotate.sh",
        "lab/commands/reset.sh",
        "lab/server/*.sh",
        "lab/server/start/*",
    ],
    "Settings, folders and updates": ["lab/commands/lib/*", "lab/commands/doctor*"],
    "Changing packages": ["lab/build/packages.py", "lab/build/compare_list.py", "lab/commands/packages.sh"],
    "Building the image": ["lab/build/*"],
    "Working in the lab": ["lab/server/*"],
    "Other commands": ["lab/*"],
}
# Pattern of a message -> an explanation. Every pattern has to fit a message.
EXPLAINED = {
    r"usermod": "Members of the group `docker` have the rights of root.",
    r"SELinux": "SELinux gives each mounted file a new label. Other programs may then have no permission to read it.",
    r"newer packages than|(?=.*mirror).*compose\.pins": "A Debian mirror keeps only the newest versions.",
    r"certificate of": "A proxy at your site probably replaces certificates with its own.",
    r"do not trust": "The file was damaged during the download, or someone changed it.",
    r"<<<<<<<": "`copier update` and you changed the same lines.",
    r"Until then, notebooks": "The text before names the problem in egress/allowlist.txt, and its fix.",
    r"An older engine does not keep": "The text before names the version that you need.",
    r"machines get the image": "They download it from your registry.",
    r"all workers start anew": "A worker gets its image, key and settings only when it starts.",
    r"register a service worker": "Such a script would stay in the browser. The page works without it.",
    r"LAB_SCRATCH.*LAB_MEMORY": "Files in `/tmp` and home count as memory.",
    r"does not fit this folder": "If two folders have the same LAB_NAME, 'docker compose up' in one "
    "folder replaces the lab of the other.",
    r"refused to start": "Instead of …, `make doctor` prints another message on this page, with its fix.",
    r"service lab does not answer": "A restart ends all notebook kernels, and results in memory are lost.",
    r"would be lost": "Only `data/` and `notebooks/` are on your machine's disk.",
    r"not built: ": "The text after the colon is another message on this page. Follow the fix of that message.",
    r"was not saved": "The text after the colon is the error of the operating system. Fix it, then save again.",
    r"no versions fit together": "The text after the colon names the packages. Ask for another version of one of them.",
    r"CycloneDX": "This is a bug in the template. Please report it.",
    r"cannot be copied": "The text after the colon is the error of the operating system. Fix it, then copy again.",
    r"Piece .* cannot be read": "Upload the file again.",
    r"/ca\.pem|the CA of this project": "The end of the message says how to get another certificate authority.",
    r"differs from (the first|build 1)": "Possible causes: [What is not reproducible]"
    "(../explanation/reproducible.md#what-is-not-reproducible).",
}

# In the files of CHECKS, `echo` also prints problems. In all shell files, `refuse` and the variables in NAMES do so.
CHECKS = ["lab/commands/lib/*", "lab/commands/doctor*", "lab/server/*.sh", "lab/server/start/*"]
NAMES = "reason|fault|problem|why|message"


def messages(template: Path) -> dict[str, list[str]]:
    """Topic -> its messages, from the scripts below `template`. A message is listed only in the first of its topics."""
    files: dict[str, list[str]] = {topic: [] for topic in TOPICS}
    for file in sorted((template / "lab").rglob("*")):
        path = path_of(file, template)
        if file.is_file() and file.parent.name != "__pycache__" and (texts := of_file(path, file)):
            files[topic(path)] += texts
    seen: set[str] = set()
    found = {}
    for name, texts in files.items():
        if new := [text for text in dict.fromkeys(texts) if text not in seen]:
            found[name] = new
            seen.update(new)
    return found


def of_file(path: str, file: Path) -> list[str]:
    """The messages of one file. A file that is not shell, Python or R has no messages."""
    suffix = Path(path).suffix
    text = "" if suffix in (".json", ".lock", ".pem") else file.read_text(encoding="utf-8")
    if suffix == ".py":
        return list(of_python(text))
    if suffix == ".R":
        return [tidy(found.replace("%s", "$_")) for found in re.findall(r'sprintf\("(labdock: .*?)"', text)]
    if suffix == ".sh" or text.startswith("#!/bin/sh"):
        return list(of_shell(text, checks=any(fnmatch(path, pattern) for pattern in CHECKS)))
    return []


def topic(path: str) -> str:
    """The topic of a file. Raises `StopIteration` for a file outside of the folders in `TOPICS`."""
    return next(name for name, patterns in TOPICS.items() if any(fnmatch(path, pattern) for pattern in patterns))


# --- shell ------------------------------------------------------------------------------------------
def of_shell(text: str, checks: bool = False) -> Iterator[str]:
    """The messages of a shell script. With `checks`, `echo` and awk's `print` also print messages."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE))
    parts: dict[str, list[str]] = {}
    for found in re.finditer(r'(?:^|[\s;({])(\w+)="', text, re.MULTILINE):
        parts.setdefault(found[1], []).append(quoted(text, found.end()))
    begun = set(re.findall(r'"\$(\w+)[.:]? ', text))  # variables that are the first half of a message
    starts = rf'\b(refuse|{NAMES})[ =]"' + (r'|\b(echo) "|\b(print) (?=[^;}\n]*")' if checks else "")
    for found in re.finditer(starts, text):
        command = found[1] or found[2] or found[3]
        message = printed(text, found.end()) if command == "print" else quoted(text, found.end())
        if command in begun or message.startswith(" "):
            continue  # half of a message
        if message.startswith("note  '"):
            continue  # advice, not a problem
        if command in ("echo", "print") and not message.endswith("."):
            continue  # the result of a function
        yield from (tidy(whole) for whole in expanded(message, parts) if is_sentence(whole))


def quoted(text: str, start: int) -> str:
    """The source text of the double-quoted shell string that begins at `start`, without its closing quote."""
    at = start
    while text[at] != '"':
        at = past(text, at)
    return text[start:at]


def past(text: str, at: int) -> int:
    """The position after the element at `at`. An element is a character, an escape with `\\`, `$(…)` or `${…}`."""
    if text[at] == "\\":
        return at + 2
    if not text.startswith(("$(", "${"), at):
        return at + 1
    command, at = text[at + 1] == "(", at + 2
    while text[at] not in ")}":
        at = text.index("'", at + 1) + 1 if command and text[at] == "'" else past(text, at)
    return at + 1


def printed(text: str, start: int) -> str:
    """The text that awk's `print "…" name "…"` prints, with `$_` for each variable. `start` is after `print `."""
    line = text[start : text.index("\n", start)].replace(r"'\''", "'").replace(r"\047", "'")
    found = re.match(r'(?:"(?:[^"\\]|\\.)*"|[^";}])*', line)
    return re.sub(r'"((?:[^"\\]|\\.)*)"|[^"]+', lambda part: "$_" if part[1] is None else part[1], found[0].rstrip())


def expanded(message: str, parts: dict[str, list[str]]) -> Iterator[str]:
    """Yield the message. If it starts with a variable, yield one message for each text of this variable."""
    found = re.match(r"\$(\w+)", message)
    for begin in parts.get(found[1], [found[0]]) if found else [""]:
        yield begin + (message[found.end() :] if found else message)


# --- Python -----------------------------------------------------------------------------------------
def of_python(text: str) -> Iterator[str]:
    """The texts that a Python program raises, exits with, returns, or assigns to a name in `NAMES`."""
    module = ast.parse(text)
    known: dict[str, ast.expr] = {}
    for node in ast.walk(module):
        match node:
            case ast.Assign(targets, value):
                names = [element for target in targets for element in getattr(target, "elts", [target])]
                values = value.elts if isinstance(value, ast.Tuple) else [value]
                known.update(
                    {name.id: part for name, part in zip(names, values, strict=False) if isinstance(name, ast.Name)}
                )
    for node in ast.walk(module):
        match node:
            case ast.Raise(ast.Call(ast.Name(name), values)) if not hasattr(
                builtins, name
            ):  # built-in errors are for programmers
                yield from sentences(values, known)
            case ast.Call(ast.Attribute(attr="exit") | ast.Name("SystemExit" | "refuse" | "fail"), args=values):
                yield from sentences(values, known)
            case ast.Assign([ast.Name(name)], value) if re.fullmatch(NAMES, name):
                yield from sentences([value], known)
            case ast.Return(ast.expr() as value):
                yield from sentences([value], known, whole=True)
    for node in module.body:
        match node:
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
                yield from sentences([value], known, whole=True)


def sentences(values: list[ast.expr], known: dict[str, ast.expr], whole: bool = False) -> Iterator[str]:
    """The sentences in `values`, also in lists, tuples and dicts. With `whole`, a sentence ends with a full stop."""
    for value in values:
        match value:
            case ast.IfExp(_, body, other):
                yield from sentences([body, other], known, whole)
            case ast.BoolOp(values=parts):
                yield from sentences(parts, known, whole)
            case ast.List(parts) | ast.Tuple(parts) | ast.Dict(values=parts):
                yield from sentences(parts, known, whole)
            case _:
                text = written(value, known)
                if is_sentence(text) and (text.endswith(".") or not whole):
                    yield tidy(text)


def written(value: ast.expr, known: dict[str, ast.expr]) -> str:
    """The text of a string or f-string, with the texts of the `known` variables. Anything else becomes `$_`."""
    match value:
        case ast.Constant(str(text)):
            return text.replace("$", "\\$")
        case ast.JoinedStr(parts):
            return "".join(written(part, known) for part in parts)
        case ast.FormattedValue(ast.Name(name)) if isinstance(known.get(name), ast.Constant | ast.JoinedStr):
            return written(known[name], {other: text for other, text in known.items() if other != name})
        case ast.BinOp(left, ast.Add(), right):
            return written(left, known) + written(right, known)
    return "$_"


# --- both -------------------------------------------------------------------------------------------
def is_sentence(text: str) -> bool:
    """Does a text have three words or more, without its variable parts?"""
    return len(re.findall(r"[A-Za-z]{2,}", tidy(text))) >= 3


def tidy(text: str) -> str:
    """A message as a reader sees it: with `…` for each variable part, without `labdock:`, and with a full stop."""
    out, at = "", 0
    while at < len(text):
        variable = re.match(r"\$(?:\w+|\*)", text[at:])
        end = at + variable.end() if variable else past(text, at)
        out += "…" if variable or text.startswith(("$(", "${"), at) else text[at:end].removeprefix("\\")
        at = end
    out = re.sub(r"^(?:labdock|MEND|FIX|FAIL): ?|^(?:note|MEND|FIX) +", "", " ".join(out.split()))
    return re.sub(r"…(?:\.?…)+", "…", out).removesuffix(".") + "."


# --- the page ---------------------------------------------------------------------------------------
def split(message: str) -> tuple[str, str]:
    """The problem and the fix that a message names. The fix is empty if the message names none."""
    for pattern in (r"(.+?[^.]\.) ([A-Z'`].+)", r"(.+?): (.+)"):
        if found := re.fullmatch(pattern, message):
            wrong, fix = found.groups()
            return (wrong, fix[0].upper() + fix[1:]) if fix.strip("….") else (message, "")
    return message, ""


def answer(message: str) -> str:
    """The text for "What to do", as Markdown. The sentences of `EXPLAINED` follow the fix in the message."""
    _, fix = split(message)
    added = [text for pattern, text in EXPLAINED.items() if re.search(pattern, message)]
    return " ".join(filter(None, [escaped(fix), *added]))


def unanswered(template: Path) -> list[str]:
    """The messages that contain no fix and have no entry in `EXPLAINED`."""
    return [text for texts in messages(template).values() for text in texts if not answer(text)]


def unused(template: Path) -> list[str]:
    """The patterns of `EXPLAINED` that match no message."""
    every = "\n".join(text for texts in messages(template).values() for text in texts)
    return [pattern for pattern in EXPLAINED if not re.search(pattern, every)]


def page(template: Path) -> str:
    """The generated part of the page. It has a table for each topic."""
    parts = []
    for name, texts in messages(template).items():
        rows = "".join(f"| {escaped(split(text)[0])} | {answer(text)} |\n" for text in texts)
        parts.append(f"\n## {name}\n\n| Message | What to do |\n| --- | --- |\n{rows}")
    return "".join(parts)


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in a cell of a table."""
    return re.sub(r"[|*\[\]]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text).replace("<", "&lt;")
