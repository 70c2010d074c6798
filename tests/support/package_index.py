"""A private package index over TLS, and a proxy. Builds and labs can reach both."""

import base64
import gzip
import hashlib
import secrets
import select
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import yaml

from tests.support.project import Project

HOST = "index.test"  # pip does not accept an IP address as the name of a TLS server
PASSWORD = secrets.token_hex(12) + "@:/" + secrets.token_hex(4)  # with characters that an address must escape


@dataclass(frozen=True)
class Site:
    """A site with its own index. `address` is HOST:PORT, `bundle` a file with its CA and the machine's CAs."""

    address: str
    bundle: Path

    def url(self, password: str = PASSWORD) -> str:
        return f"https://reader:{quote(password, safe='')}@{self.address}/simple"


def wheel(folder: Path, name: str, text: str = "") -> str:
    """Add a wheel to a simple index. It contains a module `name` with this text. Returns its line of a lock."""
    module = name.replace("-", "_")
    path = folder / "simple" / name / f"{module}-1.0-py3-none-any.whl"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module}.py", text)
        archive.writestr(f"{module}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{module}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{module}-1.0.dist-info/RECORD", "")
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def source(folder: Path, name: str) -> str:
    """Add a source package and the wheel of its build backend, as `wheel` does."""
    module, backend = name.replace("-", "_"), f"{name}-backend"
    built = folder / "built"
    wheel(built, name)
    (path,) = built.glob("simple/*/*.whl")
    content = base64.b64encode(path.read_bytes()).decode()
    wheel(
        folder,
        backend,
        f"""
import base64, pathlib
def build_wheel(folder, *_, **__):
    pathlib.Path(folder, {path.name!r}).write_bytes(base64.b64decode({content!r}))
    return {path.name!r}
""",
    )
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "pyproject.toml": f'[build-system]\nrequires = ["{backend}"]\nbuild-backend = "{backend.replace("-", "_")}"\n',
    }
    archive = folder / "simple" / name / f"{module}-1.0.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as packed:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{module}-1.0/{file}")
            member.size = len(text)
            packed.addfile(member, BytesIO(text.encode()))
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}\n"


def tiny(project: Project, folder: Path, name: str) -> None:
    """Put one tiny package into the project's locks, except the lock of the build tools, and into a simple index.

    The index also has the build tools. The lock of the build tools gets a unique comment, so no build takes it from a
    cache. The builds can resolve the host name of the index.
    """
    own = wheel(folder, name)
    for lock in ("requirements.lock", "lab/locks/server.lock", "lab/locks/sbom.lock"):
        (project.folder / lock).write_text(own)
    project.replace("lab/locks/build.lock", "uv==", f"# {folder}\nuv==")
    text = project.read("pyproject.toml")
    start, end = text.index("dependencies = ["), text.index("\n]\n")
    (project.folder / "pyproject.toml").write_text(f'{text[:start]}dependencies = [\n    "{name}",{text[end:]}')
    download = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:")
    tools = ("--require-hashes", "-r", project.folder / "lab/locks/build.lock", "-d", folder)
    subprocess.run([*download, *tools], check=True)
    for tool in folder.glob("*.whl"):
        shelf = folder / "simple" / tool.name.partition("-")[0]
        shelf.mkdir()
        tool.rename(shelf / tool.name)
    known = {"extra_hosts": [f"{HOST}:{gateway(project)}"]}
    services = {name: {"build": known, **known} for name in ("lab", "packages", "bundle")}
    (project.folder / "compose.override.yaml").write_text(yaml.safe_dump({"services": services}))


def certificates(folder: Path) -> tuple[Path, Path]:
    """A new CA, and a certificate with its key for HOST, as PEM files."""
    ca = authority(folder)
    return ca, signed(folder, HOST)


