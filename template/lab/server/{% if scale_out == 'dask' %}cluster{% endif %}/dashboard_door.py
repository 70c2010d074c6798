"""The door to the scheduler's dashboard. The dashboard itself has no login and listens on loopback only.

The door accepts TLS connections with a certificate of the project's CA, and passes their bytes on. The lab's server
opens it through the container `lab` (ports.py), for browsers that have logged in.
"""

import asyncio
from contextlib import suppress
from typing import Any

DASHBOARD = 8790
DOOR = 8791


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until one of both sides ends."""
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


async def dask_setup(scheduler: Any) -> None:
    """Open the door. The scheduler calls this when it starts."""

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner = await asyncio.open_connection("127.0.0.1", DASHBOARD)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, inner[1]), copy(inner[0], writer))

    context = scheduler.security.get_listen_args("scheduler")["ssl_context"]  # asks for a certificate of the CA
    scheduler.dashboard_door = await asyncio.start_server(enter, None, DOOR, ssl=context)
