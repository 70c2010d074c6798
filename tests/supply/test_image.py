"""What the image holds and leaves out; for each command that leaves something out, a build without it."""

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hardening import FILES, IMAGE
from tests.support.project import Project, Render
from tests.support.variants import copy_of, without_environments


def image_faults(project: Project) -> set[str]:
    """The checks of IMAGE and FILES that the image of `project` does not pass."""
    image = project.config()["services"]["lab"]["image"]
    (seen,) = json.loads(project.run("docker", "image", "inspect", image).stdout)
    found = {check for check, passes in IMAGE.items() if not passes(seen)}
    script = "\n".join(f'[ -z "$({command})" ] || echo "{what}"' for what, command in FILES.items()) + "\ntrue"
    user = seen["Config"]["User"] or "1000:1000"
    listing = project.run("docker", "run", "--rm", "--user", user, "--entrypoint", "sh", image, "-c", script).stdout
    return found | set(listing.splitlines())


def test_the_image_passes_every_check(lab: Project) -> None:
    assert image_faults(lab) == set()


def test_a_file_of_another_owner_is_noticed(lab: Project) -> None:
    """The control of the only check for which no line of the Dockerfile can be removed."""
    options = ("--rm", "--user=0:0", "--entrypoint=sh", lab.container()["Image"])
    spoil, find = "chown 1000 /opt/labdock/contents.py", FILES["programs or settings of another owner"]
    assert lab.run("docker", "run", *options, "-c", find).stdout == ""
    assert lab.run("docker", "run", *options, "-c", f"{spoil}; {find}").stdout == "/opt/labdock/contents.py\n"


# --- the Dockerfile ---------------------------------------------------------------------------------
# Protecting text in the last stage or in an environment's stage -> its replacement, and the check that must fail.
MUTANTS = {
    'USER 1000:1000\nENTRYPOINT ["sh"': ('ENTRYPOINT ["sh"', "a numeric user that is not root"),
    'ENTRYPOINT ["sh", "/opt/labdock/entrypoint.sh"]\n': ("", "starts through the checks"),
    "COPY --chmod=755 lab/server": ("COPY lab/server", "files that the user can write"),
    "FROM ${PYTHON_IMAGE} AS lab\n": ("FROM build AS lab\n", "build tools"),
    "find / -xdev -type f -perm /6000 -exec chmod a-s {} +": ("true", "setuid or setgid files"),
    "--mount=type=tmpfs,target=/var/lib/apt/lists ": ("", "package lists and caches"),
    "--mount=type=tmpfs,target=/var/log ": ("", "logs and backups of the build"),
    "rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow-": ("true", "logs and backups of the build"),
    "rm /opt/jupyter/.lock": ("true", "files that the user can write"),
    "rm /opt/venv/.lock": ("true", "files that the user can write"),
}
WORST = (
    "find / -xdev -type f -perm /6000 -exec chmod a-s {} +",
    "COPY --chmod=755 lab/server",
)
# Text that protects nobody, or that other tests check: locks and hashes below, bytecode in test_bytecode.py,
# differences between builds in test_verify.py, names and umask in tests/lab.
NEUTRAL = (
    *("ARG ", "ENV ", "WORKDIR ", "CMD ", "COPY --from=", "COPY --chmod=644 ", "FROM build AS ", "FROM compilers AS "),
    *(
        "uv venv ",
        "python ",
        "mkdir -p /usr/share/man/man1",
        "rm -r /opt/jupyter/lib/python*/site-packages/jupyterlab/static",
        "/opt/venv/bin/python -IB /find_kernels_and_extensions.py",
    ),
    *("mv /etc/", "ln -s ", "echo 'umask ", "git config --system ", "install -d -m 1777 /var/lib/lab"),
    "if [ -e /etc/ssl/certs/java/cacerts ]",
    *("localedef ", "rm -r /usr/share/i18n"),  # tests/lab/test_plots.py checks the locale
    *("install -d /opt/labdock/bin", "for name in /usr/local/bin/pip3*"),
    "install -D -m 644 /dev/null /opt/labdock/migrated",  # without it, no lab starts
    *("--mount=type=secret,", "--mount=type=bind,", "--mount=type=cache,", "--mount=type=tmpfs,target=/var/cache"),
)


def stages(dockerfile: str) -> dict[str, str]:
    """The text of each stage by its name: comments left out, each instruction on one line."""
    text = re.sub(r"\\\n\s*", "", re.sub(r"^ *#.*\n", "", dockerfile, flags=re.MULTILINE))
    return {
        part.split("\n", 1)[0].rpartition(" ")[2]: part
        for part in re.split(r"^(?=FROM )", text, flags=re.MULTILINE)[1:]
    }


