"""Small named checks for the protections of a lab. For each check, a test proves that it can fail.

The checks of a service look at `Facts`. `of_config` makes the facts from Compose's configuration. `of_container` makes
them from `docker inspect`. The same checks work for both. `IMAGE` contains checks for `docker image inspect`. `FILES`
contains commands that list what an image must not contain.
"""

import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.project import Project

Inspect = dict[str, Any]  # the output of `docker inspect` for one container or image
Service = dict[str, Any]  # the output of `docker compose config` for one service

PROFILE_PATH = "lab/runtime/seccomp.json"
PROFILE = json.loads((Path(__file__).parents[2] / "template" / PROFILE_PATH).read_text(encoding="utf-8"))
SECCOMP = f"seccomp=./{PROFILE_PATH}"
# Compose gives the engine the profile's text instead of its path.
SECCOMP_TEXT = f"seccomp={json.dumps(PROFILE, separators=(',', ':'))}"

WORK = ("data", "notebooks")
TOKEN = "secrets/jupyter_token"
EMPTY_CA, EMPTY_GIT = "lab/runtime/empty-ca.pem", "lab/runtime/empty-git"
# The image's variables for folders on the volume `cache`.
FOLDERS = {
    *("TMPDIR", "JOBLIB_TEMP_FOLDER", "DASK_TEMPORARY_DIRECTORY", "SCIKIT_LEARN_DATA", "NLTK_DATA", "KERAS_HOME"),
    *("TFDS_DATA_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
}
PRIVATE = {"mode=0700", "nosuid", "nodev"}  # the tmpfs options of a folder for the lab's user alone


class Mount(NamedTuple):
    """A bind mount or volume. `source` is a path, or the name of the project's volume."""

    kind: str
    source: str
    writable: bool
    label: bool = True  # SELinux's label, which the engine gives to volumes by itself
    shared: bool = False  # mounts made inside appear on the host


@dataclass(frozen=True)
class Facts:
    """The properties of a service, in one form for Compose and for the engine."""

    user: str
    groups: list[str]
    privileged: bool
    dropped: list[str]  # capabilities
    added: list[str]
    security: list[str]
    read_only: bool
    processes: int  # a limit of 0 means no limit
    memory: int
    memory_and_swap: int
    shared_memory: int
    cpu: int
    ulimits: dict[str, int]  # the hard limits
    logging: tuple[str, frozenset[str]]  # driver, names of its options
    init: bool
    of_the_host: set[str]  # namespaces that are not the container's own
    devices: bool
    cgroup_parent: str
    network: str  # "none", the names of the project's networks, or the name of another network
    tmpfs: dict[str, set[str]]
    mounts: dict[str, Mount]
    ports: list[tuple[str, str]]  # container port, host address
    home: str
    command: list[str]
    entrypoint: list[str]
    health: tuple[list[str], set[str]]  # command, and the names in PACES that are set
    restart: str
    waits_for: set[str]  # "service:condition"


PACES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
    "retries": "Retries",
}


# --- what Compose shows -------------------------------------------------------------------------------
def hard(limit: Any) -> int:
    """A ulimit's hard limit. Compose writes 0 as {}."""
    return limit.get("hard", 0) if isinstance(limit, dict) else limit


def config_mount(volume: dict[str, Any]) -> Mount:
    bind = volume.get("bind", {})
    # Compose leaves the label out if it may not create the folder.
    label = volume["type"] == "volume" or bool(bind.get("selinux") == "z" and bind.get("create_host_path"))
    writable, shared = not volume.get("read_only"), "shared" in bind.get("propagation", "")
    return Mount(volume["type"], volume.get("source", ""), writable, label, shared)


