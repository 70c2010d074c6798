"""The Dask cluster of a project, compared with plain TCP, bare processes, Dask's own LocalCluster and plain pandas."""

import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import report, subjects
from benchmarks.report import Samples
from benchmarks.subjects import LOCKS, PIN, ROOT, Subject, held

PROGRAM = (ROOT / "benchmarks/cluster_jobs.py").read_text(encoding="utf-8")
ROWS = {"days": 32_000_000, "join": 8_000_000}
TASKS = (1_000, 10_000, 100_000)
WORKERS = (1, 2, 4)
JOINED, TLS, HARDENED = 5, 1.15, 1.05  # the limits: seconds, and the ratios to plain TCP and to bare processes
# Cluster -> the container of the client, and the address of the scheduler. LocalCluster starts in the lab.
CLUSTERS = {
    "cluster": ("lab", "tls://scheduler:8786"),
    "plain": ("lab", "tcp://plain-scheduler:8786"),
    "bare": ("bare", "tls://127.0.0.1:8786"),
}
BARE_WORKER = (
    *("/opt/venv/bin/python", "-I", "-m", "distributed.cli.dask_worker", "--no-nanny", "--nthreads", "1"),
    *("--memory-limit", "1920MiB", "--local-directory", "/var/cache/lab", "tls://127.0.0.1:8786"),
)
PLOT = """
import json, sys
import matplotlib
matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "labdock"
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
for name, costs in json.load(sys.stdin).items():
    axes.plot([int(number) for number in costs], [1000 * seconds for seconds in costs.values()], "o-", label=name)
axes.set(xlabel="tasks", ylabel="milliseconds for each task", xscale="log", ylim=0)
axes.legend()
figure.savefig(sys.stdout, format="svg", metadata={"Date": None})
"""


