"""The picture of a terminal after `make env` and `make up`, drawn from what they printed, with the docs' own names."""

import html
import re
from pathlib import Path

from tests.conftest import ROOT

PICTURE = ROOT / "docs/images/make-up.svg"
REFRESH = "PICTURES=write .venv/bin/python -m pytest tests/repo/test_docs_commands.py -k tutorial"
KEPT = 8  # lines of a command's output
LETTER, LINE, MARGIN = 8.43, 20, 16  # pixels
STYLE = "text{font:14px ui-monospace,Menlo,Consolas,monospace;fill:#d8dee9;white-space:pre}.typed{fill:#a3e08c}"
# What differs from one machine and one run to the next, and what it is for ada in /home/ada/iris-study.
ADA = {
    r"(?<=iris-study-)[0-9a-f]{6}": "7c5a17",
    r"(?<=port )\d+|(?<=127\.0\.0\.1:)\d+": "9791",
    r"(?<=[ug]id )\d+": "1000",
    r"(?<= )\d+\.\ds\b": "0.5s",
}


def lines(printed: str) -> list[str]:
    """What a terminal shows, line by line, without colours, as ada sees it."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed)
    for pattern, hers in ADA.items():
        plain = re.sub(pattern, hers, plain)
    return [line.rstrip() for line in plain.splitlines() if line.strip()]


def drawn(commands: dict[str, str]) -> str:
    """The commands and the end of what each printed, as an SVG that asks nothing of the network."""
    shown = []
    for command, printed in commands.items():
        found = lines(printed)
        shown += [f"$ {command}", *(["…"] if len(found) > KEPT else []), *found[-KEPT:]]
    width, height = round(max(map(len, shown)) * LETTER) + 2 * MARGIN, len(shown) * LINE + 2 * MARGIN
    rows = []
    for number, line in enumerate(shown):
        kind = ' class="typed"' if line.startswith("$ ") else ""
        rows.append(f'<text x="{MARGIN}" y="{MARGIN + 14 + number * LINE}"{kind}>{html.escape(line)}</text>\n')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">\n'
        f"<title>A terminal after make env and make up</title>\n<style>{STYLE}</style>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="#20242c"/>\n{"".join(rows)}</svg>\n'
    )


def outdated(picture: str, commands: dict[str, str]) -> list[str]:
    """The lines of a picture that the commands do not print, and the last ones that it lacks."""
    shown = [html.unescape(line) for line in re.findall(r"<text [^>]*>(.*)</text>", picture)]
    printed = {line for output in commands.values() for line in lines(output)}
    typed = {f"$ {command}" for command in commands} | {"…"}
    last = [lines(output)[-1] for output in commands.values()]
    return [line for line in shown if line not in printed | typed] + [line for line in last if line not in shown]


def compare_or_write(commands: dict[str, str], write: bool, picture: Path = PICTURE) -> None:
    """Require that the picture shows what the commands print, or make it so."""
    if write:
        picture.write_text(drawn(commands), encoding="utf-8")
    found = outdated(picture.read_text(encoding="utf-8"), commands)
    assert found == [], f"the picture differs: {REFRESH}"
