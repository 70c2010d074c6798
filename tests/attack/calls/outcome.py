"""Make a system call and report its result."""

import ctypes
import errno
import os
import platform
import signal
from collections.abc import Callable

Call = Callable[[], object]
libc = ctypes.CDLL(None, use_errno=True)
INTEL = platform.machine() == "x86_64"

# Numbers of system calls on x86-64 and on arm64 (None: it has none), from the Linux kernel's tables.
NUMBERS: dict[str, tuple[int, int | None]] = {
    "chroot": (161, 51), "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430), "fspick": (433, 433),
    "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429), "open_tree": (428, 428),
    "pivot_root": (155, 41), "setns": (308, 268), "swapoff": (168, 225), "swapon": (167, 224), "umount2": (166, 39),
    "unshare": (272, 97), "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "kcmp": (312, 272),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438), "quotactl": (179, 60), "quotactl_fd": (443, 443), "add_key": (248, 217),
    "bpf": (321, 280), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_uring_setup": (425, 425),
    "keyctl": (250, 219), "request_key": (249, 218), "userfaultfd": (323, 282), "acct": (163, 89),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "clock_settime": (227, 112), "delete_module": (176, 106),
    "finit_module": (313, 273), "init_module": (175, 105), "ioperm": (173, None), "iopl": (172, None),
    "kexec_file_load": (320, 294), "kexec_load": (246, 104), "reboot": (169, 142), "setdomainname": (171, 162),
    "sethostname": (170, 161), "settimeofday": (164, 170), "syslog": (103, 116), "vhangup": (153, 58),
}  # fmt: skip
OTHERS = {
    "clone": (56, 220), "clone3": (435, 435), "futex_waitv": (449, 449), "getpid": (39, 172), "membarrier": (324, 283),
    "landlock_create_ruleset": (444, 444), "mbind": (237, 235), "socket": (41, 198),
}  # fmt: skip


def checked(result: int | None) -> int:
    """The result of a C function. For -1, raise its error."""
    if result in (-1, None):
        raise OSError(ctypes.get_errno(), "")
    return result


def system_call(name: str, *arguments: int) -> int:
    number = {**NUMBERS, **OTHERS}[name][0 if INTEL else 1]
    return checked(libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, (*arguments, *[0] * 6)[:6])))


def in_a_child(call: Call) -> None:
    """Make the call in a child process. Raise its error, or the signal that ended it, here."""
    child = os.fork()
    if not child:
        signal.alarm(60)  # an error, instead of a test that waits forever
        try:
            call()
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        raise InterruptedError(signal.Signals(-code).name)
    if code:
        raise OSError(code, "")


def outcome(call: Call) -> str | None:
    try:
        in_a_child(call)
    except InterruptedError as error:
        return str(error)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
    return None
