"""Reads compose.yaml with Compose. Also makes copies of a service in which one line is missing."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jinja2
import yaml

from tests.support.project import Project
from tests.support.variants import TEMPLATE

Steps = tuple[str | int, ...]  # keys and indexes from a service to a value


def rendered_compose() -> dict[str, Any]:
    """The parsed compose.yaml of a project. Anchors are resolved, and no two services share an object.

    The project is open. It also has the service `egress` of one with an allowlist, and the services of a cluster.
    """
    template = jinja2.Template((TEMPLATE / "compose.yaml.jinja").read_text(encoding="utf-8"))
    answers = {"project_slug": "lab", "python_version": "3.13", "tls": "none", "network": "open", "scale_out": "none"}
    more = ({}, {"network": "allowlist"}, {"scale_out": "dask"})
    parsed, walled, cluster = (yaml.safe_load(template.render(answers | changed)) for changed in more)
    parsed["services"]["egress"] = walled["services"]["egress"]
    for service in ("scheduler", "worker"):
        parsed["services"][service] = cluster["services"][service]
    del parsed["services"]["scheduler"]["extends"]  # a file that only projects with a cluster have
    parsed |= {"networks": walled["networks"], "volumes": cluster["volumes"]}
    return json.loads(json.dumps(parsed))  # deepcopy would keep the aliases that PyYAML shares


# --- one service of compose.yaml without one line ---------------------------------------------------
# Compose requires these values, so they are replaced and not removed. A mount needs a type, so `without` removes the
# whole mount instead of the type.
REPLACED = {
    "volumes.*.source": "./elsewhere",
    "volumes.*.target": "/elsewhere",
    "depends_on.*.condition": "service_healthy",
    "healthcheck.test.0": "CMD-SHELL",
}


def name(path: Steps) -> str:
    return ".".join(map(str, path))


def matches(pattern: str, path: Steps) -> bool:
    """Does the pattern match the path? * matches a part of one step. At the end, .* matches all further steps."""
    end = ".*" if pattern.endswith(".*") else ""
    pattern = re.escape(pattern.removesuffix(".*")).replace(r"\*", "[^.]*")
    return re.fullmatch(pattern + end, name(path)) is not None


def options(tmpfs: str) -> tuple[str, list[str]]:
    """Path and options of a tmpfs. The colon between them is not the one in ${NAME:-default}."""
    path, *rest = re.split(r":(?![^{]*\})", tmpfs, maxsplit=1)
    return path, rest[0].split(",") if rest else []


def lines(value: Any, path: Steps = ()) -> Iterator[Steps]:
    """The path of every single value in a service. A tmpfs has one path for each option."""
    if path[-2:-1] == ("tmpfs",):
        value = options(value)[1]
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from lines(child, (*path, key))
    else:
        yield path


def without(service: dict[str, Any], path: Steps) -> dict[str, Any]:
    """A copy of the service without the value at `path`. Compose still accepts the copy."""
    mutant = deepcopy(service)
    parent: Any = mutant
    *steps, last = path
    if matches("volumes.*.type", path):
        *steps, last = steps
    for step in steps:
        if isinstance(parent[step], str):
            target, left = options(parent[step])
            del left[int(last)]
            parent[step] = f"{target}:{','.join(left)}"
            return mutant
        parent = parent[step]
    value = next((value for pattern, value in REPLACED.items() if matches(pattern, path)), None)
    if value is None or (last == "source" and parent["type"] == "volume"):  # a volume may have no source
        del parent[last]
    else:
        parent[last] = value
    return mutant


def configured(project: Project, file: Path, services: dict[str, Any], **environment: str) -> dict[str, Any]:
    """The services of compose.yaml and `services`, resolved by Compose in one call. Compose must accept all."""
    file.write_text(json.dumps(added(services)))
    settings = {**project.environment, "COMPOSE_FILE": str(file), **environment}
    config = ("--project-directory", str(project.folder), "--profile", "*", "config", "--format", "json")
    return json.loads(Project(project.folder, project.answers, settings).compose(*config).stdout)["services"]


def added(services: dict[str, Any]) -> dict[str, Any]:
    compose = rendered_compose()
    return compose | {"services": compose["services"] | services}
