"""Every module of the image has bytecode, made from its own source: it is never checked again when it is imported."""

import json

from tests.support.project import Project

# Prints the modules whose bytecode is missing or carries the hash of another source, after damaging `spoil`, if any.
LOOK = """
import importlib.util, json, pathlib, sysconfig
folders = ("/opt/jupyter", "/opt/venv", sysconfig.get_path("stdlib"))
sources = [source for folder in folders for source in pathlib.Path(folder).rglob("*.py")]
assert len(sources) > 5000, len(sources)
wrong = []
for number, source in enumerate(sources):
    bytecode = pathlib.Path(importlib.util.cache_from_source(source))
    text = source.read_bytes() + (b"#" if number == SPOIL else b"")
    if not bytecode.exists() or bytecode.read_bytes()[8:16] != importlib.util.source_hash(text):
        wrong.append(str(source))
print(json.dumps(wrong))
"""


def wrong(lab: Project, spoil: int = -1) -> list[str]:
    done = lab.run(
        "docker", "compose", "exec", "--no-TTY", "lab", "python", "-", input=LOOK.replace("SPOIL", str(spoil))
    )
    return json.loads(done.stdout)


def test_bytecode_belongs_to_its_source(lab: Project) -> None:
    assert wrong(lab) == []


def test_a_changed_source_is_noticed(lab: Project) -> None:
    """The control: one byte more in one source."""
    assert len(wrong(lab, spoil=17)) == 1
