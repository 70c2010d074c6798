"""Run in a lab by the server's Python: save a file once, and print the calls of fsync and replace, in order, as JSON.

The test puts a line above this program: SOURCE = the text of contents.py, or None for the file in the image.
"""

import asyncio
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

OWN = Path("/opt/labdock/contents.py")
NAMES = {Path.home() / "data": "the folder", Path.home() / "data/recorded.txt": "the file"}
done = []


def recorded(name: str, call: Callable[..., None]) -> Callable[..., None]:
    def instead(what: int | str | Path, *more: str | Path) -> None:
        path = Path(f"/proc/self/fd/{what}").readlink() if isinstance(what, int) else what
        done.append([name, *(NAMES.get(Path(each), "the new file") for each in (path, *more))])
        call(what, *more)

    return instead


os.fsync, os.replace = recorded("fsync", os.fsync), recorded("replace", os.replace)
contents = types.ModuleType("contents")
sys.modules["contents"] = contents
exec(SOURCE or OWN.read_text(encoding="utf-8"), contents.__dict__)  # noqa: F821 (see above)
manager = contents.MountedContents(root_dir=str(Path.home()))
model = {"type": "file", "format": "text", "content": "new"}
asyncio.run(manager.save(model, "data/recorded.txt"))
(Path.home() / "data/recorded.txt").unlink()
print(json.dumps(done))
