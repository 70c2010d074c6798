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
    """As `docker stats` counts: without the file cache that Linux can free at once."""
    for name, stat, unused in (
        ("memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        if (CGROUP / name).exists():
            return max(0, int((CGROUP / name).read_text()) - numbers(stat).get(unused, 0))
    return 0


def ended():
    for name in ("memory.events", "memory/memory.oom_control"):
        if (CGROUP / name).exists():
            return numbers(name).get("oom_kill", 0)
    return 0


def numbers(name):
    """The lines of a file: name -> number."""
    return {key: int(value) for key, value in map(str.split, (CGROUP / name).read_text().splitlines())}
