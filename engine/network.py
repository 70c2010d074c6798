"""The tools for the network of an unpacked engine, and the functions that undo Docker's changes."""

import fcntl
import re
import socket
import struct
from pathlib import Path

from engine.common import must, run

# Docker turns on IP forwarding and sets the policy of the chain FORWARD to DROP. This stops the packets that other
# programs forward.
FORWARDING = {
    "iptables": Path("/proc/sys/net/ipv4/ip_forward"),
    "ip6tables": Path("/proc/sys/net/ipv6/conf/all/forwarding"),
}
BRIDGE = r"(docker0|docker_gwbridge|br-[0-9a-f]{12})"
WRAPPER = """#!/bin/sh
export LD_LIBRARY_PATH={libraries} XTABLES_LIBDIR={libraries}/xtables
exec {program} {tool} "$@"
"""
IFF_UP, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCBRDELBR = 1, 0x8913, 0x8914, 0x89A1


def wrap_iptables(packages: Path, folder: Path) -> None:
    """Write scripts that call the unpacked iptables with its own libraries and extensions."""
    libraries = next((packages / "usr/lib").glob("*/xtables")).parent
    program = packages / "usr/sbin/xtables-nft-multi"
    folder.mkdir(parents=True, exist_ok=True)
    for tool in (family + part for family in FORWARDING for part in ("", "-save", "-restore")):
        script = folder / tool
        script.write_text(WRAPPER.format(libraries=libraries, program=program, tool=tool))
        script.chmod(0o755)


def forwarding(tools: Path) -> dict[str, list[str]]:
    """Tool -> the forwarding switch ("0" or "1") and the policy of the chain FORWARD.

    A tool is missing if the Linux kernel lacks its address family.
    """
    found = {}
    for tool, switch in FORWARDING.items():
        if switch.exists():
            rules = run(tools / f"{tool}-save", "-t", "filter").stdout
            policy = re.search(r"^:FORWARD (\w+)", rules, re.MULTILINE)
            found[tool] = [switch.read_text().strip(), policy[1] if policy else "ACCEPT"]
    return found


def restore(before: dict[str, list[str]], tools: Path) -> None:
    """Remove Docker's rules and bridges. Set forwarding back to `before`, a result of `forwarding`."""
    for tool, (switch, policy) in before.items():
        rules = tools / "rules"
        rules.write_text(without_docker(run(tools / f"{tool}-save").stdout, policy))
        must(tools / f"{tool}-restore", rules)
        if FORWARDING[tool].read_text().strip() != switch:
            FORWARDING[tool].write_text(switch)
    for _, interface in socket.if_nameindex():
        if re.fullmatch(BRIDGE, interface):
            remove_bridge(interface)


def without_docker(rules: str, policy: str) -> str:
    """The output of iptables-save without Docker's rules and with this FORWARD policy."""
    docker = re.compile(rf"\bDOCKER\b|\b{BRIDGE}\b")
    kept = (line for line in rules.splitlines(keepends=True) if not docker.search(line))
    return re.sub(r"^:FORWARD DROP", f":FORWARD {policy}", "".join(kept), flags=re.MULTILINE)


def remove_bridge(name: str) -> None:
    """Set a bridge down and delete it, as `ip link delete` of iproute2 would."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as control:
        request = struct.pack("16sh14x", name.encode(), 0)
        _, flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", name.encode(), flags & ~IFF_UP))
        fcntl.ioctl(control, SIOCBRDELBR, name.encode() + b"\0")
