"""Run in a lab, by a notebook kernel or as a program: try what a hostile notebook would, and print the results as JSON.

The programs in calls/ try system calls that only the seccomp filter refuses. The control makes the same attempts in a
privileged container, where they can succeed. So each attempt must be harmless. `null` means success. A name such as
"EPERM" is the error.
"""

import ctypes
import errno
import json
import os
import platform
import socket
import stat
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
# Numbers of system calls by CPU, from the Linux kernel's tables.
CALLS = ("bpf", "perf_event_open", "userfaultfd", "pivot_root")
PER_PROCESSOR = {"x86_64": (321, 298, 323, 155), "aarch64": (280, 241, 282, 41)}
NUMBERS = dict(zip(CALLS, PER_PROCESSOR[platform.machine()], strict=True))
NUMBERS |= {"io_uring_setup": 425, "open_tree": 428, "fsopen": 430}
NEW_NAMESPACE = {"user": 0x10000000, "mount": 0x00020000, "network": 0x40000000, "process": 0x20000000}


def checked(result: int) -> None:
    """Raise the error of a C call that returned -1."""
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")


def system_call(name: str) -> None:
    # Arguments that every Linux kernel rejects. An error about them shows that the call was not refused.
    checked(libc.syscall(NUMBERS[name], 0, 0, 0, 0, 0))


def attempts() -> dict:
    """Every attempt, by name."""
    return {
        "mount a file system": lambda: checked(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
        "remount the root writable": lambda: checked(libc.mount(b"", b"/", b"", 32, None)),
        "make a device": lambda: os.mknod("/tmp/disk", stat.S_IFBLK | 0o600, os.makedev(8, 0)),
        "change the root": lambda: os.chroot("/"),
        "become root": lambda: os.setuid(0),
        "become root's group": lambda: os.setgid(0),
        "give a file away": lambda: os.chown(own(), 0, 0),
        "set the host name": lambda: checked(libc.sethostname(b"x", 1)),
        "send raw packets": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close(),
        "read every packet": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
        **{f"a new {kind} namespace": new_namespace(flag) for kind, flag in NEW_NAMESPACE.items()},
        **{name: lambda name=name: system_call(name) for name in NUMBERS},
        **{f"write {path}": lambda path=path: written(path) for path in PATHS},
        **{f"make a file in {folder}": lambda folder=folder: made(folder) for folder in FOLDERS},
    }


PATHS = (
    "/etc/passwd.image", "/opt/venv/bin/python", "/opt/jupyter/pyvenv.cfg", "/opt/labdock/jupyter_server_config.py",
    "/usr/bin/env", "/proc/sys/kernel/core_pattern", "/sys/kernel/uevent_helper",
)  # fmt: skip
FOLDERS = ("/", "/etc", "/home", "/opt/venv/bin", "/opt/jupyter/bin", "/opt/labdock", "/run", "/usr/bin", "/var/lib")


def own() -> str:
    Path("/tmp/own").touch()
    return "/tmp/own"


def new_namespace(flag: int):
    def attempt() -> None:
        child = os.fork()  # in a child: this process has to continue
        if not child:
            os._exit(ctypes.get_errno() if libc.unshare(flag) else 0)
        if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            raise OSError(code, "refused")

    return attempt


def written(path: str) -> None:
    """Open a file for writing without changing it."""
    os.close(os.open(path, os.O_WRONLY))


def made(folder: str) -> None:
    path = Path(folder, "made")
    path.touch(exist_ok=False)
    path.unlink()


def main() -> None:
    results = {}
    for name, attempt in attempts().items():
        try:
            attempt()
            results[name] = None
        except OSError as error:
            results[name] = errno.errorcode.get(error.errno, str(error.errno))
    print(json.dumps(results))


main()