def request(folder: Path, *options: str | Path) -> None:
    """Make a certificate, with a new key."""
    plain = folder / "openssl.cnf"
    plain.write_text("[req]\ndistinguished_name = name\n[name]\n")  # the machine's own file has other extensions
    new = ("openssl", "req", "-config", plain, "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    subprocess.run([*new, *options], check=True, capture_output=True)


def authority(folder: Path) -> Path:
    """Make a CA in `folder`. Returns its certificate."""
    ca = folder / "ca.pem"
    # Python 3.13 refuses a CA without these extensions.
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-addext", "subjectKeyIdentifier=hash")
    is_ca = ("-addext", "basicConstraints=critical,CA:TRUE", *usage)
    request(folder, "-subj", "/CN=test CA", *is_ca, "-keyout", folder / "ca.key", "-out", ca)
    return ca


def signed(folder: Path, host: str) -> Path:
    """Make a certificate and key for `host`, signed by the CA in `folder`."""
    own, key = folder / f"{host}.pem", folder / f"{host}.key"
    by_ca = ("-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-subj", "/CN=index")
    names = ("-addext", "basicConstraints=CA:FALSE", "-addext", f"subjectAltName=DNS:{host}")
    names += ("-addext", "authorityKeyIdentifier=keyid")
    request(folder, *by_ca, *names, "-keyout", key, "-out", own)
    own.write_text(own.read_text() + key.read_text())
    return own


def dated(certificate: Path, key: Path, ca: Path | None, start: str, end: str, names: str = "") -> None:
    """Sign the certificate of a key again, valid from `start` to `end` (YYMMDDHHMMSSZ).

    `ca` is the folder of the CA, or None to sign it with its own key. `names` is its subjectAltName.
    """
    with TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "index").touch()
        extensions = f"x509_extensions=names\n[names]\nsubjectAltName={names}\n" if names else ""
        (work / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=own\n[any]\ncommonName=optional\n[own]\ndatabase={work}/index\nnew_certs_dir={work}\n"
            f"rand_serial=yes\ndefault_md=sha256\npolicy=any\n{extensions}"
        )
        settings = ("-config", work / "ca.cnf")
        by = ("-cert", ca / "ca.pem", "-keyfile", ca / "ca.key") if ca else ("-selfsign", "-keyfile", key)
        dates = ("-startdate", start, "-enddate", end)
        request = ("req", "-new", "-key", key, "-subj", "/CN=lab", "-out", work / "request")
        sign = ("ca", "-batch", "-notext", *by, *dates, "-in", work / "request", "-out", certificate)
        for words in (request, sign):
            done = subprocess.run(["openssl", *words, *settings], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


class Files(SimpleHTTPRequestHandler):
    """A file server. Only /open/ needs no password."""

    def __init__(self, *arguments: Any, password: str, **options: Any) -> None:
        self.password = password
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        asked = base64.b64encode(f"reader:{self.password}".encode()).decode()
        if self.path.startswith("/open/"):
            self.path = self.path.removeprefix("/open")
        elif self.headers["Authorization"] != f"Basic {asked}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


class Tunnel(BaseHTTPRequestHandler):
    """A proxy for CONNECT only, to its own machine. The server's `seen` records every target."""

    def do_CONNECT(self) -> None:
        self.server.seen.append(self.path)  # type: ignore[attr-defined]
        address, port = self.server.server_address[0], int(self.path.rpartition(":")[2])
        with socket.create_connection((str(address), port), timeout=30) as there:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: there, there: self.connection}
            while ready := select.select([*ends], [], [], 60)[0]:
                for end in ready:
                    if not (data := end.recv(65536)):
                        return
                    ends[end].sendall(data)

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[int]:
    """Serve in the background. Yields the port."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def private_index(folder: Path, address: str, certificate: Path, password: str) -> Iterator[str]:
    """Serve `folder` at `address` over TLS. Yields HOST:PORT."""
    server = ThreadingHTTPServer((address, 0), partial(Files, directory=str(folder), password=password))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    # The handshake runs in the connection's thread, so a handshake that hangs does not block others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with serving(server) as port:
        yield f"{HOST}:{port}"


@contextmanager
def proxy(address: str) -> Iterator[tuple[str, list[str]]]:
    """Run a proxy at `address`. Yields its URL and the list of targets that it was asked for."""
    server = ThreadingHTTPServer((address, 0), Tunnel)
    server.seen = []  # type: ignore[attr-defined]
    with serving(server) as port:
        yield f"http://{address}:{port}", server.seen  # type: ignore[attr-defined]


def gateway(project: Project) -> str:
    """The host's address, as containers and builds see it."""
    form = "{{(index .IPAM.Config 0).Gateway}}"
    return project.run("docker", "network", "inspect", "bridge", "--format", form).stdout.strip()


def holds(what: str | bytes) -> bool:
    """Does `what` contain the password, plain, escaped as in an address, or encoded as in a request?"""
    data = what.encode() if isinstance(what, str) else what
    words = (
        PASSWORD,
        quote(PASSWORD, safe=""),
        PASSWORD[:24],
        base64.b64encode(f"reader:{PASSWORD}".encode()).decode(),
    )
    return any(word.encode() in data for word in words)


def shown_by(project: Project, image: str) -> list[str]:
    """The parts of an image that contain the password: configuration, history, or layers (with deleted files)."""
    found = [
        " ".join(command[:2])
        for command in (("image", "inspect", image), ("history", "--no-trunc", image))
        if holds(project.run("docker", *command).stdout)
    ]
    saved = subprocess.run(["docker", "save", image], cwd=project.folder, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(saved)) as archive:
        blobs = [archive.extractfile(member).read() for member in archive if member.isfile()]  # type: ignore[union-attr]
    assert len(blobs) > 3
    return [*found, *("blob" for blob in blobs if holds(gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob))]
