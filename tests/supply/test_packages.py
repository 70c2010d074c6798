"""make add, remove, lock and outdated: the list and the lock change together, or not at all."""

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.build_sources import stand_in
from tests.support.project import Project, Render

FILES = ("pyproject.toml", "requirements.lock")


@pytest.fixture(scope="module")
def project(new_project: Render) -> Project:
    return new_project()


@pytest.fixture(autouse=True)
def as_before(project: Project) -> Iterator[None]:
    """Each test starts with the files as Copier wrote them."""
    before = {name: project.read(name) for name in FILES}
    yield
    for name, text in before.items():
        (project.folder / name).write_text(text)


def state(project: Project) -> list[str]:
    return [project.read(name) for name in FILES]


def test_a_package_is_added_built_and_removed(project: Project) -> None:
    project.compose("build")
    before, delivered = state(project), layers(project)
    said = project.run("make", "--no-print-directory", "add", "PKG=humanize>=4").stderr
    assert "  humanize (new) -> 4." in said
    assert said.splitlines()[-1] == "Packages changed: 1. `make up` builds them."
    assert '    "humanize>=4",\n' in project.read("pyproject.toml")
    with (project.folder / "requirements.lock").open("a") as lock:
        lock.write(f"# {project.folder}\n")  # the engine's cache may have this lock from an earlier run
    done = project.compose("--progress", "plain", "build")
    built = done.stdout + done.stderr
    assert cached(built, "uv venv --quiet /opt/jupyter") and not cached(built, "uv venv --quiet /opt/venv")
    # The layer of small packages and the layers after it changed. The layer of large packages did not.
    *others, large, small, _ = zip(delivered, layers(project), strict=True)
    assert all(old == new for old, new in (*others, large)) and small[0] != small[1]
    assert large[0][1] > 3 * small[0][1]
    assert "  humanize 4." in project.run("make", "--no-print-directory", "remove", "PKG=humanize").stderr
    assert state(project) == before
    assert sorted(path.name for path in project.folder.glob(".*.new")) == []


def cached(log: str, words: str) -> bool:
    """Did the build take the RUN line that contains `words` from its cache?"""
    step = next(line.split()[0] for line in log.splitlines() if "] RUN " in line and words in line)
    return f"{step} CACHED" in log


def layers(project: Project) -> list[tuple[str, int]]:
    """The digest and size in bytes of each layer of the lab's image, in their order."""
    image = project.config()["services"]["lab"]["image"]
    sizes = project.run("docker", "history", "--human=false", "--format={{.Size}}", image).stdout.split()
    (inspected,) = json.loads(project.run("docker", "image", "inspect", image).stdout)
    digests = inspected["RootFS"]["Layers"]
    return list(zip(digests, [int(size) for size in reversed(sizes) if size != "0"], strict=True))


REFUSED = {
    "polars>=": "'polars>=' is not a package name. Write NAME or NAME>=VERSION, in quotes.",
    "no-such-package-at-all": "no package has the name 'no-such-package-at-all'. Look up the right name ",
    "numpy<2 pandas>=3": "no versions fit together: ",
    "": "no package is named. Run 'make add PKG=\"NAME\"'.",
    "six @ git+https://github.com/OWNER/six@1.17": "'six@git+https://github.com/OWNER/six@1.17' is a repository, ",
    "hg+http://h.example/six": "'hg+http://h.example/six' is a repository, which has no hash. Write the address of an ",
    "./six-1.whl": "'./six-1.whl' is a file, which the build cannot read. Write an address that starts with https.",
    "dist/six-1.whl": "'dist/six-1.whl' is a file, ",
    "six @ file:///tmp/six-1.whl": "'six@file:///tmp/six-1.whl' is a file, ",
    "six @ https://me:word@h.example/six-1.whl": "the address 'six@https://h.example/six-1.whl' contains a password, ",
    "--index=evil": "'--index=evil' is not a package name. Write NAME or NAME>=VERSION, in quotes.",
}


OFTEN = ("no-such-package-at-all", "numpy<2 pandas>=3", "./six-1.whl")


@pytest.mark.parametrize("names", [n if n in OFTEN else pytest.param(n, marks=pytest.mark.full) for n in REFUSED])
def test_what_cannot_be_added_is_one_sentence_and_changes_nothing(project: Project, names: str) -> None:
    before = state(project)
    done = project.run("make", "--no-print-directory", "add", f"PKG={names}", check=False)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line and not line.startswith("make: ")]
    assert len(said) == 1
    assert said[0].startswith(f"labdock: {REFUSED[names]}")
    assert state(project) == before


def test_only_what_is_listed_can_be_removed(project: Project) -> None:
    done = project.run("make", "--no-print-directory", "remove", "PKG=polars", check=False)
    assert "labdock: 'polars' is not in pyproject.toml. " in done.stderr


