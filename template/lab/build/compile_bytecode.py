"""Writes bytecode for every Python module in a folder: `compile_bytecode.py FOLDER`.

A read-only root filesystem can cache none later. The bytecode is valid whatever the files' dates are, and does not
depend on what was compiled before it. If an earlier build compiled the same source at the same path, it comes from the
build's cache. Packages' own tests (folders called `tests`) get none.
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
UNCHECKED_HASH = (1).to_bytes(4, "little")  # PEP 552: never compared with the source again
# What decides about bytecode besides path and source: the interpreter, and this file.
MAKER = f"{sys.version} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()}"


def holds_sets(code: CodeType) -> bool:
    """Whether a set is among the constants of `code` or of what is defined in it."""
    return any(isinstance(c, frozenset) or (isinstance(c, CodeType) and holds_sets(c)) for c in code.co_consts)


def bytecode(source: Path) -> bytes:
    """The content of the .pyc of `source`; raises SyntaxError or ValueError where it is no module."""
    text = source.read_bytes()
    code = compile(text, source, "exec", dont_inherit=True)
    if holds_sets(code):
        # Equal sets are stored once or twice, depending on whether their strings were known to the process before.
        # The second time they are known, since the first result is still there.
        first, code = code, compile(text, source, "exec", dont_inherit=True)
        del first
    return importlib.util.MAGIC_NUMBER + UNCHECKED_HASH + importlib.util.source_hash(text) + marshal.dumps(code)


def compiled(source: Path) -> None:
    """Leave the bytecode of `source` beside it."""
    target = Path(importlib.util.cache_from_source(str(source)))
    target.parent.mkdir(exist_ok=True)
    kept = CACHE / hashlib.sha256(f"{MAKER} {source} ".encode() + source.read_bytes()).hexdigest()
    if kept.exists():
        shutil.copyfile(kept, target)
        return
    try:
        target.write_bytes(bytecode(source))
    except (SyntaxError, ValueError):
        return  # some packages ship templates that end in .py: they are no modules
    # Stages that build side by side share the cache but not their process ids.
    new = kept.with_name(secrets.token_hex(16))
    shutil.copyfile(target, new)
    new.replace(kept)


if __name__ == "__main__":
    CACHE.mkdir(parents=True, exist_ok=True)
    with multiprocessing.Pool() as pool:
        sources = (path for path in sorted(Path(sys.argv[1]).rglob("*.py")) if "tests" not in path.parts)
        pool.map(compiled, sources, chunksize=32)
