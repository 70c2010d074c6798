"""What the engine must show of a lab: small named checks, so that each can be shown to fail.

`CHECKS` are for what `docker inspect` says of the container of a service, `IMAGE` for `docker image inspect`, `FILES`
are commands that list what an image must not hold.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Inspect = dict[str, Any]
Check = Callable[[Inspect], bool]

PROFILE = json.loads((Path(__file__).parents[2] / "template/lab/runtime/seccomp.json").read_text(encoding="utf-8"))
# Compose hands the engine the profile's text in place of its path.
SECURITY = ["no-new-privileges:true", f"seccomp={json.dumps(PROFILE, separators=(',', ':'))}"]
ENABLED = Path("/sys/module/apparmor/parameters/enabled")
APPARMOR = "docker-default" if ENABLED.exists() and ENABLED.read_text().startswith("Y") else ""
# Where the host has cgroup v2, the engine gives each container a namespace of its own, asked or not.
CGROUP_V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
WORK = ("data", "notebooks")
# By path: kind of mount, writable.
FURTHER = {"/var/lib/lab": ("volume", True), "/run/ca.pem": ("bind", False), "/workspace/.git": ("bind", False)}
TOKEN = "secrets/jupyter_token"
PRIVATE = {"mode=0700", "nosuid", "nodev"}  # a tmpfs of the lab's user alone


def limit(seen: Inspect, name: str) -> int:
    return seen["HostConfig"].get(name) or 0


def ulimit(seen: Inspect, name: str) -> tuple[int, int] | None:
    """Soft and hard limit; None where the engine's default holds."""
    for found in seen["HostConfig"]["Ulimits"] or []:
        if found["Name"] == name:
            return found["Soft"], found["Hard"]
    return None


def home(seen: Inspect) -> str:
    """The home of the lab's user, named in the environment."""
    names = dict(line.split("=", 1) for line in seen["Config"]["Env"])
    return f"/home/{names.get('JUPYTER_USERNAME')}"


def tmpfs(seen: Inspect, path: str) -> set[str]:
    """The options of the tmpfs at `path`, without its size, which must be there."""
    options = set((seen["HostConfig"].get("Tmpfs") or {}).get(path, "").split(","))
    sizes = {option for option in options if re.fullmatch(r"size=\d+[kmg]", option)}
    return options - sizes if len(sizes) == 1 else set()


def owner(seen: Inspect) -> set[str]:
    """The tmpfs options that hand it to the container's user."""
    uid, _, gid = seen["Config"]["User"].partition(":")
    return {f"uid={uid}", f"gid={gid}"}


def mounts(seen: Inspect) -> dict[str, dict[str, Any]]:
    """Every mount but the tmpfs, by its path in the container."""
    return {mount["Destination"]: mount for mount in seen["Mounts"]}


def published(seen: Inspect) -> list[tuple[str, str]]:
    """Container port and host address of each published port."""
    ports = seen["HostConfig"]["PortBindings"] or {}
    return [(port, binding["HostIp"]) for port, bindings in ports.items() for binding in bindings]


def no_host_namespace(seen: Inspect) -> bool:
    kinds = ("NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode")
    foreign = [seen["HostConfig"][kind].startswith(("host", "container:", "shareable")) for kind in kinds]
    return not any(foreign) and seen["HostConfig"]["CgroupnsMode"] == "private"


def no_devices(seen: Inspect) -> bool:
    return not any(seen["HostConfig"][kind] for kind in ("Devices", "DeviceCgroupRules", "DeviceRequests"))


def expected_mounts(seen: Inspect, secret: str, *more: str) -> bool:
    """The user's two folders, in home and `more`, and `secret`, from one project, nothing else: no engine socket."""
    found = {path: mount["Source"] for path, mount in mounts(seen).items() if path not in FURTHER}
    project = found.get(f"{home(seen)}/data", "").removesuffix("/data")
    expected = {f"{place}/{name}": f"{project}/{name}" for place in (home(seen), *more) for name in WORK}
    return found == {**expected, f"/run/{secret}": f"{project}/{secret}"}


def further_mounts(seen: Inspect) -> bool:
    """What the lab has besides: a volume of its own for what is kept, and the site's certificates, read-only."""
    found = {path: (mounts(seen)[path]["Type"], mounts(seen)[path]["RW"]) for path in FURTHER if path in mounts(seen)}
    name = mounts(seen).get("/var/lib/lab", {}).get("Name", "")
    project = seen["Config"]["Labels"]["com.docker.compose.project"]
    return found == FURTHER and name == f"{project}_kept"


def connecting_healthcheck(seen: Inspect) -> bool:
    check = seen["Config"].get("Healthcheck") or {}
    paces = ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")
    command = ["CMD", "bash", "/opt/labdock/healthcheck.sh"]
    return check.get("Test") == command and all(check.get(pace) for pace in paces)


