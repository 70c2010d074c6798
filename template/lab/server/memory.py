"""Tells the user why a notebook kernel ended: memory was full, or the container `lab` restarted."""

import asyncio
from contextlib import suppress

import cgroup
from agent_client import APART, LAB, AgentError, State
from jupyter_client.ioloop.restarter import AsyncIOLoopKernelRestarter
from jupyter_resource_usage.api import ApiHandler
from kept_output import Recorded
from tornado import web


async def state():
    """The State of the kernels' container. If its agent does not answer, this is the last answer."""
    if APART:
        with suppress(AgentError):
            await LAB.state()
    return newest()


def newest():
    """The newest State of the kernels' container that the server knows."""
    return LAB.newest if APART else State(memory=cgroup.memory())


def memory_was_full(limit, what):
    """The message that says why Linux ended `what`, and how to prevent this."""
    size = f"{limit // 2**20}m" if limit else "without effect on this engine"
    return (
        f"labdock: memory was full, so Linux ended {what}. LAB_MEMORY is {size}. Load less data at once, shut down "
        "notebooks that you do not use, or set LAB_MEMORY to more in .env and run 'make up'."
    )


class Restarter(AsyncIOLoopKernelRestarter):
    """Checks every few seconds whether the kernel still runs.

    Also checks whether Linux ended a program since the previous check, and whether `lab` has restarted.
    """

    told = 0  # the number of ended programs that the log names. All kernels share this number

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.counts = []
        self.born = None
        self.limit = 0

    def start(self):
        super().start()
        # The first check comes after seconds. By then, the kernel may have ended.
        self.looking = asyncio.ensure_future(self.look())

    async def poll(self):
        await self.look()
        await super().poll()
        self.tell("a program")

    async def look(self):
        self.note(await state())

    def note(self, found):
        """Note how many programs Linux has ended, and why a kernel that ends now ends."""
        self.limit = found.memory["limit"]
        if self.born != found.born:  # the first check, or `lab` has restarted and counts from 0
            self.counts, Restarter.told = [], min(Restarter.told, found.memory["ended"])
        # A large program needs seconds to end, so the kernel may still have been running at the checks before.
        self.counts = [*(self.counts or [found.memory["ended"]])[-9:], found.memory["ended"]]
        if self.counts[-1] > self.counts[0]:
            self.kernel_manager.why = memory_was_full(self.limit, "this notebook kernel")
        elif self.born not in (None, found.born):
            self.kernel_manager.why = "labdock: the container lab was restarted, so this notebook kernel ended."
        else:
            self.kernel_manager.why = ""
        self.born = found.born

    def _fire_callbacks(self, event):
        if (found := newest()).memory["ended"] > self.counts[-1]:  # memory was full after the check began
            self.note(found)
        if self.counts[-1] > self.counts[0]:
            Restarter.told = self.counts[0]
            self.tell(f"the notebook kernel {self.kernel_manager.kernel_id}")
        super()._fire_callbacks(event)

    def tell(self, what):
        if self.counts[-1] > Restarter.told:
            Restarter.told = self.counts[-1]
            self.log.warning(memory_was_full(self.limit, what))


class Connection(Recorded):
    """Writes the message below the cell that ran when its kernel ended."""

    cell = None  # the request of this cell

    def _limit_rate(self, channel, msg, msg_list):
        limited = super()._limit_rate(channel, msg, msg_list)
        if channel == "iopub" and self.get_part("header", msg["header"], msg_list)["msg_type"] == "execute_input":
            self.cell = self.get_part("parent_header", msg["parent_header"], msg_list)
        return limited

    def _send_status_message(self, status):
        if self.cell and self.kernel_manager.why:
            self.channels["iopub"].flush()  # the cell's own output comes first
            self.write_stderr(self.kernel_manager.why, self.cell)
            self.cell = None
        super()._send_status_message(status)


@web.authenticated
async def show_usage(handler):
    """What the status bar shows: the memory of all notebooks and terminals. Warns at 90 % of the limit."""
    memory = (await state()).memory
    used, limit = memory["used"], memory["limit"]
    shown = {"rss": limit, "pss": limit, "warn": 0 < limit < used / 0.9}
    handler.finish({"rss": used, "pss": used, "limits": {"memory": shown}})


ApiHandler.get = show_usage  # Jupyter's function counts only processes of the server's container
