"""lab/runtime/podman.yaml follows compose.yaml and drops only what Podman cannot do."""

import re
from copy import deepcopy
from typing import Any

import pytest
import yaml

from tests.support.compose import rendered_compose
from tests.support.variants import TEMPLATE

SERVICES = ("prepare", "server", "lab", "packages")
Services = dict[str, dict[str, Any]]


class Loader(yaml.SafeLoader):
    """Reads the values under Compose's own tags."""


Loader.add_constructor("!reset", lambda loader, node: None)
Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


def podman() -> Services:
    services = yaml.load((TEMPLATE / "lab/runtime/podman.yaml").read_text(encoding="utf-8"), Loader)["services"]
    return {name: {key: value for key, value in service.items() if key != "<<"} for name, service in services.items()}


def plain(tmpfs: str) -> tuple[str, frozenset[str]]:
    """The path, and the options except those for the owner."""
    path, size, options = re.fullmatch(r"(.*?):(size=[^,]+),(.*)", tmpfs).groups()
    kept = [option for option in options.split(",") if not re.match("uid=|gid=|U$|notmpcopyup$", option)]
    return path.replace("/var/run/", "/run/"), frozenset([size, *kept])


def faults(own: Services) -> list[str]:
    """What the services of podman.yaml lack or add, compared with compose.yaml."""
    compose = rendered_compose()["services"]
    found = [f"{name}: missing" for name in SERVICES if name not in own]
    for name, service in own.items():
        if unknown := service.keys() - {"userns_mode", "security_opt", "tmpfs", "healthcheck"}:
            found.append(f"{name}: {unknown}")
        if service.get("userns_mode") != "keep-id":
            found.append(f"{name}: userns_mode")
        if service["security_opt"] != [o for o in compose[name]["security_opt"] if not o.startswith("seccomp=")]:
            found.append(f"{name}: security_opt")
        if {*map(plain, service.get("tmpfs", compose[name]["tmpfs"]))} != {*map(plain, compose[name]["tmpfs"])}:
            found.append(f"{name}: tmpfs")
        if service.get("healthcheck", {"start_interval": None}) != {"start_interval": None}:
            found.append(f"{name}: healthcheck")
    return found


def test_it_drops_nothing_else() -> None:
    assert faults(podman()) == []


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [
        ("lab", "read_only", False),
        ("lab", "userns_mode", "host"),
        ("prepare", "security_opt", []),
        ("lab", "tmpfs", ["/tmp:size=1g,mode=1777,nosuid,nodev"]),
        ("lab", "healthcheck", {"disable": True}),
    ],
)
def test_a_loss_is_noticed(service: str, key: str, value: Any) -> None:
    own = deepcopy(podman())
    own[service][key] = value
    assert [fault for fault in faults(own) if fault.startswith(f"{service}: ")]