HARDENED: dict[str, Check] = {
    "a numeric user that is not root": lambda seen: bool(re.fullmatch(r"[1-9]\d*:[1-9]\d*", seen["Config"]["User"])),
    "no further groups": lambda seen: not seen["HostConfig"]["GroupAdd"],
    "not privileged": lambda seen: seen["HostConfig"]["Privileged"] is False,
    "no capabilities": lambda seen: seen["HostConfig"]["CapDrop"] == ["ALL"] and not seen["HostConfig"]["CapAdd"],
    # Equality, so that nothing turns AppArmor or SELinux off.
    "no new privileges, the lab's seccomp profile": lambda seen: seen["HostConfig"]["SecurityOpt"] == SECURITY,
    "AppArmor where the host has it": lambda seen: seen["AppArmorProfile"] == APPARMOR,
    "read-only root": lambda seen: seen["HostConfig"]["ReadonlyRootfs"] is True,
    "limited processes": lambda seen: 0 < limit(seen, "PidsLimit") <= 4096,
    "limited memory": lambda seen: limit(seen, "Memory") > 0,
    "no swap": lambda seen: limit(seen, "MemorySwap") == limit(seen, "Memory"),
    "limited processors": lambda seen: limit(seen, "CpuQuota") > 0,
    "no core dumps": lambda seen: ulimit(seen, "core") == (0, 0),
    "limited open files": lambda seen: 0 < (ulimit(seen, "nofile") or (0, 0))[1] <= 65536,  # -1 is no limit
    "bounded logs": lambda seen: (
        seen["HostConfig"]["LogConfig"]["Type"] == "json-file"
        and {"max-size", "max-file"} <= (seen["HostConfig"]["LogConfig"]["Config"] or {}).keys()
    ),
    "an init": lambda seen: seen["HostConfig"].get("Init") is True,
    "no host namespaces": no_host_namespace,
    "no devices": no_devices,
    "a sized /tmp without programs": lambda seen: tmpfs(seen, "/tmp") == {"mode=1777", "noexec", "nosuid", "nodev"},
    # The engine labels its own volumes by itself.
    "mounts with SELinux's label": lambda seen: all(
        "z" in mount["Mode"].split(",") for mount in mounts(seen).values() if mount["Type"] == "bind"
    ),
}

# The services that see the user's work.
AT_WORK: dict[str, Check] = {
    **HARDENED,
    "no other tmpfs": lambda seen: (
        set(seen["HostConfig"].get("Tmpfs") or {}) == {"/tmp", "/run/lab", "/run/try", home(seen)}
    ),
    "a sized private /run/lab without programs": lambda seen: (
        tmpfs(seen, "/run/lab") == {"noexec", *PRIVATE, *owner(seen)}
    ),
    "a sized private home": lambda seen: tmpfs(seen, home(seen)) == {"exec", *PRIVATE, *owner(seen)},
    "a sized private place to try packages": lambda seen: tmpfs(seen, "/run/try") == {"exec", *PRIVATE, *owner(seen)},
    "writable work": lambda seen: all(mount["RW"] for path, mount in mounts(seen).items() if path.endswith(WORK)),
}

CHECKS: dict[str, dict[str, Check]] = {
    "lab": {
        **AT_WORK,
        "expected mounts only": lambda seen: expected_mounts(seen, TOKEN, "/workspace") and further_mounts(seen),
        "read-only token": lambda seen: mounts(seen).get(f"/run/{TOKEN}", {}).get("RW") is False,
        "one port, on loopback": lambda seen: (
            published(seen) == [("8888/tcp", "127.0.0.1")] and not seen["HostConfig"]["PublishAllPorts"]
        ),
        "a health check that connects": connecting_healthcheck,
        "back after an engine restart": lambda seen: seen["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped",
        "waits for prepare": lambda seen: (
            "prepare:service_completed_successfully"
            in seen["Config"]["Labels"].get("com.docker.compose.depends_on", "")
        ),
    },
    "prepare": {
        **AT_WORK,
        "expected mounts only": lambda seen: expected_mounts(seen, "secrets"),
        "only prepares": lambda seen: seen["Config"]["Cmd"] == ["prepare"],
        "no network": lambda seen: seen["HostConfig"]["NetworkMode"] == "none" and not published(seen),
        "runs once": lambda seen: seen["HostConfig"]["RestartPolicy"]["Name"] == "no",
    },
    "packages": {
        **HARDENED,
        "no other tmpfs": lambda seen: set(seen["HostConfig"].get("Tmpfs") or {}) == {"/tmp"},
        "nothing of the user's": lambda seen: (
            {path: mount["RW"] for path, mount in mounts(seen).items()} == {"/run/ca.pem": False, "/bundle": False}
        ),
    },
}

IMAGE: dict[str, Check] = {
    "a numeric user that is not root": HARDENED["a numeric user that is not root"],
    "starts through the checks": lambda seen: seen["Config"]["Entrypoint"] == ["sh", "/opt/labdock/entrypoint.sh"],
    "nothing but paths and names in the environment": lambda seen: (
        {line.partition("=")[0] for line in seen["Config"]["Env"]}
        <= {"PATH", "PYTHONPATH", "LANG", "GPG_KEY", "PYTHON_VERSION", "PYTHON_SHA256"}
    ),
}

# What each command prints must not be there; run as the image's user.
FILES: dict[str, str] = {
    "setuid or setgid files": "find / -xdev -type f -perm /6000 2>/dev/null",
    "files that the user can write": (
        "find /opt /etc /usr /bin /lib /sbin /var/lib -writable ! -type l ! -path /var/lib/lab 2>/dev/null"
    ),
    "programs or settings of another owner": "find /opt /etc /usr -xdev ! -uid 0 2>/dev/null",
    "build tools": "for tool in gcc cc make uv; do command -v $tool; done",
    "package lists and caches": "find /var/lib/apt/lists /var/cache/apt /root/.cache -type f -size +0 2>/dev/null",
    "the build's certificates": "ls /run/secrets/ca /etc/apt/apt.conf.d/99-site-ca 2>/dev/null",
    "logs and backups of the build": "find /var/log /etc/passwd- /etc/shadow- -type f 2>/dev/null",
}


def failing(service: str, seen: Inspect) -> set[str]:
    """The names of the checks that the container of `service` does not pass."""
    return {name for name, check in CHECKS[service].items() if not check(seen)}
