"""A notebook sends large messages without an end, to fill the server's memory."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests
import websocket

from tests.support.project import Project
from tests.support.server_probes import running_kernel
from tests.support.variants import beside, with_server
from tests.support.waiting import until
from tools.notebook import LabClient

PROGRAM = Path(__file__).with_name("flood.py").read_text(encoding="utf-8")
MESSAGES = "messages.py"
# What the control takes away.
LIMITS = {
    "outputs": ("zmq.RCVHWM, QUEUED", "zmq.RCVHWM, 1000"),
    "a header with many values": ("len(part) > UNPACKED and", "False and"),
    "outputs for a page that lost its connection": ("self.size > LARGEST", "False"),
    "outputs for a page that does not read": ("self.waiting < LARGEST", "True"),
}
COMMON = {"a header with many values"}


@contextmanager
def page(lab: LabClient, code: str) -> Iterator[websocket.WebSocket]:
    """A page that starts a notebook and runs `code` in it, and reads no messages."""
    with running_kernel(lab) as kernel:
        url = f"{lab.address.replace('http', 'ws', 1)}/api/kernels/{kernel}/channels?session_id=page&token={lab.token}"
        connection = websocket.create_connection(url, timeout=60, origin=lab.address)
        header = {"msg_id": "1", "msg_type": "execute_request", "username": "", "session": "page", "version": "5.3"}
        message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": {"code": code}}
        connection.send(json.dumps(message))
        yield connection
        connection.close()


@pytest.mark.full
@pytest.mark.attack(
    "Send 5 GB of messages from a notebook that are almost too large: outputs, or headers with many values",
    "The server reads few at a time, and leaves out what no page takes. It keeps running and answers.",
)
@pytest.mark.parametrize(
    "limited", [True, pytest.param(False, marks=pytest.mark.nightly)], ids=["as delivered", "the control: no limit"]
)
@pytest.mark.parametrize(
    "kind", [kind if kind in COMMON else pytest.param(kind, marks=pytest.mark.nightly) for kind in LIMITS]
)
def test_a_flood_of_messages_does_not_stop_the_server(lab: Project, tmp_path: Path, kind: str, limited: bool) -> None:
    source = lab.read(f"lab/server/{MESSAGES}")
    assert LIMITS[kind][0] in source
    layer = with_server(lab, tmp_path, MESSAGES, source if limited else source.replace(*LIMITS[kind]))
    sent = lab.folder / "data/flood"
    sent.unlink(missing_ok=True)
    with beside(lab, tmp_path, layer) as twin:
        twin.serve()

        def restarted() -> bool:
            return twin.container("server")["RestartCount"] > 0

        with (
            suppress(requests.RequestException),
            page(twin.client(), f"{PROGRAM}\nflood({kind.split()[0]!r})") as open_page,
        ):
            until(sent.exists, "the flood begins")
            if "does not read" not in kind:
                open_page.close()
            if limited:
                until(lambda: sent.exists() and int(sent.read_text() or 0) > 50, "the messages are sent", 240)
                assert twin.client().request("GET", "status").status_code == 200
            else:
                until(restarted, "the server restarts", 240)
            assert restarted() is not limited
        if limited:
            assert twin.client().run("print(1)") == "1\n"
    sent.unlink(missing_ok=True)
