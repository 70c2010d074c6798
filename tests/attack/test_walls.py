"""A notebook tries every way out of the lab, to another machine that notes each packet."""

import json
import os
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.attack.test_neighbours import networks
from tests.support.project import Project, Render
from tests.support.sentinel import METADATA, Sentinel, sentinel
from tests.support.variants import beside

SCRIPT = Path(__file__).parent / "ways_out.py"
ANYWHERE = "stopped"  # in every lab
OPEN = "open"  # leads out of a lab with network: open
LISTED = "allowlist"  # leads to a listed domain, in a lab with network: allowlist
MACHINE = ("its address in the lab's network", "its address in Docker's own network", "its address in another network")

# By way: the lab out of which it leads.
WAYS = {
    "TCP port 22": OPEN,
    "TCP port 53": OPEN,
    "TCP port 80": OPEN,
    "TCP port 443": OPEN,
    "TCP port 8080": OPEN,
    "TCP with data in the first packet": OPEN,
    "UDP port 53": OPEN,
    "UDP port 123": OPEN,
    "UDP port 443": OPEN,
    "UDP port 5000": OPEN,
    "ICMP echo": OPEN,
    "ICMP echo, raw socket": ANYWHERE,
    "TCP over IPv6": ANYWHERE,
    "UDP over IPv6": ANYWHERE,
    "TCP, IPv4 address in IPv6": OPEN,
    "a cloud's metadata": OPEN,
    "DNS: an address": OPEN,
    "DNS: a text": OPEN,
    "DNS: straight to a server": OPEN,
    "the machine, TCP, at its address in the lab's network": OPEN,
    "the machine, TCP, at its address in Docker's own network": OPEN,
    "the machine, TCP, at its address in another network": OPEN,
    "the machine, UDP, at its address in the lab's network": OPEN,
    "the machine, UDP, at its address in Docker's own network": OPEN,
    "the machine, UDP, at its address in another network": OPEN,
    "the name host.docker.internal": ANYWHERE,
    "the lab's server, by name": ANYWHERE,
    "the lab's server, by address": ANYWHERE,
    "another lab's server": ANYWHERE,
    "another lab's notebooks": ANYWHERE,
    "the socket /run/docker.sock": ANYWHERE,
    "the socket /var/run/docker.sock": ANYWHERE,
    "the socket /run/containerd/containerd.sock": ANYWHERE,
    "the socket /run/podman/podman.sock": ANYWHERE,
}
# The ways through the proxy. An answer is always from a listed domain.
PROXY_WAYS = {
    "listed domain, http": LISTED,
    "listed domain, https": LISTED,
    "listed domain in capitals": LISTED,
    "listed domain with a dot at its end": LISTED,
    "subdomain of a line with a dot": LISTED,
    "unlisted domain, http": ANYWHERE,
    "unlisted domain, https": ANYWHERE,
    "unlisted domain with a dot at its end": ANYWHERE,
    "subdomain of a line without a dot": ANYWHERE,
    "a name that ends like a listed one": ANYWHERE,
    "a name that begins like a listed one": ANYWHERE,
    "a name with look-alike letters": ANYWHERE,
    "the same in IDN": ANYWHERE,
    "the IP address": ANYWHERE,
    "the IP address of a listed domain": ANYWHERE,
    "the IPv6 address": ANYWHERE,
    "the IPv4 address in IPv6": ANYWHERE,
    "the IP address as one number": ANYWHERE,
    "the IP address in hexadecimal": ANYWHERE,
    "the IP address in octal": ANYWHERE,
    "a name that leads to loopback": ANYWHERE,
    "a name that leads to a cloud's metadata": ANYWHERE,
    "a name that leads to the machine": ANYWHERE,
    "listed domain as a user name": ANYWHERE,
    "listed domain after a backslash": LISTED,
    "listed domain in the fragment": ANYWHERE,
    "unlisted Host header": LISTED,
    "redirect to an unlisted domain": ANYWHERE,
    "another port": ANYWHERE,
    "CONNECT to port 22": ANYWHERE,
    "CONNECT to port 80": ANYWHERE,
    "CONNECT to an unlisted domain": ANYWHERE,
    "CONNECT to an IP address": ANYWHERE,
    "TLS for another domain in a tunnel": ANYWHERE,
    "TLS without a name in a tunnel": ANYWHERE,
    "plain text in a tunnel": ANYWHERE,
    "https without a tunnel": ANYWHERE,
    "ftp through the proxy": ANYWHERE,
    "a second request behind the first": ANYWHERE,
    "a second request in a body": ANYWHERE,
    "a line end in the address": LISTED,
    "the proxy's own port, through itself": ANYWHERE,
    "another port of the proxy": ANYWHERE,
}
# The domains in the allowlist of these tests.
DOMAINS = ["listed.example", ".wide.example", "loopback.example", "metadata.example", "gateway.example"]


