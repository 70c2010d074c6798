"""`make verify`: the image can be built again to the same byte; where it cannot, the file that differs is named."""

import re

import pytest

from tests.support.project import Project

GREEN = re.compile(r"^(\d+) builds, one digest: (sha256:[0-9a-f]{64})$", re.MULTILINE)


def verify(project: Project, builds: int = 2) -> str:
    """The digest that all builds have."""
    done = project.run("make", "--no-print-directory", "verify", f"BUILDS={builds}")
    (found,) = GREEN.findall(done.stdout)
    assert found[0] == str(builds)
    return found[1]


@pytest.fixture
def system(fresh_project: Project) -> Project:
    """A project whose image has no environments: what is built in seconds."""
    for name in ("server /opt/jupyter", "kernel /opt/venv"):
        stage, folder = name.split()
        fresh_project.replace("Dockerfile", f"COPY --from={stage} {folder} {folder}\n", "")
    return fresh_project


def caches(project: Project) -> list[str]:
    """The caches that builds of `make verify` have left."""
    used = project.run("docker", "buildx", "du", "--verbose").stdout
    return re.findall(r"cached mount .*verify-.*", used)


@pytest.mark.full
def test_two_builds_of_the_default_are_one(fresh_project: Project) -> None:
    assert verify(fresh_project)


# What makes two builds differ, by the file that is named for it; each build has a host name of its own.
DIFFERENT = {
    "/etc/dice": "head -c 20 /dev/urandom >/etc/dice",
    "/etc/built-by": "hostname >/etc/built-by",
    "/etc/guarded": 'touch /etc/guarded; [ "$(hostname)" != host-1 ] || chmod 600 /etc/guarded',
    "/etc/linked": 'ln -s "$(hostname)" /etc/linked',
}


@pytest.mark.full
def test_what_differs_is_named(system: Project) -> None:
    """The control, in which builds do differ; what is always the same is not named."""
    line = "; ".join(["RUN touch /etc/always", *DIFFERENT.values()])
    system.replace("Dockerfile", "WORKDIR /\n", f"{line}\nWORKDIR /\n")
    done = system.run("make", "--no-print-directory", "verify", check=False)
    assert done.returncode != 0
    assert not GREEN.search(done.stdout)
    report = done.stdout.splitlines()[2:]
    assert re.match(r"layer \d+, RUN touch /etc/always;", report[0])
    assert report[1:] == [f"  {file}" for file in sorted(DIFFERENT)]
    assert "labdock: build 2 differs from the first in what is listed above (sha256:" in done.stderr
    assert caches(system) == []
