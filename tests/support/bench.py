"""Sections 4 (images) and 5 (containers) of docker-bench-security, made again as checks on a running lab.

Numbers as in its version 1.6. Each check comes with a counterexample that it must refuse.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.support.hardening import CHECKS, HARDENED, IMAGE, no_devices

Facts = dict[str, Any]  # container and image: as the engine shows them; the rest is made by facts()


class Check(NamedTuple):
    meaning: str
    passes: Callable[[Facts], bool]
    path: str  # into Facts, where the counterexample differs
    bad: Any


def of_container(check: Callable[[dict[str, Any]], bool]) -> Callable[[Facts], bool]:
    return lambda facts: check(facts["container"])


def host(facts: Facts, key: str) -> Any:
    return facts["container"]["HostConfig"][key]


def sources(facts: Facts) -> set[str]:
    return {mount["Source"] for mount in facts["container"]["Mounts"]}


def bindings(facts: Facts) -> list[dict[str, str]]:
    return [binding for ports in host(facts, "PortBindings").values() for binding in ports]


def instructions(facts: Facts, *names: str) -> list[str]:
    """The Dockerfile's instructions of these names, each on one line."""
    lines = re.sub(r"\\\n\s*", " ", facts["dockerfile"]).splitlines()
    return [line for line in lines if line.split(" ")[0].upper() in names]


