"""What the image holds and leaves out; each line of the Dockerfile and the build that removes something is tested."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hardening import FILES, IMAGE
from tests.support.mutants import copy_of, without_environments
from tests.support.project import Project


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
