"""The package itself: no host names, nothing to install, small files."""

import ast
import re
import sys
from pathlib import Path

import pytest

import engine
from engine.stand_in import LABEL

FILES = sorted(Path(engine.__file__).parent.glob("*.*"))
# A URL, or a name under a common top-level domain; docker.io is also a package's name.
HOST = re.compile(r"\b(?!unix)\w+://\w|\b[\w-]+\.(?:org|com|net|dev|cloud)\b|\bdocker\.io/")


def hosts(text: str) -> list[str]:
    return HOST.findall(text.replace(LABEL, ""))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_host_is_named(path):
    assert hosts(path.read_text()) == []


@pytest.mark.parametrize("text", ["deb http://x y", "pull docker.io/library", "at mirror.org"])
def test_a_host_would_be_found(text):
    assert hosts(text)


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix == ".py"], ids=lambda p: p.name)
def test_python_alone_is_enough(path):
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    assert imported <= sys.stdlib_module_names | {"engine"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_small(path):
    assert len(path.read_text().splitlines()) <= 250
