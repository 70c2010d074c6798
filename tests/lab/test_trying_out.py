"""`%pip install` installs a package for one start of the lab, and prints how to keep the package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.repository import ROOT
from tests.support.variants import beside
from tools.notebook import CellError, LabClient

NOTE = """labdock: the installed packages are gone at the next start of the lab. \
To keep them, run this in the project's folder on your machine:
    make add PKG="{}"
"""


def shown(lab: LabClient, code: str) -> str:
    """The output of a kernel, with "\\n" instead of "\\r\\n"."""
    return lab.run(code).replace("\r\n", "\n")


def test_a_package_works_at_once_and_is_gone_at_the_next_start(lab: Project, tmp_path: Path) -> None:
    with beside(lab, tmp_path) as twin:
        twin.serve()
        code = "%pip install humanize\nimport humanize; print(humanize.intcomma(1234567))"
        assert shown(twin.client(), code).endswith(NOTE.format("humanize") + "1,234,567\n")
        assert (
            twin.client().run("import humanize; print(humanize.__file__)").startswith("/run/lab/try/site/")
        )  # in every kernel
        assert "humanize" in twin.compose("exec", "--no-TTY", "lab", "pip", "list").stdout
        code = "import sys\n!{sys.executable} -m pip install toolz\nimport toolz; print(toolz.__file__)"
        assert shown(twin.client(), code).endswith(NOTE.format("toolz") + "/run/lab/try/site/toolz/__init__.py\n")
        twin.compose("restart", "--timeout", "2", "lab")
        twin.serve()
        with pytest.raises(CellError, match="No module named 'humanize'"):
            twin.client().run("import humanize")


def test_what_the_lab_has_is_not_installed_again(lab: Project) -> None:
    said = shown(lab.client(), "%pip install numpy pandas")
    assert "already satisfied: numpy in /opt/venv/" in said
    assert "Collecting" not in said
    assert said.endswith(NOTE.format("numpy pandas"))


# Each way to call pip, in a cell. `{}` is the package.
SPELLINGS = {
    "%pip install --quiet {}": "toolz",
    "!pip install --quiet --user {}": "humanize",
    "!pip3 install --quiet {}": "tomlkit",
    "!{{sys.executable}} -m pip install --quiet {}": "iniconfig",
    "!python3 -m pip install --quiet {}": "pluggy",
    "subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', '{}'], check=True)": "xlwt",
}


@pytest.mark.nightly
def test_every_spelling_of_pip_does_the_same(lab: Project, tmp_path: Path) -> None:
    """Each package works in the same cell. The control: no package is there before."""
    pythons = "print(*sorted(p.name for p in pathlib.Path('/usr/local/bin').glob('pip3*')))"
    with beside(lab, tmp_path) as twin:
        twin.serve()
        client = twin.client()
        spellings = dict(SPELLINGS)
        (exact,) = [name for name in client.run(f"import pathlib; {pythons}").split() if "." in name]
        spellings[f"!{exact} install --quiet {{}}"] = "nbclient"
        for call, name in spellings.items():
            with pytest.raises(CellError, match=f"No module named '{name}'"):
                client.run(f"import {name}")
            cell = f"import subprocess, sys\n{call.format(name)}\nimport {name}; print({name}.__file__)"
            assert client.run(cell).endswith(f"/run/lab/try/site/{name}/__init__.py\n"), call
        # Another environment has its own pip, and `import pip` finds no pip that nobody installed.
        own = "python -m venv /home/jovyan/own && /home/jovyan/own/bin/python -m pip --version"
        assert "from /home/jovyan/own/" in twin.shell(own)
        with pytest.raises(CellError, match="No module named 'pip'"):
            client.run("import pip")


MODULE = ROOT / "template/lab/server/python"


def python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python without the packages of this machine."""
    command = (sys.executable, "-S", *words)
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_a_pip_that_was_installed_is_the_one_that_is_imported(tmp_path: Path) -> None:
    """The control: without one, `import pip` fails as in every environment without pip."""
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip/__init__.py").write_text("__version__ = 'of the lock'\n")
    (tmp_path / "pip/inner.py").write_text("")
    code = "import pip, pip.inner, importlib; print(importlib.import_module('pip').__version__)"
    done = python("-c", code, PYTHONPATH=f"{MODULE}:{tmp_path}")
    assert done.stdout == "of the lock\n", done.stderr
    assert "No module named 'pip'" in python("-c", code, PYTHONPATH=str(MODULE)).stderr


def test_another_environment_runs_its_own_pip(tmp_path: Path) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip/__init__.py").write_text("")
    (tmp_path / "pip/__main__.py").write_text("import sys\nprint('own', *sys.argv[1:])\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    command = (tmp_path / "venv/bin/python", "-m", "pip", "list")
    environment = {**os.environ, "PYTHONPATH": f"{MODULE}:{tmp_path}"}
    assert subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout == "own list\n"


@pytest.mark.full
def test_a_failed_install_prints_no_note(lab: Project) -> None:
    said = shown(lab.client(), "%pip install no-such-package-anywhere-on-earth")
    assert "No matching distribution found" in said
    assert "labdock:" not in said


@pytest.mark.full
def test_another_version_is_found_before_the_labs_own(lab: Project, tmp_path: Path) -> None:
    with beside(lab, tmp_path) as twin:
        twin.serve()
        version = "import seaborn; print(seaborn.__version__)"
        locked = twin.client().run(version)
        assert locked != "0.13.1\n"
        assert twin.client().run(f"%pip install --quiet --no-deps seaborn==0.13.1\n{version}").endswith("0.13.1\n")
        own = "env -u PYTHONPATH python -c 'import seaborn; print(seaborn.__version__)'"
        assert twin.compose("exec", "--no-TTY", "lab", "sh", "-c", own).stdout == locked  # /opt/venv has not changed
