"""Measure both images: `python -m benchmarks [--repeat N]`. The option --help lists the other benchmarks."""

import argparse
import functools
import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks import ablation, apart, caches, cluster, faults, report, scaling, subjects, walls
from benchmarks.report import Samples
from benchmarks.subjects import LOCKS, ROOT, Subject

TABLES = {"parts": report.parts_table, "labs": report.labs_table, "packages": report.packages_table}
# The benchmarks that are repeated as a whole: what measures, and what makes the table.
MEASURES = {
    "apart": (apart.apart, report.apart_table),
    "walls": (walls.walls, walls.table),
    "cluster": (cluster.cluster, cluster.table),
    "faults": (faults.faults, faults.table),
}
# Small packages that no other package needs. Each repetition adds the next one.
ADDED = ("humanize", "tabulate", "xxhash")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=["images", "ablations", "saving", "demo", *TABLES, *MEASURES],
        default="images",
    )
    parser.add_argument(
        "--repeat", type=int, default=3, help="how often each value is measured; tables show the median"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="labdock-bench-") as folder:
        Path(folder).chmod(0o755)  # the lab's user must enter it
        if asked.what == "demo":
            report.write("demo", report.demo_table(*demo(Path(folder))))
        elif asked.what in TABLES:
            report.write(asked.what, TABLES[asked.what](*scaling.measured(asked.what, Path(folder))))
        elif asked.what == "ablations":
            report.write("ablations", report.ablations_table(ablation.ablations(Path(folder), lock(ADDED[0]))))
        elif asked.what in MEASURES:
            measure, table = MEASURES[asked.what]
            report.write(asked.what, table(measure(Path(folder), asked.repeat), asked.repeat))
        elif asked.what == "saving":
            report.write("saving", report.saving_table(saving(Path(folder), 10 * asked.repeat)))
        else:
            report.write("images", report.images_table(images(Path(folder), asked.repeat), asked.repeat))


def images(folder: Path, repeat: int) -> Samples:
    """Measure the naive image and labdock's image `repeat` times, in turn; samples by row and subject."""
    samples: Samples = {}
    ours = subjects.render(folder / "labdock")
    both = [subjects.naive(folder / "naive", ours.folder), ours]
    cold: list[str] = []

    def note(row: str, subject: Subject, value: float) -> None:
        samples.setdefault((row, subject.name), []).append(value)
        print(f"  {row:<12} {subject.name:<8} {report.shown(row, value)}", flush=True)

    try:
        for round_ in range(repeat):
            print(f"Round {round_ + 1} of {repeat}", flush=True)
            for subject in both:
                empty = functools.partial(emptied, subject, cold)
                note("cold", subject, subject.build("--no-cache", prepare=empty))
            for subject in both:
                note("unchanged", subject, subject.build())
            for subject in both:
                note("notebook", subject, subject.build(prepare=subject.edit_notebook))
            for subject in both:
                for row, value in subject.measure_start().items():
                    note(row, subject, value)
            if round_ == 0:
                for subject in both:
                    for row, value in subject.sizes().items():
                        note(row, subject, value)
            locked = lock(ADDED[round_ % len(ADDED)])
            for subject in both:
                added = locked if subject.name == "labdock" else locked.split(" ", 1)[0]
                note("added", subject, subject.build(prepare=functools.partial(subject.add, added)))
                subject.add("")
            begin = time.monotonic()
            copier(folder / f"copied-{round_}")
            note("copier", both[1], time.monotonic() - begin)
    finally:
        for subject in both:
            subject.remove()
        caches.remove(cold)
    return samples


def emptied(subject: Subject, cold: list[str]) -> None:
    """For labdock: give the next build empty cache mounts, and add their name to `cold`.

    The naive image has no cache mounts.
    """
    if subject.name == "labdock":
        cold.append(caches.cold(subject.folder / "Dockerfile"))


def saving(folder: Path, times: int) -> dict[str, dict[str, list[float]]]:
    """Seconds by step and file manager, measured `times` times. Both save from one container into one bind mount."""
    lab = subjects.render(folder / "labdock")
    script = (ROOT / "benchmarks/save.py").read_text(encoding="utf-8")
    try:
        lab.run("docker", "compose", "up", "--detach", "--wait")
        return json.loads(lab.run("docker", "compose", "exec", "--no-TTY", "lab", "python", "-c", script, str(times)))
    finally:
        lab.remove()


def lock(package: str) -> str:
    """The lines that a lock has for one package without dependencies."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate", "--no-header"]
    python = ["--python-version", LOCKS["science"][2], "--no-python-downloads"]
    done = subprocess.run(
        [str(ROOT / ".venv/bin" / command[0]), *command[1:], *python, "-"],
        input=package, text=True, capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def copier(folder: Path) -> None:
    """Make a project as a user does."""
    command = [str(ROOT / ".venv/bin/copier"), "copy", "--quiet", "--defaults", "--vcs-ref=HEAD"]
    subprocess.run([*command, "--data=project_name=Bench", str(ROOT), str(folder)], check=True, capture_output=True)


def demo(folder: Path) -> tuple[list[tuple[str, float]], bool]:
    """Run `make demo` in a fresh clone: seconds by step, and whether an engine was running before."""
    docker = shutil.which("docker")
    engine_before = bool(docker) and subprocess.run([docker, "version"], capture_output=True).returncode == 0
    clone = folder / "labdock"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    begin = time.monotonic()
    make = ["make", "--no-print-directory"]
    done = subprocess.run([*make, "demo"], cwd=clone, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    took = time.monotonic() - begin
    try:
        if done.returncode:
            raise RuntimeError(f"make demo failed\n{done.stdout[-3000:]}")
        table = done.stdout.rpartition("Seconds:\n")[2]
        steps = [(what, float(seconds)) for what, seconds in re.findall(r"^  (\S.*?) +(\d+\.\d)$", table, re.MULTILINE)]
    finally:
        subprocess.run([*make, "demo-down"], cwd=clone, check=False, capture_output=True)
    steps = [(re.sub(r" in /.*", "", what), seconds) for what, seconds in steps[:-1]]
    return [*steps, ("All", took)], engine_before


if __name__ == "__main__":
    main()
