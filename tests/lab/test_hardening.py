"""Each line of compose.yaml that protects the lab has a check. These tests show that the check fails without the line.

Each mutant is a service without one line, or with an addition. Compose resolves all mutants in one call, and the check
of each mutant must fail. The engine creates containers of a few mutants too, and must agree.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.compose import added, configured, lines, matches, name, rendered_compose, without
from tests.support.hardening import CHECKS, Facts, confined, failed, of_config, of_container, security_options
from tests.support.project import Project, Render
from tests.support.variants import beside

SERVICES: dict[str, Any] = rendered_compose()["services"]
LINES = [(service, *path) for service in SERVICES for path in lines(SERVICES[service])]

# Path of a line -> the check that must fail if the line is removed. * stands for one part of a path, and at the end for
# all further parts.
WATCHED = {
    "*.user": "a numeric user that is not root",
    "*.init": "an init",
    "*.read_only": "read-only root",
    "*.cap_drop.0": "no capabilities",
    "*.security_opt.0": "no new privileges",
    "*.security_opt.1": "the lab's seccomp profile",
    "*.cgroup": "no host namespaces",
    "*.pids_limit": "limited processes",
    "*.mem_limit": "limited memory",
    "*.memswap_limit": "no swap",
    "*.cpu_quota": "limited CPUs",
    "*.ulimits.core": "no core dumps",
    "*.ulimits.nofile": "limited open files",
    "*.logging.*": "bounded logs",
    "*.environment.JUPYTER_USERNAME": "a sized private home",
    "*.tmpfs.0.*": "a sized /tmp without programs",
    "*.tmpfs.1.*": "a sized private /run/lab without programs",
    "*.tmpfs.2.*": "a sized private home",
    "*.volumes.*.type": "expected mounts only",
    "*.volumes.*.source": "expected mounts only",
    "*.volumes.*.target": "expected mounts only",
    "*.volumes.*.bind.*": "mounts with SELinux's label",
    "server.volumes.*.read_only": "read-only token and sockets",
    "lab.volumes.*.read_only": "read-only certificates and history",
    "packages.volumes.*.read_only": "read-only mounts",
    "server.networks.0": "a network of its own",
    "server.ports.0": "one port, on loopback",
    "server.healthcheck.*": "a health check that connects",
    "server.restart": "back after an engine restart",
    "server.depends_on.*": "waits for prepare and lab",
    "server.command": "serves",
    "egress.volumes.*.read_only": "a read-only list",
    "egress.networks.*": "the lab's network and one that leads out",
    "egress.healthcheck.*": "a health check that asks the proxy",
    "egress.restart": "back after an engine restart",
    "egress.depends_on.*": "waits for prepare",
    "egress.entrypoint.*": "runs the proxy of the image",
    "scheduler.volumes.*.read_only": "read-only mounts",
    "scheduler.healthcheck.*": "a health check that asks the scheduler",
    "scheduler.restart": "back after an engine restart",
    "scheduler.depends_on.*": "waits for prepare",
    "scheduler.command": "schedules",
    "worker.volumes.*.read_only": "read-only data and certificates",
    "worker.healthcheck.*": "a health check that asks the worker",
    "worker.restart": "back after an engine restart",
    "worker.depends_on.*": "waits for prepare",
    "worker.command": "works",
    "lab.healthcheck.*": "a health check that asks the agent",
    "lab.restart": "back after an engine restart",
    "lab.depends_on.*": "waits for prepare",
    "lab.command": "runs notebooks",
    "lab.shm_size": "shared memory up to the limit",
    "prepare.command": "only prepares",
    "prepare.network_mode": "no network",
}
# Lines that protect nobody, or that other tests check: tests/supply checks the build, and
# test_only_what_a_lab_needs_is_started checks which services start with the lab.
HARMLESS = (
    "*.image", "*.pull_policy", "*.build.*", "*.extends.*", "*.profiles.*",
    "*.environment.HOME", "*.environment.JUPYTER_UI", "*.environment.JUPYTER_HOSTS", "*.environment.LAB_UMASK",
    "egress.environment.*", "worker.environment.*PROXY", "worker.environment.LAB_WORKER_*", "worker.scale",
    "worker.stop_grace_period",
    "*.environment.LAB_AUDIT", "*.environment.TZ", "lab.environment.PIP_INDEX_URL", "*.volumes.*.volume.nocopy",
)  # fmt: skip

# Case -> the service, the lines that it gets in addition or instead, and the check that must fail.
ADDITIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "root": ("lab", {"user": "0:0"}, "a numeric user that is not root"),
    "root's group": ("lab", {"user": "1000:0"}, "a numeric user that is not root"),
    "a user's name": ("lab", {"user": "jovyan"}, "a numeric user that is not root"),
    "privileged": ("lab", {"privileged": True}, "not privileged"),
    "capability": ("lab", {"cap_add": ["SYS_ADMIN"]}, "no capabilities"),
    "seccomp": ("lab", {"security_opt": ["seccomp=unconfined"]}, "the lab's seccomp profile"),
    "AppArmor": ("lab", {"security_opt": ["apparmor=unconfined"]}, "AppArmor and SELinux are not turned off"),
    "SELinux": ("lab", {"security_opt": ["label=disable"]}, "AppArmor and SELinux are not turned off"),
    "pid namespace": ("lab", {"pid": "host"}, "no host namespaces"),
    "ipc namespace": ("lab", {"ipc": "host"}, "no host namespaces"),
    "uts namespace": ("lab", {"uts": "host"}, "no host namespaces"),
    "user namespace": ("lab", {"userns_mode": "host"}, "no host namespaces"),
    "cgroup namespace": ("lab", {"cgroup": "host"}, "no host namespaces"),
    "network namespace": ("lab", {"network_mode": "host", "ports": None}, "no host namespaces"),
    "default network": ("lab", {"network_mode": "bridge"}, "a network without the server"),
    "the server's network": ("lab", {"networks": ["default", "server"]}, "a network without the server"),
    "a server in the lab's network": ("server", {"networks": ["default"]}, "a network of its own"),
    "the token for notebooks": (
        "lab",
        {"volumes": ["./secrets/jupyter_token:/run/secrets/jupyter_token:ro,z"]},
        "expected mounts only",
    ),
    "the server's files for notebooks": ("lab", {"volumes": ["server:/var/lib/server"]}, "expected mounts only"),
    "cgroup": ("lab", {"cgroup_parent": "/system"}, "the engine's own cgroup"),
    "processes": ("lab", {"pids_limit": -1}, "limited processes"),
    "swap": ("lab", {"memswap_limit": -1}, "no swap"),
    "open files": ("lab", {"ulimits": {"core": 0, "nofile": -1}}, "limited open files"),
    "core dumps": ("lab", {"ulimits": {"core": 1000, "nofile": 4096}}, "no core dumps"),
    "log": ("lab", {"logging": {"driver": "none"}}, "bounded logs"),
    "device": ("lab", {"devices": ["/dev/null:/dev/sda"]}, "no devices"),
    "group": ("lab", {"group_add": ["0"]}, "no further groups"),
    "engine socket": ("lab", {"volumes": ["/var/run/docker.sock:/docker.sock:z"]}, "expected mounts only"),
    "the system's folder": ("prepare", {"volumes": ["/etc:/srv/etc:z"]}, "expected mounts only"),
    "the server's network for the proxy": (
        "egress",
        {"networks": ["server"]},
        "the lab's network and one that leads out",
    ),
    "a port of the proxy": ("egress", {"ports": ["127.0.0.1:0:22"]}, "no port"),
    "the user's work": ("packages", {"volumes": ["./data:/data:z"]}, "expected mounts only"),
    "a mount that the host sees": (
        "lab",
        {"volumes": [{"type": "bind", "source": "/srv", "target": "/srv", "bind": {"propagation": "rshared"}}]},
        "mounts that the host does not see",
    ),
    "work to read only": (
        "lab",
        {"volumes": [{"type": "bind", "source": "./data", "target": "/srv/data", "read_only": True}]},
        "writable work",
    ),
    "port": ("server", {"ports": ["127.0.0.1:0:22"]}, "one port, on loopback"),
    "every address": ("server", {"ports": ["0:8888"]}, "one port, on loopback"),
    "a port of notebooks": ("lab", {"ports": ["127.0.0.1:0:22"]}, "no port"),
    "a port of packages": ("packages", {"ports": ["127.0.0.1:0:22"]}, "no port"),
    "packages without a network": ("packages", {"network_mode": "none"}, "a network without the server"),
    "packages that start again": ("packages", {"restart": "always"}, "runs once"),
    "prepare that starts again": ("prepare", {"restart": "always"}, "runs once"),
    "tmpfs of the lab": ("lab", {"tmpfs": ["/etc"]}, "no other tmpfs"),
    "tmpfs of packages": ("packages", {"tmpfs": ["/etc"]}, "no other tmpfs"),
}

# Mutants of which the engine creates a container too: first removed lines, then additions.
ON_THE_ENGINE = [
    "lab.read_only", "lab.cap_drop.0", "lab.security_opt.1", "lab.pids_limit", "lab.memswap_limit", "lab.ulimits.core",
    "lab.tmpfs.2.0", "server.volumes.2.read_only", "lab.volumes.0.bind.create_host_path", "server.ports.0",
    "prepare.network_mode", "packages.tmpfs.0.2",
    "root", "privileged", "AppArmor", "pid namespace", "engine socket", "default network",
]  # fmt: skip

# Further checks that fail, because the engine itself turns off more for this mutant.
CONSEQUENCES = {
    "privileged": {"AppArmor and SELinux are not turned off"},
    "pid namespace": {"AppArmor and SELinux are not turned off"},
}


def with_addition(service: str, addition: dict[str, Any]) -> dict[str, Any]:
    """A changed copy of a service: lists get more items, other values are replaced, and None removes a key."""
    changed = rendered_compose()["services"][service]
    for key, value in addition.items():
        changed[key] = changed.get(key, []) + value if isinstance(value, list) else value
    return {key: value for key, value in changed.items() if value is not None}


def named(path: tuple[str | int, ...], patterns: Any) -> list[str]:
    return [pattern for pattern in patterns if matches(pattern, path)]


# Name of a mutant -> its service, the mutant, and the check that must fail.
MUTANTS: dict[str, tuple[str, dict[str, Any], str]] = {
    name(path): (str(path[0]), without(SERVICES[path[0]], path[1:]), WATCHED[pattern])
    for path in LINES
    for pattern in named(path, WATCHED)
} | {what: (service, with_addition(service, more), check) for what, (service, more, check) in ADDITIONS.items()}
# Name of a mutant -> its name in a Compose file.
KEYS = {what: re.sub(r"[^\w.-]", "-", what) for what in MUTANTS}


@pytest.fixture(scope="module")
def project(engine: None, render: Render) -> Project:
    """A project that is not started: Compose only reads its files."""
    return render()


@pytest.fixture(scope="module")
def resolved(project: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Facts]:
    """The facts of every service of compose.yaml and of every mutant, after Compose accepted them."""
    file = tmp_path_factory.mktemp("mutants") / "compose.json"
    services = {KEYS[what]: mutant for what, (_, mutant, _) in MUTANTS.items()}
    return {key: of_config(service) for key, service in configured(project, file, services).items()}


# --- compose.yaml -------------------------------------------------------------------------------------
def test_each_line_has_one_check_or_a_reason_for_none() -> None:
    counts = {name(path): len(named(path, [*WATCHED, *HARMLESS])) for path in LINES}
    assert {line: count for line, count in counts.items() if count != 1} == {}


def test_a_new_line_without_a_check_is_noticed() -> None:
    assert named(("lab", "sysctls", "net.ipv4.ip_forward"), [*WATCHED, *HARMLESS]) == []
    assert named(("another", "privileged"), [*WATCHED, *HARMLESS]) == []


def test_every_value_of_a_service_is_a_line_that_can_be_removed() -> None:
    service = {"user": "1:1", "tmpfs": ["/home/${NAME:-ada}:size=${SIZE:-1g},exec"], "volumes": [{"type": "bind"}]}
    assert [name(path) for path in lines(service)] == ["user", "tmpfs.0.0", "tmpfs.0.1", "volumes.0.type"]
    assert without(service, ("tmpfs", 0, 0))["tmpfs"] == ["/home/${NAME:-ada}:exec"]
    assert without(service, ("volumes", 0, "type"))["volumes"] == []
    assert "user" in service and "user" not in without(service, ("user",))


def test_no_pattern_and_no_check_is_left_over() -> None:
    assert [pattern for pattern in [*WATCHED, *HARMLESS] if not any(matches(pattern, path) for path in LINES)] == []
    every = {(service, check) for service in CHECKS for check in CHECKS[service]}
    shown = {(service, check) for service, _, check in MUTANTS.values()}
    # Several services have the checks of HARDENED and AT_WORK. A mutant of one of them is enough.
    assert {check for _, check in every} == {check for _, check in shown}
    assert shown <= every


def test_each_mutant_changes_something_in_one_service_only() -> None:
    for what, (service, mutant, _) in MUTANTS.items():
        assert mutant != SERVICES[service], what
    assert rendered_compose()["services"] == SERVICES, "they share no object"


def test_every_service_has_checks() -> None:
    """Except `bundle`: this service is only built, and never started."""
    assert SERVICES.keys() == CHECKS.keys() | {"bundle"}


@pytest.mark.parametrize("service", CHECKS)
def test_compose_yaml_passes_every_check(resolved: dict[str, Facts], service: str) -> None:
    """The control of the mutants."""
    assert failed(service, resolved[service]) == set()


@pytest.mark.parametrize("what", MUTANTS)
def test_each_mutant_fails_its_check(resolved: dict[str, Facts], what: str) -> None:
    service, _, check = MUTANTS[what]
    assert check in failed(service, resolved[KEYS[what]])


@pytest.mark.parametrize(("bind", "kept"), [("", True), ("0.0.0.0", False)])
def test_the_user_decides_who_reaches_the_port(project: Project, tmp_path: Path, bind: str, kept: bool) -> None:
    server = configured(project, tmp_path / "compose.json", {}, JUPYTER_BIND=bind)["server"]
    assert ("one port, on loopback" not in failed("server", of_config(server))) is kept


def test_only_what_a_lab_needs_is_started(project: Project) -> None:
    assert set(project.compose("config", "--services").stdout.split()) == {"lab", "prepare", "server"}
    more = {"COMPOSE_PROFILES": "*"}  # the control
    everything = Project(project.folder, project.answers, more).compose("config", "--services").stdout.split()
    assert {*everything} == SERVICES.keys() - {"egress", "scheduler", "worker"}


# --- the engine ---------------------------------------------------------------------------------------
RUNNING = ("server", "lab", "prepare")


@pytest.fixture(scope="module")
def seen(lab: Project) -> dict[str, Facts]:
    """The facts of each service of the running lab, as the engine shows them."""
    return {service: of_container(lab.container(service)) for service in RUNNING}


@pytest.mark.parametrize(("service", "check"), [(s, c) for s in RUNNING for c in CHECKS[s]])
def test_a_running_container_passes_the_check(seen: dict[str, Facts], service: str, check: str) -> None:
    assert CHECKS[service][check](seen[service])


def test_the_engine_agrees_with_compose(lab: Project, tmp_path: Path, resolved: dict[str, Facts]) -> None:
    """Containers of the mutants, not started, fail the same checks as their configuration does."""
    image = lab.config()["services"]["lab"]["image"]
    more = {KEYS[what]: MUTANTS[what][1] | {"image": image, "pull_policy": "never"} for what in ON_THE_ENGINE}
    more["unchanged"] = SERVICES["packages"] | {"image": image, "pull_policy": "never"}
    for service in more.values():
        service.pop("build", None)
    file = tmp_path / "compose.yaml"
    file.write_text(yaml.safe_dump(added(more)))
    with beside(lab, tmp_path, COMPOSE_FILE=str(file), COMPOSE_PROFILES="packages") as twin:
        twin.compose("--project-directory", str(lab.folder), "create", "--no-build", *more)
        containers = {c["Config"]["Labels"]["com.docker.compose.service"]: c for c in twin.containers()}
    assert failed("packages", of_container(containers["unchanged"])) == set()
    for what in ON_THE_ENGINE:
        service, _, check = MUTANTS[what]
        found = failed(service, of_container(containers[KEYS[what]]))
        assert check in found and found == failed(service, resolved[KEYS[what]]) | CONSEQUENCES.get(what, set()), what


# --- AppArmor -----------------------------------------------------------------------------------------
def test_apparmor_confines_the_lab_if_the_engine_has_it(lab: Project) -> None:
    """Ask the engine whether it has AppArmor. It may run on another machine, or know more about this machine."""
    assert confined(security_options(lab), lab.container()["AppArmorProfile"])


@pytest.mark.parametrize(
    ("options", "profile", "expected"),
    [
        (["name=apparmor", "name=seccomp,profile=builtin"], "docker-default", True),
        (["name=apparmor"], "unconfined", False),
        (["name=apparmor"], "", False),
        (["name=seccomp,profile=builtin"], "", True),
        (["name=seccomp,profile=builtin"], "unconfined", False),
    ],
)
def test_a_lab_without_apparmor_is_noticed(options: list[str], profile: str, expected: bool) -> None:
    assert confined(options, profile) is expected
