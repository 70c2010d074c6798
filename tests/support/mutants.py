"""Projects with one thing taken away, for negative controls: what guards it must notice."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import jinja2
import yaml

from tests.support.project import Project

TEMPLATE = Path(__file__).resolve().parent.parent.parent / "template"
Steps = tuple[str | int, ...]  # keys and indexes from the file's top to a value


def rendered_compose() -> dict[str, Any]:
    """compose.yaml as a project gets it, parsed: anchors and merges resolved."""
    text = (TEMPLATE / "compose.yaml.jinja").read_text(encoding="utf-8")
    return yaml.safe_load(jinja2.Template(text).render(project_slug="lab", python_version="3.13"))


def paths(value: Any, path: Steps = ()) -> Iterator[Steps]:
    """Every value that can be taken away: of a mapping, a list, or a string of options such as a tmpfs."""
    if isinstance(value, str) and "size=" in value:
        value = value.partition(":")[2].split(",")
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from paths(child, (*path, key))


def without(document: dict[str, Any], path: Steps) -> dict[str, Any]:
    """A copy of `document` without the value at `path`."""
    copy = deepcopy(document)
    parent: Any = copy
    for key in path[:-1]:
        if isinstance(parent[key], str):  # a tmpfs: one option goes
            target, _, options = parent[key].partition(":")
            left = [option for index, option in enumerate(options.split(",")) if index != path[-1]]
            parent[key] = f"{target}:{','.join(left)}"
            return copy
        parent = parent[key]
    del parent[path[-1]]
    return copy


def copy_of(project: Project, folder: Path) -> Project:
    """A copy of `project` with a Compose name and image of its own."""
    shutil.copytree(project.folder, folder)
    copy = Project(folder, project.answers)
    copy.set_env(LAB_NAME=f"mutant-{abs(hash(folder)):x}")
    return copy


def without_environments(project: Project) -> None:
    """Leave the system's part of the image only, which is built in seconds."""
    dockerfile = project.folder / "Dockerfile"
    text, found = re.subn(r"COPY --from=(server|kernel) .*\n", "", dockerfile.read_text(encoding="utf-8"))
    assert found
    dockerfile.write_text(text, encoding="utf-8")


@contextmanager
def beside(project: Project, folder: Path, *layers: dict[str, Any], **environment: str) -> Iterator[Project]:
    """The same folder and image under another Compose name, with `layers` laid over compose.yaml; gone afterwards."""
    files = [project.folder / "compose.yaml"]
    for number, layer in enumerate(layers):
        files.append(folder / f"layer-{number}.yaml")
        files[-1].write_text(yaml.safe_dump(layer))
    settings = {"COMPOSE_FILE": ":".join(map(str, files)), "COMPOSE_PROJECT_NAME": f"{project.config()['name']}-beside"}
    twin = Project(project.folder, project.answers, {**project.environment, **settings, **environment})
    try:
        yield twin
    finally:
        twin.compose("down", "--volumes", "--timeout", "2", check=False)


def with_server(project: Project, folder: Path, file: str, text: str) -> dict[str, Any]:
    """A layer that puts a changed `file` of lab/server into the lab, without a build."""
    server = folder / "server"
    shutil.copytree(project.folder / "lab/server", server)
    (server / file).write_text(text)
    return {"services": {"lab": {"volumes": [f"{server}:/opt/labdock:ro"]}}}
