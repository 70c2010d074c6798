"""Find a Docker engine and Python base images for this machine, or bring them up.

`up()` uses what works. Where nothing does, on Debian as root, it starts an engine from the
distribution's own signed packages, and builds stand-ins for base images that no registry gives.
`down()` takes all of it back. Everything is kept below `ROOT`; see `python3 -m engine --help`.
"""

from collections.abc import Iterable

from engine import images, site
from engine.daemon import Daemon

__all__ = ["down", "site", "up"]


def up(versions: Iterable[str] = ("3.13",)) -> dict[str, str]:
    """Make `docker`, Compose and buildx work, and `python:VERSION-slim-trixie` exist.

    Returns: version -> "ready", or the reason why it was skipped.
    Raises: `engine.tools.Refused`, whose one sentence says what is wrong and how to mend it.
    """
    own = Daemon()
    own.up()
    return images.provide(versions, own.root)


def down() -> bool:
    """Stop and remove what `up` brought; return False if there was nothing to undo."""
    own = Daemon()
    if not own.pid():
        images.remove()
    return own.down()