@dataclass
class Jobs:
    """Runs jobs of cluster_jobs.py and checks their results. `known`: the results by job and size."""

    subject: Subject
    known: dict[tuple[str, int], list[int]] = field(
        default_factory=lambda: {
            ("tasks", count): [(count - 1) * count * (2 * count - 1) // 6] for count in (1, *TASKS)
        }
    )

    def ask(self, job: str, service: str, where: str, *sizes: int) -> tuple[int, list[float]]:
        """The number of workers, and the seconds for each size. Raises `RuntimeError` if a result is wrong."""
        arguments = ("python", "-c", PROGRAM, job, where, *map(str, sizes))
        said = json.loads(self.subject.run("docker", "compose", "exec", "--no-TTY", service, *arguments))
        for size, result in zip(sizes, said["results"], strict=True):
            expected = self.known.setdefault((job, size), result)
            if result != expected:
                raise RuntimeError(f"'{job}' of size {size} on {where} gave {result}, not {expected}.")
        return said["workers"], said["seconds"]

    def run(self, job: str, name: str, workers: int, *sizes: int) -> list[float]:
        """Seconds for each size, after a first time with the first size, which is not counted."""
        service, where = CLUSTERS.get(name, ("lab", name if name == "pandas" else str(workers)))
        found, seconds = self.ask(job, service, where, sizes[0], *sizes)
        if found != workers:
            raise RuntimeError(f"'{name}' has {found} workers, not {workers}.")
        return seconds[1:]

    def wait(self, name: str) -> None:
        """Wait until the cluster has two workers."""
        until = time.monotonic() + 60
        while (found := self.ask("tasks", *CLUSTERS[name])[0]) != 2:
            if time.monotonic() > until:
                raise RuntimeError(f"'{name}' has {found} workers after a minute, not 2.")


def cluster(folder: Path, repeat: int) -> Samples:
    """Measure `repeat` rounds. In a round, each job runs on all clusters in turn. Samples by row and cluster."""
    samples: Samples = {}
    subject = subjects.render(folder / "labdock", "cluster", scale_out="dask")
    subject.environment = {**subject.environment, "LAB_WORKERS": "0"}
    shutil.copy(ROOT / "benchmarks/other_clusters.yaml", subject.folder / "compose.override.yaml")
    jobs = Jobs(subject)

    def note(row: str, name: str, values: list[float]) -> None:
        samples.setdefault((row, name), []).extend(values)
        print(f"  {row:<12} {name:<10} {' '.join(f'{value:.4g}' for value in values)}", flush=True)

    def turn(workers: int, *names: str) -> None:
        for job, rows in ROWS.items():
            for name in names:
                found = jobs.run(job, name, 0 if name == "pandas" else workers, rows, rows)
                note(job, f"{name}-{workers}", found)

    try:
        subject.build()
        subject.run("docker", "compose", "up", "--detach", "--wait")
        for _ in range(2):
            subject.run("docker", "compose", "exec", "--detach", "bare", *BARE_WORKER)
        jobs.wait("plain")
        jobs.wait("bare")
        for round_ in range(repeat):
            print(f"Round {round_ + 1} of {repeat}", flush=True)
            note("joined", "cluster", [scale(subject, 2)])
            subject.memory_at_rest()  # waits until it is stable
            for service in ("scheduler", "worker"):
                note("memory", service, [held(stats) for stats in subject.stats(service=service)])
            turn(2, "pandas", "local", "cluster", "plain", "bare")
            for name in ("cluster", "local"):
                for count, seconds in zip(TASKS, jobs.run("tasks", name, 2, *TASKS), strict=True):
                    note(f"tasks {count}", name, [seconds])
            for workers in WORKERS:
                if workers != 2:
                    scale(subject, workers)
                    turn(workers, "pandas", "local", "cluster")
            scale(subject, 0)
        costs = {
            words: {count: median(samples[f"tasks {count}", name]) / count for count in TASKS}
            for name, words in {"cluster": "cluster of labdock", "local": "LocalCluster"}.items()
        }
        subjects.draw(subject.image, PLOT, costs, "tasks.svg")
    finally:
        subject.remove()
    return samples


def scale(subject: Subject, workers: int) -> float:
    """Seconds of `make scale`, which ends when all workers have joined."""
    begin = time.monotonic()
    subject.run("make", "scale", f"WORKERS={workers}")
    return time.monotonic() - begin


def table(samples: Samples, repeat: int) -> str:
    """The tables of the cluster, as Markdown."""
    middle = {key: median(values) for key, values in samples.items()}
    versions = dict(PIN.findall((ROOT / LOCKS["science-dask"][0]).read_text()))
    cores = os.cpu_count() or 1

    def verdict(met: bool) -> str:
        return "met" if met else "**missed**"

    def compared(what: str, job: str, other: str, most: float) -> str:
        ours, theirs = middle[job, "cluster-2"], middle[job, f"{other}-2"]
        ratio = ours / theirs
        return f"| {what} | {ours:.2f} s | {theirs:.2f} s | {ratio:.2f} | ratio ≤ {most} | {verdict(ratio <= most)} |"

    def efficiency(job: str, name: str) -> list[str]:
        seconds = [middle[job, f"{name}-{workers}"] for workers in WORKERS]
        parts = [middle[job, f"pandas-{workers}"] / min(workers, cores) for workers in WORKERS]
        return [f"{each:.2f} s ({part / each:.0%})" for each, part in zip(seconds, parts, strict=True)]

    def pandas(job: str) -> float:
        return median(value for workers in WORKERS for value in samples[job, f"pandas-{workers}"])

    def each_task(count: int, name: str) -> str:
        seconds = middle[f"tasks {count}", name]
        return f"{seconds:.2f} s ({1000 * seconds / count:.2f} ms)"

    joined = middle["joined", "cluster"]
    lines = [
        "| What | cluster | compared with | ratio | target | |",
        "|---|---|---|---|---|---|",
        "| `make scale WORKERS=2`, until two workers have joined "
        f"| {joined:.2f} s | | | ≤ {JOINED} s | {verdict(joined <= JOINED)} |",
        *(compared(f"`{job}`, compared with plain TCP", job, "plain", TLS) for job in ROWS),
        *(compared(f"`{job}`, compared with bare processes", job, "bare", HARDENED) for job in ROWS),
        *(
            f"| Memory at rest of {words} | {samples['memory', service][0] / 1e6:.0f} MB | | | | |"  # before all jobs
            for service, words in {"scheduler": "the scheduler", "worker": "a worker"}.items()
        ),
        "",
        "| Job | plain pandas | with | " + " | ".join(f"{count} worker{'s'[: count - 1]}" for count in WORKERS) + " |",
        "|---|---|---|" + "---|" * len(WORKERS),
        *(
            f"| `{job}`, {rows / 1e6:.0f} million rows | {pandas(job):.2f} s | {words} | "
            + " | ".join(efficiency(job, name))
            + " |"
            for job, rows in ROWS.items()
            for name, words in {"cluster": "cluster", "local": "LocalCluster"}.items()
        ),
        "",
        "| Tasks | cluster | LocalCluster |",
        "|---|---|---|",
        *(f"| {count:,} | {each_task(count, 'cluster')} | {each_task(count, 'local')} |" for count in TASKS),
        "",
        "![Milliseconds for each task by the number of tasks](../images/tasks.svg)",
    ]
    times = f"Measured in {repeat} round{'s'[: repeat - 1]}, in turn. Each value is a median."
    dask = f"Dask {versions['dask']}, pandas {versions['pandas']}."
    return "\n".join([f"{report.machine()} {dask} {times}", "", *lines])