def of_config(service: Service) -> Facts:
    """The facts of a service as `docker compose config --format json` shows it."""
    get = service.get
    logging, health = get("logging", {}), get("healthcheck", {})
    kinds = ("network_mode", "pid", "ipc", "uts", "userns_mode")
    of_the_host = {kind for kind in kinds if foreign(get(kind, ""))}
    devices = get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")
    return Facts(
        user=get("user", ""),
        groups=get("group_add", []),
        privileged=get("privileged", False),
        dropped=get("cap_drop", []),
        added=get("cap_add", []),
        security=get("security_opt", []),
        read_only=get("read_only", False),
        processes=get("pids_limit", 0),
        memory=int(get("mem_limit", 0)),
        memory_and_swap=int(get("memswap_limit", 0)),
        shared_memory=int(get("shm_size", 0)),
        cpu=get("cpu_quota", 0),
        ulimits={name: hard(limit) for name, limit in get("ulimits", {}).items()},
        logging=(logging.get("driver", ""), frozenset(logging.get("options", {}))),
        init=get("init", False),
        of_the_host=of_the_host | ({"cgroup"} if get("cgroup") != "private" else set()),
        devices=any(get(kind) for kind in ("devices", "device_cgroup_rules", "gpus")) or bool(devices),
        cgroup_parent=get("cgroup_parent", ""),
        network=get("network_mode") or ",".join(sorted(get("networks", {}))),
        tmpfs={path: set(options.split(",")) for path, _, options in (t.partition(":") for t in get("tmpfs", []))},
        mounts={volume["target"]: config_mount(volume) for volume in get("volumes", [])},
        ports=[(f"{port['target']}/{port['protocol']}", port.get("host_ip", "")) for port in get("ports", [])],
        home=f"/home/{get('environment', {}).get('JUPYTER_USERNAME')}",
        command=get("command") or [],
        entrypoint=get("entrypoint") or [],
        health=(health.get("test", []), {pace for pace in PACES if health.get(pace)}),
        restart=get("restart", "no"),
        waits_for={f"{name}:{needed['condition']}" for name, needed in get("depends_on", {}).items()},
    )


# --- what the engine shows ----------------------------------------------------------------------------
def container_mount(mount: dict[str, Any], project: str) -> Mount:
    volume = mount["Type"] == "volume"
    source = mount["Name"].removeprefix(f"{project}_") if volume else mount["Source"]
    label = volume or "z" in mount["Mode"].split(",")
    return Mount(mount["Type"], source, mount["RW"], label, "shared" in mount.get("Propagation", ""))


def of_container(seen: Inspect) -> Facts:
    """The facts of a service's container as `docker inspect` shows it."""
    config, host, labels = seen["Config"], seen["HostConfig"], seen["Config"]["Labels"]
    project = labels["com.docker.compose.project"]
    kinds = ("NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode")
    of_the_host = {kind for kind in kinds if foreign(host[kind])}
    ports = [(port, one["HostIp"]) for port, bound in (host["PortBindings"] or {}).items() for one in bound]
    health = config.get("Healthcheck") or {}
    waits_for = filter(None, labels.get("com.docker.compose.depends_on", "").split(","))
    environment = dict(line.split("=", 1) for line in config["Env"])
    return Facts(
        user=config["User"],
        groups=host["GroupAdd"] or [],
        privileged=host["Privileged"],
        dropped=host["CapDrop"] or [],
        added=host["CapAdd"] or [],
        security=[SECCOMP if option == SECCOMP_TEXT else option for option in host["SecurityOpt"] or []],
        read_only=host["ReadonlyRootfs"],
        processes=host.get("PidsLimit") or 0,
        memory=host.get("Memory") or 0,
        memory_and_swap=host.get("MemorySwap") or 0,
        shared_memory=host.get("ShmSize") or 0,
        cpu=host.get("CpuQuota") or 0,
        ulimits={limit["Name"]: limit["Hard"] for limit in host["Ulimits"] or []},
        logging=(host["LogConfig"]["Type"], frozenset(host["LogConfig"]["Config"] or {})),
        init=host.get("Init") is True,
        of_the_host=of_the_host | ({"cgroup"} if host["CgroupnsMode"] != "private" else set()),
        devices=any(host[kind] for kind in ("Devices", "DeviceCgroupRules", "DeviceRequests")),
        cgroup_parent=host["CgroupParent"],
        network=",".join(sorted(name.removeprefix(f"{project}_") for name in seen["NetworkSettings"]["Networks"])),
        tmpfs={path: set(options.split(",")) for path, options in (host.get("Tmpfs") or {}).items()},
        mounts={mount["Destination"]: container_mount(mount, project) for mount in seen["Mounts"]},
        ports=ports + ([("every port", "")] if host["PublishAllPorts"] else []),
        home=f"/home/{environment.get('JUPYTER_USERNAME')}",
        command=config["Cmd"] or [],
        entrypoint=config["Entrypoint"] or [],
        health=(health.get("Test", []), {pace for pace, name in PACES.items() if health.get(name)}),
        restart=host["RestartPolicy"]["Name"],
        waits_for={":".join(needed.split(":")[:2]) for needed in waits_for},
    )


