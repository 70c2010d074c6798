"""The docs as a site: the strict build passes, every link has a target, and no page loads from another host."""

import re
import shutil
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.repository import ROOT

LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "use": "href"}
OWN = re.compile(r"(?!(?:[a-z]+:)?//)")  # no address of another host
CLOSED = "default-src 'self' data: 'unsafe-inline'; form-action 'none'"


def copy(folder: Path) -> Path:
    """A copy of what the site is made from, for a test to change."""
    for name in ("docs", "tools/site"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "zensical.toml", folder)
    return folder


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site strictly, as `make docs` does."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy(tmp_path_factory.mktemp("site"))
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build/site"


class Page(HTMLParser):
    """The links, loaded files, anchors and security policy of a page."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.policy = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.anchors.add(given.get("id", ""))
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADING and given.get(LOADING[tag]) and given.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(given[LOADING[tag]])


def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in sorted(site.rglob("*.html"))}


def broken(site: Path) -> list[str]:
    """Links and pictures whose file or anchor is not on the site."""
    found = []
    parsed = pages(site)
    for file, page in parsed.items():
        if file.name == "404.html":
            continue  # the server shows it at any address
        for link in {*page.links, *page.loaded}:
            path, _, anchor = link.partition("#")
            target = (file.parent / path).resolve() if path else file
            target = target / "index.html" if target.is_dir() else target
            if not OWN.match(link) or re.match(r"(mailto|data|https?):", link):
                continue
            if not target.is_file() or (anchor and anchor not in parsed[target].anchors):
                found.append(f"{file.relative_to(site)}: {link}")
    return found


def abroad(site: Path) -> list[str]:
    """Addresses of other hosts that the pages and their styles load."""
    found = [link for page in pages(site).values() for link in page.loaded if not OWN.match(link)]
    for file in [*site.rglob("*.css"), *site.rglob("*.html"), *site.rglob("*.svg")]:
        found += re.findall(r"""(?:url\(|@import\s*)["']?((?:https?:)?//[^"')]+)""", file.read_text(encoding="utf-8"))
    return found


def open_pages(site: Path) -> list[str]:
    """The pages without the policy that lets the browser load from their own host only."""
    return [file.name for file, page in pages(site).items() if page.policy != CLOSED]


def unlisted(folder: Path) -> set[str]:
    """The pages that the navigation does not list."""
    nav = str(tomllib.loads((folder / "zensical.toml").read_text())["project"]["nav"])
    return {page.relative_to(folder / "docs").as_posix() for page in (folder / "docs").rglob("*.md")} - set(
        re.findall(r"'([^']+\.md)'", nav)
    )


def fetching(text: str) -> list[str]:
    """What makes the theme's script ask another host: a repository, and blocks that need a downloaded library."""
    return re.findall(r'class="(mermaid|pyodide|glightbox)|(?m:^repo_url)', text)


def test_no_link_is_broken_and_nothing_is_loaded_from_another_host(site: Path) -> None:
    found = pages(site)
    assert len(found) > 50
    assert sum(len(page.links) for page in found.values()) > 1000
    assert broken(site) == []
    assert abroad(site) == []
    assert open_pages(site) == []
    assert unlisted(ROOT) == set()


def test_the_theme_asks_no_other_host(site: Path) -> None:
    for file in [*site.rglob("*.html"), ROOT / "zensical.toml"]:
        assert fetching(file.read_text(encoding="utf-8")) == [], file


def test_what_makes_the_theme_ask_another_host_is_noticed() -> None:
    assert len(fetching('<div class="mermaid">')) == len(fetching('a = 1\nrepo_url = "https://host.example"')) == 1


@pytest.mark.full
def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    page = copy(tmp_path) / "docs/index.md"
    text = page.read_text()
    for link in ("[a](how-to/none.md)", "[a](how-to/packages.md#nowhere)", "[a](../CONTRIBUTING.md)"):
        page.write_text(f"{text}\n{link}\n")
        assert build(tmp_path).returncode != 0, link
    page.write_text(f"{text}\n![a](images/none.png) [a](../Makefile)\n")
    assert build(tmp_path).returncode == 0
    assert set(broken(tmp_path / "build/site")) == {"index.html: ../Makefile", "index.html: images/none.png"}


def test_a_page_that_loads_from_another_host_is_noticed(tmp_path: Path) -> None:
    copy(tmp_path)
    config = tmp_path / "zensical.toml"
    changed = re.sub(r"(?m)^(font|custom_dir) = .*\n", "", config.read_text())
    config.write_text(changed.replace('"how-to/token.md",', ""))
    (tmp_path / "docs/index.md").write_text("# Start\n\n![a](https://counter.example/pixel.png)\n")
    assert build(tmp_path).returncode == 0
    site = tmp_path / "build/site"
    hosts = {re.sub(r"https?://|/.*", "", link) for link in abroad(site)}
    assert hosts == {"counter.example", "fonts.googleapis.com", "fonts.gstatic.com"}
    assert "index.html" in open_pages(site)
    assert unlisted(tmp_path) == {"how-to/token.md"}
