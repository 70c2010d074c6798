"""Exports of notebooks, in the browser's menu and in a terminal."""

import re

import pytest
import requests
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from tests.support.project import Project
from tests.support.repository import ROOT

WORDS = "Iris 日本語 中文 한국어 Привет Ελληνικά café → ≤ ✓ │"
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
# Runs TeX and prints its log, which names each letter without a glyph.
LATEX = """
cd ~/notebooks && {} --to latex letters.ipynb --output-dir /tmp
cd /tmp && xelatex -interaction=nonstopmode letters.tex >/dev/null && cat letters.log
"""
PLAIN = "JUPYTER_DATA_DIR=/tmp /opt/jupyter/bin/python -I -m nbconvert"


def documented() -> str:
    """The Debian packages for PDF, from the page about reports."""
    found = re.search(r"DEBIAN_PACKAGES: ([^}]+)\}", (ROOT / "docs/how-to/reports.md").read_text(encoding="utf-8"))
    assert found
    return found[1]


@pytest.mark.full
def test_nbconvert_runs_in_a_terminal(lab: Project) -> None:
    """It runs the notebook's code in the kernel of the lab."""
    export = "cd ~/notebooks && jupyter nbconvert --to markdown --execute --stdout iris.ipynb"
    assert "weighted avg" in lab.shell(export)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_pdf_works_with_the_documented_packages(fresh_project: Project) -> None:
    """Every letter of several alphabets has a glyph. The control: without the lab's template, some have none."""
    layer = f"services: {{lab: {{build: {{args: {{DEBIAN_PACKAGES: {documented()}}}}}}}}}\n"
    (fresh_project.folder / "compose.override.yaml").write_text(layer)
    lab = fresh_project.start()
    cells = [new_markdown_cell(f"# {WORDS}\n\n**{WORDS}** and $x^2$"), new_code_cell(f"print('{WORDS}')")]
    notebook = new_notebook(cells=cells, metadata=KERNEL)
    lab.request("PUT", "contents/notebooks/letters.ipynb", json={"type": "notebook", "content": notebook})
    assert lab.request("GET", "nbconvert").json().keys() >= {"pdf", "latex", "rst", "asciidoc"}
    token = {"Authorization": f"token {lab.token}"}
    for export in ("pdf", "latex", "rst", "asciidoc"):
        page = f"{lab.address}/nbconvert/{export}/notebooks/letters.ipynb"
        answer = requests.get(page, headers=token, timeout=300)
        assert answer.ok, answer.text
        assert answer.content.startswith(b"%PDF") is (export == "pdf")
    # A notebook tries to put the token into the PDF. The control: the same code with a file in TeX's own folder works.
    for path, works in (("/run/secrets/jupyter_token", False), ("notebook.tex", True)):
        cells = [new_raw_cell(f"\\newread\\f\\openin\\f={path} \\ifeof\\f\\undefined\\fi\\closein\\f")]
        notebook = new_notebook(cells=cells, metadata=KERNEL)
        lab.request("PUT", "contents/notebooks/reads.ipynb", json={"type": "notebook", "content": notebook})
        answer = requests.get(f"{lab.address}/nbconvert/pdf/notebooks/reads.ipynb", headers=token, timeout=300)
        assert answer.ok is works, (path, answer.text[:500])
    complaint = "Missing character"
    assert complaint not in fresh_project.shell(LATEX.format("jupyter nbconvert"))
    assert complaint in fresh_project.shell(LATEX.format(PLAIN))
