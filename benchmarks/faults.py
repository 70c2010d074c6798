"""A computation over three machines, and a fault in the middle of it: seconds until the right result.

Each machine is a network namespace with an engine of its own, as in the tests.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks import report, subjects
from benchmarks.report import Samples
from tests.support.cluster import LOADED, Cluster, cluster
from tests.support.computations import RESULT, WORK
from tests.support.project import Project

# What fails on the second machine, which has two of the three workers, and how it is repaired.
FAULTS: dict[str, tuple[Callable[[Cluster], object], Callable[[Cluster], object]]] = {
    "nothing": (lambda three: None, lambda three: None),
    "a worker is killed": (lambda three: three.kill_worker(), lambda three: None),
    "a machine loses its power": (lambda three: three.machines[1].crash(), lambda three: three.machines[1].start()),
    "a cable is cut": (lambda three: three.machines[1].link("down"), lambda three: three.machines[1].link("up")),
}


def faults(folder: Path, repeat: int) -> Samples:
    """Measure each fault `repeat` times, in turn. Seconds until the result, and from the repair to all workers."""
    subject = subjects.render(folder / "lab", "faults", scale_out="dask")
    samples: Samples = {}
    try:
        subject.build()
        source = Project(subject.folder, {}, dict(subject.environment))
        source.make("env")
        source.set_env(LAB_NAME=subject.project)
        (subject.folder / "compose.override.yaml").write_text(LOADED)
        with cluster(source, folder, subject.image) as three:
            for _ in range(repeat):
                for name, (breaks, repairs) in FAULTS.items():
                    if three.workers() != three.all():
                        three.empty()
                        three.join(1, 2)
                        three.join(2)
                    for row, seconds in measured(three, breaks, repairs):
                        samples.setdefault((row, name), []).append(seconds)
                        print(f"  {row:<8} {name:<28} {seconds:.1f}", flush=True)
    finally:
        subject.remove()
    return samples


def measured(
    three: Cluster, breaks: Callable[[Cluster], object], repairs: Callable[[Cluster], object]
) -> list[tuple[str, float]]:
    """Seconds until the result, and until all workers are back. Raises `RuntimeError` if the result is wrong."""
    with three.running(WORK) as running:
        begin = time.monotonic()
        breaks(three)
        if (said := running.end()) != RESULT:
            raise RuntimeError(f"the result is {said}, not {RESULT}")
        result = time.monotonic() - begin
    begin = time.monotonic()
    repairs(three)
    three.has(*three.all())
    return [("result", result), ("repaired", time.monotonic() - begin)]


def table(samples: Samples, repeat: int) -> str:
    """The table of the faults, as Markdown."""
    middle = {key: median(values) for key, values in samples.items()}
    lines = [
        "| What fails | The right result after | All workers are back after the repair |",
        "|---|---|---|",
        *(f"| {name} | {middle['result', name]:.1f} s | {middle['repaired', name]:.1f} s |" for name in FAULTS),
    ]
    times = f"Measured in {repeat} round{'s'[: repeat - 1]}, in turn. Each value is a median."
    return "\n".join([f"{report.machine()} {times}", "", *lines])
