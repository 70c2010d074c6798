"""Find a Docker engine and Python base images for this machine, or provide them.

`up()` uses an engine that works. If there is none, it starts an engine from Debian's signed packages (on Debian, as
root). If no registry answers, it builds stand-ins for the base images. `down()` undoes everything. All files are below
`Daemon.root`. See `python3 -m engine --help`.
"""

from collections.abc import Iterable

from engine import images, machine
from engine.daemon import Daemon

__all__ = ["down", "machine", "up"]


def up(versions: Iterable[str] = ("3.13",)) -> dict[str, str]:
    """Make `docker`, Compose and buildx work, and provide `python:VERSION-slim-trixie`.

    Returns: version -> "ready", or the reason why it was skipped.
    Raises: `engine.tools.Refused`. Its one sentence says what is wrong and how to fix it.
    """
    own, versions = Daemon(), list(versions)
    # Docker starts while the files of the stand-ins are unpacked. Both take long, and they rarely slow each other down.
    with images.begun(versions, own) as begun:
        own.up()
        return images.provide(versions, own.root, begun)


def down() -> bool:
    """Stop and remove what `up` started and built; return False if there was nothing to undo."""
    own = Daemon()
    if not own.pid():
        images.remove()
    return own.down()