# --- the machines -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinel]:
    with sentinel(tmp_path_factory.mktemp("sentinel")) as machine:
        machine.names |= dict.fromkeys(("listed.example", "deep.down.wide.example"), machine.listed)
        machine.names |= {"loopback.example": "127.0.0.1", "metadata.example": METADATA}
        yield machine


@contextmanager
def listener(addresses: Iterable[str]) -> Iterator[int]:
    """A port that answers at these addresses of this machine, over TCP and UDP."""

    def answer(udp: socket.socket) -> None:
        with suppress(OSError):  # closed
            while True:
                data, sender = udp.recvfrom(500)
                udp.sendto(data[:2] + b"\x81\x80\0\1\0\1" + data[8:], sender)  # an answer of DNS

    with ExitStack() as sockets:
        tcp = sockets.enter_context(socket.create_server(("", 0)))  # connections wait, and count as accepted
        port = tcp.getsockname()[1]
        for address in addresses:
            udp = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with suppress(OSError):  # an isolated network gives this machine no address
                udp.bind((address, port))
                threading.Thread(target=answer, args=(udp,), daemon=True).start()
        yield port


def started(new_project: Render, outside: Sentinel, **answers: Any) -> Project:
    """A running lab whose containers ask the other machine for names."""
    project = new_project(**answers)
    services = {"lab": {"dns": outside.unlisted}}
    if answers.get("scale_out") == "dask":
        services["worker"] = {"dns": outside.unlisted}
    if answers["network"] == "allowlist":
        services["egress"] = {"dns": outside.unlisted}
        (project.folder / "egress/allowlist.txt").write_text("\n".join(DOMAINS))
    (project.folder / "compose.override.yaml").write_text(yaml.safe_dump({"services": services}))
    trusted = project.folder / "ca.pem"
    site = os.environ.get("LAB_CA_BUNDLE")
    trusted.write_text(outside.ca.read_text() + (Path(site).read_text() if site else ""))
    project.environment["LAB_CA_BUNDLE"] = str(trusted)
    project.start()
    return project


@pytest.fixture(scope="module")
def allowlist(default_image: None, new_project: Render, outside: Sentinel) -> Iterator[Project]:
    project = started(new_project, outside, network="allowlist")
    yield project
    project.down()


@pytest.fixture(scope="module")
def sealed(default_image: None, new_project: Render, outside: Sentinel) -> Iterator[Project]:
    project = started(new_project, outside, network="sealed")
    yield project
    project.down()


def leads_out(lab: Project, other: Project, outside: Sentinel, where: str = "{code}") -> dict[str, str]:
    """By way: why it does not lead out of the lab. Empty if it does. `where` is the notebook that runs `{code}`."""
    address = {service: "192.0.2.1" for service in ("server", "lab")}
    for service in address:
        for network in networks(lab, service):
            address[service] = network["IPAddress"] or address[service]
    own = networks(lab, "lab")[0]["Gateway"] or address["lab"].rpartition(".")[0] + ".1"
    (bridge,) = json.loads(lab.run("docker", "network", "inspect", "bridge").stdout)[0]["IPAM"]["Config"]
    outside.names["gateway.example"] = bridge["Gateway"]
    if "egress" in lab.config()["services"]:
        (outer,) = (each for each in networks(lab, "egress") if each["Gateway"])
        outside.names["gateway.example"] = outer["Gateway"]
    machine = dict(zip(MACHINE, (own, bridge["Gateway"], outside.host), strict=True))
    with listener(machine.values()) as port:
        target = {
            "listed": outside.listed,
            "unlisted": outside.unlisted,
            "six": outside.six,
            "port": port,
            "machine": machine,
            "server": address["server"],
            "other server": networks(other, "server")[0]["IPAddress"],
            "other lab": networks(other, "lab")[0]["IPAddress"],
        }
        outside.packets.clear()
        outside.questions.clear()
        outside.requests.clear()
        code = f"target = {target}\n{SCRIPT.read_text()}"
        return json.loads(lab.client().run(where.replace("{code!r}", repr(code)).replace("{code}", code)))


def unexpected(found: dict[str, str], expected: dict[str, str], kind: str) -> dict[str, str]:
    """The ways whose result differs from the table, with the reason that the notebook saw."""
    assert found.keys() == expected.keys()
    return {way: reason for way, reason in found.items() if (reason == "") != (expected[way] == kind)}


