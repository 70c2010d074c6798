"""Writes bytecode for the Python modules in a folder, except tests: `compile_bytecode.py FOLDER`.

The root filesystem is read-only, so Python cannot write bytecode when the lab runs. The bytecode does not depend on the
dates of the files, nor on modules that were compiled before. If an earlier build compiled the same source at the same
path, the bytecode comes from the build's cache. Folders called `tests` (the packages' own tests) get no bytecode.
"""

import hashlib
import importlib.util
import marshal
import multiprocessing
import secrets
import shutil
import sys
from pathlib import Path
from types import CodeType

CACHE = Path("/root/.cache/compiled")
UNCHECKED_HASH = (1).to_bytes(4, "little")  # PEP 552: Python never compares the hash with the source
# Besides path and source, bytecode depends on the interpreter and on this file.
MAKER = f"{sys.version} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}"


def holds_sets(code: CodeType) -> bool:
    """Does `code`, or a function or class in it, contain a constant set?"""
    return any(isinstance(c, frozenset) or (isinstance(c, CodeType) and holds_sets(c)) for c in code.co_consts)


def bytecode(source: Path) -> bytes:
    """The content of the .pyc of `source`. Raises SyntaxError or ValueError if `source` is not a module."""
    text = source.read_bytes()
    code = compile(text, source, "exec", dont_inherit=True)
    if holds_sets(code):
        # Two equal sets are stored once or twice. This depends on whether their strings were already interned in this
        # process. So compile twice. The second time, the strings are interned, because the first result still exists.
        first, code = code, compile(text, source, "exec", dont_inherit=True)
        del first
    return importlib.util.MAGIC_NUMBER + UNCHECKED_HASH + importlib.util.source_hash(text) + marshal.dumps(code)


def compiled(source: Path) -> None:
    """Write the bytecode of `source` next to `source`."""
    target = Path(importlib.util.cache_from_source(str(source)))
    target.parent.mkdir(exist_ok=True)
    kept = CACHE / hashlib.sha256(f"{MAKER} {source} ".encode() + source.read_bytes()).hexdigest()
    if kept.exists():
        shutil.copyfile(kept, target)
        return
    try:
        target.write_bytes(bytecode(source))
    except (SyntaxError, ValueError):
        return  # some packages contain templates with names that end in .py, which are not modules
    # Use a random name. Several stages share this cache, and two of their processes can have the same id.
    new = kept.with_name(secrets.token_hex(16))
    shutil.copyfile(target, new)
    new.replace(kept)


if __name__ == "__main__":
    CACHE.mkdir(parents=True, exist_ok=True)
    with multiprocessing.Pool() as pool:
        sources = (path for path in sorted(Path(sys.argv[1]).rglob("*.py")) if "tests" not in path.parts)
        pool.map(compiled, sources, chunksize=32)
