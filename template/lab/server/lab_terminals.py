"""Opens terminals in the container `lab`. They go on when the server restarts."""

import asyncio
import codecs
import os
import signal
from collections import deque
from contextlib import suppress
from pathlib import PurePosixPath

from agent_client import LAB, AgentError, ask, stream
from jupyter_server._tz import utcnow
from jupyter_server_terminals import api_handlers
from jupyter_server_terminals.terminalmanager import TerminalManager
from tornado.concurrent import dummy_executor

MOST = 100  # terminals. Each needs a connection
PIECE, PIECES = 8192, 128  # bytes that are read at once, and how many pieces the next page gets
SLOW = 10  # seconds to wait for a browser that does not read
WAITING = 1 << 20  # bytes that wait until a program reads them. Then the terminal takes no more input


class Folder(PurePosixPath):
    """The folder of a new terminal. Only the agent looks at it, because Jupyter would follow links in the server."""

    def resolve(self):
        return self

    def exists(self):
        return True


api_handlers.Path = Folder


class LabTerminal:
    """One terminal, with what terminado expects of its PtyWithClients and of the process in it.

    The shell starts in the background, so that a slow agent does not block the server.
    """

    def __init__(self, name):
        self.term_name = name
        self.last_activity = utcnow()
        self.clients = []
        self.read_buffer = deque(maxlen=PIECES)
        self.ptyproc = self  # terminado calls `ptyproc.write`
        self.writer = None
        self.early = []  # what the page sent before the shell started
        self.size = None

    async def run(self, argv=None, cwd=None, env=None):
        """Start a shell, or take over the running one if there is no `argv`. Returns when the terminal has ended."""
        try:
            if argv:
                rows, cols = self.size or (25, 80)
                await ask("terminal", name=self.term_name, argv=argv, cwd=cwd, env=env, rows=rows, cols=cols)
            reader, self.writer = await stream("attach", name=self.term_name)
        except AgentError as error:
            self.show(f"labdock: {error}\r\n")
            await self.be_read()
            return
        for text in self.early:
            self.write(text)
        self.early.clear()
        if self.size:
            await self.resize()
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        with suppress(OSError):  # `lab` has restarted
            while data := await reader.read(PIECE):
                self.show(decode(data))
                await self.be_sent()
        self.writer.transport.abort()

    async def be_read(self):
        """Wait until a page shows this terminal, but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                while not self.clients:
                    await asyncio.sleep(0.1)

    async def be_sent(self):
        """Wait until the browsers have the output, so that an endless output does not fill the server's memory."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SLOW):
                while any(client.ws_connection and client.ws_connection.stream.writing() for client in self.clients):
                    await asyncio.sleep(0.01)

    def show(self, text):
        self.last_activity = utcnow()
        self.read_buffer.append(text)
        for client in list(self.clients):
            client.on_pty_read(text)

    def write(self, text):
        if not self.writer:
            self.early.append(text)
        elif self.writer.transport.get_write_buffer_size() < WAITING:
            self.writer.write(text.encode())

    def resize_to_smallest(self):
        """The terminal is as large as the smallest page that shows it."""
        sizes = [client.size for client in self.clients if None not in client.size]
        if not sizes:
            return
        size = min(rows for rows, _ in sizes), min(cols for _, cols in sizes)
        if size != self.size and all(type(number) is int and 0 < number < 10000 for number in size):
            self.size = size
            if self.writer:
                self.resizing = asyncio.ensure_future(self.resize())

    async def resize(self):
        rows, cols = self.size
        await tell(self, "resize", rows=rows, cols=cols)

    async def terminate(self, force=False):
        """Hang up, as a closed window does. Then end the shell."""
        await tell(self, "hang_up", signum=signal.SIGHUP)
        await tell(self, "hang_up", signum=signal.SIGKILL)


async def tell(terminal, operation, **values):
    """Ask for something that is not needed if `lab` does not run."""
    with suppress(AgentError):
        await ask(operation, name=terminal.term_name, **values)


class LabTerminals(TerminalManager):
    """The terminals in `lab`. The end of the server does not end them."""

    def __init__(self, **options):
        super().__init__(blocking_io_executor=dummy_executor, **options)  # no operation blocks

    def new_named_terminal(self, **options):
        name = options.get("name") or self._next_available_name()
        terminal = self.add(name)
        env = {name: value for name, value in self.make_term_env().items() if os.environ.get(name) != value}
        cwd = str(Folder(self.parent.root_dir, options.get("cwd") or ""))
        self.begin(terminal, self.shell_command, cwd, env)
        return name, terminal

    def add(self, name):
        """A new LabTerminal. Raises RuntimeError if there are too many."""
        if len(self.terminals) >= MOST:
            raise RuntimeError(f"{MOST} terminals are open. Close some of them first.")
        self.terminals[name] = LabTerminal(name)
        return self.terminals[name]

    def begin(self, terminal, *how):
        """Run the terminal in the background, and remove it at its end."""

        async def run():
            await terminal.run(*how)
            await tell(terminal, "hang_up", signum=signal.SIGKILL)
            self.terminals.pop(terminal.term_name, None)
            for client in list(terminal.clients):
                client.on_pty_died()

        terminal.running = asyncio.ensure_future(run())

    async def terminate_all(self):
        """Jupyter calls this when the server ends. The terminals stay, and the next server takes them over."""

    async def adopt(self):
        """Take over the terminals of the last server."""
        try:
            found = (await LAB.state()).terminals
        except AgentError:
            return
        for name in list(found)[:MOST]:
            if name.isidentifier() or name.isdigit():
                self.begin(self.add(name))


def _jupyter_server_extension_points():
    return [{"module": "lab_terminals"}]


def _load_jupyter_server_extension(app):
    app.io_loop.run_sync(app.web_app.settings["terminal_manager"].adopt)