def parts(stage: str) -> list[str]:
    """The instructions of a stage; for RUN, each mount and each command."""
    found = []
    for line in stage.splitlines():
        if line.startswith("RUN "):
            mounts = re.match(r"RUN ((?:--mount=\S+ +)*)", line)
            assert mounts
            found += mounts[1].split()
            found += [command.strip() for command in line[mounts.end() :].split("&&")]
        elif line:
            found.append(line)
    return found


def test_every_protecting_part_of_the_dockerfile_has_a_mutant(lab: Project) -> None:
    text = lab.read("Dockerfile")
    built = stages(text)
    found = [part for stage in ("server", "kernel", "lab") for part in parts(built[stage])]
    mutated = tuple(key.partition("\n")[0].rstrip() for key in MUTANTS)
    assert [part for part in found if not part.startswith((*mutated, *NEUTRAL))] == []
    assert [key for key in MUTANTS if key not in text] == []


@pytest.fixture
def mutant(lab: Project, tmp_path: Path) -> Iterator[Project]:
    """A copy of the shared lab's project, from which a test removes text."""
    project = copy_of(lab, tmp_path / "lab")
    yield project
    project.down("--rmi", "all")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            text, marks=() if text.startswith("USER") else pytest.mark.full if text in WORST else pytest.mark.nightly
        )
        for text in MUTANTS
    ],
)
def test_a_removed_part_of_the_dockerfile_is_noticed(mutant: Project, text: str) -> None:
    replacement, fault = MUTANTS[text]
    mutant.replace("Dockerfile", text, replacement)
    if "lab/server" in text:
        for file in [mutant.folder / "lab/server", *(mutant.folder / "lab/server").rglob("*")]:
            file.chmod(0o777)  # as on a host with a careless umask
    if ".lock" not in text:
        without_environments(mutant)
    mutant.compose("build", "lab")
    assert fault in image_faults(mutant)


# --- locks ------------------------------------------------------------------------------------------
# The stage that installs a lock, by the lock.
LOCKED = {"lab/locks/build.lock": "build", "lab/locks/server.lock": "server", "requirements.lock": "kernel"}


@pytest.mark.nightly
@pytest.mark.parametrize("lock", LOCKED)
@pytest.mark.parametrize("checked", [True, False], ids=["as delivered", "without --require-hashes"])
def test_only_packages_with_a_locked_hash_are_installed(mutant: Project, lock: str, checked: bool) -> None:
    plain = re.sub(r" *\\\n +--hash=\S+", "", mutant.read(lock))
    assert "--hash" not in plain
    (mutant.folder / lock).write_text(plain)
    if not checked:
        mutant.replace("Dockerfile", " --require-hashes", "")
    arguments = mutant.config()["services"]["lab"]["build"]["args"]
    certificates = mutant.config()["secrets"]["ca"]["file"]
    built = mutant.run(
        *("docker", "build", "--quiet", f"--target={LOCKED[lock]}"),
        *(f"--secret=id=ca,src={certificates}", "--secret=id=index,env=PIP_INDEX_URL"),
        *(f"--build-arg={name}={value}" for name, value in arguments.items()),
        ".",
        check=False,
    )
    assert (built.returncode == 0) is not checked


# --- files of the checkout ----------------------------------------------------------------------------
@pytest.mark.nightly
def test_a_private_umask_builds_too(new_project: Render) -> None:
    """A checkout under `umask 077`: the image, `make add` and `make sbom` read what they need."""
    project = new_project(environment="minimal")
    for path in [project.folder, *project.folder.rglob("*")]:
        path.chmod(path.stat().st_mode & 0o700)
    project.run("make", "up")
    project.run("make", "sbom")  # before `add`, which would change the image
    project.run("make", "add", "PKG=humanize")
    assert "humanize==" in project.read("requirements.lock")
    assert (project.folder / "sbom.cdx.json").exists()


# --- the build's cache --------------------------------------------------------------------------------
def rebuilt(project: Project) -> set[str]:
    """The stages whose environment the next build installs again instead of taking it from the cache."""
    done = project.compose("--progress", "plain", "build", "lab")
    log = done.stdout + done.stderr
    steps = re.findall(r"^#(\d+) \[(server|kernel) \S+\] RUN ", log, re.MULTILINE)
    assert {stage for _, stage in steps} == {"server", "kernel"}
    return {stage for number, stage in steps if f"\n#{number} CACHED" not in log}


@pytest.mark.full
def test_a_change_rebuilds_only_what_depends_on_it(mutant: Project) -> None:
    mutant.compose("build", "lab")
    for program in ("bundle", "packages", "sbom"):
        with (mutant.folder / f"lab/build/{program}.py").open("a") as file:
            file.write("# changed\n")
    with (mutant.folder / "lab/server/entrypoint.sh").open("a") as file:
        file.write("# changed\n")
    assert rebuilt(mutant) == set()
    with (mutant.folder / "requirements.lock").open("a") as lock:
        lock.write(f"# {secrets.token_hex(8)}\n")  # not in the build cache, whatever ran before
    assert rebuilt(mutant) == {"kernel"}
