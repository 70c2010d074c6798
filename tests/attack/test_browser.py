"""Requests from another web page in the user's browser.

The browser has logged in. Every request that a page sends carries the session's cookie.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest

from tests.support.network import UPGRADE, Headers, Route, bearer, own, refused, send, sweep
from tests.support.project import Project
from tests.support.server_probes import log_in, running_kernel
from tools.notebook import LabClient

FOREIGN = "http://foreign.example"
ACT = "/api/terminals"  # a POST here opens a terminal
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Browser:
    """A browser that has logged in: the session's cookie, and the XSRF value that only the lab's pages know."""

    lab: LabClient
    session: str
    xsrf: str

    def sends(self, xsrf: str | None = None, **more: str) -> Headers:
        """Cookies and `more` headers. `xsrf` replaces the XSRF cookie. Another server on the same host can do this."""
        cookies = ("Cookie", f"{self.session}; _xsrf={xsrf or self.xsrf}")
        return [cookies, *((name.replace("_", "-"), value.format(own=own(self.lab))) for name, value in more.items())]


def logged_in(lab: LabClient) -> Browser:
    cookies = log_in(lab).cookies
    (session,) = (f"{cookie.name}={cookie.value}" for cookie in cookies if cookie.name != "_xsrf")
    return Browser(lab, session, cookies["_xsrf"])


@pytest.fixture(scope="module")
def browser(target: LabClient) -> Browser:
    return logged_in(target)


@pytest.fixture(scope="module")
def stranger(careless: LabClient) -> Browser:
    """A browser for the careless lab. It needs no cookies, because this lab asks for no login."""
    return Browser(careless, "", "")


# --- origins ----------------------------------------------------------------------------------------
ORIGINS = {
    "another site": FOREIGN,
    "the word null": "null",
    "file://": "file://",
    "http://127.0.0.1:1 (another port)": "http://127.0.0.1:1",
    "http://localhost:8888 (another name of the machine)": "http://localhost:8888",
    "http://LAB-ADDRESS.foreign.example": "http://{own}.foreign.example",
    "http://LAB-ADDRESS@foreign.example": "http://{own}@foreign.example",
    "two origins in one header": "http://{own}, http://foreign.example",
    "an empty header": "",
}


@pytest.mark.attack("Send a POST with another Origin header. The cookies and the XSRF value are correct", "404")
@pytest.mark.parametrize("origin", ORIGINS)
def test_posts_from_other_origins_are_refused(browser: Browser, origin: str) -> None:
    whole = browser.sends(Origin=ORIGINS[origin], X_XSRFToken=browser.xsrf)
    assert send(browser.lab, "POST", ACT, whole).status == 404
    # A server on another port or subdomain can set this cookie, and then knows its value.
    planted = browser.sends(xsrf="planted", Origin=ORIGINS[origin])
    assert send(browser.lab, "POST", f"{ACT}?_xsrf=planted", planted).status == 404


@pytest.mark.attack(
    "Read the API with another Origin header. Ask with OPTIONS whether another origin may read it (CORS)",
    "404. No CORS header gives access to another origin.",
)
@pytest.mark.parametrize("origin", ORIGINS)
def test_reads_from_other_origins_are_refused(browser: Browser, origin: str) -> None:
    assert send(browser.lab, "GET", "/api/contents", browser.sends(Origin=ORIGINS[origin])).status == 404
    asks = browser.sends(
        Origin=ORIGINS[origin],
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization, x-xsrftoken",
    )
    assert "Access-Control-Allow-Origin" not in send(browser.lab, "OPTIONS", ACT, asks).headers


@pytest.fixture(scope="module")
def websockets(browser: Browser, registered: list[Route]) -> Iterator[list[str]]:
    """The paths of three websockets: of a kernel, of a terminal, and of the server's events."""
    terminal = browser.lab.request("POST", "terminals").json()["name"]
    with running_kernel(browser.lab) as kernel:
        paths = [f"/api/kernels/{kernel}/channels", f"/terminals/websocket/{terminal}", "/api/events/subscribe"]
        unknown = [r.pattern for r in registered if r.websocket and not any(re.match(r.pattern, p) for p in paths)]
        assert unknown == [], "a new websocket needs a path here"
        yield paths
    browser.lab.request("DELETE", f"terminals/{terminal}")


