"""Run in the container `lab`: takes the agent's place and answers in a bad way. `hostile_agent.py BEHAVIOUR [SEED]`.

Prints "ready" when the server's next question comes here. Ends when it gets a SIGTERM, and puts the agent back.
"""

import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

AGENT = Path(f"/run/kernels/{os.getuid()}/agent")
STATE = {
    "born": "x",
    "kernels": {},
    "terminals": {},
    "memory": {"used": 1, "limit": 2, "ended": 0},
    "own_kernels": [],
}


def line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def endless(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 65536)


def slow(connection: socket.socket) -> None:
    for byte in line(STATE) * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(1)


def wrong_types(connection: socket.socket) -> None:
    values = [None, True, 1, -1.5, "x" * 9999, [], {}, [[]], {"": None}]
    connection.sendall(line({name: random.choice(values) for name in STATE}))


def noise(connection: socket.socket) -> None:
    """Bytes that look like an answer, damaged at a random place."""
    answer = bytearray(line(random.choice([STATE, {"error": "x" * 999}, [STATE], "x", {"pid": 10**400}])))
    for _ in range(random.randrange(4)):
        answer[random.randrange(len(answer))] = random.randrange(256)
    connection.sendall(bytes(answer[: random.randrange(len(answer) + 1)]))


BEHAVIOURS: dict[str, Callable[[socket.socket], object]] = {
    "silent": lambda connection: time.sleep(1000),
    "endless": endless,
    "slow": slow,
    "nested": lambda connection: connection.sendall(b"[" * 60_000 + b"\n"),
    "long": lambda connection: connection.sendall(line({"error": "x" * 10_000_000})),
    "wrong types": wrong_types,
    "half": lambda connection: connection.sendall(line(STATE)[:20]),
    "closed": lambda connection: None,
    "nothing runs": lambda connection: connection.sendall(line(STATE)),
    "thousands of kernels": lambda connection: connection.sendall(
        line(STATE | {"kernels": {f"{number:036x}": None for number in range(1000)}})
    ),
    "error": lambda connection: connection.sendall(line({"error": {"nested": ["x"]}})),
    "noise": noise,
    "never accepts": lambda connection: None,
}
FAST = (
    "nested",
    "long",
    "wrong types",
    "half",
    "closed",
    "nothing runs",
    "thousands of kernels",
    "error",
    "noise",
    "noise",
)
BEHAVIOURS["anything"] = lambda connection: BEHAVIOURS[random.choice(FAST)](connection)


def answer(behaviour: str, connection: socket.socket) -> None:
    with connection:
        try:
            if behaviour != "closed":
                connection.recv(1 << 16)
            BEHAVIOURS[behaviour](connection)
        except OSError:
            pass  # the server closed the connection


def main() -> None:
    behaviour, *seed = sys.argv[1:]
    random.seed(seed[0] if seed else 0)
    true_agent = AGENT.with_name("true-agent")
    AGENT.rename(true_agent)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(AGENT))
    listener.listen(0 if behaviour == "never accepts" else 128)

    def restore(*_: object) -> None:
        true_agent.replace(AGENT)
        os._exit(0)

    signal.signal(signal.SIGTERM, restore)
    print("ready", flush=True)
    if behaviour == "never accepts":
        signal.pause()
    while True:
        threading.Thread(target=answer, args=(behaviour, listener.accept()[0]), daemon=True).start()


main()
