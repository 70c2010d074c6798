"""Another host name points at the lab's address (DNS rebinding).

Every request carries the token. So only the name can be the reason of a refusal.
"""

import pytest

from tests.support.network import Headers, Route, bearer, own, send, sweep
from tests.support.project import Project
from tools.notebook import LabClient

HOSTS: dict[str, list[str]] = {
    "rebound.example": ["rebound.example"],
    "rebound.example with the lab's port": ["rebound.example:{port}"],
    "the container's IP address": ["{address}", "{address}:8888"],
    "0.0.0.0 or [::]": ["0.0.0.0", "[::]"],
    "other spellings of 127.0.0.1, such as 127.1": ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "::1"],
    "private addresses, such as 10.0.0.1": ["10.0.0.1", "169.254.169.254", "[::ffff:10.0.0.1]"],
    "localhost. (a dot at the end)": ["localhost.", "127.0.0.1.", "rebound.example."],
    "LOCALHOST in upper case": ["LOCALHOST", "REBOUND.EXAMPLE"],
    "localhost.rebound.example": ["localhost.rebound.example", "rebound.example.localhost"],
    "localhost@rebound.example": [
        "localhost@rebound.example",
        "rebound.example@localhost",
        "localhost:1@rebound.example",
    ],
    "two ports, such as rebound.example:80:80": ["localhost:rebound.example", "rebound.example:80:80", "localhost:"],
    "two names in one header": ["localhost, rebound.example", "localhost rebound.example", "localhost/rebound.example"],
    "an empty header": [""],
}
# Headers that a proxy sets. The lab has no proxy, so anyone can send these headers.
FORWARDED = ("X-Forwarded-Host", "X-Forwarded-Server", "X-Host", "X-Original-Host", "Forwarded")


def asked(lab: LabClient, *hosts: str, path: str = "/api/contents", headers: Headers = ()) -> int:
    """The status of a request that carries the token and these Host headers."""
    return send(lab, "GET", path, [*(("Host", host) for host in hosts), *headers, bearer(lab)]).status


@pytest.mark.attack("Send a Host header that is not a host name of the lab", "400 or 403")
@pytest.mark.parametrize("kind", HOSTS)
def test_other_host_names_are_refused(lab: Project, target: LabClient, kind: str) -> None:
    (network,) = lab.container()["NetworkSettings"]["Networks"].values()
    fill = {"address": network["IPAddress"], "port": own(target).partition(":")[2]}
    hosts = [host.format(**fill) for host in HOSTS[kind]]
    assert {host: status for host in hosts if (status := asked(target, host)) not in (400, 403)} == {}


@pytest.mark.attack("Send two Host headers, or a complete URL instead of a path", "400, 403 or 404")
def test_two_hosts_are_refused(target: LabClient) -> None:
    ours, foreign = "localhost", "rebound.example"
    assert [asked(target, *hosts) for hosts in ((ours, foreign), (foreign, ours))] == [400, 400]
    assert asked(target, ours, path=f"http://{foreign}/api/contents") == 404
    assert asked(target, foreign, path=f"http://{ours}/api/contents") == 403


@pytest.mark.attack("Send another Host header, with localhost in X-Forwarded-Host and similar headers", "403")
@pytest.mark.parametrize("name", FORWARDED)
def test_headers_of_a_proxy_are_ignored(target: LabClient, name: str) -> None:
    said = [(name, "host=localhost" if name == "Forwarded" else "localhost")]
    assert asked(target, "rebound.example", headers=said) == 403


@pytest.mark.attack(
    "Send another Host header and the token to every route and websocket",
    "403 or 405. Two routes redirect to another path, which refuses the request. `/lab/api/licenses/` never answers.",
)
def test_every_route_checks_the_host_name(target: LabClient, registered: list[Route]) -> None:
    answers = sweep(target, registered, ["GET"], [("Host", "rebound.example"), bearer(target)])
    # Not refused: two redirects to paths that check the Host header, and a route that never answers.
    redirects = {r"/?$", r"/.*/$", r"/lab/api/licenses/(.*)$"}
    assert {route.pattern for route, _, answer in answers if answer.status not in (403, 405)} == redirects


def test_own_names_are_answered(target: LabClient) -> None:
    """The control: the lab's own names are accepted. The last name is for sockets, and no browser sends it."""
    hosts = ("localhost", "127.0.0.1", "127.0.0.2:80", "[::1]:1", own(target), "%2Ftmp")
    assert {host: asked(target, host) for host in hosts} == dict.fromkeys(hosts, 200)


def test_a_lab_that_answers_to_any_name_is_noticed(careless: LabClient) -> None:
    """The control: the careless lab accepts every name that a browser can send."""
    hosts = ("rebound.example", "127.1", "LOCALHOST", "localhost.rebound.example")
    assert {host: asked(careless, host) for host in hosts} == dict.fromkeys(hosts, 200)