@pytest.mark.attack("Open a websocket of a kernel, a terminal or the server's events with another Origin header", "403")
@pytest.mark.parametrize("origin", ORIGINS)
def test_websockets_from_other_origins_are_refused(browser: Browser, websockets: list[str], origin: str) -> None:
    headers = [*browser.sends(Origin=ORIGINS[origin]), *UPGRADE]
    assert {path: send(browser.lab, "GET", path, headers).status for path in websockets} == dict.fromkeys(
        websockets, 403
    )


def test_control_own_pages_are_answered(browser: Browser, websockets: list[str]) -> None:
    """The control: the lab answers the same requests with its own Origin."""
    whole = browser.sends(Origin="http://{own}", X_XSRFToken=browser.xsrf)
    made = send(browser.lab, "POST", ACT, whole)
    browser.lab.request("DELETE", f"terminals/{made.json()['name']}")
    assert made.status == 200
    assert send(browser.lab, "GET", "/api/contents", whole).status == 200
    assert [send(browser.lab, "GET", path, [*whole, *UPGRADE]).status for path in websockets] == [101, 101, 101]


def test_a_lab_for_every_origin_is_noticed(stranger: Browser) -> None:
    """The control: the careless lab accepts every page."""
    foreign = stranger.sends(Origin=FOREIGN)
    assert send(stranger.lab, "POST", ACT, foreign).status == 200
    assert send(stranger.lab, "GET", "/api/contents", foreign).headers["Access-Control-Allow-Origin"] == "*"
    assert send(stranger.lab, "GET", "/api/events/subscribe", [*foreign, *UPGRADE]).status == 101


# --- requests that a page can send without reading the answer ------------------------------------
FORGED: dict[str, dict[str, str]] = {
    "as form data": {"Content_Type": "application/x-www-form-urlencoded"},
    "as plain text": {"Content_Type": "text/plain"},
    "as JSON": {"Content_Type": "application/json"},
    "with an invented XSRF value": {"X_XSRFToken": "2|00000000|00000000000000000000000000000000|1700000000"},
    "with the Referer header of another site": {"Referer": f"{FOREIGN}/"},
}


@pytest.mark.attack(
    "Send POST, PUT, PATCH and DELETE to every route, with the cookies but without the right XSRF value", "403 or 405"
)
@pytest.mark.parametrize("forged", FORGED)
def test_changes_without_the_xsrf_value_are_refused(browser: Browser, registered: list[Route], forged: str) -> None:
    headers = browser.sends(**FORGED[forged])
    assert send(browser.lab, "POST", "/api/contents/data", headers, b'{"type": "file"}').status == 403
    answers = sweep(browser.lab, registered, CHANGING, headers)
    # Not refused: two redirects to routes that refuse, browsers' reports, and a route that never answers.
    known = {r"/.*/$", r"/api/notebooks/?(.*)$", r"/api/security/csp-report$", r"/lab/api/licenses/(.*)$"}
    assert {route.pattern for route, method, answer in answers if not refused(method, answer)} <= known


def test_a_lab_without_the_xsrf_check_is_noticed(stranger: Browser) -> None:
    """The control: the careless lab accepts a form from another page."""
    form = stranger.sends(**FORGED["as plain text"], Referer=f"{FOREIGN}/")
    assert send(stranger.lab, "POST", ACT, form, b"{}").status == 200


REFERERS = {
    "no Referer header": {},
    "another site": {"Referer": f"{FOREIGN}/"},
    "http://127.0.0.1:1 (another port)": {"Referer": "http://127.0.0.1:1/"},
    "http://LAB-ADDRESS.foreign.example": {"Referer": "http://{own}.foreign.example/"},
}
FILES = (
    "/files/notebooks/iris.ipynb",
    "/nbconvert/html/notebooks/iris.ipynb",
    "/nbconvert/script/notebooks/iris.ipynb",
)


