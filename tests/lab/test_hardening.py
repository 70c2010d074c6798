"""What is taken away from the lab, as the engine sees it; and that each line that takes something away is watched."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.hardening import CGROUP_V2, CHECKS, Inspect, failing
from tests.support.mutants import Steps, beside, paths, rendered_compose, without
from tests.support.project import Project

SERVICES = rendered_compose()["services"]
# What compose.yaml says without protecting anybody; everything else, and every new line, needs a check.
HARMLESS = (
    "lab.image lab.build lab.build.* lab.pull_policy lab.command lab.environment.* prepare.image prepare.pull_policy "
    "prepare.environment.HOME prepare.environment.JUPYTER_UI prepare.environment.JUPYTER_HOSTS "
    "prepare.environment.LAB_UMASK packages.image packages.profiles* packages.build packages.build.* "
    "packages.environment packages.environment.* *.extends *.extends.* "
    "bundle.image bundle.profiles* bundle.build bundle.build.* "
    "*.logging.driver"  # the engine's default, where its settings name no other
    + (" *.cgroup" if CGROUP_V2 else "")  # likewise
)
RUNNING = ("lab", "prepare")
# The lines whose loss would be worst are tried in `make test`, the others in `make test-full`.
WORST = (
    "lab.user lab.read_only lab.cap_drop lab.security_opt lab.pids_limit lab.mem_limit lab.volumes.2.read_only "
    "prepare.read_only prepare.network_mode"
)


def name(path: Steps) -> str:
    return ".".join(map(str, path))


def listed(patterns: str, path: Steps) -> bool:
    return any(re.fullmatch(p.replace(".", r"\.").replace("*", ".*"), name(path)) for p in patterns.split())


LINES = [path for path in paths(SERVICES) if len(path) > 1 and not listed(HARMLESS, path)]


def created(project: Project, folder: Path, compose: dict[str, Any], **environment: str) -> dict[str, set[str]] | None:
    """The checks that fail for each service of `compose` in the project's folder; None where Compose refuses it."""
    compose["services"]["packages"]["image"] = compose["services"]["lab"].get("image", "")  # the one that is built
    file = folder / "compose.yaml"
    file.write_text(yaml.safe_dump(compose))
    # Ids that the image does not have: a user that does not come from .env is noticed.
    environment |= {"COMPOSE_FILE": str(file), "LAB_UID": "4321", "LAB_GID": "4322", "COMPOSE_PROFILES": "packages"}
    with beside(project, folder, **environment) as twin:
        command = ("--project-directory", str(project.folder))
        if twin.compose(*command, "create", "--no-build", check=False).returncode:
            return None
        seen = {service: twin.container(service) for service in CHECKS}
        return {
            service: failing(service, seen[service])
            | (set() if seen[service]["Config"]["User"] == "4321:4322" else {"the user of .env"})
            for service in CHECKS
        }


@pytest.fixture(scope="module")
def seen(lab: Project) -> dict[str, Inspect]:
    """`docker inspect` of each running service's container."""
    return {service: lab.container(service) for service in RUNNING}


def test_only_what_a_lab_needs_is_started(lab: Project) -> None:
    assert set(lab.compose("config", "--services").stdout.split()) == set(RUNNING)


@pytest.mark.parametrize(("service", "check"), [(s, c) for s in RUNNING for c in CHECKS[s]])
def test_the_engine_shows(seen: dict[str, Inspect], service: str, check: str) -> None:
    assert CHECKS[service][check](seen[service])


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=name(p), marks=() if listed(WORST, p) else pytest.mark.full) for p in LINES]
)
def test_a_line_less_is_noticed(lab: Project, tmp_path: Path, path: Steps) -> None:
    compose = rendered_compose()
    found = created(lab, tmp_path, without(compose, ("services", *path)))
    assert found is None or any(found.values()), f"no check misses {name(path)}"


def test_the_whole_file_passes(lab: Project, tmp_path: Path) -> None:
    """The control of the mutants: what they are made from is refused by no check."""
    assert created(lab, tmp_path, rendered_compose()) == {service: set() for service in CHECKS}


@pytest.mark.parametrize(
    ("addition", "check"),
    {
        "privileged": ({"privileged": True}, "not privileged"),
        "capability": ({"cap_add": ["SYS_ADMIN"]}, "no capabilities"),
        "seccomp": ({"security_opt": ["seccomp=unconfined"]}, "no new privileges, the lab's seccomp profile"),
        "AppArmor": ({"security_opt": ["apparmor=unconfined"]}, "AppArmor where the host has it"),
        "pid namespace": ({"pid": "host"}, "no host namespaces"),
        "ipc namespace": ({"ipc": "host"}, "no host namespaces"),
        "uts namespace": ({"uts": "host"}, "no host namespaces"),
        "cgroup namespace": ({"cgroup": "host"}, "no host namespaces"),
        "network namespace": ({"network_mode": "host", "ports": None}, "no host namespaces"),
        "open files": ({"ulimits": {"core": 0, "nofile": -1}}, "limited open files"),
        "device": ({"devices": ["/dev/null:/dev/sda"]}, "no devices"),
        "group": ({"group_add": ["0"]}, "no further groups"),
        "engine socket": ({"volumes": ["/var/run/docker.sock:/docker.sock"]}, "expected mounts only"),
        "port": ({"ports": ["127.0.0.1:0:22"]}, "one port, on loopback"),
        "tmpfs": ({"tmpfs": ["/etc"]}, "no other tmpfs"),
    }.values(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_addition_is_noticed(lab: Project, tmp_path: Path, addition: dict[str, Any], check: str) -> None:
    compose = rendered_compose()
    service = compose["services"]["lab"]
    for key, value in addition.items():
        service[key] = service.get(key, []) + value if isinstance(value, list) else value
        if value is None:
            del service[key]
    found = created(lab, tmp_path, compose)
    assert found is not None
    assert check in found["lab"]


@pytest.mark.parametrize(("bind", "kept"), [("", True), ("0.0.0.0", False)])
def test_the_user_says_who_reaches_the_port(lab: Project, tmp_path: Path, bind: str, kept: bool) -> None:
    found = created(lab, tmp_path, rendered_compose(), JUPYTER_BIND=bind)
    assert found is not None
    assert ("one port, on loopback" not in found["lab"]) is kept
