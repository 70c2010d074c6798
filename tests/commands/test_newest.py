"""Whether the template has a newer version: `make doctor` asks its source, and `copier update` takes what it names."""

import os
import re
import socket
import sys
from pathlib import Path

import pytest

from tests.conftest import Render, git
from tests.support.doctor import doctor, printed_command
from tests.support.project import Project

# What a project has, the tags of the template, and which is newer.
ORDERS = {
    "the same": ("v1.0.0", ["v1.0.0"], None),
    "newer": ("v1.0.0", ["v1.0.0", "v1.0.1"], "v1.0.1"),
    "numbers, not letters": ("v1.9.0", ["v1.10.0", "v1.9.0"], "v1.10.0"),
    "with and without v": ("1.0.0", ["v1.0.0", "v2.0"], "v2.0"),
    "ones left out are zero": ("v1.0.0", ["v1.0", "v1"], None),
    "a commit after it": ("v1.0.0-3-g0123abc", ["v1.0.0", "v1.0.1"], "v1.0.1"),
    "pre-releases are none": ("v1.0.0", ["v1.1.0rc1", "v2.0.0-beta.1", "v1.1.0.dev3"], None),
    "final after a pre-release": ("v1.1.0rc1", ["v1.0.0", "v1.1.0rc1", "v1.1.0"], "v1.1.0"),
    "post-release": ("v1.0.0", ["v1.0.0.post1"], "v1.0.0.post1"),
    "the last of many": ("v0.1.0", [f"v0.{n}.0" for n in range(1, 12)], "v0.11.0"),
    "no versions": ("v1.0.0", ["latest", "stable-2", "v", "0.9"], None),
    "no tags": ("v1.0.0", [], None),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Where a template could come from."""
    folder = tmp_path / "source"
    git("init", "--quiet", str(folder), cwd=tmp_path)
    git("commit", "--quiet", "--allow-empty", "--message", "any", cwd=folder)
    return folder


def said(project: Project, source: str, version: str) -> str:
    """What is said of a project from `source` at `version`: one line, and no failure."""
    answers = project.folder / ".copier-answers.yml"
    answers.write_text(f"# Written by Copier.\n_commit: {version}\n_src_path: {source}\nproject_name: Iris\n")
    (line,) = project.run("sh", "lab/commands/newest.sh").stdout.splitlines()
    return line


@pytest.mark.parametrize("order", ORDERS)
def test_versions_are_ordered_as_copier_orders_them(project: Project, source: Path, order: str) -> None:
    version, tags, newer = ORDERS[order]
    for tag in tags:
        git("tag", "--annotate", "--message", tag, tag, cwd=source)
    found = said(project, str(source), version)
    if newer is None:
        assert found == f"ok    the template has no newer version than this project's, {version}"
    else:
        assert found == f"note  the template's {newer} is out, and this project has {version}: run 'copier update'."


@pytest.mark.parametrize("version", ["", "'0a1b2c3'", "2b1f5d0"])
def test_a_project_that_knows_no_version_says_so(project: Project, source: Path, version: str) -> None:
    assert "does not say which version of the template it has" in said(project, str(source), version)


def test_a_source_that_is_gone_is_no_failure(project: Project) -> None:
    line = said(project, "/nowhere/labdock", "v1.0.0")
    assert line.startswith("note  this project has the template's v1.0.0") and "/nowhere/labdock does not say" in line


@pytest.mark.full
def test_a_source_that_never_answers_is_given_up(project: Project) -> None:
    """And the password in its address is not shown."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        line = said(project, f"git+http://me:s3cret@{host}/labdock.git", "v1.0.0")
    assert line.endswith(f"http://{host}/labdock.git does not say.")


@pytest.mark.parametrize(
    ("short", "address"), [("gh:me/labdock", "https://github.com/me/labdock"), ("gl:a/b", "https://gitlab.com/a/b")]
)
def test_short_names_are_copiers(project: Project, source: Path, short: str, address: str) -> None:
    git("tag", "v3.0.0", cwd=source)
    project.run("git", "init", "--quiet")
    project.run("git", "config", f"url.{source}.insteadOf", address)
    assert "v3.0.0 is out" in said(project, short, "v1.0.0")


@pytest.mark.full
def test_the_update_that_doctor_names_mends(engine: None, render: Render, template: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    git("clone", "--quiet", str(template), str(newer), cwd=tmp_path)
    git("commit", "--quiet", "--allow-empty", "--message", "newer", cwd=newer)
    git("tag", "v999.10.0", cwd=newer)
    project = render(folder=tmp_path / "lab")
    project.replace(".copier-answers.yml", f"_src_path: {template}", f"_src_path: {newer}")
    project.commit()
    (line,) = (note for note in doctor(project)["note"] if "is out" in note)
    assert re.match("the template's v999.10.0 is out, and this project has 999.0.0", line)
    project.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    project.run("sh", "-c", f"{printed_command(line)} --defaults --quiet")
    assert "the template has no newer version than this project's, v999.10.0" in doctor(project)["ok"]
