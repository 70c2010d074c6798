"""Run in a lab by the server's Python: save a file once, and print the calls of fsync and replace, in order, as JSON.

The test puts a line above this program: SOURCE = the text of saving.py, or None for the file in the image.
"""

import asyncio
import importlib
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

OWN = Path("/opt/labdock")
NAMES = {Path.home() / "data": "the folder", Path.home() / "data/recorded.txt": "the file"}
done = []


def path_of(number: int) -> Path:
    return Path(f"/proc/self/fd/{number}").readlink()


def recorded(name: str, call: Callable[..., None]) -> Callable[..., None]:
    def instead(what: int | str, *more: str, **folders: int) -> None:
        # The server replaces a name in a folder that it has opened.
        inside = zip(folders.values(), (what, *more), strict=True)
        paths = [path_of(folder) / part for folder, part in inside] if folders else [path_of(what)]
        done.append([name, *(NAMES.get(path, "the new file") for path in paths)])
        call(what, *more, **folders)

    return instead


os.environ["LAB_MODE"] = "serve"
os.fsync, os.replace = recorded("fsync", os.fsync), recorded("replace", os.replace)
sys.path.append(str(OWN))
saving = types.ModuleType("saving")
sys.modules["saving"] = saving
exec(SOURCE or (OWN / "saving.py").read_text(encoding="utf-8"), saving.__dict__)  # noqa: F821 (see above)
contents = importlib.import_module("contents")
manager = contents.MountedContents(root_dir=str(Path.home()))
model = {"type": "file", "format": "text", "content": "new"}
asyncio.run(manager.save(model, "data/recorded.txt"))
(Path.home() / "data/recorded.txt").unlink()
print(json.dumps(done))
