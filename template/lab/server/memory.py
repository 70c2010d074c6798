"""Tells the user if a notebook kernel ended because the lab's memory was full."""

from pathlib import Path

from jupyter_client.ioloop.restarter import AsyncIOLoopKernelRestarter
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection

CGROUP = Path("/sys/fs/cgroup")  # the container's own cgroup


def limit():
    """Memory limit of the container in bytes, from cgroups v2 or v1. The result is 0 without a limit."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        file = CGROUP / name
        if file.exists() and (text := file.read_text().strip()).isdigit():
            return int(text) if int(text) < 2**60 else 0  # in v1, a huge number means 'no limit'
    return 0


def ended():
    """The number of programs in the container that Linux ended because memory was full."""
    for name in ("memory.events", "memory/memory.oom_control"):
        file = CGROUP / name
        if file.exists():
            return int(dict(line.split() for line in file.read_text().splitlines()).get("oom_kill", 0))
    return 0


def sentence(what):
    """The message that says why Linux ended `what`, and how to prevent this."""
    size = f"{limit() // 2**20}m" if limit() else "without effect on this engine"
    return (
        f"labdock: memory was full, so Linux ended {what}. LAB_MEMORY is {size}. Load less data at once, shut down "
        "notebooks that you do not use, or set LAB_MEMORY to more in .env and run 'make up'."
    )


class Restarter(AsyncIOLoopKernelRestarter):
    """Checks every few seconds whether the kernel still runs.

    Also checks whether Linux ended a program since the previous check.
    """

    told = 0  # the number of ended programs that the log names. All kernels share this number

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.counts = [ended()]

    async def poll(self):
        # A large program needs some time to end. So the kernel may still have been running at the previous check.
        self.counts = [*self.counts[-2:], ended()]
        self.kernel_manager.memory_was_full = self.counts[-1] > self.counts[0]
        await super().poll()
        self.tell("a program")

    def _fire_callbacks(self, event):
        if self.kernel_manager.memory_was_full:
            Restarter.told = 0
            self.tell(f"the notebook kernel {self.kernel_manager.kernel_id}")
        super()._fire_callbacks(event)

    def tell(self, what):
        if self.counts[-1] > Restarter.told:
            Restarter.told = self.counts[-1]
            self.log.warning(sentence(what))


class Connection(ZMQChannelsWebsocketConnection):
    """Writes the sentence below the cell that ran when its kernel ended."""

    cell = None  # the request of this cell

    def _limit_rate(self, channel, msg, msg_list):
        limited = super()._limit_rate(channel, msg, msg_list)
        if channel == "iopub" and self.get_part("header", msg["header"], msg_list)["msg_type"] == "execute_input":
            self.cell = self.get_part("parent_header", msg["parent_header"], msg_list)
        return limited

    def _send_status_message(self, status):
        if self.cell and self.kernel_manager.memory_was_full:
            self.channels["iopub"].flush()  # the cell's own output comes first
            self.write_stderr(sentence("this notebook kernel"), self.cell)
            self.cell = None
        super()._send_status_message(status)
