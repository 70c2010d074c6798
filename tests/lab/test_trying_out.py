"""`%pip install` installs a package for one start of the lab, and prints how to keep the package."""

from pathlib import Path

import pytest

from tests.support.project import Project
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
        twin.compose("up", "--detach", "--wait", "--no-build")
        code = "%pip install humanize\nimport humanize; print(humanize.intcomma(1234567))"
        assert shown(twin.client(), code).endswith(NOTE.format("humanize") + "1,234,567\n")
        assert (
            twin.client().run("import humanize; print(humanize.__file__)").startswith("/run/try/site/")
        )  # in every kernel
        assert "humanize" in twin.compose("exec", "--no-TTY", "lab", "pip", "list").stdout
        twin.compose("restart", "--timeout", "2", "lab")
        twin.compose("up", "--detach", "--wait", "--no-build")
        with pytest.raises(CellError, match="No module named 'humanize'"):
            twin.client().run("import humanize")


def test_what_the_lab_has_is_not_installed_again(lab: Project) -> None:
    said = shown(lab.client(), "%pip install numpy pandas")
    assert "already satisfied: numpy in /opt/venv/" in said
    assert "Collecting" not in said
    assert said.endswith(NOTE.format("numpy pandas"))


@pytest.mark.full
def test_a_failed_install_prints_no_note(lab: Project) -> None:
    said = shown(lab.client(), "%pip install no-such-package-anywhere-on-earth")
    assert "No matching distribution found" in said
    assert "labdock:" not in said


@pytest.mark.full
def test_another_version_is_found_before_the_labs_own(lab: Project, tmp_path: Path) -> None:
    with beside(lab, tmp_path) as twin:
        twin.compose("up", "--detach", "--wait", "--no-build")
        version = "import seaborn; print(seaborn.__version__)"
        locked = twin.client().run(version)
        assert locked != "0.13.1\n"
        assert twin.client().run(f"%pip install --quiet --no-deps seaborn==0.13.1\n{version}").endswith("0.13.1\n")
        own = "env -u PYTHONPATH python -c 'import seaborn; print(seaborn.__version__)'"
        assert twin.compose("exec", "--no-TTY", "lab", "sh", "-c", own).stdout == locked  # /opt/venv has not changed
