"""Starts notebook kernels in the container `lab`. They go on when the server restarts."""

import asyncio
import json
import os
import signal
import time
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import kept_output
from agent_client import LAB, SOCKETS, UNREACHABLE, AgentError, ask
from jupyter_client.provisioning import KernelProvisionerBase
from jupyter_server.utils import to_os_path
from messages import Kernels
from tornado.web import HTTPError

ADOPTION = 20  # seconds for all kernels
BEGIN = 3  # seconds until a page may connect to a kernel that does not listen
UNWRITTEN = (
    "labdock: the server cannot write its volume (%s), so its next restart ends open notebooks. Free space on the disk "
    "of the container engine, then run 'make up'."
)
PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


def records():
    """The folder with a file for each kernel, from which the next server adopts it. Only the server can read it."""
    folder = Path(os.environ["LAB_STATE"], "kernels")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


class LabProvisioner(KernelProvisionerBase):
    """One notebook kernel in `lab`."""

    started = None  # when the kernel was started or adopted, by time.monotonic(). None: there is no kernel

    @property
    def has_process(self):
        return self.started is not None

    @property
    def record(self):
        return records() / f"{self.kernel_id}.json"

    async def pre_launch(self, **kwargs):
        """The command, and the variables that the kernel gets besides those of `lab`."""
        manager = self.parent
        env = {name: value for name, value in kwargs.pop("env", {}).items() if os.environ.get(name) != value}
        kwargs = await super().pre_launch(env=env | self.kernel_spec.env, **kwargs)
        if not self.connection_info:
            adopted = self.parent.parent.adopted.pop(self.kernel_id, None)
            self.connection_info = adopted["connection"] if adopted else self.connection(manager)
            self.started = time.monotonic() if adopted else None
        manager.load_connection_info(self.connection_info)
        return {**kwargs, "cmd": manager.format_kernel_cmd(kwargs.pop("extra_arguments", None))}

    def connection(self, manager):
        """The addresses of a new kernel's sockets, and the key with which kernel and server sign messages."""
        return {
            "transport": "ipc",
            "ip": str(SOCKETS / self.kernel_id / "s"),
            **{name: number for number, name in enumerate(PORTS, 1)},
            "key": manager.session.key.decode(),
            "signature_scheme": manager.session.signature_scheme,
            "kernel_name": manager.kernel_name,
        }

    async def launch_kernel(self, cmd, **kwargs):
        """Start the kernel, but not an adopted one. Raises HTTP 503 if `lab` cannot start it."""
        if self.started is None:
            cwd = str(kwargs.get("cwd") or Path.home())
            kept = {"name": self.parent.kernel_name, "cwd": cwd, "connection": self.connection_info}
            try:
                write(self.record, kept)
            except OSError as error:
                self.log.warning(UNWRITTEN, error)
            try:
                await ask("forget", id=self.kernel_id)
                await ask(
                    "start", id=self.kernel_id, argv=cmd, cwd=cwd, env=kwargs["env"], connection=self.connection_info
                )
            except AgentError as error:
                self.remove_record()
                raise HTTPError(503, f"labdock: {error}", reason=f"labdock: {error}") from error
            self.started = time.monotonic()
            await self.listening()
        return {**self.connection_info, "key": self.connection_info["key"].encode()}

    async def listening(self):
        """Wait until the kernel listens. If a page connects earlier, its first message may be lost, and costs 0.5 s."""
        sockets = [f"{self.connection_info['ip']}-{self.connection_info[name]}" for name in PORTS]
        end = time.monotonic() + BEGIN
        while not all(map(os.path.lexists, sockets)) and time.monotonic() < end and await self.poll() is None:
            await asyncio.sleep(0.01)

    async def poll(self, since=None):
        """None if the kernel runs, else its exit code. Without an answer, the kernel counts as running for a minute."""
        if self.started is None:
            return 0
        try:
            state = await LAB.state(max(self.started, time.monotonic() - 1 if since is None else since))
        except AgentError as error:
            self.log.warning("labdock: %s", error)
            return 1 if time.monotonic() - max(self.started, LAB.seen) > UNREACHABLE else None
        return state.kernels.get(self.kernel_id, 1)

    async def wait(self):
        while (code := await self.poll(since=time.monotonic())) is None:
            await asyncio.sleep(0.1)
        self.started = None
        return code

    async def send_signal(self, signum):
        await self.tell("signal", signum=signum)

    async def kill(self, restart=False):
        await self.tell("signal", signum=signal.SIGKILL)

    async def terminate(self, restart=False):
        await self.tell("signal", signum=signal.SIGTERM)

    async def cleanup(self, restart=False):
        await self.tell("forget")
        if not restart:
            self.remove_record()

    def remove_record(self):
        with suppress(OSError):
            self.record.unlink()

    async def tell(self, operation, **values):
        """Ask for something that is not needed if `lab` does not run."""
        try:
            await ask(operation, id=self.kernel_id, **values)
        except AgentError as error:
            self.log.warning("labdock: %s", error)


class LabKernels(Kernels):
    """The kernels in `lab`. The end of the server does not end them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.adopted = {}  # kernel id -> its record, until the kernel is adopted

    def cwd_for_path(self, path, **kwargs):
        """The folder of a new kernel. Only the agent looks at it, because Jupyter would follow links in the server."""
        return to_os_path(path, self.root_dir)

    async def shutdown_all(self, now=False):
        """Jupyter calls this when the server ends. The kernels stay, and the next server adopts them."""
        await kept_output.write_all()

    async def adopt(self):
        """Take over the kernels of the last server that still run. End all others. A slow agent does not delay this."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ADOPTION):
                await self.adopt_running()

    async def adopt_running(self):
        kept = {path.stem: record for path in records().glob("*.json") if (record := read(path))}
        try:
            running = (await LAB.state()).kernels
        except AgentError:
            running = {}  # `lab` starts at the same time as the server, so no kernel runs
        for kernel_id, code in running.items():
            if code is not None or kernel_id not in kept:
                await self.end(kernel_id)
                continue
            self.adopted[kernel_id] = record = kept.pop(kernel_id)
            try:
                await self.start_kernel(kernel_id=kernel_id, kernel_name=record["name"], cwd=record["cwd"])
                # A page would ask for the kernel's version first, and a busy kernel does not answer.
                self.get_kernel(kernel_id)._kernel_info_future = known = Future()
                known.set_result({})
            except Exception:
                self.log.exception("labdock: the notebook kernel %s cannot be used again, so it ends", kernel_id)
                await self.end(kernel_id)
                kept[kernel_id] = record
        for kernel_id in kept:
            (records() / f"{kernel_id}.json").unlink(missing_ok=True)

    async def end(self, kernel_id):
        try:
            await ask("forget", id=kernel_id)
        except AgentError as error:
            self.log.warning("labdock: %s", error)


def write(path, value):
    """Write a file that only the server can read, completely or not at all."""
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(value))
    new.replace(path)


def read(path):
    """The record in a file. None if a crash damaged the file, which cannot be used then."""
    try:
        record = json.loads(path.read_text())
        return record if {"name", "cwd", "connection"} <= record.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _jupyter_server_extension_points():
    return [{"module": "lab_kernels"}]


def _load_jupyter_server_extension(app):
    # The server answers requests after this. Otherwise, it would delete the sessions of kernels that it does not know.
    app.io_loop.run_sync(app.kernel_manager.adopt)
    app.io_loop.run_sync(lambda: kept_output.restore(app.web_app.settings))
