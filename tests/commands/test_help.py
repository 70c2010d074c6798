"""`make help`: one screen, every target."""

import re
from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.repository import ROOT

TARGETS_AT_MOST = 12


def made(makefile: str) -> tuple[list[str], list[str]]:
    """The targets of a Makefile, and the names in its .PHONY."""
    targets = dict.fromkeys(re.findall(r"^([a-z][\w-]*):(?!=)", makefile, re.MULTILINE))
    return [*targets], makefile.partition(".PHONY: ")[2].splitlines()[0].split()


def test_help_lists_every_target_on_one_screen(project: Project) -> None:
    shown = project.make("help").stdout
    assert project.run("make", "--no-print-directory").stdout == shown
    listed = re.findall(r"^  make (\w+) +\S", shown, re.MULTILINE)
    targets, _ = made(project.read("Makefile"))
    rarer = shown.partition("  Also:")[2].split()
    assert sorted(listed + rarer) == sorted(targets)
    assert len(listed) <= TARGETS_AT_MOST
    assert len(shown.splitlines()) <= 24
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("makefile", [ROOT / "Makefile", ROOT / "template/Makefile"], ids=["root", "template"])
def test_phony_names_the_targets_in_their_order(makefile: Path) -> None:
    """So a file with the name of a target changes nothing, and .PHONY names only real targets."""
    targets, phony = made(makefile.read_text(encoding="utf-8"))
    assert phony == targets


def test_a_name_in_phony_without_a_target_is_noticed() -> None:
    assert made(".PHONY: a clean\na: b ## A\n\ttrue\nB := c\n") == (["a"], ["a", "clean"])
