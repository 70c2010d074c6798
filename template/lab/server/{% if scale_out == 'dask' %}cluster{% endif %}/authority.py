"""Makes the certificates of the Dask cluster, with a certificate authority (CA) of the project's own.

Without an argument: makes missing certificates, and new ones for those that end soon. With `renew`: makes new ones for
all. The CA stays, so connections between old and new certificates work. If it can make no certificate, prints one
sentence with the problem and its fix, and fails with `renew`.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "certificates"))
from making import LEAF_DAYS, Refused, make_ca, make_signed
from pem import openssl, read_certificate

FOLDER = Path("/run/secrets/cluster")
ROLES = ("client", "scheduler", "worker")  # each has a folder, which its container gets
SOON = 30  # days
AGAIN = (
    "Run 'rm -rf secrets/cluster' and 'make certs', then 'make up'. Copy the new secrets/cluster/worker/ to the "
    "machines that joined."
)


def usable(folder: Path, ca: Path) -> bool:
    """Has this role a key, and a certificate of the CA that is valid for longer than SOON days?"""
    certificate = folder / "tls.pem"
    if not certificate.is_file() or not (folder / "tls.key").is_file():
        return False
    read = read_certificate(certificate)
    signed = openssl("verify", "-CAfile", ca, certificate) is not None
    own = openssl("pkey", "-in", folder / "tls.key", "-pubout") == openssl(
        "x509", "-in", certificate, "-noout", "-pubkey"
    )
    return read is not None and signed and own and (read[1] - datetime.now(UTC)).days >= SOON


def main(folder: Path, uid: int, renew: bool) -> str:
    """Make what is missing, and return what to print. Raises `Refused` and `OSError`."""
    os.umask(0o077)
    folder.mkdir(exist_ok=True)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise Refused(
            f"secrets/cluster/ belongs to uid {folder.stat().st_uid}, so the lab, which runs as uid {uid}, cannot "
            f"write it. Run 'sudo chown -R {uid}:{os.getgid()} secrets/cluster' in the project's folder."
        )
    make_ca(folder, "secrets/cluster", uid, AGAIN)
    ca = (folder / "ca.pem").read_bytes()
    for role in ROLES:
        own = folder / role
        own.mkdir(exist_ok=True)
        if renew or not usable(own, folder / "ca.pem"):
            make_signed(own, "tls", "cluster", folder, role, "")
        if not (own / "ca.pem").is_file() or (own / "ca.pem").read_bytes() != ca:
            (own / "ca.pem.new").write_bytes(ca)
            (own / "ca.pem.new").replace(own / "ca.pem")
    if not renew:
        return ""
    return f"The new certificates in secrets/cluster/ are valid for {LEAF_DAYS} days. Machines that joined keep theirs."


if __name__ == "__main__":
    renewing = "renew" in sys.argv
    try:
        print(main(FOLDER, os.getuid(), renewing))
    except (Refused, OSError) as error:
        print(error)
        sys.exit(3 if renewing else 0)
