"""The requests of VS Code's Jupyter extension for an "Existing Jupyter server", as in its source (July 2026).

The extension makes these requests, in this order:

1. If the address has no token, it requests /hub/api. If the answer is JSON with a version, the server is a JupyterHub.
2. It opens / without the token. A redirect to /login? means that a token is needed. It takes the token from the
   address, or asks for a password and logs in: GET /login? returns the XSRF value, and POST /login? sends this value.
3. It lists /api/kernels, /api/kernelspecs and /api/sessions. These requests have the header `Authorization: token …`,
   or the session's cookie and the XSRF value.
4. To start a kernel, it creates a session (POST /api/sessions) for a notebook with a unique name that does not exist on
   the server.
5. It talks to the kernel over a websocket with the subprotocol v1. The token is in the header and in the query. The
   extension is not a browser, so it sends no Origin.
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import uuid4

import requests
import websocket

PROTOCOL = "v1.kernel.websocket.jupyter.org"
Message = dict[str, Any]


@contextmanager
def forwarded(host: str, port: int) -> Iterator[str]:
    """Forward another port of this machine to host:port, as `ssh -L` does. Yields its address."""

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                near, far = listener.accept()[0], socket.create_connection((host, port))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@dataclass
class Client:
    """The extension, connected to `address`, with the `token` in the address or with a typed password."""

    address: str
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request to the REST API. No cookie is kept between requests."""
        response = requests.request(
            method, f"{self.address}/api/{path}", headers={**self.headers, "Content-Type": "application/json"},
            timeout=60, **options,
        )  # fmt: skip
        response.raise_for_status()
        return response

    # --- connecting -------------------------------------------------------------------------------
    def is_hub(self) -> bool:
        answer = requests.get(f"{self.address}/hub/api", timeout=60)
        try:
            return answer.status_code == 200 and bool(answer.json()["version"])
        except (ValueError, KeyError):
            return False

    def needs_password(self) -> bool:
        answer = requests.get(f"{self.address}/", timeout=60)
        return answer.status_code == 200 and bool(answer.history) and "/login?" in answer.url

    def connect(self, password: str = "") -> None:
        """Find out how the server wants the client to log in, and log in. Raises `requests.HTTPError` for a refusal."""
        assert self.token or not self.is_hub()
        assert self.needs_password()
        self.headers = {"Authorization": f"token {self.token}"} if self.token else self.log_in(password)
        for listed in ("kernels", "kernelspecs", "sessions"):
            self.request("GET", listed)

    def log_in(self, password: str) -> dict[str, str]:
        page = f"{self.address}/login?"
        xsrf = requests.get(page, timeout=60, allow_redirects=False).cookies["_xsrf"]
        answer = requests.post(
            page, data={"_xsrf": xsrf, "password": password}, cookies={"_xsrf": xsrf}, timeout=60, allow_redirects=False
        )
        if answer.status_code != 302:
            return {}
        session = answer.raw.headers.getlist("Set-Cookie")[0]  # the first one, with all its attributes
        return {"Cookie": f"_xsrf={xsrf}; {session}", "X-XSRFToken": xsrf}

    # --- a kernel ---------------------------------------------------------------------------------
    @contextmanager
    def kernel(self, notebook: str) -> Iterator["Kernel"]:
        """A kernel for a notebook that exists on the client only. Its session is deleted at the end."""
        name = f"{notebook}-jvsc-{uuid4()}"
        asked = {"path": f"{name}.ipynb", "name": f"{name}.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
        session = self.request("POST", "sessions", json=asked).json()
        query = f"session_id={uuid4()}" + (f"&token={self.token}" if self.token else "")
        url = f"{self.address.replace('http', 'ws', 1)}/api/kernels/{session['kernel']['id']}/channels?{query}"
        channel = websocket.create_connection(
            url, subprotocols=[PROTOCOL], header=self.headers, suppress_origin=True, timeout=60
        )
        try:
            assert channel.getsubprotocol() == PROTOCOL
            yield Kernel(self, session["kernel"]["id"], channel)
        finally:
            channel.close()
            self.request("DELETE", f"sessions/{session['id']}")


@dataclass
class Kernel:
    """A kernel at the other end of a websocket."""

    client: Client
    id: str
    channel: websocket.WebSocket

    def ask(self, kind: str, content: Message) -> Iterator[Message]:
        """Send a request to the shell channel. Yield its messages, until the kernel has answered and is idle."""
        header = {"msg_id": uuid4().hex, "session": uuid4().hex, "username": "", "version": "5.3", "msg_type": kind}
        self.channel.send_binary(packed("shell", {"date": "2026-01-01T00:00:00Z", **header}, content))
        awaited = {"idle", kind.replace("request", "reply")}  # these two messages come over two channels, in any order
        while awaited:
            message = unpacked(self.channel.recv())
            if message["parent_header"].get("msg_id") == header["msg_id"]:
                yield message
                awaited -= {message["header"]["msg_type"], message["content"].get("execution_state")}

    def restart(self) -> None:
        """Restart, and send requests until the new kernel answers. Earlier output of the new kernel is lost."""
        self.client.request("POST", f"kernels/{self.id}/restart")
        self.channel.settimeout(1)
        try:
            for _ in range(60):
                with suppress(websocket.WebSocketTimeoutException):
                    list(self.ask("kernel_info_request", {}))
                    return
            raise TimeoutError("the restarted kernel does not answer")
        finally:
            self.channel.settimeout(60)

    def run(self, code: str) -> str:
        """Run `code` and return its printed text."""
        options = {"silent": False, "store_history": True, "stop_on_error": True, "allow_stdin": True}
        heard = list(self.ask("execute_request", {"code": code, "user_expressions": {}, **options}))
        return "".join(m["content"]["text"] for m in heard if m["header"]["msg_type"] == "stream")


def packed(channel: str, header: Message, content: Message, metadata: Message | None = None) -> bytes:
    """A message of the subprotocol v1. It contains the number of offsets, the offsets (8 bytes each) and the parts."""
    parts = [channel.encode(), *(json.dumps(part).encode() for part in (header, {}, metadata or {}, content))]
    offsets = [8 * (len(parts) + 2)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return b"".join([*(number.to_bytes(8, "little") for number in (len(offsets), *offsets)), *parts])


def unpacked(data: bytes) -> Message:
    """The opposite of `packed`."""
    count = int.from_bytes(data[:8], "little")
    offsets = [int.from_bytes(data[start : start + 8], "little") for start in range(8, 8 * (count + 1), 8)]
    channel, *parts = (data[start:end] for start, end in pairwise(offsets))
    names = ("header", "parent_header", "metadata", "content")  # binary buffers may follow
    return {"channel": channel.decode(), **{name: json.loads(part) for name, part in zip(names, parts, strict=False)}}
