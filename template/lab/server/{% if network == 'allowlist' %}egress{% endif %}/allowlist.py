"""Reads egress/allowlist.txt, and decides which names and addresses the proxy may connect to."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

FILE = "egress/allowlist.txt"  # as its reader sees it
LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
DOMAIN = re.compile(rf"\.?({LABEL}\.)+(?![0-9-]+$){LABEL}")
TRANSLATED = ip_network("64:ff9b::/96")  # IPv4 addresses in an IPv6 network (RFC 6052)


def parse(text: str) -> list[str]:
    """The domains in the list. A domain with a dot at its start stands for its subdomains too.

    Raises ValueError, which names the line, if a line is not a domain.
    """
    domains = []
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.partition("#")[0].strip().lower()
        if entry and (len(entry) > 254 or not DOMAIN.fullmatch(entry)):
            raise ValueError(f"{FILE}, line {number}: '{entry}' {fault(entry)}")
        domains += [entry] if entry else []
    return domains


def fault(entry: str) -> str:
    """What is wrong with a line, and what to write instead."""
    name = re.sub(r"^[a-z]+://", "", entry).partition("/")[0].rpartition("@")[2]
    if address(name.strip("[]")) or address(name.rpartition(":")[0].strip("[]")):
        return "is an address. Write the name of the server."
    if name != entry:
        return f"is not a domain. Write '{name}'."
    if entry.startswith("*."):
        return f"is not a domain. Write '{entry[1:]}', which also means its subdomains."
    if re.search(r":\d+$", entry):
        return f"contains a port. Write '{entry.rpartition(':')[0]}'. Only the ports 80 and 443 are allowed."
    if not entry.isascii():
        try:
            return f"contains letters that are not ASCII. Write '{entry.encode('idna').decode()}'."
        except UnicodeError:
            pass
    return "is not a domain. Write one domain on a line, such as example.org."


def read(file: Path) -> list[str]:
    """The domains in `file`. A missing file is an empty list. Raises ValueError if the list cannot be used."""
    try:
        return parse(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return []
    except UnicodeDecodeError:
        raise ValueError(f"{FILE} is not a text in UTF-8. Save it as UTF-8.") from None
    except OSError as error:
        raise ValueError(f"{FILE} cannot be read: {error.strerror}. Run 'chmod a+r {FILE}'.") from None


def listed(host: str, domains: list[str]) -> bool:
    """Does a domain of the list stand for `host`?"""
    host = host.lower().removesuffix(".")
    return any(host == each.removeprefix(".") or (each[0] == "." and host.endswith(each)) for each in domains)


def address(text: str) -> bool:
    """Is the text an IP address?"""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def attached(routes: str, routes6: str) -> list[str]:
    """The networks that this container is a part of, from the tables of Linux (/proc/net/route and ipv6_route)."""
    found = []
    for line in routes.splitlines()[1:]:
        _, target, gateway, _, _, _, _, mask, *_ = line.split()
        if int(gateway, 16) == 0 != int(mask, 16):
            number, netmask = (IPv4Address(bytes.fromhex(each)[::-1]) for each in (target, mask))
            found.append(f"{number}/{netmask}")
    for line in routes6.splitlines():
        target, length, _, _, gateway, *_ = line.split()
        if int(gateway, 16) == 0 != int(length, 16):
            found.append(f"{IPv6Address(bytes.fromhex(target))}/{int(length, 16)}")
    return found


def allowed(text: str, attached: list[str]) -> bool:
    """May the proxy connect to this IP address? `attached` are the networks that the proxy itself is a part of.

    A listed name must not lead to the proxy, to the machine at its address in these networks, or to a cloud's metadata.
    """
    found = ip_address(text.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    elif isinstance(found, IPv6Address) and found in TRANSLATED:
        found = ip_address(int(found) & 0xFFFFFFFF)
    if found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified or found.is_reserved:
        return False
    return not any(found in ip_network(each) for each in attached)