def foreign(namespace: str) -> bool:
    """Is a mode the host's or another container's?"""
    return namespace.startswith(("host", "container:", "service:", "shareable"))


# --- the checks ---------------------------------------------------------------------------------------
Check = Callable[[Facts], bool]


def numeric(user: str) -> bool:
    return bool(re.fullmatch(r"[1-9]\d*:[1-9]\d*", user))


def sized(facts: Facts, path: str, options: Iterable[str]) -> bool:
    """Does the tmpfs at `path` have one size and exactly these other options?"""
    found = facts.tmpfs.get(path, set())
    sizes = {option for option in found if re.fullmatch(r"size=\d+[kmg]", option)}
    return len(sizes) == 1 and found - sizes == {*options}


def private(facts: Facts, path: str, programs: str) -> bool:
    """Does the tmpfs at `path` have a size, and belong to the user alone? `programs` is exec or noexec."""
    uid, _, gid = facts.user.partition(":")
    return sized(facts, path, {programs, f"uid={uid}", f"gid={gid}", *PRIVATE})


def sources(facts: Facts) -> dict[str, tuple[str, str]]:
    """Kind and source of each mount by its path. A source in the project's folder begins with ./ ."""
    data = facts.mounts.get(f"{facts.home}/data")
    project = data.source.removesuffix("data") if data else "./"
    return {
        path: (mount.kind, re.sub(f"^{re.escape(project)}", "./", mount.source)) for path, mount in facts.mounts.items()
    }


def work(facts: Facts, *places: str) -> dict[str, tuple[str, str]]:
    return {f"{place}/{name}": ("bind", f"./{name}") for place in (facts.home, *places) for name in WORK}


SOCKETS = {"/run/kernels": ("volume", "sockets")}
STATE = {"/var/lib/server": ("volume", "server")}
TLS = {f"/run/certs/{name}": ("bind", f"./certs/{name}") for name in ("server.pem", "server.key")}
KEPT = {"/var/lib/lab": ("volume", "kept")}


def server_mounts(facts: Facts) -> bool:
    """True if data/, notebooks/, the token, its volumes and, with TLS, certificate and key are the only mounts."""
    expected = {**work(facts), f"/run/{TOKEN}": ("bind", f"./{TOKEN}"), **SOCKETS, **STATE}
    return sources(facts) in (expected, {**expected, **TLS})


def lab_mounts(facts: Facts) -> bool:
    """True if data/, notebooks/, its volumes, certificates and git's history are the only mounts."""
    found = sources(facts)
    # LAB_CA_BUNDLE and LAB_GIT in .env may name other files.
    certificates, history = found.pop("/run/ca.pem", None), found.pop("/workspace/.git", None)
    return (
        found == {**work(facts, "/workspace"), **SOCKETS, **KEPT, "/var/cache/lab": ("volume", "cache")}
        and certificates in (("bind", f"./{EMPTY_CA}"), ("bind", os.environ.get("LAB_CA_BUNDLE")))
        and history in (("bind", f"./{EMPTY_GIT}"), ("bind", "./.git"))
    )