@pytest.mark.attack(
    "Embed a file or a converted notebook in a page of another site (the Referer header names the page)", "403"
)
@pytest.mark.parametrize("referer", REFERERS)
@pytest.mark.parametrize("file", FILES)
def test_pages_of_other_sites_cannot_embed_files(browser: Browser, file: str, referer: str) -> None:
    assert send(browser.lab, "GET", file, browser.sends(**REFERERS[referer])).status == 403


@pytest.mark.parametrize("file", FILES)
def test_the_labs_own_pages_embed_files(browser: Browser, file: str) -> None:
    """The control: the lab answers the same requests from its own pages."""
    assert send(browser.lab, "GET", file, browser.sends(Referer="http://{own}/lab")).status == 200


# --- pages ------------------------------------------------------------------------------------------
@pytest.mark.attack("Show a page of the lab in a frame of another site", "A header tells the browser not to show it.")
def test_no_page_can_be_framed(browser: Browser, registered: list[Route]) -> None:
    answers = [answer for _, _, answer in sweep(browser.lab, registered, ["GET"], [bearer(browser.lab)])]
    pages = [answer for answer in answers if answer.headers.get_content_type() == "text/html" and answer.status == 200]
    assert pages
    assert all("frame-ancestors 'self'" in page.headers["Content-Security-Policy"] for page in pages)


@pytest.mark.attack(
    "In a mount, open an HTML or SVG file that runs code in the browser",
    "The browser runs the page in a sandbox, without access to the session.",
)
@pytest.mark.parametrize("path", ["/files/data/hostile.html", "/files/data/hostile.svg", FILES[1]])
def test_pages_in_mounts_run_in_a_sandbox(lab: Project, browser: Browser, path: str) -> None:
    files = [lab.folder / f"data/hostile.{kind}" for kind in ("html", "svg")]
    for file in files:
        file.write_text("<script>1</script>")
    try:
        answer = send(browser.lab, "GET", path, browser.sends(Referer="http://{own}/lab"))
    finally:
        for file in files:
            file.unlink()
    assert answer.status == 200
    policy = [part.split() for part in answer.headers["Content-Security-Policy"].split(";")]
    assert ["sandbox", "allow-scripts"] in policy


def test_a_lab_whose_pages_can_be_framed_is_noticed(stranger: Browser) -> None:
    """The control: the careless lab sends no such header."""
    assert "frame-ancestors" not in (send(stranger.lab, "GET", "/lab").headers["Content-Security-Policy"] or "")


ELSEWHERE = (
    "//foreign.example", "///foreign.example", "http://foreign.example", "http:foreign.example", "\\\\foreign.example",
    "/\\foreign.example", "%2f%2fforeign.example", "/\t/foreign.example", "http://{own}@foreign.example",
    "http://{own}.foreign.example", "javascript:alert(1)",
)  # fmt: skip


def local(location: str) -> bool:
    """Whether a browser reads this address as a path of the same host."""
    return location.startswith("/") and location[1:2] not in ("/", "\\")


@pytest.mark.attack(
    "Send the user to another site, through the login page or through a path with a double slash",
    "Redirects lead only to paths of the lab.",
)
@pytest.mark.parametrize("place", ELSEWHERE)
def test_redirects_lead_only_to_the_lab(browser: Browser, place: str) -> None:
    place = place.format(own=own(browser.lab))
    after_login = send(browser.lab, "GET", f"/login?next={quote(place, safe='')}", browser.sends())
    assert after_login.status == 302 and local(after_login.headers["Location"])
    slashes = send(browser.lab, "GET", f"/{quote(place, safe='/')}/")
    assert slashes.status == 302 and local(slashes.headers["Location"])


def test_addresses_of_other_hosts_are_noticed() -> None:
    """The control: addresses of other hosts are not local."""
    assert [local(path) for path in ("/lab", "//foreign.example", "/\\foreign.example", "http://x")] == [True] + [
        False
    ] * 3
