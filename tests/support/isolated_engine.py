"""A separate engine for a test, in a network namespace with loopback only. It reaches no other machine."""

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
    """Give this thread, and the programs that it starts, a new network with loopback only."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "no network of its own")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", UP))


@contextmanager
def isolated_engine() -> Iterator[tuple[Daemon, Run]]:
    """An engine that is not started, and a function that runs other functions in the engine's network.

    The ports of the engine's labs can be reached only in this network.
    """
    if os.geteuid() or not machine.debian_codename():
        lacking("only root on Debian can bring up an engine of the test's own")
    # Use a short path, because the path of a socket must be short.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, ThreadPoolExecutor(1, initializer=isolate) as there:
        daemon = Daemon(Path(folder, "engine"), Path(folder, "socket"))
        daemon.fetch()
        try:
            yield daemon, lambda function, *arguments: there.submit(function, *arguments).result()
        finally:
            there.submit(daemon.down).result()
