"""Every module, except packages' own tests, has bytecode of its source. No import compares it with the source."""

import json

from tests.support.project import Project

# Prints the modules whose bytecode is missing or has the hash of another source. Changes the source number SPOIL first.
LOOK = """
import importlib.util, json, pathlib, sysconfig
folders = ("/opt/jupyter", "/opt/venv", sysconfig.get_path("stdlib"))
sources = [path for folder in folders for path in pathlib.Path(folder).rglob("*.py") if "tests" not in path.parts]
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


# --- the same bytes, whatever was compiled before -------------------------------------------------
# Prints the bytecode of MODULE. Before that, the process has interned the strings in its arguments.
# lab/build/compile_bytecode.py or py_compile makes the bytecode.
BYTES = """
import importlib.util, os, pathlib, py_compile, sys
known = [sys.intern(name) for name in sys.argv[2:]]
spec = importlib.util.spec_from_file_location("ours", "/tmp/compile.py")
ours = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ours)
os.chdir("/tmp")
if sys.argv[1] == "ours":
    print(ours.bytecode(pathlib.Path("module.py")).hex())
else:
    py_compile.compile("module.py", "module.pyc")
    print(pathlib.Path("module.pyc").read_bytes()[16:].hex())
"""
MODULE = """
def one(word):
    return word in {"median_of_five", "median_of_three"}

def other(word):
    return word in {"median_of_five", "median_of_three"} or word == 3
"""


def bytes_of_module(lab: Project, maker: str, *known: str) -> str:
    for name, text in (("compile.py", lab.read("lab/build/compile_bytecode.py")), ("module.py", MODULE)):
        lab.run("docker", "compose", "exec", "--no-TTY", "lab", "sh", "-c", f"cat >/tmp/{name}", input=text)
    command = ("docker", "compose", "exec", "--no-TTY", "lab", "python", "-", maker, *known)
    return lab.run(*command, input=BYTES).stdout


def test_bytecode_does_not_depend_on_interned_strings(lab: Project) -> None:
    assert bytes_of_module(lab, "ours") == bytes_of_module(lab, "ours", "median_of_three")


def test_control_bytecode_of_py_compile_depends_on_them(lab: Project) -> None:
    """The control: py_compile makes different bytes in a process that has interned other strings."""
    assert bytes_of_module(lab, "py_compile") != bytes_of_module(lab, "py_compile", "median_of_three")
