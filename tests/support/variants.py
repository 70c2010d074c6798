"""Projects with one wrong change, for negative controls. The test for this change must fail."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.project import Project

# A layer that gives the server a folder of its own, or takes it away.
TEMPLATE = Path(__file__).resolve().parent.parent.parent / "template"


def copy_of(project: Project, folder: Path) -> Project:
    """A copy of `project` with a Compose name and image of its own."""
    shutil.copytree(project.folder, folder)
    copy = Project(folder, project.answers)
    copy.set_env(LAB_NAME=f"mutant-{abs(hash(folder)):x}")
    return copy


def without_environments(project: Project) -> None:
    """Leave only Debian's part of the image, which is built in seconds."""
    dockerfile = project.folder / "Dockerfile"
    text, found = re.subn(r"COPY --from=(server|kernel) .*\n", "", dockerfile.read_text(encoding="utf-8"))
    assert found
    dockerfile.write_text(text, encoding="utf-8")


@contextmanager
def beside(project: Project, folder: Path, *layers: dict[str, Any], **environment: str) -> Iterator[Project]:
    """Yields a second project with the same folder and image, another Compose name, and `layers` added to compose.yaml.

    Its containers are removed at the end.
    """
    files = [project.folder / "compose.yaml"]
    for number, layer in enumerate(layers):
        files.append(folder / f"layer-{number}.yaml")
        files[-1].write_text(yaml.safe_dump(layer))
    settings = {"COMPOSE_FILE": ":".join(map(str, files)), "COMPOSE_PROJECT_NAME": f"{project.compose_name()}-beside"}
    twin = Project(project.folder, project.answers, {**project.environment, **settings, **environment})
    try:
        yield twin
    finally:
        twin.compose("down", "--volumes", "--timeout", "0", check=False)


def both(**values: Any) -> dict[str, Any]:
    """A layer that gives these values to both containers."""
    return {"services": {"server": values, "lab": values}}


def one_container(project: Project) -> dict[str, Any]:
    """What the service `server` needs to run notebooks too, without the service `lab`."""
    ca = f"{project.folder}/lab/runtime/empty-ca.pem:/run/ca.pem:ro"
    return {"command": "serve", "volumes": ["kept:/var/lib/lab", "cache:/var/cache/lab", ca]}


def with_server(project: Project, folder: Path, file: str, text: str) -> dict[str, Any]:
    """A layer that puts a changed `file` of lab/server into both containers, without a build."""
    changed = folder / Path(file).name
    changed.write_text(text)
    return both(volumes=[f"{changed}:/opt/labdock/{file}:ro"])