def packages_mounts(facts: Facts) -> bool:
    """True if the certificates and the bundle of a restored project are the only mounts."""
    places = {path: mount.source for path, mount in facts.mounts.items()}
    project = places.get("/bundle", "").removesuffix("/lab/bundle")
    certificates = places.pop("/run/ca.pem", None)
    return (
        places == {"/bundle": f"{project}/lab/bundle"}
        and certificates in (f"{project}/{EMPTY_CA}", os.environ.get("LAB_CA_BUNDLE"))
        and all(mount.kind == "bind" for mount in facts.mounts.values())
    )


def egress_mounts(facts: Facts) -> bool:
    """True if the allowlist and the folder of the record are the only mounts."""
    places = {path: mount.source for path, mount in facts.mounts.items()}
    project = places.get("/run/egress", "").removesuffix("/egress")
    expected = {"/run/egress": f"{project}/egress", "/var/log/egress": f"{project}/egress/log"}
    return places == expected and all(mount.kind == "bind" for mount in facts.mounts.values())


def cluster_mounts(facts: Facts, role: str, expected: dict[str, tuple[str, str]]) -> bool:
    """True if the certificates of the site, those of this role and `expected` are the only mounts."""
    places = {path: mount.source for path, mount in facts.mounts.items()}
    project = places.get("/run/cluster", "").removesuffix(f"/secrets/cluster/{role}")
    certificates = places.pop("/run/ca.pem", None)
    found = {path: (facts.mounts[path].kind, source.replace(project, ".", 1)) for path, source in places.items()}
    return found == {
        "/run/cluster": ("bind", f"./secrets/cluster/{role}"),
        **expected,
    } and certificates in (f"{project}/{EMPTY_CA}", os.environ.get("LAB_CA_BUNDLE"))


def read_only(facts: Facts, *paths: str) -> bool:
    return all(path in facts.mounts and not facts.mounts[path].writable for path in paths)


HARDENED: dict[str, Check] = {
    "a numeric user that is not root": lambda facts: numeric(facts.user),
    "no further groups": lambda facts: not facts.groups,
    "not privileged": lambda facts: not facts.privileged,
    "no capabilities": lambda facts: facts.dropped == ["ALL"] and not facts.added,
    "no new privileges": lambda facts: "no-new-privileges:true" in facts.security,
    "the lab's seccomp profile": lambda facts: [o for o in facts.security if o.startswith("seccomp")] == [SECCOMP],
    # apparmor=, label= and systempaths= turn off protections that the engine adds by itself.
    "AppArmor and SELinux are not turned off": lambda facts: {*facts.security} <= {"no-new-privileges:true", SECCOMP},
    "read-only root": lambda facts: facts.read_only,
    "limited processes": lambda facts: 0 < facts.processes <= 4096,
    "limited memory": lambda facts: facts.memory > 0,
    "no swap": lambda facts: facts.memory_and_swap == facts.memory,
    "limited CPUs": lambda facts: facts.cpu > 0,
    "no core dumps": lambda facts: facts.ulimits.get("core") == 0,
    "limited open files": lambda facts: 0 < facts.ulimits.get("nofile", 0) <= 65536,  # -1 is no limit
    "bounded logs": lambda facts: facts.logging[0] == "json-file" and {"max-size", "max-file"} <= facts.logging[1],
    "an init": lambda facts: facts.init,
    "no host namespaces": lambda facts: not facts.of_the_host,
    "no devices": lambda facts: not facts.devices,
    "the engine's own cgroup": lambda facts: not facts.cgroup_parent,
    "a sized /tmp without programs": lambda facts: sized(facts, "/tmp", ["mode=1777", "noexec", "nosuid", "nodev"]),
    "mounts with SELinux's label": lambda facts: all(mount.label for mount in facts.mounts.values()),
    "mounts that the host does not see": lambda facts: not any(mount.shared for mount in facts.mounts.values()),
}

# The services that have a home.
AT_HOME: dict[str, Check] = {
    **HARDENED,
    "no other tmpfs": lambda facts: facts.tmpfs.keys() == {"/tmp", "/run/lab", facts.home},
    "a sized private /run/lab without programs": lambda facts: private(facts, "/run/lab", "noexec"),
    "a sized private home": lambda facts: private(facts, facts.home, "exec"),
}

