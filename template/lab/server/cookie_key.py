"""Makes the key that signs the cookies of logins. It outlives a restart of the server, but not the token."""

import hmac
import os
import secrets
import sys
from pathlib import Path

SIZE = 32  # bytes of the secret


def cookie_key(token: bytes, folder: str | None) -> bytes:
    """The key for `token`, made from it and from the secret in `folder`. A new token ends all logins.

    Without a folder, or if the secret can be neither read nor written, each start of the server makes a new secret.
    """
    try:
        secret = kept(Path(folder, "cookie-secret")) if folder else secrets.token_bytes(SIZE)
    except OSError as error:
        problem = (
            f"the server cannot keep the secret of its logins ({error}), so each of its restarts ends all logins. "
            "Fix this error, then run 'make up'."
        )
        print(f"labdock: {problem}", file=sys.stderr)
        secret = secrets.token_bytes(SIZE)
    return hmac.digest(secret, token, "sha256")


def kept(file: Path) -> bytes:
    """The secret in `file`, SIZE random bytes. If it is missing or damaged, write a new one. Raises OSError."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    if file.exists() and len(secret := file.read_bytes()) == SIZE:
        return secret
    secret, new = secrets.token_bytes(SIZE), file.with_suffix(".new")
    new.unlink(missing_ok=True)  # from a start that was killed
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as output:
        output.write(secret)
        output.flush()
        os.fsync(output.fileno())
    new.replace(file)
    return secret
