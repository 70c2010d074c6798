"""The first example of each package of the environment runs in a notebook of the lab (first_examples.py)."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from tests.repo.test_docs_facts import rendered
from tests.support.project import Project
from tools.notebook import LabClient, execute, text

EXAMPLES = Path(__file__).with_name("first_examples.py").read_text(encoding="utf-8")
HELPERS = {"run", "ran_in_r"}


def functions(examples: str) -> set[str]:
    """The packages that have a first example."""
    return set(re.findall(r"^def (\w+)", examples, re.MULTILINE)) - HELPERS


def function(package: str) -> str:
    """The name of the function for a package: scikit_learn for "scikit-learn", dask for "dask[distributed]"."""
    return re.sub(r"\W", "_", Requirement(package).name)


def packages_without_example(client: LabClient, names: list[str], examples: str = EXAMPLES) -> dict[str, str]:
    """Run the first examples in one notebook kernel; for each that fails, the output of all."""
    with client.kernel() as kernel:
        said = text(execute(kernel, f"{examples}\nrun({names!r})"))
    worked = re.findall(r"^works: (\w+)$", said, re.MULTILINE)
    return {name: said for name in names if name not in worked}


def run_first_examples(project: Project) -> None:
    dependencies = tomllib.loads(project.read("pyproject.toml"))["project"]["dependencies"]
    _, debian, _ = rendered()[project.answers["environment"]]
    names = [function(package) for package in (*dependencies, *debian)]
    assert len(names) >= 2  # every environment has ipykernel and nbformat
    assert packages_without_example(project.client(), names) == {}


def test_each_package_of_each_environment_has_a_first_example() -> None:
    packages = {package for python, debian, _ in rendered().values() for package in python | debian}
    assert {function(package) for package in packages} == functions(EXAMPLES)
    assert {"dask", "scikit_learn", "r_base_core", "pyspark"} <= functions(EXAMPLES)


def test_first_examples_run(lab: Project) -> None:
    run_first_examples(lab)


def test_a_package_that_does_not_work_is_noticed(lab: Project) -> None:
    """The control: dask needs a package that this environment lacks, and a wrong result is an error too."""
    wrong = EXAMPLES.replace("== 45", "== 46")
    assert wrong != EXAMPLES
    assert set(packages_without_example(lab.client(), ["dask", "tqdm", "numpy"], wrong)) == {"dask", "tqdm"}