# The services that see the user's work, and may change it.
AT_WORK: dict[str, Check] = {
    **AT_HOME,
    "writable work": lambda facts: all(m.writable for path, m in facts.mounts.items() if path.endswith(WORK)),
}

PREPARED = "prepare:service_completed_successfully"

QUIET = ("--fail", "--silent", "--noproxy", "*", "--output", "/dev/null")
CLUSTER: dict[str, Check] = {
    **AT_HOME,
    "a network without the server": lambda facts: facts.network == "default",
    "no port": lambda facts: not facts.ports,
    "back after an engine restart": lambda facts: facts.restart == "unless-stopped",
    "waits for prepare": lambda facts: facts.waits_for == {PREPARED},
}

CHECKS: dict[str, dict[str, Check]] = {
    "server": {
        **AT_WORK,
        "expected mounts only": server_mounts,
        "read-only token and sockets": lambda facts: read_only(
            facts, f"/run/{TOKEN}", "/run/kernels", *TLS.keys() & facts.mounts.keys()
        ),
        "a network of its own": lambda facts: facts.network == "server",
        "one port, on loopback": lambda facts: facts.ports == [("8888/tcp", "127.0.0.1")],
        "a health check that connects": lambda facts: (
            facts.health == (["CMD", "bash", "/opt/labdock/healthcheck.sh"], {*PACES})
        ),
        "back after an engine restart": lambda facts: facts.restart == "unless-stopped",
        "waits for prepare and lab": lambda facts: facts.waits_for == {PREPARED, "lab:service_started"},
        "serves": lambda facts: facts.command == ["server"],
    },
    "lab": {
        **AT_WORK,
        "expected mounts only": lab_mounts,
        "read-only certificates and history": lambda facts: read_only(facts, "/run/ca.pem", "/workspace/.git"),
        "a network without the server": lambda facts: facts.network == "default",
        "no port": lambda facts: not facts.ports,
        "a health check that asks the agent": lambda facts: (
            facts.health == (["CMD", "/opt/jupyter/bin/python", "-IS", "/opt/labdock/agent_check.py"], {*PACES})
        ),
        "back after an engine restart": lambda facts: facts.restart == "unless-stopped",
        "waits for prepare": lambda facts: facts.waits_for == {PREPARED},
        "runs notebooks": lambda facts: facts.command == ["lab"],
        "shared memory up to the limit": lambda facts: facts.shared_memory == facts.memory,
    },
    "prepare": {
        **AT_WORK,
        "expected mounts only": lambda facts: (
            sources(facts)
            in (
                prepared := {**work(facts), "/run/secrets": ("bind", "./secrets"), **KEPT, **STATE},
                {**prepared, "/run/certs": ("bind", "./certs")},
            )
        ),
        "only prepares": lambda facts: facts.command == ["prepare"],
        "no network": lambda facts: facts.network == "none" and not facts.ports,
        "runs once": lambda facts: facts.restart == "no",
    },
    "egress": {
        **HARDENED,
        "no other tmpfs": lambda facts: facts.tmpfs.keys() == {"/tmp"},
        "expected mounts only": egress_mounts,
        "a read-only list": lambda facts: read_only(facts, "/run/egress") and not read_only(facts, "/var/log/egress"),
        "the lab's network and one that leads out": lambda facts: facts.network == "isolated,outside",
        "no port": lambda facts: not facts.ports,
        "a health check that asks the proxy": lambda facts: (
            facts.health == (["CMD", "/opt/jupyter/bin/python", "-IS", "/opt/labdock/egress/check.py"], {*PACES})
        ),
        "back after an engine restart": lambda facts: facts.restart == "unless-stopped",
        "waits for prepare": lambda facts: facts.waits_for == {PREPARED},
        "runs the proxy of the image": lambda facts: (
            facts.entrypoint == ["/opt/jupyter/bin/python", "-I", "/opt/labdock/egress/proxy.py"] and not facts.command
        ),
    },
    "scheduler": {
        **CLUSTER,
        "expected mounts only": lambda facts: cluster_mounts(facts, "scheduler", {}),
        "read-only mounts": lambda facts: read_only(facts, *facts.mounts),
        "a health check that asks the scheduler": lambda facts: (
            facts.health == (["CMD", "curl", *QUIET, "http://127.0.0.1:8790/health"], {*PACES})
        ),
        "schedules": lambda facts: facts.command == ["scheduler"],
    },
    "worker": {
        **CLUSTER,
        "expected mounts only": lambda facts: cluster_mounts(
            facts,
            "worker",
            {f"{facts.home}/data": ("bind", "./data"), "/var/cache/lab": ("volume", "scratch")},
        ),
        "read-only data and certificates": lambda facts: read_only(
            facts, f"{facts.home}/data", "/run/ca.pem", "/run/cluster"
        ),
        "a health check that asks the worker": lambda facts: (
            facts.health == (["CMD", "test", "-e", "/run/lab/joined"], {*PACES})
        ),
        "works": lambda facts: facts.command == ["worker"],
    },
    "packages": {
        **HARDENED,
        "no other tmpfs": lambda facts: facts.tmpfs.keys() == {"/tmp"},
        "expected mounts only": packages_mounts,
        "read-only mounts": lambda facts: read_only(facts, *facts.mounts),
        "a network without the server": lambda facts: facts.network == "default",
        "no port": lambda facts: not facts.ports,
        "runs once": lambda facts: facts.restart == "no",
    },
}


