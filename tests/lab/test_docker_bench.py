"""What docker-bench-security would say of images and containers: no warning but those that the docs explain."""

import json
import re
from copy import deepcopy

import pytest

from tests.conftest import ROOT
from tests.support.bench import BENCH, Facts
from tests.support.hardening import FILES
from tests.support.project import Project

# Warnings that stay, and what only a person can judge: docs/explanation/threat-model.md says why.
WARNINGS = {"4.6", "5.12", "5.15"}
BY_HAND = {"4.4", "4.5", "4.12", "5.1", "5.28"}


@pytest.fixture(scope="module")
def facts(lab: Project) -> Facts:
    container = lab.container()
    (image,) = json.loads(lab.run("docker", "image", "inspect", container["Image"]).stdout)

    def inside(command: str) -> str:
        return lab.compose("exec", "--no-TTY", "lab", "sh", "-c", f"{command} || true").stdout.strip()

    scripts = [lab.read("Makefile"), *(path.read_text() for path in (lab.folder / "lab/commands").iterdir())]
    return {
        "container": container,
        "image": image,
        "dockerfile": lab.read("Dockerfile"),
        "build.sh": re.sub(r"\\\n\s*", " ", lab.read("Dockerfile")),
        "commands": "\n".join(scripts),
        "processes": inside("cat /proc/[0-9]*/comm 2>/dev/null").splitlines(),
        "setuid": inside(FILES["setuid or setgid files"]),
        "build tools": inside(FILES["build tools"]),
    }


def test_nothing_warns_but_what_the_docs_explain(facts: Facts) -> None:
    assert {number for number, check in BENCH.items() if not check.passes(facts)} == WARNINGS


@pytest.mark.parametrize("number", BENCH)
def test_a_counterexample_warns(facts: Facts, number: str) -> None:
    """The control: each check can fail."""
    check, worse = BENCH[number], deepcopy(facts)
    *parents, last = [check.path] if check.path in facts else check.path.split(".")
    place = worse
    for key in parents:
        place = place[key]
    place[last] = check.bad
    assert not check.passes(worse), check.meaning


def test_every_number_is_answered_and_what_is_left_explained() -> None:
    numbers = {f"4.{n}" for n in range(1, 13)} | {f"5.{n}" for n in range(1, 33)}
    assert numbers == BENCH.keys() | BY_HAND
    text = (ROOT / "docs/explanation/threat-model.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| (\d\.\d+) ", text, re.MULTILINE)) == WARNINGS | BY_HAND
