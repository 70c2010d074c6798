"""The engine of an ordinary user, and a project of that user."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.common import Refused
from tests.support import rootless
from tests.support.project import Project, Render
from tests.support.refusal import answers, only_root
from tests.support.requirements import lacking
from tests.support.rootless import RootlessUser, UsersProject
from tests.support.waiting import until

KINDS = [pytest.param("docker", marks=pytest.mark.full), pytest.param("podman", marks=pytest.mark.nightly)]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """`docker` or `podman`."""
    return request.param


@pytest.fixture(scope="module")
def user(engine: None, kind: str) -> Iterator[RootlessUser]:
    """The user, with a running engine."""
    only_root()
    try:
        programs = rootless.unpack()
    except Refused as refused:
        lacking(str(refused))
    else:
        with rootless.user(programs) as somebody, rootless.engine(somebody, kind, programs):
            yield somebody


@pytest.fixture(scope="module")
def project(user: RootlessUser, render: Render) -> UsersProject:
    """The user's project, after `make env`."""
    rendered = render()
    folder = user.home / "lab"
    shutil.copytree(rendered.folder, folder)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.uid, user.uid)
    project = UsersProject(folder, rendered.answers, user=user)
    project.make("env")
    project.set_env(JUPYTER_PORT="0")
    return project


@pytest.fixture(scope="session")
def image(lab: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The name of the shared lab's image, and an archive of the image. The rootless engines load this archive."""
    name = lab.config()["services"]["lab"]["image"]
    file = tmp_path_factory.mktemp("image") / "lab.tar"
    rootless.save(name, file)
    yield name, file
    file.unlink()


@pytest.fixture(scope="module")
def at_work(user: RootlessUser, project: UsersProject, image: tuple[str, Path]) -> Iterator[UsersProject]:
    """The user's project with its lab running."""
    name, file = image
    rootless.load(user, file)
    user.run("docker", "tag", name, project.config()["services"]["lab"]["image"])
    project.compose("up", "--detach", "--no-build")
    until(lambda: answers(project.client()) == 200, "the lab answers")
    yield project
    project.down()
