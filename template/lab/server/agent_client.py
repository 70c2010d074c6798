"""Asks the agent in the container `lab` (agent.py) to run notebook kernels and terminals.

Every program in `lab` can take the agent's place. So each answer is limited in size and time, and the type of each
value is checked. No call blocks the server.
"""

import asyncio
import errno
import json
import os
import re
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

APART = os.environ["LAB_MODE"] == "server"  # notebooks run in the container `lab`, not next to the server
SOCKETS = Path(f"/run/kernels/{os.getuid()}")  # the server can only read this volume
TIMEOUT = 5  # seconds for one answer
LINE = 1 << 16  # bytes of the longest answer
UNREACHABLE = 60  # seconds for which a kernel counts as running while the agent does not answer


class AgentError(Exception):
    """The agent did not do the operation. The text says why, and what to do. It is printable ASCII in one line."""

    def __init__(self, text):
        super().__init__(re.sub("[^ -~]", "?", text[:1000]))


@dataclass
class State:
    """What runs in `lab`. A code of None means that the program runs."""

    born: str = ""  # another value means that the container has restarted
    kernels: dict[str, int | None] = field(default_factory=dict)
    terminals: dict[str, int | None] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=lambda: {"used": 0, "limit": 0, "ended": 0})
    own_kernels: list[str] = field(default_factory=list)

    @classmethod
    def parse(cls, answer):
        """Raises AgentError if a value has the wrong type."""
        state = cls(**{name: answer.get(name) for name in cls.__dataclass_fields__})
        memory = state.memory if isinstance(state.memory, dict) else {}
        if not (
            isinstance(state.born, str)
            and codes(state.kernels)
            and codes(state.terminals)
            and all(type(memory.get(name)) is int for name in ("used", "limit", "ended"))
            and isinstance(state.own_kernels, list)
            and all(isinstance(name, str) for name in state.own_kernels)
        ):
            raise AgentError(wrong(answer))
        return state


def codes(value):
    """Is `value` a dict from names to exit codes or None?"""
    return isinstance(value, dict) and all(code is None or type(code) is int for code in value.values())


def wrong(answer):
    return (
        f"the container lab gave an answer that the server does not understand ({str(answer)[:100]!r}). A program in "
        "it may have taken the agent's place, or the two containers have different images. Run 'docker compose up "
        "--detach --force-recreate lab', which ends all notebooks and terminals."
    )


async def ask(operation, **values):
    """Ask the agent, and return its answer, a dict. Raises AgentError."""
    _, writer, answer = await request(operation, values)
    writer.close()
    return answer


async def stream(operation, **values):
    """Ask for an operation that carries bytes. Returns an asyncio reader and writer. Raises AgentError."""
    reader, writer, _ = await request(operation, values)
    return reader, writer


async def connect(port):
    """A socket that leads to a TCP port of `lab`. It does not block. Raises OSError."""
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(TIMEOUT):
            await loop.sock_connect(connection, str(SOCKETS / "agent"))
            await loop.sock_sendall(connection, json.dumps({"op": "connect", "port": port}).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n") and len(answer) < LINE and (byte := await loop.sock_recv(connection, 1)):
                answer += byte  # one at a time, because the bytes after this line belong to the port
        if answer != b"{}\n":
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except BaseException:
        connection.close()
        raise
    return connection


async def request(operation, values):
    writer = None
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(SOCKETS / "agent", limit=LINE)
            writer.write(json.dumps({"op": operation, **values}).encode() + b"\n")
            await writer.drain()
            answer = json.loads(await reader.readline())
        if error := answer.get("error"):
            raise AgentError(str(error))
        if answer and operation != "state":  # only this operation has results
            raise ValueError(answer)
    except TimeoutError as error:
        close(writer)
        raise AgentError(
            "the container lab does not answer. Wait until its programs need less CPU time, or run 'docker compose "
            "restart lab', which ends all notebooks and terminals."
        ) from error
    except OSError as error:
        close(writer)
        raise AgentError("the container lab does not run. Run 'make up' to start it.") from error
    except (ValueError, AttributeError, RecursionError) as error:  # no JSON, or no object
        close(writer)
        raise AgentError(wrong(error)) from error
    except BaseException:
        close(writer)
        raise
    return reader, writer, answer


def close(writer):
    if writer:
        writer.transport.abort()


class Lab:
    """The newest State, which all kernels share, so that they do not ask one by one."""

    def __init__(self):
        self.newest = State()
        self.seen = 0.0  # when `newest` was asked for, by time.monotonic()
        self.asked = 0.0  # when the agent was asked last
        self.failure = None  # the AgentError of that time
        self.asking = asyncio.Lock()

    async def state(self, since=None):
        """A State that was asked for at or after `since` (default: a second ago). Raises AgentError."""
        since = time.monotonic() - 1 if since is None else since
        async with self.asking:
            if self.asked < since:
                self.asked = time.monotonic()
                try:
                    self.newest, self.seen, self.failure = State.parse(await ask("state")), self.asked, None
                except AgentError as error:
                    self.failure = error
        if self.failure:
            raise self.failure
        return self.newest


LAB = Lab()
