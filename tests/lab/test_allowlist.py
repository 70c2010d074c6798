"""The rules of egress/allowlist.txt: which lines are domains, what they stand for, and which addresses are allowed."""

from pathlib import Path

import pytest

from tests.support.build_programs import load

allowlist = load("allowlist", "server/{% if network == 'allowlist' %}egress{% endif %}")

# Line -> a word of the sentence that refuses it.
WRONG = {
    "https://files.example.org/a": "Write 'files.example.org'",
    "files.example.org/a": "Write 'files.example.org'",
    "*.example.org": "Write '.example.org'",
    "files.example.org:8443": "contains a port",
    "192.0.2.7": "is an address",
    "[2001:db8::1]": "is an address",
    "http://192.0.2.7:80/": "is an address",
    "bücher.example": "Write 'xn--bcher-kva.example'",
    "localhost": "Write one domain",
    ".org": "Write one domain",
    "a b.example": "Write one domain",
    "-a.example": "Write one domain",
    "a..example": "Write one domain",
    "a.example.": "Write one domain",
    "1.2.3.4.5": "Write one domain",
    "x." * 130 + "example": "Write one domain",
}
ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010612AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""
ROUTES6 = f"""fd000000000000000000000000000000 40 {"0" * 32} 00 {"0" * 32} 00000100 00000001 00000000 00000001 eth0
{"0" * 32} 00 {"0" * 32} 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003 eth0
"""


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(ValueError, match=r"egress/allowlist\.txt, line 3: ") as refused:
        allowlist.parse(f"# comment\ngood.example\n{line}\n")
    assert WRONG[line] in str(refused.value)


def test_comments_spaces_and_capitals_are_no_fault() -> None:
    assert allowlist.parse("\n  Files.Example.org # ours\n#\n.example.NET\r\n") == ["files.example.org", ".example.net"]


def test_a_line_stands_for_one_domain_and_with_a_dot_for_its_subdomains() -> None:
    domains = ["one.example", ".wide.example"]
    listed = ["one.example", "ONE.example.", "wide.example", "a.b.wide.example"]
    assert [host for host in listed if not allowlist.listed(host, domains)] == []
    others = ["a.one.example", "xone.example", "one.example.net", "xwide.example", "example", ""]
    assert [host for host in others if allowlist.listed(host, domains)] == []


def test_the_proxys_own_networks_and_special_addresses_are_refused() -> None:
    networks = allowlist.attached(ROUTES, ROUTES6)
    assert networks == ["172.18.0.0/255.255.0.0", "fd00::/64"]
    refused = ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1%eth0", "0.0.0.0", "224.0.0.1", "::"]
    refused += ["172.18.0.1", "::ffff:172.18.0.1", "fd00::1", "64:ff9b::7f00:1"]
    assert [address for address in refused if allowlist.allowed(address, networks)] == []
    allowed = ["192.0.2.7", "10.0.0.1", "172.19.0.1", "2001:db8::1", "fd01::1"]
    assert [address for address in allowed if not allowlist.allowed(address, networks)] == []


def test_a_missing_list_is_empty_and_an_unreadable_one_is_refused(tmp_path: Path) -> None:
    assert allowlist.read(tmp_path / "allowlist.txt") == []
    (tmp_path / "allowlist.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="UTF-8"):
        allowlist.read(tmp_path / "allowlist.txt")