def failed(service: str, facts: Facts) -> set[str]:
    """The names of the checks of `service` that its facts do not pass."""
    return {name for name, check in CHECKS[service].items() if not check(facts)}


def failing(service: str, seen: Inspect) -> set[str]:
    """The names of the checks that the container of `service` does not pass."""
    return failed(service, of_container(seen))


# --- AppArmor -----------------------------------------------------------------------------------------
def security_options(project: Project) -> list[str]:
    """The engine's security options (seccomp, AppArmor and others). The engine may know more than a test."""
    options = json.loads(project.run("docker", "info", "--format", "{{json .SecurityOptions}}").stdout)
    assert any(option.startswith("name=seccomp") for option in options), options
    return options


def confined(options: list[str], profile: str) -> bool:
    """Is `profile` the AppArmor profile that a container must have on an engine with these `options`?"""
    return profile == ("docker-default" if "name=apparmor" in options else "")


# --- the image ----------------------------------------------------------------------------------------
IMAGE: dict[str, Callable[[Inspect], bool]] = {
    "a numeric user that is not root": lambda seen: numeric(seen["Config"]["User"]),
    "starts through the checks": lambda seen: seen["Config"]["Entrypoint"] == ["sh", "/opt/labdock/entrypoint.sh"],
    "nothing but paths and names in the environment": lambda seen: (
        {line.partition("=")[0] for line in seen["Config"]["Env"]}
        <= {"PATH", "PYTHONPATH", "LANG", "GPG_KEY", "PYTHON_VERSION", "PYTHON_SHA256", *FOLDERS}
        | {"BOKEH_RESOURCES", "PANEL_INLINE", "HOLOVIEWSRC", "MATPLOTLIBRC"}
    ),
}

# Each command must print nothing. The image's user runs it.
FILES: dict[str, str] = {
    "setuid or setgid files": "find / -xdev -type f -perm /6000 2>/dev/null",
    "files that the user can write": (
        "find /opt /etc /usr /bin /lib /sbin /var/lib -writable ! -type l ! -path '/var/lib/lab*'"
        " ! -path '/var/lib/server*' 2>/dev/null"
    ),
    "programs or settings of another owner": "find /opt /etc /usr -xdev ! -uid 0 2>/dev/null",
    "build tools": "for tool in gcc cc make uv; do command -v $tool; done",
    "package lists and caches": "find /var/lib/apt/lists /var/cache/apt /root/.cache -type f -size +0 2>/dev/null",
    "the build's certificates": "ls /run/secrets/ca /etc/apt/apt.conf.d/99-site-ca 2>/dev/null",
    "logs and backups of the build": "find /var/log /etc/passwd- /etc/shadow- -type f 2>/dev/null",
}
