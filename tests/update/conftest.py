"""Two releases that exist in tests only, and a project of the older one."""

from pathlib import Path

import pytest

from tests.support import shared
from tests.support.project import Project
from tests.support.updates import OLD, releases_of, start


@pytest.fixture(scope="session")
def releases(template: Path) -> Path:
    """The template with the tags OLD and NEW."""
    return shared.once("releases", lambda folder: releases_of(template, folder))


@pytest.fixture
def old(releases: Path, tmp_path: Path) -> Project:
    """A project of the older release."""
    return start(releases, tmp_path / "lab", OLD)
