"""What the image sets for plots: altair's renderer, characters of other scripts, and the locale."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.repository import ROOT

STARTUP = ROOT / "template/lab/server/ipython/startup/altair.py"
# Packages with the names of those that altair needs, and an altair that prints the renderer that is set.
ALTAIR = "class renderers: enable = staticmethod(lambda *args, **options: print(*args, options))"
# Prints the number of different pictures of these characters. Missing ones of one script have the same picture.
CHARACTERS = """
import io
import matplotlib.pyplot as plt
plt.rcParams.update(SETTINGS)
def picture(character):
    figure = plt.figure(figsize=(1, 1))
    figure.text(0.2, 0.2, character, fontsize=40)
    for format in "pdf", "svg", "png":
        figure.savefig(file := io.BytesIO(), format=format)
    plt.close(figure)
    return file.getvalue()
print(len({picture(character) for character in "漢汉かカ한글"}))
"""
LOCALE = """
import locale
print(locale.setlocale(locale.LC_ALL, "en_US.UTF-8"), f"{1234567:n}")
"""


def imported(folder: Path, *packages: str, code: str = "import altair") -> str:
    """What `code` prints after the startup file, in a Python that has `packages` and altair."""
    (folder / "altair.py").write_text(ALTAIR)
    for package in packages:
        (folder / f"{package}.py").touch()
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    program = f"exec(open({str(STARTUP)!r}).read())\n{code}"
    return subprocess.run((sys.executable, "-c", program), env=environment, text=True, capture_output=True).stdout


@pytest.mark.parametrize(
    "code", ["import altair", "from altair import renderers", "import json, altair as alt, altair"]
)
def test_altair_draws_without_internet(tmp_path: Path, code: str) -> None:
    said = imported(tmp_path, "anywidget", "vl_convert", code=code)
    assert said == "jupyter {'offline': True}\n"


@pytest.mark.parametrize("packages", [(), ("anywidget",), ("vl_convert",)])
def test_without_the_packages_that_it_needs_altair_stays_as_it_is(tmp_path: Path, packages: tuple[str, ...]) -> None:
    assert imported(tmp_path, *packages, code="import altair; print(altair.renderers)").startswith("<class 'altair")


def test_nothing_is_imported_and_no_name_is_left(tmp_path: Path) -> None:
    code = "import sys; print('altair' in sys.modules, [name for name in dir() if not name.startswith('__')])"
    assert imported(tmp_path, "anywidget", "vl_convert", code=code) == "False ['sys']\n"


def test_text_of_other_scripts_and_the_locale(lab: Project) -> None:
    client = lab.client()
    assert client.run(CHARACTERS.replace("SETTINGS", "{}")) == "6\n"
    without_font = client.run(CHARACTERS.replace("SETTINGS", "{'font.family': 'DejaVu Sans'}"))
    assert re.findall(r"^\d$", without_font, re.MULTILINE) == ["4"], "the control"
    assert client.run(LOCALE) == "en_US.UTF-8 1,234,567\n"
