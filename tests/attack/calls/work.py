"""System calls that ordinary programs make. The profile must allow all of them."""

import asyncio
import ctypes
import errno
import fcntl
import mmap
import multiprocessing
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import threading
import time
from multiprocessing import shared_memory
from pathlib import Path

from outcome import Call, checked, in_a_child, libc, system_call
from refused import opened

FILE = Path("file")  # in a folder that __main__ creates


def true(condition: object) -> None:
    if not condition:
        raise OSError(errno.EBADMSG, "")


def extended_attributes() -> None:
    try:
        os.setxattr(FILE, "user.made", b"here")
        true(os.getxattr(FILE, "user.made") == b"here" and os.listxattr(FILE) == ["user.made"])
        os.removexattr(FILE, "user.made")
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # the file system has none
            raise


def copies() -> None:
    with FILE.open("rb") as source, Path("copy").open("wb") as target:
        os.copy_file_range(source.fileno(), target.fileno(), 2)
        os.sendfile(target.fileno(), source.fileno(), 2, 2)
        reader, writer = os.pipe()
        os.splice(source.fileno(), writer, 2, offset_src=4)
        os.splice(reader, target.fileno(), 2)
    true(Path("copy").read_bytes() == FILE.read_bytes())


def locks() -> None:
    with FILE.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)
        os.posix_fallocate(file.fileno(), 0, 6)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def names() -> None:
    os.mkfifo("fifo")
    link, second = Path("link"), Path("second")
    link.symlink_to(FILE)
    second.hardlink_to(FILE)
    second.chmod(0o600)
    os.utime(second, (1, 1))
    third = second.rename("third")
    true(os.access(third, os.R_OK, effective_ids=True) and third.stat().st_mtime == 1)
    true(libc.statx(-100, b"third", 0, 0x7FF, ctypes.create_string_buffer(256)) == 0)
    for made in (link, third, Path("fifo")):
        made.unlink()


def file_events() -> None:
    events = checked(libc.inotify_init1(0))
    checked(libc.inotify_add_watch(events, b".", 0x100))  # IN_CREATE
    Path("watched").touch()
    true(b"watched" in os.read(events, 4096))


def timer_and_signal_events() -> None:
    timer, seconds = checked(libc.timerfd_create(1, 0)), struct.pack("4q", 0, 0, 0, 1000)
    checked(libc.timerfd_settime(timer, 0, seconds, None))
    counter = os.eventfd(0)
    os.eventfd_write(counter, 3)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    mask = ctypes.create_string_buffer(128)
    libc.sigemptyset(mask), libc.sigaddset(mask, signal.SIGUSR1)
    signals = checked(libc.signalfd(-1, mask, 0))
    signal.raise_signal(signal.SIGUSR1)
    with select.epoll() as waiting:
        for file in (timer, counter, signals):
            waiting.register(file, select.EPOLLIN)
        seen = set()
        while seen != {timer, counter, signals}:
            seen |= {file for file, _ in waiting.poll(10)}
    select.select([counter], [], [], 10)


def interval() -> None:
    """A timer that sends a signal."""
    rung = threading.Event()
    signal.signal(signal.SIGALRM, lambda *_: rung.set())
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    while not rung.is_set():
        time.sleep(0.001)


def memory() -> None:
    file = os.memfd_create("made")
    os.ftruncate(file, 8192)
    mapped = mmap.mmap(file, 4096)
    mapped.resize(8192)
    mapped.madvise(mmap.MADV_WILLNEED)
    mapped.flush()
    system_call("membarrier", 0)  # asks what is supported


def processes(method: str) -> None:
    with multiprocessing.get_context(method).Pool(2) as pool:
        true(pool.map(abs, [-1, -2]) == [1, 2])


def shared() -> None:
    made = shared_memory.SharedMemory(create=True, size=4096)
    made.close()
    made.unlink()
    segment = checked(libc.shmget(0, 4096, 0o1600))
    checked(libc.shmctl(segment, 0, None))


def threads() -> None:
    done: list[int] = []
    started = [threading.Thread(target=done.append, args=(number,)) for number in range(8)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    true(sorted(done) == list(range(8)))


async def conversation() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    program = await asyncio.create_subprocess_exec("cat", stdin=subprocess.DEVNULL)
    true(await program.wait() == 0)
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\n")
    true(await reader.readline() == b"hello\n")


def debugged() -> None:
    """What a debugger does: stop a child, read its memory, continue it."""
    child = os.fork()
    if not child:
        libc.ptrace(0, 0, 0, 0)  # PTRACE_TRACEME
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    true(os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1]))
    word = ctypes.c_int(7)
    part = (ctypes.c_ulong * 2)(ctypes.addressof(word), 4)
    try:
        checked(libc.ptrace(0x4200, child, 0, 0))  # PTRACE_SETOPTIONS: works on a child that asked for it only
        checked(libc.process_vm_readv(child, part, ctypes.c_ulong(1), part, ctypes.c_ulong(1), ctypes.c_ulong(0)))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def scheduled() -> None:
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    os.sched_yield()
    os.nice(1)
    resource.prlimit(0, resource.RLIMIT_NOFILE)


def identity() -> None:
    os.setresuid(os.getuid(), os.getuid(), os.getuid())
    in_a_child(os.setsid)
    true(os.getpgid(0) and os.getgroups() is not None and os.uname().sysname == "Linux" and os.sysconf("SC_PHYS_PAGES"))


def pidfd() -> None:
    child = subprocess.Popen(["sleep", "100"])
    file = os.pidfd_open(child.pid)
    signal.pidfd_send_signal(file, signal.SIGKILL)
    true(os.waitid(os.P_PIDFD, file, os.WEXITED))


def refused_as(number: int, call: Call) -> None:
    """The Linux kernel rejected the arguments. So the filter allowed the call."""
    try:
        call()
    except OSError as error:
        if error.errno != number:
            raise


WORK: dict[str, Call] = {
    "copies": copies,
    "names": names,
    "locks": locks,
    "extended attributes": extended_attributes,
    "file events": file_events,
    "timer and signal events": timer_and_signal_events,
    "an interval": interval,
    "memory": memory,
    "fork": lambda: processes("fork"),
    "spawn": lambda: processes("spawn"),
    "forkserver": lambda: processes("forkserver"),
    "shared memory": shared,
    "threads": threads,
    "asyncio": lambda: asyncio.run(conversation()),
    "a program": lambda: subprocess.run(["sh", "-c", "true | cat"], check=True, close_fds=True),
    "close_range": lambda: os.closerange(900, 1000),
    "a pidfd": pidfd,
    "futex_waitv": lambda: refused_as(errno.EINVAL, lambda: system_call("futex_waitv")),
    "random bytes": lambda: os.getrandom(16),
    "scheduling": scheduled,
    "identity": identity,
    "a debugger": debugged,
    "the personality": lambda: true(checked(libc.personality(ctypes.c_ulong(0xFFFFFFFF))) == 0),
    "the usual personality": lambda: true(checked(libc.personality(ctypes.c_ulong(0))) == 0),
    "landlock": lambda: refused_as(errno.EOPNOTSUPP, lambda: system_call("landlock_create_ruleset", 0, 0, 1)),
    "a pair of sockets": lambda: [end.close() for end in socket.socketpair()],
    "an AF_INET socket": lambda: opened(socket.AF_INET),
    "an AF_INET6 socket": lambda: refused_as(errno.EAFNOSUPPORT, lambda: opened(socket.AF_INET6)),
    "network interfaces": lambda: true(socket.if_nameindex()),
    "addresses": lambda: opened(socket.AF_NETLINK),
}
