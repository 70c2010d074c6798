"""Bytecode for every module below a folder: `python3 compile.py FOLDER`, a step of lab/build.sh.

A root file system that is read-only can cache none later. It is valid whatever the dates of the files are, and taken
from the build's cache where an earlier build has compiled the same bytes at the same path.
"""

import hashlib
import importlib.util
import multiprocessing
import py_compile
import secrets
import shutil
import sys
from pathlib import Path
from py_compile import PycInvalidationMode, PyCompileError

CACHE = Path("/root/.cache/compiled")


def compiled(source: Path) -> None:
    """Leave the bytecode of `source` beside it."""
    target = Path(importlib.util.cache_from_source(str(source)))
    target.parent.mkdir(exist_ok=True)
    kept = CACHE / hashlib.sha256(f"{sys.version} {source} ".encode() + source.read_bytes()).hexdigest()
    if kept.exists():
        shutil.copyfile(kept, target)
        return
    try:
        py_compile.compile(str(source), str(target), doraise=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    except PyCompileError:
        return  # some packages ship templates that end in .py: they are no modules
    # Stages that build side by side share the cache but not their process ids.
    new = kept.with_name(secrets.token_hex(16))
    shutil.copyfile(target, new)
    new.replace(kept)


if __name__ == "__main__":
    CACHE.mkdir(parents=True, exist_ok=True)
    with multiprocessing.Pool() as pool:
        pool.map(compiled, sorted(Path(sys.argv[1]).rglob("*.py")), chunksize=32)
