"""Facts that docs repeat from other files: the template's address, and the packages of each environment."""

import re
from pathlib import Path

import jinja2
import pytest
import yaml

from tests.support.repository import ROOT
from tools.address import REPOSITORY, TEMPLATE

GITHUB = (ROOT / ".github").rglob("*.yml")
IN_PROJECT = [path for path in (ROOT / "template").rglob("*") if path.name in ("README.md", "README.md.jinja")]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *IN_PROJECT, *GITHUB])
# In a clone, the address is the remote of the clone.
SOURCES = {TEMPLATE, '"$(git remote get-url origin)"'}
PACKAGES = ROOT / "docs/how-to/packages.md"


# --- the template's address -------------------------------------------------------------------------
def other_addresses(text: str) -> set[str]:
    """Addresses in `copier copy` commands, and links to the template, that differ from the published address."""
    copied = re.findall(r"^(?:uvx )?copier copy .*?(\S+|\"\$\(.*\)\") \S+$", text, re.MULTILINE)
    linked = re.findall(r"https?://[\w./-]*/labdock(?:\.git)?\b|\bgh:[\w./-]+", text)
    known = {*SOURCES, REPOSITORY, "SOURCE"}
    return {address for address in [*copied, *linked] if address not in known}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_knows_one_address_of_the_template(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert other_addresses(text) == set()
    if TEMPLATE.startswith("gh:OWNER/") and page.suffix == ".md" and "OWNER/labdock" in text:
        assert "is a placeholder until" in " ".join(text.split())


def test_another_address_is_noticed() -> None:
    wrong = {
        "uvx copier copy gh:ada/labdock my-lab": "gh:ada/labdock",
        'copier copy --defaults --data project_name="A" https://git.example/labdock.git lab': "https://git.example/labdock.git",
        'uvx copier copy "$PWD" ../my-lab': '"$PWD"',
        "Report it: <https://github.com/ada/labdock/security>": "https://github.com/ada/labdock",
    }
    for text, address in wrong.items():
        assert other_addresses(text) == {address}
    assert (
        other_addresses(f'copier copy {TEMPLATE} lab\nuvx copier copy "$(git remote get-url origin)" ../lab') == set()
    )


# --- the packages of each environment -----------------------------------------------------------------
Row = tuple[set[str], set[str], str]


def documented(text: str) -> dict[str, Row]:
    """Python packages, Debian packages and example of each environment, from the table of the page."""
    found: dict[str, Row] = {}
    for name, python, debian, example in re.findall(r"^\| `([\w-]+)` \| (.+?) \| (.*?) ?\| `(\S+)` \|$", text, re.M):
        inherited = re.match(r"all of `([\w-]+)`, and ", python)
        packages = set(python[inherited.end() if inherited else 0 :].split(", "))
        base = found[inherited[1]][0] if inherited else set()
        found[name] = (packages | base, set(filter(None, debian.split(", "))), example)
    return found


def everywhere(page: str, dockerfile: str) -> tuple[set[str], set[str]]:
    """The Debian packages that every environment contains: as the page says, and as the Dockerfile installs them."""
    (said,) = re.findall(r"^Every environment also contains the Debian packages (.*?)\. The server", page, re.M | re.S)
    (installed,) = re.findall(r"apt-get install \S+ --no-install-recommends \\\n +(.*)\{\{ debian_packages", dockerfile)
    return set(re.split(r",\s+|\s+and\s+", said)), set(installed.split())


def rendered() -> dict[str, Row]:
    """The same, from copier.yml and pyproject.toml.jinja."""
    settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    listed = environment.from_string((ROOT / "template/pyproject.toml.jinja").read_text(encoding="utf-8"))
    found = {}
    for name in settings["environment"]["choices"].values():
        answers = {"environment": name, "gpu": "none", "license": "none", "author_name": ""}
        packages = set(re.findall(r'^    "(.+)",$', listed.render(answers), re.MULTILINE))
        debian, example = (
            environment.from_string(settings[computed]["default"]).render(answers).strip()
            for computed in ("debian_packages", "example")
        )
        found[name] = (packages, set(debian.split()), f"{example}.ipynb")
    return found


def test_the_page_lists_the_packages_of_each_environment() -> None:
    assert documented(PACKAGES.read_text(encoding="utf-8")) == rendered()


def test_the_page_lists_the_debian_packages_of_every_environment() -> None:
    page, dockerfile = PACKAGES.read_text(encoding="utf-8"), (ROOT / "template/Dockerfile.jinja").read_text()
    said, installed = everywhere(page, dockerfile)
    assert said == installed and "git" in said
    # The controls: a package that only the page or only the Dockerfile has.
    assert everywhere(page.replace(" less,", ""), dockerfile)[0] != installed
    assert everywhere(page, dockerfile.replace(" less ", " "))[1] != said


@pytest.mark.parametrize("old", ["seaborn", "nbformat | r-base", "iris.ipynb", "| `spark`"])
def test_a_wrong_line_of_the_list_is_noticed(old: str) -> None:
    text = PACKAGES.read_text(encoding="utf-8")
    assert old in text
    assert documented(text.replace(old, "x", 1)) != rendered()
