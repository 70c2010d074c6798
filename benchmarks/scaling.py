"""The parts of the image, the memory of several labs, and the build time by the number of packages."""

import json
import re
import subprocess
from pathlib import Path

from benchmarks import caches, subjects
from benchmarks.subjects import BASE, ROOT, Subject, held

NUMBERS = (10, 50, 150, 300)
PLOT = """
import json, sys
import matplotlib
matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "labdock"
import matplotlib.pyplot as plt
costs = json.load(sys.stdin)
numbers = [int(number) for number in costs]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.plot(numbers, [seconds for seconds, _ in costs.values()], "o-")
left.set(xlabel="packages", ylabel="cold build, seconds", ylim=0)
right.plot(numbers, [size / 1e6 for _, size in costs.values()], "o-")
right.set(xlabel="packages", ylabel="image, MB", ylim=0)
figure.savefig(sys.stdout, format="svg", metadata={"Date": None})
"""


def parts(lab: Subject) -> tuple[dict[str, float], float]:
    """Bytes by part of the image (base image, wheels and bytecode), and bytes of the whole image."""
    config = json.loads(lab.run("docker", "compose", "config", "--format", "json"))["services"]["lab"]["build"]
    stages = {"server": "/opt/jupyter", "kernel": "/opt/venv /opt/large"}
    services = {stage: {"image": f"{lab.project}-{stage}", "build": {**config, "target": stage}} for stage in stages}
    (lab.folder / "stages.json").write_text(json.dumps({"name": lab.project, "services": services} | secrets(lab)))
    sizes = {"Base image": disk(BASE, "du -skx / | cut -f 1")}
    try:
        lab.run("docker", "compose", "--file", "stages.json", "build")
        for stage, folders in stages.items():
            code = disk(
                f"{lab.project}-{stage}",
                f"find {folders} -name '*.pyc' -print0 | du -ck --files0-from=- | tail -n 1 | cut -f 1",
            )
            sizes[f"Wheels of the {stage}, unpacked"] = (
                disk(f"{lab.project}-{stage}", f"du -skc {folders} | tail -n 1 | cut -f 1") - code
            )
            sizes[f"Bytecode of the {stage}"] = code
    finally:
        lab.run("docker", "compose", "--file", "stages.json", "down", "--rmi", "all")
    lab.build()
    return sizes, lab.sizes()["unpacked"]


def secrets(lab: Subject) -> dict[str, object]:
    """The build secrets, as Compose resolves them."""
    return {"secrets": json.loads(lab.run("docker", "compose", "config", "--format", "json"))["secrets"]}


def disk(image: str, command: str) -> float:
    """Run a command in the image that prints kilobytes; return bytes."""
    run = ["docker", "run", "--rm", "--network=none", "--user=0:0", "--entrypoint=sh", image, "-c", command]
    return float(subprocess.run(run, check=True, text=True, capture_output=True).stdout) * 1024


def labs(lab: Subject, number: int = 10) -> tuple[int, float, float]:
    """Start `number` labs. Return their number, and two values in bytes per lab.

    The first value is the memory that the engine counts for the containers of a lab. The second one is the machine's
    memory that is no longer available.
    """
    lab.build()
    before = available()
    names = [f"{lab.project}-{index}" for index in range(number)]
    try:
        for name in names:
            lab.run("env", "JUPYTER_PORT=0", f"COMPOSE_PROJECT_NAME={name}",
                    "docker", "compose", "up", "--detach", "--wait", "--no-build")  # fmt: skip
        counted = sum(held(stats) for name in names for stats in lab.stats(name))
        return number, counted / number, (before - available()) / number
    finally:
        for name in names:
            lab.run("docker", "compose", "--project-name", name, "down", "--volumes", "--timeout", "2")


def available() -> float:
    """Bytes of memory that a new program could use, page cache included."""
    return float(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) * 1024


def packages(lab: Subject) -> dict[int, tuple[float, float]]:
    """Seconds of a cold build and bytes of the image by the number of packages; also draw the plot."""
    lab.build()  # the default image has matplotlib, which draws the plot
    image = f"{lab.project}-plot"
    lab.run("docker", "tag", lab.image, image)
    layout = ("--quiet", "--universal", "--generate-hashes", "--no-annotate", "--no-header", "--python-version", "3.13")
    compile_ = [ROOT / ".venv/bin/uv", "pip", "compile", *layout, ROOT / "benchmarks/packages.in"]
    lock = subprocess.run(compile_, check=True, text=True, capture_output=True).stdout
    entries = re.findall(r"^[\w.-]+==.*\n(?: .*\n)*", lock, re.MULTILINE)
    costs: dict[int, tuple[float, float]] = {}
    cold = []
    try:
        for number in NUMBERS:
            (lab.folder / "requirements.lock").write_text("".join(entries[:: len(entries) // number][:number]))
            empty = lambda: cold.append(caches.cold(lab.folder / "Dockerfile"))  # noqa: E731
            costs[number] = lab.build("--no-cache", prepare=empty), lab.sizes()["unpacked"]
            print(f"  {number} packages: {costs[number][0]:.0f} s, {costs[number][1] / 1e6:.0f} MB", flush=True)
        subjects.draw(image, PLOT, costs, "packages.svg")
    finally:
        caches.remove(cold)
        lab.run("docker", "image", "rm", image)
    return costs


def measured(what: str, folder: Path) -> tuple:
    """The results of `parts`, `labs` or `packages` for a new project in `folder`."""
    lab = subjects.render(folder / "labdock")
    try:
        return {"parts": parts, "labs": labs, "packages": lambda lab: (packages(lab),)}[what](lab)
    finally:
        lab.remove()
