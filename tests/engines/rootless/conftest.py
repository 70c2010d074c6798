"""The engine of an ordinary user, and a project of that user."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.tools import Refused
from tests.conftest import Render, lacking
from tests.support import rootless
from tests.support.project import Project
from tests.support.refusal import answers, only_root
from tests.support.rootless import Person, PersonsProject
from tests.support.waiting import until


@pytest.fixture(scope="module", params=[pytest.param(kind, marks=pytest.mark.full) for kind in ("docker", "podman")])
def kind(request: pytest.FixtureRequest) -> str:
    """Which engine."""
    return request.param


@pytest.fixture(scope="module")
def person(engine: None, kind: str) -> Iterator[Person]:
    """The user, with a running engine."""
    only_root()
    try:
        programs = rootless.unpack()
    except Refused as refused:
        lacking(str(refused))
    else:
        with rootless.person(programs) as somebody, rootless.engine(somebody, kind, programs):
            yield somebody


@pytest.fixture(scope="module")
def project(person: Person, render: Render) -> PersonsProject:
    """The user's project, after `make env`."""
    rendered = render()
    folder = person.home / "lab"
    shutil.copytree(rendered.folder, folder)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, person.uid, person.uid)
    project = PersonsProject(folder, rendered.answers, person=person)
    project.make("env")
    project.set_env(JUPYTER_PORT="0")
    return project


@pytest.fixture(scope="session")
def image(lab: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The name of the shared lab's image, and its archive, from which these engines get it."""
    name = lab.config()["services"]["lab"]["image"]
    file = tmp_path_factory.mktemp("image") / "lab.tar"
    rootless.save(name, file)
    yield name, file
    file.unlink()


@pytest.fixture(scope="module")
def at_work(person: Person, project: PersonsProject, image: tuple[str, Path]) -> Iterator[PersonsProject]:
    """The user's project with its lab running."""
    name, file = image
    rootless.load(person, file)
    person.run("docker", "tag", name, project.config()["services"]["lab"]["image"])
    project.compose("up", "--detach", "--no-build")
    until(lambda: answers(project.lab()) == 200, "the lab answers")
    yield project
    project.down()
