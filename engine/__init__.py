"""Find a Docker engine and Python base images for this machine, or provide them.

`up()` uses an engine that works. If there is none, it starts an engine from Debian's signed packages (on Debian, as
root). If no registry answers, it builds stand-ins for the base images. `down()` removes the engine that `up()` started,
and the stand-ins. If another engine was there before, official images that `up()` pulled stay in it. Most files are in
`Daemon.root`. engine/daemon.py names the other files. See `python3 -m engine --help`.
"""

from collections.abc import Iterable

from engine import images, machine
from engine.daemon import Daemon

__all__ = ["down", "machine", "up"]


def up(versions: Iterable[str] = ("3.13",)) -> dict[str, str]:
    """Make `docker`, Compose and buildx work, and provide `python:VERSION-slim-trixie`.

    Returns: version -> "ready", or the reason why the version was skipped.
    Raises: `engine.common.Refused`. Its one sentence names the problem and the fix.
    """
    own, versions = Daemon(), list(versions)
    # Docker starts while the files of the stand-ins are unpacked. Both take long, and they rarely slow each other down.
    with images.begun(versions, own) as begun:
        own.up()
        return images.provide(versions, own.root, begun)


def down() -> bool:
    """Stop and remove what `up` started and built. Return False if there was nothing to undo."""
    own = Daemon()
    if not own.pid():
        images.remove()
    return own.down()
