"""System calls that the lab's seccomp profile refuses. Each is harmless if it is allowed."""

import ctypes
import errno
import mmap
import os
import signal
import socket

from outcome import INTEL, NUMBERS, OTHERS, Call, checked, libc, system_call

NAMESPACES = {
    "mount": 0x00020000, "cgroup": 0x02000000, "host name": 0x04000000, "message": 0x08000000, "user": 0x10000000,
    "process": 0x20000000, "network": 0x40000000,
}  # fmt: skip
AF_ALG, AF_PACKET, AF_VSOCK = 38, 17, 40
ALLOWED = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}


def new_namespace(flag: int) -> None:
    child = system_call("clone", flag | signal.SIGCHLD)
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def by_the_32_bit_gate() -> None:
    """`mov eax, 20; int 0x80; ret`: getpid, as a 32-bit program calls it."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()


def other_domains() -> None:
    """Try every other family of sockets. Stop at the first family that the filter allows."""
    for domain in set(range(64)) - ALLOWED:
        try:
            socket.socket(domain, socket.SOCK_DGRAM).close()
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOSYS):
                raise
        else:
            return
    raise PermissionError(errno.EPERM, "")


def opened(domain: int, protocol: int = 0) -> None:
    """Make a socket with the plain system call. Python cuts a family to 32 bits, but a filter sees 64 bits."""
    kind = socket.SOCK_SEQPACKET if domain & 0xFFFFFFFF == AF_ALG else socket.SOCK_STREAM
    kind = socket.SOCK_RAW if domain in (AF_PACKET, socket.AF_NETLINK) else kind
    os.close(system_call("socket", domain, kind, protocol))


REFUSED: dict[str, Call] = {
    **{name: lambda name=name: system_call(name) for name, number in NUMBERS.items() if number[0 if INTEL else 1]},
    **{
        f"clone into a new {kind} namespace": lambda flag=flag: new_namespace(flag) for kind, flag in NAMESPACES.items()
    },
    "clone3": lambda: system_call("clone3"),
    "mbind": lambda: system_call("mbind"),
    "an AF_ALG socket": lambda: opened(AF_ALG),
    "an AF_VSOCK socket": lambda: opened(AF_VSOCK),
    "an AF_PACKET socket": lambda: opened(AF_PACKET),
    "an AF_ALG socket behind high bits": lambda: opened(1 << 32 | AF_ALG),
    "an AF_VSOCK socket behind high bits": lambda: opened(1 << 32 | AF_VSOCK),
    "a socket of another domain": other_domains,
    "a netlink socket that asks for more than addresses": lambda: opened(socket.AF_NETLINK, 16),
    "a pair of sockets of another domain": lambda: socket.socketpair(30),
    "a personality without random addresses": lambda: checked(libc.personality(ctypes.c_ulong(0x0040000))),
}
if INTEL:
    REFUSED["a 32-bit call"] = by_the_32_bit_gate
    REFUSED["an x32 call"] = lambda: checked(libc.syscall(ctypes.c_long(0x40000000 | OTHERS["getpid"][0])))
