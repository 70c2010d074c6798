"""Projects in which the tools run, lab not started."""

import shutil
from pathlib import Path

import pytest

from tests.support.project import Project, Render


@pytest.fixture(scope="session")
def rendered(render: Render) -> Project:
    """A project as Copier left it. Not to be changed."""
    return render()


@pytest.fixture
def project(rendered: Project, tmp_path: Path) -> Project:
    """A copy of the test's own."""
    return Project(shutil.copytree(rendered.folder, tmp_path / "project/lab"), rendered.answers)


@pytest.fixture
def sound(engine: None, project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in which doctor finds nothing, as `test_a_sound_project` shows."""
    for name in ("LAB_CA_BUNDLE", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    project.make("env")
    (project.folder / "secrets/jupyter_token").write_text("\ufeff" + "x" * 32 + "\r\n")
    return project
