"""Run in a notebook: takes the place of the kernel's output socket, and sends large messages to the server.

`flood(kind)` sends messages until the notebook kernel ends. data/flood contains how many the server has taken.
"""

import json
from pathlib import Path

import zmq
from ipykernel import get_connection_file
from jupyter_client.session import Session

SIZE = 100_000_000
COUNT = Path.home() / "data/flood"


def parts(session: Session, kind: str, number: int) -> list[bytes]:
    """A signed message whose output or header is large."""
    if kind == "outputs":
        content = {"data": {"text/plain": "x" * SIZE}, "metadata": {"number": number}}
        return session.serialize(session.msg("display_data", content=content))
    message = session.serialize(session.msg("display_data", content={"data": {}, "metadata": {"number": number}}))
    message[2] = message[2][:-1] + b',"more":[' + b"[]," * (SIZE // 3) + b"[]]}"
    message[1] = session.sign(message[2:])
    return message


def flood(kind: str) -> None:
    connection = json.loads(Path(get_connection_file()).read_text())
    session = Session(key=connection["key"].encode(), signature_scheme=connection["signature_scheme"])
    thread = get_ipython().kernel.iopub_thread  # noqa: F821 (given by IPython)
    thread.stop()
    thread.socket.close(0)
    path = Path(f"{connection['ip']}-{connection['iopub_port']}")
    path.unlink(missing_ok=True)
    with zmq.Context() as context, context.socket(zmq.XPUB) as output:
        output.setsockopt(zmq.XPUB_NODROP, 1)  # wait for the server
        output.sndhwm = 1
        output.bind(f"ipc://{path}")
        output.recv()  # the server has connected
        for number in range(10**9):
            output.send_multipart([b"flood", *parts(session, kind, number)])
            COUNT.write_text(str(number))
