"""A hostile dashboard in the lab, and browsers without its cookie."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from http.cookies import SimpleCookie
from urllib.parse import quote

import pytest

from tests.attack.test_browser import Browser, logged_in
from tests.support.dashboards import COOKIE, PORT, Entered, asked, entered, hostile, link
from tests.support.network import UPGRADE, Headers, bearer, own, send
from tests.support.project import Project
from tests.support.variants import beside, with_server
from tests.support.waiting import until
from tools.notebook import LabClient

FILE = "dashboards.py"
# Each guard, and the text that replaces it in the careless lab.
GUARDS = {
    "if self.get_signed_cookie(COOKIE) != name.encode():": "if False:",
    "        self.refuse_others()\n": "",
    "if name.lower() not in named and not KEPT_BACK.fullmatch(name):": "if True:",
    'cookie.partition("=")[0].strip() != COOKIE]': "cookie]",
    "if name in LET_THROUGH or (status.code == 101 and name in WEBSOCKET):": "if name != 'Connection':",
    "if inside is None:": "inside = location\n            if False:",
    "if not 1024 <= number <= 65535 or number == self.serverapp.port:": "if False:",
    "CONNECTIONS = 256": "CONNECTIONS = 1000",
    'raise HTTPInputError(f"Content-Length': 'print(f"Content-Length',
}


@pytest.fixture(scope="module")
def dashboard(lab: Project) -> Iterator[Entered]:
    """A hostile dashboard in the shared lab, opened by a browser."""
    with hostile(lab):
        yield entered(lab.client())


@pytest.fixture(scope="module")
def unguarded(lab: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entered]:
    """A hostile dashboard in a lab whose dashboards have none of GUARDS."""
    text = lab.read(f"lab/server/{FILE}")
    for guard, nothing in GUARDS.items():
        assert text.count(guard) == 1, guard
        text = text.replace(guard, nothing)
    folder = tmp_path_factory.mktemp("unguarded")
    layer = with_server(lab, folder, FILE, text)
    with beside(lab, folder, layer, COMPOSE_PROJECT_NAME=f"{lab.compose_name()}-unguarded") as twin:
        twin.serve()
        with hostile(twin):
            yield entered(twin.client())


# --- without the cookie -------------------------------------------------------------------------------
def strangers(dashboard: Entered, browser: Browser) -> dict[str, tuple[Headers, str]]:
    """Headers and query of requests that must not reach the dashboard."""
    lab, name = dashboard.lab, dashboard.host.partition(".")[0]
    other = entered(lab, PORT + 1)
    _, ticket = link(lab)
    return {
        "no cookie": ([], ""),
        "a false cookie": ([("Cookie", f"{COOKIE}={name}")], ""),
        "the cookie of another dashboard": ([("Cookie", other.cookie)], ""),
        "the cookie of the lab": ([("Cookie", browser.session)], ""),
        "the link's key as cookie": ([("Cookie", f"{COOKIE}={ticket.partition('=')[2]}")], ""),
        "the token in a header": ([bearer(lab)], ""),
        "the token in the address": ([], f"?token={lab.token}"),
    }


def answered(dashboard: Entered, headers: Headers, query: str = "") -> list[int]:
    """The status of GET, POST and a websocket with these headers."""
    whole = [("Host", dashboard.host), *headers]
    return [
        asked(dashboard.lab, f"/echo{query}", whole).status,
        asked(dashboard.lab, f"/echo{query}", whole, "POST", b"x").status,
        asked(dashboard.lab, f"/ws{query}", [*whole, *UPGRADE]).status,
    ]


@pytest.mark.attack(
    "Open a dashboard's address or its websocket with no cookie, with another cookie, or with the token", "403"
)
def test_without_the_cookie_a_dashboard_is_refused(dashboard: Entered) -> None:
    browser = logged_in(dashboard.lab)
    for kind, (headers, query) in strangers(dashboard, browser).items():
        assert answered(dashboard, headers, query) == [403, 403, 403], kind
    assert answered(dashboard, [("Cookie", dashboard.cookie)]) == [200, 200, 101]


@pytest.mark.full
def test_control_a_lab_that_asks_for_no_cookie_is_noticed(unguarded: Entered) -> None:
    for kind, (headers, query) in strangers(unguarded, logged_in(unguarded.lab)).items():
        assert answered(unguarded, headers, query) == [200, 200, 101], kind


@pytest.mark.attack("Ask for a dashboard without the token. Open a false, an old or another dashboard's link", "403")
def test_only_the_lab_leads_to_a_dashboard(dashboard: Entered) -> None:
    lab = dashboard.lab
    refused = send(lab, "GET", f"/dashboards/{PORT}")
    assert (refused.status, refused.headers["Location"]) == (302, f"/login?next=%2Fdashboards%2F{PORT}")
    _, elsewhere = link(lab, PORT + 1)
    for path in (elsewhere, elsewhere[:-1], elsewhere.partition("?")[0], f"/.labdock/enter?key={quote(COOKIE)}"):
        answer = send(lab, "GET", path, [("Host", dashboard.host)])
        assert (answer.status, answer.headers["Set-Cookie"]) == (403, None)


@pytest.mark.attack(
    "Read the dashboard's cookie in a script, or at another host name", "The cookie has HttpOnly and no Domain."
)
def test_the_cookie_is_for_one_host_name_and_for_no_script(target: LabClient) -> None:
    host, path = link(target)
    (cookie,) = SimpleCookie(send(target, "GET", path, [("Host", host)]).headers["Set-Cookie"]).values()
    assert (cookie["httponly"], cookie["samesite"], cookie["domain"], cookie["path"]) == (True, "Lax", "", "/")


# Ports of the system, of the server itself, and words that are no port.
PORTS = ("1", "80", "1023", "8888", "65536", "99999", "08501", "8501x", "-8501", "%388501", "８５０１".encode())


@pytest.mark.attack("Ask for a port below 1024 or above 65535, for the server's own port, or for a word", "400 or 404")
def test_other_ports_are_no_dashboards(target: LabClient) -> None:
    for port in PORTS:
        path = f"/dashboards/{quote(port, safe='%')}"
        assert send(target, "GET", path, [bearer(target)]).status in (400, 404), port


@pytest.mark.full
def test_control_a_lab_with_every_port_is_noticed(unguarded: Entered) -> None:
    assert link(unguarded.lab, 8888)[0].startswith("p8888-")


@pytest.mark.attack("Open a page of the lab at a dashboard's host name", "The dashboard answers, not the lab.")
def test_a_dashboards_host_name_has_no_page_of_the_lab(dashboard: Entered) -> None:
    for path in ("/lab", "/api/contents", "/static/favicon.ico", "/login", f"/dashboards/{PORT}"):
        assert b"Hostile dashboard" in dashboard.ask(path, bearer(dashboard.lab)).body
    foreign = dashboard.host.replace("-", "-0", 1)
    assert send(dashboard.lab, "GET", "/lab", [("Host", foreign), bearer(dashboard.lab)]).status == 403


# --- other pages --------------------------------------------------------------------------------------
ORIGINS = (
    "http://foreign.example",
    "null",
    "http://{lab}",
    "http://p8502.localhost:8888",
    "http://{name}.localhost:1",
    "",
)


@pytest.mark.attack("Use an open dashboard from another page, with the dashboard's cookie", "403")
def test_other_pages_cannot_use_a_dashboard(dashboard: Entered) -> None:
    assert from_other_pages(dashboard) == {(403, 403, 403)}
    assert dashboard.ask("/echo", ("Origin", f"http://{dashboard.host}")).status == 200


def from_other_pages(dashboard: Entered) -> set[tuple[int, ...]]:
    name = dashboard.host.partition(".")[0]
    origins = [("Origin", origin.format(lab=own(dashboard.lab), name=name)) for origin in ORIGINS]
    return {tuple(answered(dashboard, [("Cookie", dashboard.cookie), origin])) for origin in origins}


@pytest.mark.attack("Register a service worker, which would stay in the browser after the dashboard has ended", "403")
def test_a_dashboard_registers_no_service_worker(dashboard: Entered) -> None:
    assert dashboard.ask("/sw.js", ("Service-Worker", "script")).status == 403


@pytest.mark.full
def test_control_a_lab_open_to_other_pages_is_noticed(unguarded: Entered) -> None:
    assert from_other_pages(unguarded) == {(200, 200, 101)}
    assert unguarded.ask("/sw.js", ("Service-Worker", "script")).status == 200


# --- what the dashboard and the browser get ---------------------------------------------------------------
SECRETS = (
    ("Authorization", "token secret"), ("Proxy-Authorization", "Basic secret"), ("X-Forwarded-Access-Token", "secret"),
    ("X-Auth-Request-Email", "secret"), ("Referer", "http://127.0.0.1/?token=secret"), ("X-Named", "secret"),
    ("Connection", "X-Named"),
)  # fmt: skip


def received(dashboard: Entered) -> str:
    return dashboard.ask("/echo", *SECRETS, ("X-Xsrftoken", "own")).body.decode()


@pytest.mark.attack(
    "Read the dashboard's cookie, the token or a proxy's headers in the requests that a dashboard gets",
    "The server removes them. It refuses an address that contains the token.",
)
def test_a_dashboard_gets_no_credentials(dashboard: Entered) -> None:
    seen = received(dashboard)
    assert "secret" not in seen and COOKIE not in seen
    headers = dict(json.loads(seen)[1])
    assert (headers["Cookie"], headers["X-Xsrftoken"], headers["Host"]) == ("own=1", "own", f"localhost:{PORT}")
    for query in (f"?token={dashboard.lab.token}", "?x=%" + "%".join(f"{ord(c):02x}" for c in dashboard.lab.token)):
        assert dashboard.ask(f"/echo{query}").status == 400


def passed(dashboard: Entered) -> dict[str, list[str]]:
    """The headers of a harmful answer that arrive in the browser."""
    answer = dashboard.ask("/raw/harmful")
    assert answer.body == b"ok"
    return {name: answer.headers.get_all(name, []) for name in sorted(set(answer.headers.keys()))}


@pytest.mark.full
@pytest.mark.attack(
    "Send a browser Clear-Site-Data, HSTS, Alt-Svc, CORS and other headers, cookies for other hosts, or a new cookie "
    "of the dashboard",
    "The server removes them. Cookies are for the dashboard's host name only.",
)
def test_a_browser_gets_no_harmful_header(dashboard: Entered) -> None:
    headers = passed(dashboard)
    allowed = {
        "Content-Length",
        "Content-Security-Policy",
        "Cross-Origin-Opener-Policy",
        "Date",
        "Server",
        "Set-Cookie",
    }
    assert headers.keys() == allowed
    assert headers["Cross-Origin-Opener-Policy"] == ["same-origin"]
    assert headers["Content-Security-Policy"] == ["frame-ancestors 'self'", "frame-ancestors *"]  # both apply
    assert headers["Set-Cookie"] == ["planted=1; Path=/", "planted-wide=1; Path=/", "planted-lab=1", "_xsrf=planted"]


REDIRECTS = {
    "/x": "/x", "x": "/x", "?x": "/redirect?x", f"http://localhost:{PORT}/y?z#f": "/y?z#f",
    f"http://127.0.0.1:{PORT}": "/",
}  # fmt: skip
ELSEWHERE = (
    "http://127.0.0.1:8888/api", "//foreign.example", "/\\foreign.example", "\\\\foreign.example",
    "////foreign.example",
    "/\t/foreign.example", "javascript:alert(1)", "data:text/html,x", f"http://localhost:{PORT}@foreign.example",
    f"http://localhost:{PORT}//foreign.example", f"https://localhost:{PORT}/x", "http://[/",
)  # fmt: skip


@pytest.mark.full
@pytest.mark.attack("Redirect a browser to the lab, to another site or to a script", "502")
def test_redirects_stay_in_the_dashboard(dashboard: Entered) -> None:
    for to, inside in REDIRECTS.items():
        answer = dashboard.ask(f"/redirect?to={quote(to)}")
        assert (answer.status, answer.headers["Location"]) == (302, inside)
    assert {to: dashboard.ask(f"/redirect?to={quote(to)}").status for to in ELSEWHERE} == dict.fromkeys(ELSEWHERE, 502)


@pytest.mark.full
def test_control_a_lab_that_passes_everything_on_is_noticed(unguarded: Entered) -> None:
    assert received(unguarded).count("secret") == len(SECRETS) - 1 and COOKIE in received(unguarded)
    assert {"Clear-Site-Data", "Alt-Svc", "X-Accel-Redirect"} <= passed(unguarded).keys()
    assert f"{COOKIE}=planted" in passed(unguarded)["Set-Cookie"]
    assert unguarded.ask("/redirect?to=//foreign.example").headers["Location"] == "//foreign.example"
    assert unguarded.ask(f"/echo?token={unguarded.lab.token}").status == 200


# --- bad answers ----------------------------------------------------------------------------------------
BAD = {
    "no-http": 502, "huge-header": 502, "endless-headers": 502, "bad-header": 502, "folded-header": 502,
    "two-lengths": 502, "length-and-chunks": 502, "word-as-length": 502, "continue": 502, "switching": 502,
    "nothing": 502, "bad-chunk": 0, "half": 0, "half-chunk": 0,
}  # fmt: skip


@pytest.mark.full
@pytest.mark.attack(
    "Answer with malformed, endless, contradicting or incomplete HTTP",
    "502, or the connection to the browser ends. The server keeps running.",
)
def test_bad_answers_end_in_an_error(dashboard: Entered) -> None:
    assert {name: dashboard.ask(f"/raw/{name}").status for name in BAD} == BAD
    assert dashboard.ask("/raw/second-answer").body == b"ok"
    assert dashboard.ask("/echo").status == 200


@pytest.mark.full
def test_control_a_lab_that_passes_two_lengths_on_is_noticed(unguarded: Entered) -> None:
    assert unguarded.ask("/raw/length-and-chunks").status == 0


def opened(dashboard: Entered, path: str) -> socket.socket:
    """A connection that has sent a request and reads no answer."""
    host, port = own(dashboard.lab).split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {dashboard.host}\r\nCookie: {dashboard.cookie}\r\n\r\n".encode())
    return connection


def memory(lab: Project) -> int:
    """Resident memory of the server in MiB."""
    status = lab.shell("grep -h VmRSS /proc/$(pgrep -f 'python -I -m jupyterlab' | head -1)/status", "server")
    return int(status.split()[1]) >> 10


@pytest.mark.full
@pytest.mark.attack("Send an endless answer, to a browser that reads it and to one that does not", "Memory stays low.")
def test_an_endless_answer_takes_no_memory(lab: Project, dashboard: Entered) -> None:
    before = memory(lab)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(opened(dashboard, "/raw/endless"))
        reading = stack.enter_context(opened(dashboard, "/raw/endless"))
        taken = 0
        while taken < 300 << 20:
            taken += len(reading.recv(1 << 20))
        assert memory(lab) - before < 60
        assert send(dashboard.lab, "GET", "/api/contents", [bearer(dashboard.lab)]).status == 200


def many(dashboard: Entered, stack: ExitStack) -> int:
    """Open 257 connections that get no answer. Returns the status of another request."""
    for _ in range(257):
        stack.enter_context(opened(dashboard, "/silence"))
    seen = []
    until(lambda: seen.append(dashboard.ask("/echo").status) or seen[-1] != 200 or len(seen) > 10, "an answer", 60)
    return seen[-1]


@pytest.mark.full
@pytest.mark.attack("Open many connections that are never answered", "503 for dashboards. The lab keeps answering.")
def test_many_connections_leave_the_lab_usable(dashboard: Entered) -> None:
    with ExitStack() as stack:
        assert many(dashboard, stack) == 503
        assert send(dashboard.lab, "GET", "/api/contents", [bearer(dashboard.lab)]).status == 200
    until(lambda: dashboard.ask("/echo").status == 200, "closed connections are free again", 30)


@pytest.mark.full
def test_control_a_lab_with_more_connections_is_noticed(unguarded: Entered) -> None:
    with ExitStack() as stack:
        assert many(unguarded, stack) == 200
