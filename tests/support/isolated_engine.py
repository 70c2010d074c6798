"""An engine of a test's own, in a network namespace of which only loopback is up: no way leads out."""

import ctypes
import fcntl
import os
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import machine
from engine.daemon import Daemon
from tests.support.requirements import lacking

NEW_NETWORK, UP, SET_FLAGS = 0x40000000, 0x1, 0x8914  # CLONE_NEWNET, IFF_UP, SIOCSIFFLAGS
Run = Callable[..., Any]


def isolate() -> None:
    """Give this thread, and what it starts, a network of its own, of which only loopback is up."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "no network of its own")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", UP))


@contextmanager
def isolated_engine() -> Iterator[tuple[Daemon, Run]]:
    """The engine, stopped, and what runs a function where the ports of its labs are reached."""
    if os.geteuid() or not machine.debian_codename():
        lacking("only root on Debian can bring up an engine of the test's own")
    # A short path, since sockets lie in it.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, ThreadPoolExecutor(1, initializer=isolate) as there:
        daemon = Daemon(Path(folder, "engine"), Path(folder, "socket"))
        daemon.fetch()
        try:
            yield daemon, lambda function, *arguments: there.submit(function, *arguments).result()
        finally:
            there.submit(daemon.down).result()
