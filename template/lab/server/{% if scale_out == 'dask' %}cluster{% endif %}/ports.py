"""Opens the dashboard of the scheduler for the agent, at a port that no program in the container `lab` has."""

import asyncio
import ssl

FOLDER = "/run/cluster"
DASHBOARD = 8790


async def open_dashboard() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the dashboard. OSError if the scheduler does not answer."""
    context = ssl.create_default_context(cafile=f"{FOLDER}/ca.pem")
    context.check_hostname = False  # the CA of the project signs nothing but certificates of the cluster
    context.load_cert_chain(f"{FOLDER}/tls.pem", f"{FOLDER}/tls.key")
    return await asyncio.open_connection("scheduler", 8791, ssl=context)


PORTS = {DASHBOARD: open_dashboard}
