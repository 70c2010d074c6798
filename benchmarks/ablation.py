"""Measure what each optimization saves: build labdock with all optimizations, then without one of them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import caches, subjects
from benchmarks.subjects import ROOT, Subject

Costs = dict[str, dict[str, float]]  # what was removed -> a value for each row of report.ROWS
LOCK, DOCKERFILE = "lab/locks/server.lock", "Dockerfile"
SPLIT, COMPILE = "lab/build/split_layers.py", "lab/build/compile_bytecode.py"
SYNC = re.compile(r"uv pip sync --python (\S+) --require-hashes \\\n +--build-constraints \S+")
PIP = r"pip --python \1 install --quiet --no-compile --no-deps --require-hashes --requirement"


@dataclass(frozen=True)
class Measure:
    """How to remove one optimization: call `undo` with the text of `file`. `rows` are the values to measure."""

    what: str
    file: str
    undo: Callable[[str], str]
    rows: tuple[str, ...]


def without(old: str, new: str = "") -> Callable[[str], str]:
    """Replace every `old` in a text."""
    return lambda text: text.replace(old, new)


def excluded(text: str) -> str:
    """The server's lock with rfc3987-syntax and its parser, which lab/locks/excluded-packages.txt leaves out."""
    lock = (ROOT / "template/lab/locks/sbom.lock").read_text(encoding="utf-8")
    return text + "".join(re.findall(r"^(?:lark|rfc3987-syntax)==.*\n(?: .*\n)*", lock, re.MULTILINE))


START = ("cpu", "api", "cell")
MEASURES = [
    Measure(
        "no bytecode for both environments",
        DOCKERFILE,
        lambda text: re.sub(r"python /compile_bytecode.py /opt/\w+", "true", text),
        ("cold", "unpacked", *START),
    ),
    Measure(
        "no bytecode for the standard library",
        DOCKERFILE,
        lambda text: re.sub(r'python /compile_bytecode.py "\$\(.*\n', "true\n", text),
        ("unpacked", *START),
    ),
    Measure(
        "bytecode for packages' tests too", COMPILE, without(' if "tests" not in path.parts'), ("cold", "unpacked")
    ),
    Measure("with rfc3987-syntax", LOCK, excluded, ("unpacked", *START)),
    Measure(
        "with both copies of JupyterLab's front end",
        DOCKERFILE,
        lambda text: re.sub(r"rm -r (\S+/jupyterlab/static) && \\\n +ln -s \S+ \S+", r"ls \1", text),
        ("unpacked",),
    ),
    Measure(
        "pip instead of uv",
        DOCKERFILE,
        lambda text: re.sub(r"rm /opt/\w+/\.lock", "true", SYNC.sub(PIP, text)),  # only uv leaves this file
        ("cold", "added"),
    ),
    Measure(
        "environments built one after the other",
        DOCKERFILE,
        without("FROM compilers AS kernel", "FROM server AS kernel"),
        ("cold",),
    ),
    Measure(
        "large packages not in a separate layer",
        SPLIT,
        without("LEAST = 10_000_000", "LEAST = 10**12"),
        ("cold", "added"),
    ),
    Measure(
        "bytecode not from the build's cache",
        COMPILE,
        without("if kept.exists():", "if False:"),
        ("added",),
    ),
    Measure(
        "no cache mounts",
        DOCKERFILE,
        lambda text: re.sub(r" --mount=type=cache,\S*target=/root/\.cache", "", text),
        ("added",),
    ),
]


def ablations(folder: Path, package: str) -> Costs:
    """Measure all of labdock, then without each optimization. `package`: the lock's lines of the package to add."""
    lab = subjects.render(folder / "labdock")
    costs: Costs = {}
    cold: list[str] = []
    whole = Measure("none", DOCKERFILE, str, ("cold", "added", "unpacked", *START))
    try:
        for measure in (whole, *MEASURES):
            path = lab.folder / measure.file
            delivered = path.read_text(encoding="utf-8")
            undone = measure.undo(delivered)
            if measure is not whole and undone == delivered:
                raise RuntimeError(
                    f"{measure.file} does not contain the text that '{measure.what}' changes. Update MEASURES."
                )
            path.write_text(undone, encoding="utf-8")
            costs[measure.what] = found = measured(lab, measure.rows, package, cold)
            print(f"  {measure.what}: {found}", flush=True)
            path.write_text(delivered, encoding="utf-8")
    finally:
        lab.remove()
        caches.remove(cold)
    return costs


def measured(lab: Subject, rows: tuple[str, ...], package: str, cold: list[str]) -> dict[str, float]:
    """Measure these rows of the project as it is; add the names of the caches to remove to `cold`."""
    found: dict[str, float] = {}
    if "cold" in rows:
        found["cold"] = lab.build("--no-cache", prepare=lambda: cold.append(caches.cold(lab.folder / DOCKERFILE)))
    else:
        lab.build()
    if "unpacked" in rows:
        found["unpacked"] = lab.sizes()["unpacked"]
    if "cpu" in rows:
        started = lab.measure_start()
        found |= {row: started[row] for row in START}
    if "added" in rows:
        found["added"] = lab.build(prepare=lambda: lab.add(package))
        lab.add("")
    return found
