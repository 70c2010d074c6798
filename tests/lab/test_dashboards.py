"""Dashboards at their own host names, as a browser that has logged in opens them."""

from pathlib import Path

import pytest

from tests.support.dashboards import PORT, entered, hostile
from tests.support.network import UPGRADE, bearer, send
from tests.support.project import Project
from tests.support.variants import beside


def answers(lab: Project) -> None:
    """A dashboard answers the browser that opened it: HTTP, a form and a websocket."""
    dashboard = entered(lab.client())
    with hostile(lab):
        line, _, length = dashboard.ask("/echo?a=b", method="POST", body=bytes(100_000)).json()
        assert (line, length) == ("POST /echo?a=b HTTP/1.1", 100_000)
        assert dashboard.ask("/ws", *UPGRADE, ("Origin", f"http://{dashboard.host}")).status == 101
    ended = dashboard.ask("/")
    assert (ended.status, b"Start the dashboard" in ended.body) == (502, True)


def test_a_dashboard_answers_the_browser_that_opened_it(lab: Project) -> None:
    answers(lab)


@pytest.mark.full
def test_a_lab_with_a_real_name_needs_a_domain_for_dashboards(lab: Project, tmp_path: Path) -> None:
    names = "lab.example.org *.dashboards.example.net"
    with beside(lab, tmp_path, JUPYTER_HOSTS=names) as twin:
        twin.serve()
        client = twin.client()
        led = send(client, "GET", f"/dashboards/{PORT}", [("Host", "lab.example.org"), bearer(client)])
        assert led.headers["Location"].split("/")[2].endswith(".dashboards.example.net")
        with hostile(twin):
            assert entered(client).ask("/echo").status == 200
    with beside(lab, tmp_path, JUPYTER_HOSTS="lab.example.org") as twin:
        twin.serve()
        client = twin.client()
        refused = send(client, "GET", f"/dashboards/{PORT}", [("Host", "lab.example.org"), bearer(client)])
        assert refused.status == 400 and b"JUPYTER_HOSTS" in refused.body
