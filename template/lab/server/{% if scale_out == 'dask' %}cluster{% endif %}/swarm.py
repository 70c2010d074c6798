"""Makes the request that gives a service of Docker's Swarm what compose.yaml says about the service `worker`.

The arguments are a value for the label of the service, by which a service with all protections is known, the number of
workers, and a folder that all machines share, for `data/`, or nothing. The input has three JSON documents: the output
of `docker service inspect`, the output of `docker compose config`, and the seccomp profile. The output is a request to
the engine's API.
"""

import base64
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

UNITS = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
ELSEWHERE = ("/run/cluster", "/run/ca.pem")  # secrets and configs of the Swarm
SCRATCH = "/var/cache/lab"  # on a volume without a name, which ends with the worker
# What this program gives to the Swarm, and what a service of a Swarm does not need.
TRANSLATED = {
    *("user", "init", "read_only", "cap_drop", "security_opt", "ulimits", "environment", "tmpfs", "volumes"),
    *("healthcheck", "stop_grace_period", "mem_limit", "memswap_limit", "cpu_quota", "pids_limit", "logging", "image"),
    *("cgroup", "depends_on", "pull_policy", "restart", "scale"),
}
USUAL = {"command": ["worker"], "networks": {"default": None}}
IN_A_VOLUME = {"type", "source", "target", "read_only", "bind"}


def documents(text: str) -> Iterator[Any]:
    """The JSON documents in a text, one after another."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        found, end = decoder.raw_decode(text)
        text = text[end:]
        yield found


def plain(value: Any) -> Any:
    """The same value, in which `docker compose config` has not doubled each dollar sign."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.replace("$$", "$") if isinstance(value, str) else value


def lost(what: str) -> None:
    """End, because the Swarm's workers would not have this."""
    sys.exit(f"a Swarm's worker cannot have {what}. Remove it from the service worker in compose.override.yaml")


def check(worker: dict[str, Any]) -> None:
    """Refuse what would be lost: no worker runs with less than compose.yaml says."""
    for name, value in worker.items():
        if value and name not in TRANSLATED and value != USUAL.get(name):
            lost(f"'{name}'")
    for each in worker["volumes"]:
        if each["type"] not in ("bind", "volume") or any(
            value for key, value in each.items() if key not in IN_A_VOLUME
        ):
            lost(f"this kind of volume at {each['target']}")


def nanoseconds(duration: str) -> int:
    """The length of a duration in Go's form, such as 1m30s."""
    return int(sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([0-9.]+)(h|ms|m|s)", duration)) * 1e9)


def size(text: str) -> int:
    """Bytes of a size in Docker's form, such as 1g."""
    found = re.fullmatch(r"(\d+)([bkmg]?)", text.lower())
    if not found:
        lost(f"a tmpfs of the size {text}")
    number, unit = found.groups()
    return int(number) * 1024 ** "bkmg".index(unit or "b")


def in_memory(line: str) -> dict[str, Any]:
    """A mount in memory. The engine gives it to root, so everyone can write it: no other user is in the container."""
    target, _, options = line.partition(":")
    values = dict(each.partition("=")[::2] for each in options.split(","))
    run = [["exec"]] if "exec" in values else []
    return {
        "Type": "tmpfs",
        "Target": target,
        "TmpfsOptions": {"SizeBytes": size(values.get("size", "0")), "Mode": 0o1777, "Options": run},
    }


def mounts(worker: dict[str, Any], volumes: dict[str, Any], data: str) -> Iterator[dict[str, Any]]:
    """All mounts. Of the project's folders, the other machines have only the shared one."""
    yield from map(in_memory, worker["tmpfs"])
    for each in worker["volumes"]:
        target, source = each["target"], each.get("source")
        if target in ELSEWHERE:
            continue
        mount = {"Type": each["type"], "Target": target, "ReadOnly": each.get("read_only", False)}
        if target == worker["environment"]["HOME"] + "/data":
            source = data
            if not data:
                continue
        elif each["type"] == "volume":
            source = volumes[source]["name"] if target != SCRATCH else None
        yield mount | ({"Source": source} if source else {})


def health(check: dict[str, Any]) -> dict[str, Any]:
    return {
        "Test": check["test"],
        "Retries": check["retries"],
        "Timeout": nanoseconds(check["timeout"]),
        "Interval": nanoseconds(check["interval"]),
        "StartPeriod": nanoseconds(check["start_period"]),
        "StartInterval": nanoseconds(check["start_interval"]),
    }


def privileges(options: list[str], seccomp: dict[str, Any]) -> dict[str, Any]:
    profile = base64.b64encode(json.dumps(seccomp).encode()).decode()
    found: dict[str, Any] = {}
    for option in options:
        if option == "no-new-privileges:true":
            found["NoNewPrivileges"] = True
        elif re.fullmatch(r"seccomp[=:].*/lab/runtime/seccomp\.json", option):
            found["Seccomp"] = {"Mode": "custom", "Profile": profile}
        else:
            lost(f"security_opt '{option}'")
    return found


def ulimit(name: str, value: Any) -> dict[str, Any]:
    """A limit of each process: a number, or one for each of `soft` and `hard`. Compose prints nothing for 0."""
    both = value if isinstance(value, dict) else {"soft": value, "hard": value}
    return {"Name": name, "Soft": both.get("soft", 0), "Hard": both.get("hard", 0)}


def task(given: dict[str, Any], project: dict[str, Any], seccomp: dict[str, Any], data: str) -> dict[str, Any]:
    """What each worker is, with the protections and limits of compose.yaml."""
    worker = project["services"]["worker"]
    check(worker)
    container = {
        "User": worker["user"],
        "Init": worker["init"],
        "ReadOnly": worker["read_only"],
        "CapabilityDrop": worker["cap_drop"],
        "Privileges": privileges(worker["security_opt"], seccomp),
        "Ulimits": [ulimit(*each) for each in worker["ulimits"].items()],
        "Env": [f"{name}={value}" for name, value in worker["environment"].items() if value is not None],
        "Mounts": list(mounts(worker, project["volumes"], data)),
        "Healthcheck": health(worker["healthcheck"]),
        "StopGracePeriod": nanoseconds(worker["stop_grace_period"]),
    }
    limits = {
        "MemoryBytes": int(worker["mem_limit"]),
        "NanoCPUs": int(worker["cpu_quota"]) * 10_000,
        "Pids": int(worker["pids_limit"]),
    }
    return given | {
        "ContainerSpec": given["ContainerSpec"] | container,
        "Resources": {"Limits": limits, "SwapBytes": 0},  # Docker 28 and older ignore SwapBytes
        "LogDriver": {"Name": worker["logging"]["driver"], "Options": worker["logging"]["options"]},
    }


def main(recipe: str, workers: str, data: str, text: str) -> str:
    (service,), project, seccomp = documents(text)
    spec = service["Spec"] | {
        "Labels": {"labdock.recipe": recipe},
        "Mode": {"Replicated": {"Replicas": int(workers)}},
        "TaskTemplate": task(service["Spec"]["TaskTemplate"], plain(project), seccomp, data),
    }
    body = json.dumps(spec)
    return (
        f"POST /services/{service['ID']}/update?version={service['Version']['Index']} HTTP/1.1\r\nHost: docker\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
    )


if __name__ == "__main__":
    sys.stdout.write(main(*sys.argv[1:], sys.stdin.read()))
