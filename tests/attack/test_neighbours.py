"""A notebook tries to connect to its own server, and to another lab on the same host."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import Project
from tests.support.variants import beside
from tools.notebook import execute, text

# Prints the `addresses` that accept a connection. A plain name is an abstract Unix socket.
REACH = """
import socket
def reached(address):
    kind = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(kind) as connection:
        connection.settimeout(1)
        try:
            connection.connect("\\0" + address if isinstance(address, str) else tuple(address))
        except OSError:
            return False
    return True
print([address for address in addresses if reached(address)])
"""


SERVICES = ("server", "lab")


def ways(to: Project, *between: Project) -> list[Any]:
    """Every address at which a notebook could reach the server of `to`: IP address, names, and its port on gateways."""
    own = [network["IPAddress"] for network in networks(to, "server")]
    names = ["server", to.container("server")["Name"].strip("/")]
    gateways = [network["Gateway"] for lab in (to, *between) for name in SERVICES for network in networks(lab, name)]
    port = int(to.client().address.rpartition(":")[2])
    return [[address, 8888] for address in (*own, *names)] + [[each, port] for each in gateways]


def networks(lab: Project, service: str) -> list[dict[str, Any]]:
    return list(lab.container(service)["NetworkSettings"]["Networks"].values())


def reached(lab: Project, addresses: list[Any]) -> list[Any]:
    return json.loads(lab.client().run(f"addresses = {addresses}\n{REACH}").replace("'", '"'))


@pytest.fixture(scope="module")
def neighbour(lab: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Another lab on the same host, with its own network, as every project has."""
    with beside(lab, tmp_path_factory.mktemp("neighbour")) as twin:
        twin.serve()
        yield twin


@pytest.mark.attack(
    "Connect to the lab's own server from a notebook: to its IP address, to its name, and to its port on every gateway",
    "The connection fails.",
)
def test_notebooks_cannot_connect_to_their_server(lab: Project) -> None:
    assert reached(lab, ways(lab)) == []


@pytest.mark.attack(
    "Connect to another lab: to its IP address, to its name, and to its port on the address of every gateway",
    "The connection fails.",
)
def test_labs_cannot_connect_to_each_other(lab: Project, neighbour: Project) -> None:
    assert reached(lab, ways(neighbour, lab)) == []
    assert reached(neighbour, ways(lab, neighbour)) == []


@pytest.mark.full
def test_control_a_neighbour_on_one_network_is_reached(lab: Project, neighbour: Project, tmp_path: Path) -> None:
    """The control: in one network, each address answers. A port that the user opened for everyone answers too."""
    (network,) = neighbour.container("server")["NetworkSettings"]["Networks"]
    name, image = neighbour.container("server")["Name"].strip("/"), lab.container()["Image"]
    command = ("docker", "run", "--rm", "--interactive", "--network", network, "--entrypoint", "python", image, "-")
    own = [[each, 8888] for each in (networks(neighbour, "server")[0]["IPAddress"], "server", name)]
    assert str(own) in lab.run(*command, input=f"addresses = {own}\n{REACH}").stdout
    with beside(neighbour, tmp_path, JUPYTER_BIND="0.0.0.0") as opened:
        opened.serve()
        assert reached(lab, ways(opened, lab)) != []


@pytest.mark.attack(
    "Connect to an abstract Unix socket of another lab. No file mode protects such a socket",
    "The socket does not exist in this lab.",
)
def test_labs_share_no_unix_socket(lab: Project, neighbour: Project) -> None:
    listen = (
        "import socket\nlistening = socket.socket(socket.AF_UNIX)\nlistening.bind('\\0sentinel')\nlistening.listen()"
    )
    with lab.client().kernel() as kernel:
        execute(kernel, listen)
        assert text(execute(kernel, f"addresses = ['sentinel']\n{REACH}")) == "['sentinel']\n"
        assert reached(neighbour, ["sentinel"]) == []