# --- the tests ----------------------------------------------------------------------------------------
@pytest.mark.attack("Try the ways in the table below in a lab with `network: open`.", "As the table says.")
def test_the_ways_out_of_an_open_lab(lab: Project, tmp_path: Path, outside: Sentinel) -> None:
    """The positive control: what the walls stop arrives here."""
    with beside(lab, tmp_path, {"services": {"lab": {"dns": outside.unlisted}}}) as twin:
        twin.serve()
        assert unexpected(leads_out(twin, lab, outside), WAYS, OPEN) == {}
    assert outside.arrived(outside.unlisted) > 30
    assert any("data-in-a-label.probe" in name for name in outside.questions)


@pytest.mark.attack(
    "Try the ways in the table below in a lab with `network: sealed`.", "No packet arrives at the other machine."
)
def test_no_way_leads_out_of_a_sealed_lab(lab: Project, sealed: Project, outside: Sentinel) -> None:
    assert unexpected(leads_out(sealed, lab, outside), WAYS, "sealed") == {}
    assert outside.arrived(outside.listed, outside.unlisted, outside.six, outside.host, METADATA) == 0


ON_A_WORKER = """
from dask.distributed import Client
code = {code!r}
def tries(code):
    import contextlib, io
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {"__name__": "ways"})
    return printed.getvalue()
client = Client()
print(next(iter(client.run(tries, code).values())))
"""


@pytest.mark.full
@pytest.mark.parametrize("network", ["sealed", "allowlist"])
@pytest.mark.attack(
    "Try the ways in the tables below in a walled lab with a Dask cluster, from a notebook and from a worker.",
    "The same as in a lab with this network and without a cluster.",
)
def test_the_ways_out_of_a_walled_cluster(
    default_image: None, new_project: Render, lab: Project, outside: Sentinel, network: str
) -> None:
    project = started(new_project, outside, network=network, scale_out="dask")
    expected, kind = (WAYS, "sealed") if network == "sealed" else (WAYS | PROXY_WAYS, LISTED)
    try:
        for where in ("{code}", ON_A_WORKER):
            assert unexpected(leads_out(project, lab, outside, where), expected, kind) == {}
            assert outside.arrived(outside.six, outside.host, METADATA) == 0
            if network == "sealed":
                assert outside.arrived(outside.listed, outside.unlisted) == 0
    finally:
        project.down()


@pytest.mark.attack(
    "Try the ways in the tables below in a lab with `network: allowlist`.",
    "No packet arrives at the address of an unlisted domain. What arrives at a listed domain has its name.",
)
def test_only_listed_domains_are_reached_through_the_proxy(lab: Project, allowlist: Project, outside: Sentinel) -> None:
    found = leads_out(allowlist, lab, outside)
    assert unexpected(found, WAYS | PROXY_WAYS, LISTED) == {}
    # The proxy asks for the names that are listed, and DNS itself is the other machine's address `unlisted`.
    names = {*DOMAINS, "deep.down.wide.example"} - {".wide.example"}
    assert {*outside.questions} == names
    assert outside.arrived(METADATA, outside.six, outside.host) == 0
    assert {request.partition(" ")[0].lower() for request in outside.requests} <= {
        "listed.example",
        "deep.down.wide.example",
        "",
    }
    assert "second" not in str(outside.requests)
    for way in ("a name that leads to loopback", "a name that leads to the machine"):
        assert "which is not allowed" in found[way]
    assert "unlisted.example is not in egress/allowlist.txt" in found["unlisted domain, https"]


# What a mistake in the proxy would let through: the file, the line, the mistake, and a way that then leads out.
MISTAKES = {
    "every domain is listed": ("allowlist.py", "any(host == ", "True or any(host == ", "unlisted domain, http"),
    "every port is allowed": ("proxy.py", "if port != expected", "if False", "another port"),
    "the name in TLS is not compared": (
        "proxy.py",
        "!= host:\n        record",
        "== '':\n        record",
        "TLS for another",
    ),
    "every address is allowed": ("allowlist.py", "found.is_link_local", "False", "a name that leads to a cloud"),
}


@pytest.mark.full
@pytest.mark.parametrize("mistake", MISTAKES)
def test_control_a_mistake_in_the_proxy_is_noticed(
    lab: Project, allowlist: Project, outside: Sentinel, tmp_path: Path, mistake: str
) -> None:
    file, old, new, way = MISTAKES[mistake]
    source = allowlist.read(f"lab/server/egress/{file}")
    assert source.count(old) == 1
    (tmp_path / file).write_text(source.replace(old, new))
    changed = {"volumes": [f"{tmp_path / file}:/opt/labdock/egress/{file}:ro"], "dns": outside.unlisted}
    layer = {"services": {"egress": changed, "lab": {"dns": outside.unlisted}}}
    with beside(allowlist, tmp_path, layer) as twin:
        twin.compose("up", "--detach", "--wait", "--no-build", "--no-deps", "egress", "server", "lab")
        found = unexpected(leads_out(twin, lab, outside), WAYS | PROXY_WAYS, LISTED)
    assert any(name.startswith(way) for name in found)
