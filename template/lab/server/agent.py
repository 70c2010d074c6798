"""Runs notebook kernels and terminals in the container `lab`, for the server in the container `server`.

The server connects to a Unix socket and sends one line of JSON, such as {"op": "signal", "id": "...", "signum": 2}.
The agent answers with one line, which contains the results, or "error". After `attach` and `connect`, the connection
carries the bytes of a terminal or of a TCP port. A kernel can do everything that this program can do, so the server
trusts no answer (agent_client.py).
"""

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import re
import runpy
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections import deque
from pathlib import Path

sys.path.append("/opt/labdock")
import cgroup

SOCKETS = Path(f"/run/kernels/{os.getuid()}")  # on the volume that `lab` and `server` share
AGENT = SOCKETS / "agent"
CONNECTIONS = Path("/run/lab")  # connection files of kernels. They are not on the volume
LINE = 1 << 20  # bytes of the longest request
HISTORY = 256  # the pieces of output, of at most 4096 bytes, that a terminal keeps for the next page
GRACE = 4  # seconds that kernels have to end when the container stops
# What a request with values of the wrong type or size can raise.
WRONG = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, OSError, MemoryError)
WRONG += (struct.error, termios.error, subprocess.SubprocessError)
ID = re.compile(r"[0-9a-f-]{36}")
# Some answers to Copier's questions add a dashboard in another container. Port -> the function that connects to it.
PORTS = {}
for part in Path("/opt/labdock").glob("*/ports.py"):
    PORTS |= runpy.run_path(str(part))["PORTS"]
NAME = re.compile(r"\w{1,64}")


class Refused(Exception):
    """A request that cannot be done. The text is for the user."""


class Program:
    """A kernel or the shell of a terminal, which leads a process group."""

    process: asyncio.subprocess.Process

    async def start(self, argv, cwd, env, **options):
        """Start `argv` in `cwd`, or in the nearest parent of `cwd` that can be entered."""
        folder = Path(cwd)
        while not os.access(f"{folder}/", os.X_OK):
            folder = folder.parent
        try:
            self.process = await asyncio.create_subprocess_exec(
                *argv, cwd=folder, env=os.environ | env, start_new_session=True, **options
            )
        except OSError as error:
            raise Refused(
                f"{argv[0]} cannot be started: {error.strerror}. Run 'make test' to check the image."
            ) from error

    def signal(self, signum):
        """Send a signal to the process group. A group that has ended gets none."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signum)


class Kernel(Program):
    """A notebook kernel, with its connection file and its folder of sockets."""

    def __init__(self, identity):
        self.file = CONNECTIONS / f"kernel-{identity}.json"
        self.folder = SOCKETS / identity

    async def run(self, argv, cwd, env, connection):
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.file.touch(mode=0o600)
        self.file.write_text(json.dumps(connection))
        await self.start(argv, cwd, env, stdin=subprocess.DEVNULL)

    def remove(self):
        self.file.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


class Terminal(Program):
    """A shell on a pseudo-terminal. Its programs go on while no page is open."""

    def __init__(self):
        self.history = deque(maxlen=HISTORY)
        self.viewers = set()  # the writers of the attached connections
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        self.writable = asyncio.Lock()

    async def run(self, argv, cwd, env, rows, cols):
        def become_controlling_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        ends = {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave}
        try:
            self.resize(rows, cols)
            await self.start(argv, cwd, env, preexec_fn=become_controlling_terminal, **ends)
        except BaseException:
            os.close(self.master)
            raise
        finally:
            os.close(self.slave)
        self.reading = asyncio.create_task(self.read())

    def resize(self, rows, cols):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    async def read(self):
        """Send the output to every viewer. At the end, close their connections."""
        with contextlib.suppress(OSError):  # the last process of the terminal has ended
            while data := await ready(self.master, os.read, 4096):
                self.history.append(data)
                for viewer in list(self.viewers):
                    with contextlib.suppress(ConnectionError):
                        viewer.write(data)
                        await viewer.drain()
        for viewer in self.viewers:
            viewer.close()

    async def attach(self, reader, writer):
        """Carry the terminal's bytes until the viewer or the terminal ends."""
        writer.write(b"".join(self.history))
        self.viewers.add(writer)
        try:
            while not self.reading.done() and (data := await reader.read(65536)):
                async with self.writable:
                    while data:
                        data = data[await ready(self.master, os.write, data) :]
        finally:
            self.viewers.discard(writer)


async def ready(descriptor, call, argument):
    """Call `call(descriptor, argument)` as soon as this does not block, and return the result. Raises OSError."""
    loop = asyncio.get_running_loop()
    watch, unwatch = (loop.add_reader, loop.remove_reader) if call is os.read else (loop.add_writer, loop.remove_writer)
    while True:
        try:
            return call(descriptor, argument)
        except BlockingIOError:
            event = loop.create_future()
            watch(descriptor, lambda event=event: event.done() or event.set_result(None))
            try:
                await event
            finally:
                unwatch(descriptor)


