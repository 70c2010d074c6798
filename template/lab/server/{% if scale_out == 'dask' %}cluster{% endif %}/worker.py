"""A worker of the Dask cluster: compares its packages with those of the scheduler, joins, and leaves without data loss.

Variables: LAB_WORKER_SCHEDULER is the scheduler's address. LAB_WORKER_CONTACT is the address at which other machines
reach this worker, such as tls://machine:8801, or empty on the scheduler's own machine. LAB_WORKER_MEMORY is the memory
limit of the container, such as 2g.
"""

import asyncio
import importlib.metadata
import os
import platform
import re
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from distributed import Client, Worker
from distributed.comm import get_address_host_port
from distributed.diskutils import WorkSpace

JOINED = Path("/run/lab/joined")  # for the health check
SHOWN = 5  # packages in the message about different packages


class Refused(Exception):
    """A sentence with the problem and its fix."""


class QuickWorker(Worker):
    """Does not wait for running tasks when it ends. The scheduler gives these tasks to other workers."""

    async def close(self, *arguments: Any, **options: Any) -> Any:
        return await super().close(*arguments, **{**options, "executor_wait": False})


def installed() -> dict[str, str]:
    """The versions of Python and of each package. The scheduler runs this function too."""
    found = {"Python": platform.python_version()}
    for each in importlib.metadata.distributions():
        found[re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower()] = each.version
    return found


def difference(here: dict[str, str], there: dict[str, str]) -> str | None:
    """A sentence that names the different packages, or None."""
    names = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    if not names:
        return None
    versions = [(name, here.get(name, "missing"), there.get(name, "missing")) for name in names[:SHOWN]]
    shown = ", ".join(f"{name} is {own} here and {other} there" for name, own, other in versions)
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (
        f"this worker's packages differ from those of the scheduler: {shown}{more}. Copy Dockerfile, requirements.lock "
        "and lab/ from the scheduler's machine, then join again. For a Swarm, give the lab's image to its machines."
    )


def memory_limit(size: str) -> int:
    """Bytes of a size in Docker's form, such as 2g. One sixteenth is left for the program itself."""
    number, unit = int(size[:-1]), size[-1].lower()
    return number * 1024 ** " kmg".index(unit) * 15 // 16


def client(scheduler: str) -> Client:
    return Client(scheduler, asynchronous=True, timeout=30, set_as_default=False)


async def compare(scheduler: str) -> str | None:
    """Compare this worker's packages with those of the scheduler."""
    async with client(scheduler) as asking:
        return difference(installed(), await asking.run_on_scheduler(installed))


