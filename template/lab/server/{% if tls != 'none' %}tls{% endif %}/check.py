"""Checks the certificate and the key of the server. Prints one sentence with the problem and its fix, or nothing.

With `soon`, prints a sentence only if the certificate ends soon.
"""

import os
import ssl
import sys
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "certificates"))
from pem import openssl, read_certificate, unreadable

FOLDER = Path("/run/certs")  # certs/ in the project. The service `server` has only two files of it
FILES = ("server.pem", "server.key")
SOON = 30  # days
# With a CA of the project's own, one command makes a new certificate.
OWN = Path(__file__).with_name("authority.py").exists()


def advice() -> str:
    """How to get other files."""
    fix = "Run 'make certs'."
    copy = (
        "Copy your certificate with its chain to certs/server.pem, and its key to certs/server.key. Then run 'make up'."
    )
    return fix if OWN else copy


def problem(folder: Path, hosts: list[str], uid: int, fix: str) -> str | None:
    """The first problem of the files in `folder`, for a lab that people open at `hosts`."""
    for name in (*FILES, "ca.key"):
        file = folder / name
        if (name in FILES or file.exists()) and (found := unreadable(file, f"certs/{name}", uid, fix)):
            return found
    certificate, key = (folder / name for name in FILES)
    read = read_certificate(certificate)
    if read is None:
        return f"certs/server.pem contains no certificate in PEM form. {fix}"
    return wrong_key(certificate, key, fix) or wrong_certificate(read, folder, hosts, fix)


def wrong_key(certificate: Path, key: Path, fix: str) -> str | None:
    """What is wrong with the key."""
    if b"ENCRYPTED" in key.read_bytes():
        return (
            "certs/server.key needs a passphrase, and the lab has none. Run 'openssl pkey -in certs/server.key -out "
            "certs/new.key && chmod 600 certs/new.key && mv certs/new.key certs/server.key'."
        )
    own, public = openssl("pkey", "-in", key, "-pubout"), openssl("x509", "-in", certificate, "-noout", "-pubkey")
    if own is None:
        return f"certs/server.key contains no key in PEM form. {fix}"
    if own != public:
        return f"certs/server.key is not the key of the certificate in certs/server.pem. {fix}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        return f"certs/server.pem and certs/server.key cannot be used ({error.reason or error}). {fix}"
    return None


def wrong_certificate(
    read: tuple[datetime, datetime, list[str]], folder: Path, hosts: list[str], fix: str
) -> str | None:
    """What is wrong with the certificate: its dates, its authority or its names."""
    start, end, names = read
    now = datetime.now(UTC)
    if end <= now:
        return f"the certificate certs/server.pem expired on {end:%Y-%m-%d at %H:%M} UTC. {fix}"
    if start > now:
        return (
            f"the certificate certs/server.pem is valid only from {start:%Y-%m-%d, %H:%M} UTC, but the clock of this "
            f"machine says {now:%Y-%m-%d, %H:%M} UTC. Set the clock. If the clock is right: {fix}"
        )
    ca = folder / "ca.pem"
    if OWN and ca.exists() and openssl("verify", "-CAfile", ca, folder / "server.pem") is None:
        return f"certs/server.pem is not signed by the CA in certs/ca.pem. {fix}"
    if not any(covers(name, host) for name in names for host in hosts):
        shown = ", ".join(names[:5]) or "no name"
        return (
            f"certs/server.pem is a certificate for {shown}, but people open the lab as {', '.join(hosts)}. "
            f"Set JUPYTER_HOSTS in .env to the names of the certificate, or use another certificate. {fix}"
        )
    return None


def covers(name: str, host: str) -> bool:
    """Is a certificate for `name` valid for `host`? A * in `name` stands for one label."""
    try:
        return ip_address(name) == ip_address(host)
    except ValueError:
        first, _, rest = host.partition(".")
        return name.lower() == host or (name.startswith("*.") and bool(first) and name[2:].lower() == rest)


def lab_hosts() -> list[str]:
    """The names and addresses at which the server answers (jupyter_server_config.py)."""
    given = os.environ.get("JUPYTER_HOSTS", "").lower().replace(",", " ").split()
    return ["localhost", "127.0.0.1", "::1", *given]


def ends_soon(folder: Path, fix: str) -> str | None:
    """A sentence if the certificate is valid for less than SOON days."""
    read = read_certificate(folder / "server.pem")
    left = (read[1] - datetime.now(UTC)).days if read else SOON
    return f"the certificate certs/server.pem is valid for {left} more days. {fix}" if left < SOON else None


if __name__ == "__main__":
    try:
        if "soon" in sys.argv:
            found = ends_soon(FOLDER, advice())
        else:
            found = problem(FOLDER, lab_hosts(), os.getuid(), advice())
    except OSError as error:
        found = f"certs/ cannot be read ({error}). Run 'sudo chown -R {os.getuid()}:{os.getgid()} certs'."
    print(found or "", end="")