class Agent:
    """Answers the server's requests. Each method named `do_...` does one operation and returns the results."""

    def __init__(self):
        self.born = os.urandom(8).hex()  # another value means that the container has restarted
        self.kernels = {}
        self.terminals = {}

    async def do_state(self):
        """Exit codes of kernels and terminals (None: it runs), the container's memory, and kernels in home."""
        return {
            "born": self.born,
            "kernels": {name: kernel.process.returncode for name, kernel in self.kernels.items()},
            "terminals": {name: terminal.process.returncode for name, terminal in self.terminals.items()},
            "memory": cgroup.memory(),
            "own_kernels": own_kernels()[:100],
        }

    async def do_start(self, id, argv, cwd, env, connection):
        if not ID.fullmatch(id):
            raise ValueError(id)
        if id in self.kernels and self.kernels[id].process.returncode is None:
            raise ValueError(id)
        kernel = Kernel(id)
        try:
            await kernel.run(argv, cwd, env, connection)
        except OSError as error:
            raise Refused(full(error)) from error
        self.kernels[id] = kernel

    async def do_signal(self, id, signum):
        if id in self.kernels:
            self.kernels[id].signal(signum)

    async def do_forget(self, id):
        """End a kernel, and remove its files."""
        if kernel := self.kernels.pop(id, None):
            kernel.signal(signal.SIGKILL)
            kernel.remove()

    async def do_terminal(self, name, argv, cwd, env, rows, cols):
        if not NAME.fullmatch(name) or name in self.terminals:
            raise ValueError(name)
        terminal = Terminal()
        await terminal.run(argv, cwd, env, rows, cols)
        self.terminals[name] = terminal

    async def do_resize(self, name, rows, cols):
        self.terminals[name].resize(rows, cols)

    async def do_hang_up(self, name, signum):
        """Send a signal to a terminal. SIGKILL also removes the terminal, and every program on it gets a SIGHUP."""
        terminal = self.terminals[name]
        terminal.signal(signum)
        if signum == signal.SIGKILL:
            self.terminals.pop(name)
            terminal.reading.cancel()
            await asyncio.wait([terminal.reading])
            os.close(terminal.master)
            for viewer in terminal.viewers:
                viewer.close()

    async def do_attach(self, name):
        return self.terminals[name].attach

    async def do_connect(self, port):
        """Connect to a TCP port of this container, or to the port in PORTS of another one."""
        try:
            reader, writer = await (PORTS[port]() if port in PORTS else asyncio.open_connection("127.0.0.1", port))
        except OSError as error:
            raise Refused(
                f"nothing answers on port {port} of the container lab. Start a program that listens there."
            ) from error

        async def relay(server_reader, server_writer):
            await asyncio.gather(copy(server_reader, writer), copy(reader, server_writer))
            writer.close()

        return relay

    async def serve(self, reader, writer):
        """Answer one connection."""
        carry = None
        try:
            async with asyncio.timeout(5):
                request = json.loads(await reader.readline())
            operation = getattr(self, f"do_{request.pop('op')}")
            answer = await operation(**request)
            if callable(answer):
                carry, answer = answer, {}
        except Refused as refused:
            answer = {"error": str(refused)}
        except TimeoutError:
            answer = {"error": "no request came."}
        except WRONG as error:
            answer = {"error": f"the request cannot be done: {type(error).__name__}: {error}"[:500]}
        with contextlib.suppress(OSError):
            writer.write(json.dumps(answer or {}).encode() + b"\n")
            await writer.drain()
            if carry:
                await carry(reader, writer)
        writer.close()

    async def stop(self):
        """Ask every kernel to end, as Jupyter does. After GRACE seconds, end them all."""
        from jupyter_client import BlockingKernelClient  # this takes half a second, and no other operation needs it

        running = [kernel for kernel in self.kernels.values() if kernel.process.returncode is None]
        for kernel in running:
            with contextlib.suppress(Exception):  # the file of a hostile kernel can contain anything
                client = BlockingKernelClient(connection_file=str(kernel.file))
                client.load_connection_file()
                client.control_channel.send(client.session.msg("shutdown_request", {"restart": False}))
        for terminal in self.terminals.values():
            terminal.signal(signal.SIGHUP)
        if running:
            await asyncio.wait([asyncio.create_task(k.process.wait()) for k in running], timeout=GRACE)
        for program in (*running, *self.terminals.values()):
            program.signal(signal.SIGKILL)


def own_kernels():
    """The names of the kernels that a program installed in home."""
    return [path.parent.name for path in Path.home().glob(".local/share/jupyter/kernels/*/kernel.json")]


async def copy(reader, writer):
    """Copy bytes until the end. Then the other side can still send."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


def full(error):
    """The message for an OSError of the volume or of /run/lab."""
    if error.errno == errno.ENOSPC:
        return (
            "the folder /run/kernels or /run/lab of the container lab is full, so no notebook can start. Shut down "
            "notebooks, or run 'docker compose restart lab', which ends all notebooks and terminals."
        )
    return f"{error.filename} cannot be written: {error.strerror}. Run 'docker compose restart lab'."


def clean(folder):
    """Empty the folder of sockets, which may contain files of an earlier start."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


async def main():
    clean(SOCKETS)
    agent = Agent()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    server = await asyncio.start_unix_server(agent.serve, AGENT, limit=LINE, backlog=1024)
    AGENT.chmod(0o600)
    print("The lab runs notebooks and terminals.", flush=True)
    await stopped.wait()
    server.close()
    await agent.stop()
    os._exit(0)  # open connections do not delay the end


if __name__ == "__main__":
    asyncio.run(main())
