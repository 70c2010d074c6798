"""Another machine, in a network namespace, that notes every packet and answers on many ports."""

import asyncio
import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.isolated_engine import isolate
from tests.support.package_index import authority, signed
from tests.support.requirements import lacking

PORTS = (22, 53, 80, 443, 3128, 8080, 8443, 8888)
METADATA = "169.254.169.254"  # the address at which clouds tell a machine its passwords
OUTGOING, EVERY_PROTOCOL = 4, 3  # PACKET_OUTGOING, ETH_P_ALL
A, TEXT = 1, 16  # kinds of a question of DNS


@dataclass
class Sentinel:
    """The machine. It has two IPv4 addresses, an IPv6 address, and the one of a cloud's metadata."""

    host: str  # the address of this machine in their common network
    listed: str
    unlisted: str
    six: str
    ca: Path  # trusts the certificate of listed.example
    certificate: Path
    packets: list[str] = field(default_factory=list)  # the destination of each packet
    requests: list[str] = field(default_factory=list)  # "HOST REQUEST-LINE" of each HTTP request
    logins: list[str] = field(default_factory=list)  # what each request says to a proxy
    pages: dict[str, bytes] = field(default_factory=dict)  # by path: what it answers. Every other path: arrived
    questions: list[str] = field(default_factory=list)  # each name that DNS asked for
    names: dict[str, str] = field(
        default_factory=dict
    )  # what DNS answers. Every other name gets the address `unlisted`

    def arrived(self, *addresses: str) -> int:
        """The number of packets for these addresses."""
        return sum(to in addresses for to in self.packets)

    # --- what it listens to -------------------------------------------------------------------------
    def note_packets(self) -> None:
        """Note the destination of each packet that arrives, until the namespace ends."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL)) as every:
            self.listening.set()
            while True:
                frame, (_, protocol, kind, *_) = every.recvfrom(65535)
                if kind == OUTGOING:
                    continue
                if protocol == 0x0800:
                    self.packets.append(socket.inet_ntoa(frame[30:34]))
                elif protocol == 0x86DD:
                    self.packets.append(socket.inet_ntop(socket.AF_INET6, frame[38:54]))

    def __post_init__(self) -> None:
        self.listening = threading.Event()
        self.loop = asyncio.new_event_loop()

    async def listen(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        for port in PORTS:
            await asyncio.start_server(self.answer, "", port, ssl=context if port == 443 else None)
        for address in (self.listed, self.unlisted, self.six):  # one socket each, so that answers have this address
            for port in (53, 123, 443, 5000):
                await self.loop.create_datagram_endpoint(lambda: Names(self), (address, port))

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each HTTP request of a connection. A request for /away leads to the other address."""
        try:
            while line := (await reader.readline()).decode("latin-1").strip():
                host = login = ""
                while header := (await reader.readline()).decode("latin-1").strip():
                    name, _, value = header.lower().partition(":")
                    host = value.strip() if name == "host" else host
                    login = header.rpartition(" ")[2] if name == "proxy-authorization" else login
                self.requests.append(f"{host} {line}")
                self.logins.append(login)
                if line.startswith("CONNECT "):
                    await self.pass_on(int(line.split()[1].rpartition(":")[2]), reader, writer)
                    return
                body = self.pages.get(line.split()[1] if " " in line else "", b"arrived")
                away = "Location: http://unlisted.example/\r\n" if "/away" in line else ""
                status = "302 Found" if away else "200 OK"
                kind = "Content-Type: text/html\r\n"
                head = f"HTTP/1.1 {status}\r\n{away}{kind}Content-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
        except (OSError, ValueError):
            pass
        finally:
            writer.close()

    async def pass_on(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be the proxy of a site: pass the connection on to another port."""
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        from_there, to_there = await asyncio.open_connection(self.listed, port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, to_there), pump(from_there, writer))


class Names(asyncio.DatagramProtocol):
    """Answers questions of DNS, on any port."""

    def __init__(self, sentinel: Sentinel) -> None:
        self.sentinel = sentinel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str | object, int]) -> None:
        name, place = [], 12
        while place < len(data) and (length := data[place]):
            name.append(data[place + 1 : place + 1 + length].decode("latin-1"))
            place += length + 1
        asked = ".".join(name).lower()
        self.sentinel.questions.append(asked)
        kind = int.from_bytes(data[place + 1 : place + 3], "big")
        found = socket.inet_aton(self.sentinel.names.get(asked, self.sentinel.unlisted))
        record = {A: found, TEXT: b"\x07arrived"}.get(kind, b"") if asked.endswith(".example") else b""
        answer = data[:2] + struct.pack("!HHHHH", 0x8180, 1, bool(record), 0, 0) + data[12 : place + 5]
        if record:
            answer += struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(record)) + record
        self.transport.sendto(answer, address)  # type: ignore[attr-defined]


@contextmanager
def sentinel(folder: Path) -> Iterator[Sentinel]:
    """The machine, until the end of the block. `folder` gets its certificates."""
    if os.geteuid() or not shutil.which("ip") or not shutil.which("openssl"):
        lacking("only root with the programs ip and openssl can make another machine")
    number = os.getpid() % 200 + 20
    net = f"198.18.{number}"  # a network for tests (RFC 2544)
    ca = authority(folder)
    own = (f"{net}.1", f"{net}.2", f"{net}.3", f"fd00:18:{number:x}::2")
    found = Sentinel(*own, ca, signed(folder, "listed.example"))
    near, far = f"sentinel{number}", f"inside{number}"
    with ThreadPoolExecutor(1, initializer=isolate) as there:
        thread = there.submit(threading.get_native_id).result()
        try:
            run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
            run("ip", "link", "set", far, "netns", f"/proc/{os.getpid()}/task/{thread}/ns/net")
            run("ip", "address", "add", f"{net}.1/24", "dev", near)
            run("ip", "-6", "address", "add", f"fd00:18:{number:x}::1/64", "dev", near, "nodad")
            run("ip", "link", "set", near, "up")
            run("ip", "route", "replace", METADATA, "via", f"{net}.2")
            for address in (f"{net}.2/24", f"{net}.3/24", f"{METADATA}/32", f"fd00:18:{number:x}::2/64"):
                nodad = ["nodad"] if ":" in address else []
                there.submit(run, "ip", "address", "add", address, "dev", far, *nodad).result()
            there.submit(run, "ip", "link", "set", far, "up").result()
            there.submit(run, "ip", "route", "add", "default", "via", f"{net}.1").result()
            ready = there.submit(start, found)
            ready.result()
            yield found
        finally:
            found.loop.call_soon_threadsafe(found.loop.stop)
            run("ip", "link", "delete", near)


def start(found: Sentinel) -> None:
    """Start the listeners in threads of this thread's network."""
    threading.Thread(target=found.note_packets, daemon=True).start()
    found.listening.wait()
    threading.Thread(target=found.loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(found.listen(), found.loop).result(30)


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