SYSTEM = {"/", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sys", "/usr", "/var", "/root", "/home"}
SECRETIVE = re.compile(r"passw|token|secret|api_?key|credential", re.IGNORECASE)

BENCH: dict[str, Check] = {
    "4.1": Check(
        "the image has a user",
        lambda facts: IMAGE["a numeric user that is not root"](facts["image"]),
        "image.Config.User",
        "",
    ),
    "4.2": Check(
        "from the official base image",
        lambda facts: (
            set(re.findall(r"^FROM (\S+)", facts["dockerfile"], re.MULTILINE)) == {"${PYTHON_IMAGE}", "build"}
            and "ARG PYTHON_IMAGE=python:" in facts["dockerfile"]
        ),
        "dockerfile",
        "FROM somebody/python\n",
    ),
    "4.3": Check("no tools of the build", lambda facts: not facts["build tools"], "build tools", "/usr/bin/gcc"),
    "4.6": Check(
        "the image says how its health is seen",
        lambda facts: bool(facts["image"]["Config"].get("Healthcheck")),
        "image.Config.Healthcheck",
        None,
    ),
    "4.7": Check(
        "no layer that only updates package lists",
        lambda facts: not any(re.search(r"(apt|apt-get) update\s*$", line) for line in instructions(facts, "RUN")),
        "dockerfile",
        "RUN apt-get update\n",
    ),
    "4.8": Check("no setuid or setgid file", lambda facts: not facts["setuid"], "setuid", "/usr/bin/su"),
    "4.9": Check("COPY, not ADD", lambda facts: not instructions(facts, "ADD"), "dockerfile", "ADD x /\n"),
    "4.10": Check(
        "no secret in the Dockerfile",
        lambda facts: not any(SECRETIVE.search(line) for line in instructions(facts, "ENV", "ARG", "LABEL")),
        "dockerfile",
        "ENV DB_PASSWORD=x\n",
    ),
    "4.11": Check(
        "packages are verified",
        lambda facts: (
            all("--require-hashes" in line for line in facts["build.sh"].splitlines() if "pip sync" in line)
            and "--require-hashes" in facts["build.sh"]
            and "unauthenticated" not in facts["build.sh"]
        ),
        "build.sh",
        "uv pip sync lock",
    ),
    "5.2": Check(
        "AppArmor, where the host has it",
        of_container(HARDENED["AppArmor where the host has it"]),
        "container.AppArmorProfile",
        "unconfined",
    ),
    "5.3": Check(
        "SELinux's label stays on",
        lambda facts: not any(o.startswith("label") for o in host(facts, "SecurityOpt")),
        "container.HostConfig.SecurityOpt",
        ["label=disable"],
    ),
    "5.4": Check(
        "no capability",
        of_container(HARDENED["no capabilities"]),
        "container.HostConfig.CapAdd",
        ["NET_ADMIN"],
    ),
    "5.5": Check("not privileged", of_container(HARDENED["not privileged"]), "container.HostConfig.Privileged", True),
    "5.6": Check(
        "no folder of the system",
        lambda facts: not sources(facts) & SYSTEM,
        "container.Mounts",
        [{"Source": "/etc"}],
    ),
    "5.7": Check(
        "no ssh server",
        lambda facts: "sshd" not in facts["processes"],
        "processes",
        ["tini", "sshd"],
    ),
    "5.8": Check(
        "no privileged port",
        lambda facts: all(int(b["HostPort"] or 0) == 0 or int(b["HostPort"]) >= 1024 for b in bindings(facts)),
        "container.HostConfig.PortBindings",
        {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": "80"}]},
    ),
    "5.9": Check(
        "the one port",
        of_container(CHECKS["lab"]["one port, on loopback"]),
        "container.HostConfig.PublishAllPorts",
        True,
    ),
    "5.10": Check(
        "a network of its own",
        lambda facts: host(facts, "NetworkMode") != "host",
        "container.HostConfig.NetworkMode",
        "host",
    ),
    "5.11": Check("limited memory", of_container(HARDENED["limited memory"]), "container.HostConfig.Memory", 0),
    "5.12": Check("processor shares", lambda facts: host(facts, "CpuShares") > 0, "container.HostConfig.CpuShares", 0),
    "5.13": Check(
        "read-only root",
        of_container(HARDENED["read-only root"]),
        "container.HostConfig.ReadonlyRootfs",
        False,
    ),
    "5.14": Check(
        "ports on a named address",
        lambda facts: all(b["HostIp"] not in ("", "0.0.0.0", "::") for b in bindings(facts)),
        "container.HostConfig.PortBindings",
        {"8888/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8888"}]},
    ),
    "5.15": Check(
        "at most five restarts, after failures only",
        lambda facts: (
            host(facts, "RestartPolicy")["Name"] == "on-failure"
            and host(facts, "RestartPolicy")["MaximumRetryCount"] <= 5
        ),
        "container.HostConfig.RestartPolicy",
        {"Name": "always", "MaximumRetryCount": 0},
    ),
    **{
        number: Check(
            f"{kind[:-4]} namespace of its own",
            lambda facts, kind=kind: host(facts, kind) != "host",
            f"container.HostConfig.{kind}",
            "host",
        )
        for number, kind in {"5.16": "PidMode", "5.17": "IpcMode", "5.21": "UTSMode", "5.31": "UsernsMode"}.items()
    },
    "5.18": Check("no device", of_container(no_devices), "container.HostConfig.Devices", [{"PathOnHost": "/dev/sda"}]),
    "5.19": Check(
        "limits of its own",
        of_container(HARDENED["limited open files"]),
        "container.HostConfig.Ulimits",
        None,
    ),
    "5.20": Check(
        "mounts that do not reach the host",
        lambda facts: not any("shared" in mount["Propagation"] for mount in facts["container"]["Mounts"]),
        "container.Mounts",
        [{"Source": "/work", "Propagation": "rshared"}],
    ),
    "5.22": Check(
        "a seccomp profile",
        of_container(HARDENED["no new privileges, the lab's seccomp profile"]),
        "container.HostConfig.SecurityOpt",
        ["no-new-privileges:true", "seccomp=unconfined"],
    ),
    "5.23": Check(
        "no privileged exec",
        lambda facts: "--privileged" not in facts["commands"],
        "commands",
        "docker compose exec --privileged lab sh",
    ),
    "5.24": Check(
        "no exec as root",
        lambda facts: not re.search(r"exec .*(--user|-u)\b", facts["commands"]),
        "commands",
        "docker compose exec --user 0 lab sh",
    ),
    "5.25": Check(
        "the engine's cgroup",
        lambda facts: host(facts, "CgroupParent") == "",
        "container.HostConfig.CgroupParent",
        "/",
    ),
    "5.26": Check(
        "no new privileges",
        lambda facts: "no-new-privileges:true" in host(facts, "SecurityOpt"),
        "container.HostConfig.SecurityOpt",
        [],
    ),
    "5.27": Check(
        "seen to be healthy",
        lambda facts: facts["container"]["State"].get("Health", {}).get("Status") == "healthy",
        "container.State.Health",
        {},
    ),
    "5.29": Check(
        "limited processes", of_container(HARDENED["limited processes"]), "container.HostConfig.PidsLimit", 0
    ),
    "5.30": Check(
        "not on the default bridge",
        lambda facts: "bridge" not in facts["container"]["NetworkSettings"]["Networks"],
        "container.NetworkSettings.Networks",
        {"bridge": {}},
    ),
    "5.32": Check(
        "no engine socket",
        lambda facts: not any(path.endswith(".sock") for path in sources(facts)),
        "container.Mounts",
        [{"Source": "/var/run/docker.sock"}],
    ),
}
