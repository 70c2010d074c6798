"""Run in a container for some seconds: `fuzz.py client SECONDS SEED` or `fuzz.py agent SECONDS SEED`.

`client`: in `server`, the agent's client gets random answers. It may raise AgentError or OSError, and nothing else.
`agent`: in `lab`, the agent gets random requests. It has to answer the next question.
Prints the number of executions, and on standard error each failure.
"""

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

sys.path.append("/opt/labdock")
STATE = {
    "born": "x", "kernels": {"a": None, "b": 1}, "terminals": {"1": None}, "own_kernels": ["mine"],
    "memory": {"used": 1, "limit": 2, "ended": 0},
}  # fmt: skip
REQUESTS = [
    {"op": "state"},
    {"op": "start", "id": "0" * 36, "argv": ["true"], "cwd": "/tmp", "env": {}, "connection": {}},
    {"op": "signal", "id": "0" * 36, "signum": 0},
    {"op": "forget", "id": "0" * 36},
    {"op": "terminal", "name": "fuzz", "argv": ["true"], "cwd": "/tmp", "env": {}, "rows": 20, "cols": 80},
    {"op": "resize", "name": "fuzz", "rows": 20, "cols": 80},
    {"op": "hang_up", "name": "fuzz", "signum": 9},
    {"op": "attach", "name": "fuzz"},
    {"op": "connect", "port": 1},
]
ATOMS = [
    None, True, -1, 0, 2**31, 10**400, 1.5, float("nan"), "", "x" * 9999, "\0", "\ud800", "a\nb", "../../x", "/", [],
    {}, ["x"], {"": None}, [["x"]], [None],
]  # fmt: skip


def changed(value: object) -> object:
    """`value` with random changes of its values, keys and types."""
    if random.random() < 0.15:
        return random.choice(ATOMS)
    if isinstance(value, dict):
        return {
            (key if random.random() < 0.95 else "new"): changed(each)
            for key, each in value.items()
            if random.random() < 0.95
        }
    return [changed(each) for each in value] if isinstance(value, list) else value


def noise(value: object) -> bytes:
    """A line of JSON with random changes, and sometimes with random bytes or without its end."""
    line = bytearray(json.dumps(changed(value)).encode() + b"\n")
    for _ in range(random.choice((0, 0, 0, 1, 4))):
        line[random.randrange(len(line))] = random.randrange(256)
    return bytes(line if random.random() < 0.9 else line[: random.randrange(len(line))])


async def client(end: float) -> AsyncIterator[str]:
    os.environ["LAB_MODE"] = "server"
    import agent_client

    agent_client.SOCKETS = Path(tempfile.mkdtemp())

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(noise(random.choice([STATE, {}, {"error": "no"}])) + random.randbytes(random.choice((0, 0, 99))))
        writer.close()

    server = await asyncio.start_unix_server(answer, agent_client.SOCKETS / "agent")
    calls = [
        lambda: agent_client.Lab().state(),
        lambda: agent_client.ask("signal", id="x", signum=2),
        lambda: agent_client.stream("attach", name="x"),
        lambda: agent_client.connect(80),
    ]
    while time.monotonic() < end:
        failure = ""
        try:
            result = await random.choice(calls)()
        except (agent_client.AgentError, OSError):
            pass
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
        else:
            for part in result if isinstance(result, tuple) else (result,):
                getattr(part, "close", lambda: None)()
        yield failure
    server.close()


async def agent(end: float) -> AsyncIterator[str]:
    path = f"/run/kernels/{os.getuid()}/agent"
    while time.monotonic() < end:
        try:
            async with asyncio.timeout(20):
                answers = []
                for request in (noise(random.choice(REQUESTS)), b'{"op": "state"}\n'):
                    reader, writer = await asyncio.open_unix_connection(path)
                    writer.write(request)
                    writer.write_eof()
                    answers.append((request, await reader.read()))
                    writer.close()
            missing = [request for request, answer in answers if not answer]
            yield "" if not missing and "born" in json.loads(answers[1][1]) else f"{missing} {answers[1][1]}"
        except (OSError, ValueError, TimeoutError) as error:
            yield f"{type(error).__name__}: {error}"


async def main() -> None:
    target, seconds, seed = sys.argv[1:]
    random.seed(seed)
    count = 0
    async for failure in {"client": client, "agent": agent}[target](time.monotonic() + float(seconds)):
        count += 1
        if failure:
            print(failure, file=sys.stderr)
    print(count)


asyncio.run(main())