def explain(error: BaseException, scheduler: str) -> str:
    """A sentence that says why there is no connection to the scheduler."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following and following not in chain:
        chain.append(following)
        following = following.__cause__ or following.__context__
    said = " ".join(f"{type(each).__name__} {each}" for each in chain).upper().replace(" ", "_")
    copy = "Copy the folder secrets/cluster/worker from the scheduler's machine, then join again."
    if "CERTIFICATE_HAS_EXPIRED" in said:
        return f"the certificate of the scheduler {scheduler} has expired. Run 'make certs' on its machine."
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return f"the scheduler {scheduler} has a certificate of another certificate authority (CA). {copy}"
    if "ALERT" in said:
        return f"the scheduler {scheduler} refuses the certificate secrets/cluster/worker/tls.pem. {copy}"
    if "SSLERROR" in said or "SSL:" in said:
        return f"{scheduler} answers without TLS, so it is not the scheduler. Check SCHEDULER."
    return (
        f"the scheduler {scheduler} does not answer ({chain[-1] or chain[0]}). Check SCHEDULER and the firewall. On "
        "the scheduler's machine, the lab must run with LAB_SCHEDULER_BIND in .env."
    )


async def retire(scheduler: str, address: str) -> bool:
    """Ask the scheduler to let other workers take the results of this one. False if they could not."""
    what = {"close_workers": False, "remove": True, "stimulus_id": "labdock-leave"}
    try:
        # A worker that the scheduler has removed may close its own connections before it has this answer.
        async with client(scheduler) as asking:
            return address in await asking.retire_workers([address], **what)
    except (OSError, TimeoutError):  # the scheduler does not answer
        return False


async def hand_over(worker: Worker, scheduler: str) -> bool:
    """Let other workers take the results of this one. False if they could not, or if there is no scheduler."""
    asking, ended = asyncio.ensure_future(retire(scheduler, worker.address)), asyncio.ensure_future(worker.finished())
    await asyncio.wait({asking, ended}, return_when=asyncio.FIRST_COMPLETED)
    # A worker that has ended was removed by the scheduler, which then has an answer, or the scheduler has ended too.
    await asyncio.wait({asking}, timeout=1)
    return asking.done() and asking.result()


async def unreachable(scheduler: str, contact: str) -> str | None:
    """Does the scheduler reach this worker? It does if CONTACT and the firewall are right. Otherwise, a sentence."""
    try:
        async with client(scheduler) as asking:
            await asyncio.wait_for(asking.run(os.getpid, workers=[contact]), 60)  # Dask tries for 30 s
    except (OSError, TimeoutError) as error:
        return (
            f"the scheduler does not reach this worker at {contact} ({error}). Set CONTACT to the address at which "
            "other machines reach this one, and open the port in the firewall."
        )
    return None


async def work(scheduler: str, contact: str) -> None:
    """Join the cluster, and work until a signal or the end of the scheduler."""
    space = WorkSpace(os.environ["LAB_WORKER_SCRATCH"]).new_work_dir(prefix="worker-")
    os.environ["TMPDIR"] = os.environ["JOBLIB_TEMP_FOLDER"] = tempfile.tempdir = space.dir_path
    port = get_address_host_port(contact)[1] if contact else 0
    worker = QuickWorker(
        scheduler,
        protocol="tls",
        host=f"tls://0.0.0.0:{port}" if contact else None,
        contact_address=contact or None,
        name=contact or socket.gethostname(),
        nthreads=int(os.environ["LAB_WORKER_THREADS"]),
        memory_limit=memory_limit(os.environ["LAB_WORKER_MEMORY"]),
        local_directory=space.dir_path,
        dashboard_address="127.0.0.1:0",  # its pages have no login
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await worker
    except (OSError, RuntimeError, ValueError) as error:
        raise Refused(
            f"the scheduler {scheduler} did not accept this worker ({error.__cause__ or error}). If another worker has "
            "its address, set CONTACT or PORT to another one."
        ) from error
    if contact and (problem := await unreachable(scheduler, contact)):
        await worker.close()
        raise Refused(problem)
    JOINED.touch()
    waiting = {asyncio.ensure_future(each) for each in (stop.wait(), worker.finished())}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    kept = not stop.is_set() or await hand_over(worker, scheduler)
    await worker.close()
    space.release()
    if not kept:
        print(
            f"note: no other worker could take the results of {worker.address}. Dask computes them again when they are "
            "needed. Data from client.scatter() is lost.",
            file=sys.stderr,
        )


async def joined() -> int:
    """The exit status. If the packages differ, it waits until a person stops it."""
    scheduler, contact = os.environ["LAB_WORKER_SCHEDULER"], os.environ.get("LAB_WORKER_CONTACT", "")
    try:
        problem = await compare(scheduler)
    except (OSError, TimeoutError) as error:
        # On the scheduler's own machine, both start at the same time, so this is no reason for `make up` to print.
        print("labdock:" if contact else "waiting:", explain(error, scheduler), file=sys.stderr)
        return 1  # the engine starts this program again
    if problem:
        print(f"labdock: {problem}", file=sys.stderr)
        signal.pause()  # if this program ended, the engine would start it again and again
    try:
        await work(scheduler, contact)
    except Refused as refused:
        print(f"labdock: {refused}", file=sys.stderr)
        return 1
    return 0


async def main() -> NoReturn:
    status = await joined()
    sys.stderr.flush()
    os._exit(status)  # `sys.exit` would wait for running tasks, and `asyncio.run` for connections of Dask


if __name__ == "__main__":
    asyncio.run(main())