@pytest.mark.parametrize(
    ("program", "when"), [("docker", "*\\ run\\ *"), ("mv", "*")], ids=["the resolver", "a full disk"]
)
def test_a_failure_leaves_nothing_behind(project: Project, tmp_path: Path, program: str, when: str) -> None:
    before = state(project), project.files()
    failing = Project(project.folder, project.answers, {**project.environment, "TMPDIR": str(tmp_path / "left")})
    (tmp_path / "left").mkdir()
    stand_in(failing, tmp_path / "bin", program, f'case "$*" in {when}) touch {tmp_path}/reached; exit 1 ;; esac')
    assert failing.run("make", "add", "PKG=humanize", check=False).returncode != 0
    assert (tmp_path / "reached").exists()
    assert (state(project), project.files()) == before
    assert list((tmp_path / "left").iterdir()) == []


# By a part of pyproject.toml: what a user mistakenly wrote instead, and what the error says.
MISTAKES = {
    b'"numpy",': (b'"numpy"', "cannot be read (Unclosed array (at line "),
    b"[project]": (b"[tool.project]", "has no table [project] with "),
    b"[project]\n": (b"project = 5\n[other]\n", "has no table [project] with "),
    b"description = ": (b"description = \xff", "cannot be read ('utf-8' codec can't decode byte 0xff"),
}


@pytest.mark.parametrize("right", MISTAKES)
@pytest.mark.parametrize("command", ["lock", "outdated", "add"])
def test_a_list_that_cannot_be_read_is_one_sentence(
    project: Project, tmp_path: Path, command: str, right: bytes
) -> None:
    """packages.py, with a stand-in for uv that finds nothing newer."""
    (tmp_path / "uv").write_text("#!/bin/sh\n")
    (tmp_path / "uv").chmod(0o755)
    sound = (project.folder / "pyproject.toml").read_bytes()
    wrong, said = MISTAKES[right]
    assert sound.count(right) == 1
    for text, expected in (
        (sound, "Nothing changes: "),
        (sound.replace(right, wrong), f"labdock: pyproject.toml {said}"),
    ):
        done = changed(project, text, command, PATH=str(tmp_path))
        assert done.stderr.startswith(expected) and done.stderr.count("\n") == 1
    fix = "or run 'git checkout pyproject.toml' to get its last committed version.\n"
    assert done.returncode == 1 and done.stderr.endswith(fix)


def changed(project: Project, text: bytes, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run packages.py on another pyproject.toml."""
    archive = io.BytesIO()
    lock = (project.folder / "requirements.lock").read_bytes()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        empty = ("index", "server.lock", "server-extensions.lock", "excluded-packages.txt")
        for name, content in (("pyproject.toml", text), ("requirements.lock", lock), *((name, b"") for name in empty)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    script = (sys.executable, "-Es", project.folder / "lab/build/packages.py", command, "humanize")
    done = subprocess.run(script, input=archive.getvalue(), env={**os.environ, **environment}, capture_output=True)
    return subprocess.CompletedProcess(script, done.returncode, None, done.stderr.decode())


@pytest.mark.full
def test_newer_versions_are_shown_then_taken(project: Project) -> None:
    old = project.read("requirements.lock")
    lines = old.splitlines(keepends=True)
    start = next(number for number, line in enumerate(lines) if line.startswith("seaborn=="))
    end = next((n for n in range(start + 1, len(lines)) if not lines[n].startswith(" ")), len(lines))
    lines[start:end] = [f"seaborn==0.13.1 \\\n    --hash=sha256:{'0' * 64}\n"]  # old, and never installed
    (project.folder / "requirements.lock").write_text("".join(lines))
    before = state(project)
    shown = project.run("make", "--no-print-directory", "outdated").stderr
    assert "  seaborn 0.13.1 -> 0.13.2" in shown
    assert "`make lock` writes them to the lock." in shown
    assert state(project) == before
    assert "  seaborn 0.13.1 -> 0.13.2" in project.run("make", "--no-print-directory", "lock").stderr
    assert "seaborn==0.13.2" in project.read("requirements.lock")


@pytest.mark.full
def test_without_an_index_nothing_changes(project: Project) -> None:
    before = state(project)
    project.set_env(PIP_INDEX_URL="http://user:secret@127.0.0.1:9/simple")
    done = project.run("make", "--no-print-directory", "add", "PKG=humanize", check=False)
    project.set_env(PIP_INDEX_URL="")
    assert "the package index cannot be reached (PIP_INDEX_URL is 'http://127.0.0.1:9/simple')" in done.stderr
    assert "secret" not in done.stderr.splitlines()[-2]
    assert state(project) == before
