"""The commands run with tools that have no GNU options, as on macOS.

BusyBox stands for tools without GNU options, and original-awk is the awk of macOS.
"""

import os
import re
from pathlib import Path

import pytest

from engine.common import Refused
from engine.debian import Apt
from tests.support import shared
from tests.support.doctor import doctor
from tests.support.project import Project
from tests.support.requirements import lacking

BUSYBOX = (
    *("cat", "chmod", "chown", "cmp", "cp", "cut", "date", "df", "dirname", "find", "grep", "head", "id", "ln", "ls"),
    *("mkdir", "mktemp", "mv", "od", "paste", "rm", "sed", "seq", "sh", "sort", "stat", "tail", "tar", "tee", "touch"),
    *("tr", "uname", "uniq", "wc", "xargs"),
)
# An option that the tools of macOS do not have, or read otherwise.
GNU_ONLY = re.compile(
    r"""
    \bsed\s+(-[a-zA-Z]*\s+)*(-i(\s|'')|-u\b|-z\b|--)    # -i needs a suffix
    | \bstat\s+(-c|--)
    | \bdate\s+(-d|--)
    | \breadlink\s+-[a-z]*[fe]
    | \bgrep\s+(-[a-zA-Z]*P|--)
    | \bxargs\s+(-[a-zA-Z0]*r|--)
    | \bsort\s+(-[a-z]*V|--)
    | \b(cp|mv|ln|ls|mkdir|rm|head|tail|wc|cut|tr|uniq|mktemp|du|df)\s+--
    | \bdf\s+-[a-zA-Z]*[BT]\b
    | \bod\s+.*-w
    | \bsha256sum\b
    | \btimeout\s+\d
    | \bfind\b.*(-printf|-regextype|-empty\s+-delete)
    | \becho\s+-[ne]\b
    """,
    re.VERBOSE,
)
# Docker's own options, and what runs in a container.
DOCKER = re.compile(r"\b(docker|podman)\b[^|;&]*")


def unpack(folder: Path) -> None:
    """Debian's packages of the other tools."""
    folder.mkdir()
    apt = Apt(folder)
    apt.unpack([f"{name}/{apt.own}" for name in ("busybox", "original-awk")], folder / "packages")


@pytest.fixture
def path(engine: None, tmp_path: Path) -> str:
    """A PATH on which the other tools come first."""
    try:
        packages = shared.once("other-tools", unpack) / "packages"
    except Refused as refused:
        lacking(str(refused))
    (busybox,), (awk,) = packages.glob("*bin/busybox"), packages.glob("usr/bin/original-awk")
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in BUSYBOX:
        (folder / name).symlink_to(busybox)
    (folder / "awk").symlink_to(awk)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.full
def test_the_tools_are_the_others(project: Project, path: str) -> None:
    """The control: a GNU option fails with them."""
    project.environment["PATH"] = path
    for command in ("sed --debug p </dev/null", "tar --sort=name -cf /dev/null ."):
        assert project.run("sh", "-c", command, check=False).returncode != 0
    assert "awk version" in project.run("sh", "-c", "awk --version").stdout


@pytest.mark.full
def test_env_doctor_and_help_print_the_same(engine: None, project: Project, path: str) -> None:
    """Also with one problem of each kind for which `make doctor` uses a tool of the host."""
    usual, lock = project.environment, project.read("requirements.lock")
    printed = []
    for environment in (usual, {**usual, "PATH": path}):
        project.environment = environment
        (project.folder / ".env").unlink(missing_ok=True)
        told = [project.make("help").stdout, project.make("env").stdout, project.read(".env")]
        told.append(str(doctor(project)))
        (project.folder / "secrets/jupyter_token").write_bytes("\ufeffshort\r\n".encode())
        project.set_env(LAB_NAME="iris-study-000000", LAB_MEMORY="0g", LAB_PIDS="1", LAB_UMASK="9", JUPYTER_UI="x")
        project.set_env(PIP_INDEX_URL="https://a:b@one/simple https://a:b/c@two", LAB_UDI="5")
        with (project.folder / ".env").open("a") as env:
            env.write("LAB_NOTE='two\nlines'\n")
        (project.folder / "requirements.lock").write_text("")
        told.append(str(doctor(project)))
        (project.folder / "secrets/jupyter_token").unlink()
        (project.folder / "requirements.lock").write_text(lock)
        printed.append(told)
    assert printed[0] == printed[1]
    assert printed[0][-1].count("'LAB_") > 0 and "contains 5 characters" in printed[0][-1]


@pytest.mark.nightly
def test_a_lab_starts_runs_and_gets_a_new_token(fresh_project: Project, path: str) -> None:
    fresh_project.environment["PATH"] = path
    fresh_project.make("up")
    assert "Address: http://127.0.0.1:" in fresh_project.make("url").stdout
    assert fresh_project.make("run").stdout == "ok    notebooks/iris.ipynb\n"
    old = fresh_project.client().token
    fresh_project.make("rotate")
    assert fresh_project.client().token != old
    fresh_project.make("reset")
    fresh_project.environment["JUPYTER_UI"] = "x"
    assert "labdock: JUPYTER_UI is 'x'" in fresh_project.make("up", check=False).stderr


def gnu_only(text: str) -> list[str]:
    """The lines of a script that use an option of GNU's tools on the host."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if GNU_ONLY.search(DOCKER.sub("", line))]


# A `case` after "$(" that is still open.
CASE_INSIDE = re.compile(r"\$\((?:[^()]|\([^()]*\))*\bcase\b")


def test_no_command_has_a_case_that_bash_3_cannot_read(rendered: Project) -> None:
    """The sh of macOS is bash 3.2. It takes the first ")" of a pattern for the end of "$(...)"."""
    scripts = [rendered.folder / "lab/server/setting_rules.sh", *(rendered.folder / "lab/commands").rglob("*.sh")]
    texts = {path.name: re.sub(r"^\s*#.*|\s# .*", "", path.read_text(), flags=re.MULTILINE) for path in scripts}
    assert [name for name, text in texts.items() if CASE_INSIDE.search(text)] == []
    assert CASE_INSIDE.search("x=$(a (b) | while read -r y; do\n case $y in z) ;; esac; done)")
    assert not CASE_INSIDE.search("case $(a (b)) in\n*) ;; esac")


def test_the_commands_use_no_option_of_gnu_tools_only(rendered: Project) -> None:
    """lib/sha256.sh chooses between sha256sum and the tool of macOS."""
    scripts = [rendered.folder / "lab/server/setting_rules.sh", rendered.folder / ".devcontainer/initialize.sh"]
    scripts += sorted((rendered.folder / "lab/commands").rglob("*.sh"))
    assert len(scripts) > 20
    found = {script.name: gnu_only(script.read_text()) for script in scripts if script.name != "sha256.sh"}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "sed -i s/a/b/ x",
        "stat -c %u x",
        "date -d now",
        "readlink -f x",
        "grep -P x",
        "xargs -r x",
        "sort -V",
        "od -w32",
    ],
)
def test_an_option_of_gnu_tools_only_is_found(line: str) -> None:
    assert gnu_only(f"true\n{line}\n") == [line]
