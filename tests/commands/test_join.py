"""What `make join` refuses before it builds or starts anything."""

import pytest

from tests.support.project import Project, Render

GOOD = {"SCHEDULER": "tls://host:8786", "CONTACT": "this-host", "WORKERS": "1", "PORT": "8801"}
BAD = {
    "no TLS": (
        {"SCHEDULER": "tcp://host:8786"},
        "SCHEDULER is 'tcp://host:8786', not an address with TLS. Run for example",
    ),
    "no scheduler": ({"SCHEDULER": ""}, "SCHEDULER is '', not an address with TLS. Run for example"),
    "no address of this machine": ({"CONTACT": ""}, "CONTACT is '', not the name or address at which other machines "),
    "a path": ({"CONTACT": "tls://this-host"}, "CONTACT is 'tls://this-host', not the name or address at which "),
    "no worker": (
        {"WORKERS": "0"},
        "WORKERS is '0', not a number from 1 to 100. Run for example 'make join SCHEDULER=",
    ),
    "a low port": (
        {"PORT": "80"},
        "PORT is '80', not a number from 1024 to 65000. Run for example 'make join SCHEDULER=",
    ),
    "no certificates": ({}, "secrets/cluster/worker/ca.pem is missing or cannot be read. Copy the folder "),
}


@pytest.fixture(scope="module")
def project(engine: None, render: Render) -> Project:
    """A project with a cluster. It was never started, so it has no certificates."""
    return render(scale_out="dask")


def join(project: Project, **words: str) -> str:
    done = project.run("make", "join", *(f"{name}={value}" for name, value in {**GOOD, **words}.items()), check=False)
    assert done.returncode != 0
    return done.stderr.splitlines()[-2]


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_word_is_refused(project: Project, case: str) -> None:
    """The control is the last case: with good words, the next check fails."""
    words, expected = BAD[case]
    assert join(project, **words).startswith(f"labdock: {expected}")


@pytest.mark.parametrize("network", ["allowlist", "sealed"])
def test_no_machine_joins_an_isolated_cluster(engine: None, render: Render, network: str) -> None:
    """The control: an open project comes to the other checks."""
    said = join(render(scale_out="dask", network=network))
    assert said.startswith("labdock: no other machine can join, because the network of this project is not open. Run ")
