"""What is taken away from the lab, as the engine sees it; and that each line that takes something away is watched."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.hardening import CGROUP_V2, CHECKS, FILES, IMAGE, Inspect, failing
from tests.support.mutants import Steps, beside, copy_of, paths, rendered_compose, without, without_environments
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


# --- the image ------------------------------------------------------------------------------------
def image_faults(project: Project) -> set[str]:
    """The checks of IMAGE and FILES that the image of `project` does not pass."""
    image = project.config()["services"]["lab"]["image"]
    (seen,) = json.loads(project.run("docker", "image", "inspect", image).stdout)
    found = {check for check, passes in IMAGE.items() if not passes(seen)}
    script = "\n".join(f'[ -z "$({command})" ] || echo "{what}"' for what, command in FILES.items()) + "\ntrue"
    user = seen["Config"]["User"] or "1000:1000"
    listing = project.run("docker", "run", "--rm", "--user", user, "--entrypoint", "sh", image, "-c", script).stdout
    return found | set(listing.splitlines())


def test_the_image_holds_nothing_it_should_not(lab: Project) -> None:
    assert image_faults(lab) == set()


@pytest.fixture
def mutant(lab: Project, tmp_path: Path) -> Iterator[Project]:
    """A copy of the shared lab's project to take things away from."""
    project = copy_of(lab, tmp_path / "lab")
    yield project
    project.down("--rmi", "all")


DOCKERFILE = {
    "USER 1000:1000\n": ("", "a numeric user that is not root"),
    'ENTRYPOINT ["sh", "/opt/labdock/entrypoint.sh"]\n': ("", "starts through the checks"),
    "COPY --chmod=755 lab/server": ("COPY lab/server", "files that the user can write"),
    "FROM ${PYTHON_IMAGE} AS lab\n": ("FROM build AS lab\n", "build tools"),
}


def test_a_file_of_another_owner_is_noticed(lab: Project) -> None:
    """The control of a check that no line of the Dockerfile has for a mutant."""
    options = ("--rm", "--user=0:0", "--entrypoint=sh", lab.container()["Image"])
    spoil, find = "chown 1000 /opt/labdock/contents.py", FILES["programs or settings of another owner"]
    assert lab.run("docker", "run", *options, "-c", find).stdout == ""
    assert lab.run("docker", "run", *options, "-c", f"{spoil}; {find}").stdout == "/opt/labdock/contents.py\n"


# What the last stage says without protecting anybody, and build.sh, whose commands have mutants of their own.
NEUTRAL = (
    "ARG ",
    "ENV ",
    "WORKDIR ",
    "CMD ",
    "COPY --from=",
    "RUN --mount=type=secret,id=ca ",
)


def test_every_protecting_line_of_the_dockerfile_has_a_mutant(lab: Project) -> None:
    text = re.sub(r"\\\n\s*", "", lab.read("Dockerfile"))
    last = text[text.rindex("\nFROM ") + 1 :].splitlines(keepends=True)
    lines = [line for line in last if line.strip() and not line.startswith("#")]
    assert [line for line in lines if not line.startswith((*DOCKERFILE, *NEUTRAL))] == []
    assert all(any(line.startswith(start) for line in lines) for start in DOCKERFILE)


@pytest.mark.parametrize(
    "line", [pytest.param(line, marks=() if "USER" in line else pytest.mark.full) for line in DOCKERFILE]
)
def test_a_line_of_the_dockerfile_less_is_noticed(mutant: Project, line: str) -> None:
    replacement, fault = DOCKERFILE[line]
    mutant.replace("Dockerfile", line, replacement)
    if "--chmod" in line:
        for file in [mutant.folder / "lab/server", *(mutant.folder / "lab/server").rglob("*")]:
            file.chmod(0o777)  # as on a host with a careless umask
    mutant.compose("build")
    assert fault in image_faults(mutant)


# Commands of build.sh that protect, found by what they call: a new one without an entry here is noticed.
PROTECTING = re.compile(r"--require-hashes|\bchmod\b|^\s*rm -r?f ", re.MULTILINE)
BUILD_SH = {
    "find / -xdev -type f -perm /6000": "setuid or setgid files",
    "rm -rf /etc/apt/apt.conf.d/99-site-ca": "package lists and caches",
    'rm -f "$1/.lock"': "files that the user can write",
}
LOCKED = {
    'attempt "the package index" PIP_INDEX_URL python3 -m pip': "lab/locks/build.lock",
    'attempt "the package index" PIP_INDEX_URL uv pip sync': "requirements.lock",
}


def commands(script: str) -> list[str]:
    """The commands of a shell script's steps, each on one line."""
    steps = re.sub(r"\\\n\s*", "", script).partition("case $step in")[2].partition("esac")[0]
    return [line.strip() for line in steps.splitlines()]


def drop(project: Project, start: str) -> None:
    """Take the command that starts like this from build.sh."""
    lines = re.sub(r"\\\n\s*", "", project.read("lab/build/build.sh")).splitlines(keepends=True)
    kept = [line for line in lines if not line.strip().startswith(start)]
    assert len(kept) == len(lines) - 1
    (project.folder / "lab/build/build.sh").write_text("".join(kept))


def test_every_protecting_command_of_the_build_has_a_mutant(lab: Project) -> None:
    found = [line for line in commands(lab.read("lab/build/build.sh")) if PROTECTING.search(line)]
    assert found
    assert [line for line in found if not line.startswith((*BUILD_SH, *LOCKED))] == []


@pytest.mark.full
@pytest.mark.parametrize("command", BUILD_SH)
def test_a_command_of_the_build_less_is_noticed(mutant: Project, command: str) -> None:
    drop(mutant, command)
    if ".lock" not in command:  # no need to make the environments again
        without_environments(mutant)
    mutant.compose("build")
    assert BUILD_SH[command] in image_faults(mutant)


@pytest.mark.full
@pytest.mark.parametrize("command", LOCKED)
@pytest.mark.parametrize("checked", [True, False], ids=["as delivered", "without --require-hashes"])
def test_only_what_was_locked_with_its_hash_is_installed(mutant: Project, command: str, checked: bool) -> None:
    lock = LOCKED[command]
    plain = re.sub(r" *\\\n +--hash=\S+", "", mutant.read(lock))
    assert "--hash" not in plain
    (mutant.folder / lock).write_text(plain)
    if not checked:
        (line,) = (line for line in commands(mutant.read("lab/build/build.sh")) if line.startswith(command))
        script = re.sub(r"\\\n\s*", "", mutant.read("lab/build/build.sh"))
        (mutant.folder / "lab/build/build.sh").write_text(script.replace(line, line.replace("--require-hashes", "")))
    stage = {"lab/locks/build.lock": "build", "requirements.lock": "kernel"}[lock]
    arguments = [f"--build-arg={name}={value}" for name, value in lab_arguments(mutant).items()]
    certificates = mutant.config()["secrets"]["ca"]["file"]
    built = mutant.run(
        "docker",
        "build",
        "--quiet",
        f"--target={stage}",
        f"--secret=id=ca,src={certificates}",
        "--secret=id=index,env=PIP_INDEX_URL",
        *arguments,
        ".",
        check=False,
    )
    assert (built.returncode == 0) is not checked


def lab_arguments(project: Project) -> dict[str, str]:
    return project.config()["services"]["lab"]["build"]["args"]
