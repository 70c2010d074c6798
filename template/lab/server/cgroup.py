"""The memory of this container, from cgroups v2 or v1."""

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # the container's own cgroup


def memory():
    """Bytes in use, the limit in bytes (0: no limit), and how many programs Linux ended because memory was full."""
    return {"used": used(), "limit": limit(), "ended": ended()}


def limit():
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        file = CGROUP / name
        if file.exists() and (text := file.read_text().strip()).isdigit():
            return int(text) if int(text) < 2**60 else 0  # in v1, a huge number means 'no limit'
    return 0


def used():
    """Without the cache of files, which Linux frees when it needs memory. (`docker stats` counts files used twice.)"""
    for name, stat, prefix in (
        ("memory.current", "memory.stat", ""),
        ("memory/memory.usage_in_bytes", "memory/memory.stat", "total_"),
    ):
        if (CGROUP / name).exists():
            cached = sum(numbers(stat).get(prefix + files, 0) for files in ("inactive_file", "active_file"))
            return max(0, int((CGROUP / name).read_text()) - cached)
    return 0


def ended():
    for name in ("memory.events", "memory/memory.oom_control"):
        if (CGROUP / name).exists():
            return numbers(name).get("oom_kill", 0)
    return 0


def numbers(name):
    """The lines of a file: name -> number."""
    return {key: int(value) for key, value in map(str.split, (CGROUP / name).read_text().splitlines())}
