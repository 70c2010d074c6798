"""Requests without the token."""

from pathlib import Path

import pytest
import requests

from tests.support.network import METHODS, Headers, Route, bearer, own, refused, routes, send, sweep
from tests.support.project import Project
from tests.support.variants import beside
from tools.notebook import LabClient

# Every route that answers without the token, and why. All other routes, also new ones, have to refuse.
PUBLIC = {
    r"/login$": "the page where you type the token",
    r"/logout$": "ends the session of this browser",
    r"/(robots\.txt)$": "a file of the server's packages",
    r"/(favicon\.ico)$": "a file of the server's packages",
    r"/(robots\.txt|favicon\.ico)$": "a file of the server's packages",
    r"/static/(.*)$": "files of the server's packages, which the login page needs",
    r"/static/lab/(.*)$": "files of the server's packages",
    r"/static/notebook/(.*)$": "files of the server's packages",
    r"/lab/extensions/(.*)$": "files of the server's packages",
    r"/lab/api/themes/(.*)$": "files of the server's packages",
    r"/api$": "the version of the server, which the health check requests",
    r"/?$": "redirects to the front end, which asks for the token",
    r"/.*/$": "redirects to the same path without the slash, which asks for the token",
    r"/api/notebooks/?(.*)$": "redirects to the same path below /api/contents, which asks for the token",
    r"/lab/api/licenses/(.*)$": "a bug in jupyterlab_server: no request gets an answer, even with the token",
}


WRONG = "0" * 64
CREDENTIALS: dict[str, tuple[str, Headers]] = {
    "no token": ("", ()),
    "an empty token": ("", [("Authorization", "token ")]),
    "a wrong token": ("", [("Authorization", f"token {WRONG}")]),
    "a wrong Bearer token": ("", [("Authorization", f"Bearer {WRONG}")]),
    "an empty token in the URL": ("?token=", ()),
    "a wrong token in the URL": (f"?token={WRONG}", ()),
    "a cookie with a false signature": ("", [("Cookie", "{session}=2|1:0|10:1700000000|1:x|4:cm9vdA==|" + WRONG)]),
    "a cookie without a signature": ("", [("Cookie", "{session}=root")]),
}


def answering(lab: LabClient, registered: list[Route], credentials: str) -> set[str]:
    """The patterns of the routes that answer. No answer may contain the token."""
    query, headers = CREDENTIALS[credentials]
    # Everyone gets the XSRF cookie. With this cookie, only a missing token can be the reason of a refusal.
    xsrf = requests.get(f"{lab.address}/login", timeout=30).cookies["_xsrf"]
    session = "username-" + own(lab).replace(".", "-").replace(":", "-")
    cookies = [f"_xsrf={xsrf}", *(value.format(session=session) for name, value in headers if name == "Cookie")]
    headers = [header for header in headers if header[0] != "Cookie"]
    headers += [("Cookie", "; ".join(cookies)), ("X-XSRFToken", xsrf)]
    answers = list(sweep(lab, registered, METHODS, headers, query))
    assert not any(lab.token.encode() in answer.body for _, _, answer in answers)
    return {route.pattern for route, method, answer in answers if not refused(method, answer)}


@pytest.mark.attack(
    "Send a request with each method to every route and websocket, without a valid token",
    "Refused, except for [the paths below](#what-answers-without-the-token).",
)
@pytest.mark.parametrize("credentials", CREDENTIALS)
def test_only_public_paths_answer_without_the_token(
    target: LabClient, registered: list[Route], credentials: str
) -> None:
    assert answering(target, registered, credentials) == set(PUBLIC)


@pytest.mark.full
@pytest.mark.attack("Send the same requests to a lab with `JUPYTER_UI=notebook`", "Refused, except for the same paths.")
def test_only_public_paths_answer_in_the_classic_interface(lab: Project, tmp_path: Path) -> None:
    with beside(lab, tmp_path, JUPYTER_UI="notebook") as twin:
        twin.serve()
        target, registered = twin.client(), routes(twin)
        found = {credentials: answering(target, registered, credentials) for credentials in CREDENTIALS}
    assert found == {credentials: set(PUBLIC) for credentials in CREDENTIALS}


def closed(lab: LabClient, registered: list[Route], *headers: tuple[str, str]) -> set[str]:
    """The patterns of the routes that refuse GET or a websocket."""
    answers = sweep(lab, registered, ["GET"], headers)
    return {route.pattern for route, method, answer in answers if answer.status != 405 and refused(method, answer)}


def test_with_the_token_every_route_answers(target: LabClient, registered: list[Route]) -> None:
    """The control: the lab answers the same requests if they have the token."""
    assert send(target, "GET", "/lab", [bearer(target)]).status == 200
    assert closed(target, registered, bearer(target)) == set()


def test_a_lab_without_a_token_is_noticed(careless: LabClient, registered: list[Route]) -> None:
    """The control: in a server without a token, the same routes answer everyone."""
    assert closed(careless, registered) == set()


def test_the_list_has_routes_of_extensions(registered: list[Route]) -> None:
    """A control: the list has routes of the server, the front ends and the terminals."""
    paths = {route.path() for route in registered}
    assert {"/api/shutdown", "/lab/api/extensions", "/api/terminals", "/treedata/x"} <= paths
    assert sum(route.websocket for route in registered) >= 3
