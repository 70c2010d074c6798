"""Tables of the measured values, written between markers into docs/explanation/performance.md."""

import datetime
import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.subjects import BASE, LOCKS, PIN, ROOT

PAGE = ROOT / "docs/explanation/performance.md"
Samples = dict[tuple[str, str], list[float]]  # (row, subject) -> a value for each repetition


@dataclass(frozen=True)
class Row:
    """One measurement. `ratio`: the highest allowed labdock / naive; `most`: the highest allowed value of labdock."""

    what: str
    unit: str
    ratio: float | None = None
    most: float | None = None


ROWS = {
    "cold": Row("Cold build", "s", ratio=0.7),
    "unchanged": Row("Build, nothing changed", "s", most=1),
    "notebook": Row("Build after editing a notebook", "s", most=1),
    "added": Row("Build after adding a package", "s", ratio=0.3),
    "unpacked": Row("Image, all files", "MB", ratio=1.1),
    "compressed": Row("Image, saved and compressed", "MB"),
    "cpu": Row("Processor time until `/api` answers", "s", ratio=0.65),
    "api": Row("`docker compose up` until `/api` answers", "s"),
    "healthy": Row("`docker compose up` until it is healthy", "s", most=3),
    "cell": Row("`/api` answers until the first cell has run", "s", most=1),
    "memory": Row("Memory at rest", "MB", ratio=1),
    "copier": Row("`copier copy`", "s", most=2),
}

# Row -> its words, the highest allowed ratio to one container, and the highest allowed seconds.
APART: dict[str, tuple[str, float | None, float | None]] = {
    "trip": ("An empty cell", 1.1, None),
    "cell": ("A new notebook until its first cell has run", 1.1, None),
    "healthy": ("`docker compose up` until both containers are healthy", None, 3),
    "cpu": ("Processor time until `/api` answers", 1.3, None),
    "memory": ("Memory at rest", 1.3, None),
    "upload": ("Upload of 100 MB", 1.1, None),
    "download": ("Download of 100 MB", 1.1, None),
    "attacked": ("`/api/status` while a notebook plays the agent, 99th percentile", None, 0.5),
    "twenty": ("20 new notebooks, until each has run a cell", None, None),
}

SAVING = 1.3  # the highest allowed ratio to Jupyter's own file manager


def shown(row: str, value: float) -> str:
    """A value with its unit."""
    return f"{value / 1e6:.0f} MB" if ROWS[row].unit == "MB" else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def cell(row: str, values: list[float]) -> str:
    """The median, and the range if there are several values."""
    if not values:
        return ""
    spread = f" ({min(values):.1f} to {max(values):.1f})" if len(values) > 1 and ROWS[row].unit == "s" else ""
    return shown(row, median(values)) + spread


def images_table(samples: Samples, repeat: int) -> str:
    """The table of both images, as Markdown."""
    lines = ["| What | labdock | naive | ratio | target | |", "|---|---|---|---|---|---|"]
    for key, row in ROWS.items():
        ours, theirs = samples[key, "labdock"], samples.get((key, "naive"), [])
        ratio = median(ours) / median(theirs) if theirs else None
        target, met = "", None
        if row.ratio is not None:
            assert ratio is not None
            target, met = f"ratio ≤ {row.ratio}", ratio <= row.ratio
        elif row.most is not None:
            target, met = f"≤ {row.most:g} s", median(ours) <= row.most
        verdict = {None: "", True: "met", False: "**missed**"}[met]
        number = "" if ratio is None else f"{ratio:.2f}"
        lines.append(f"| {row.what} | {cell(key, ours)} | {cell(key, theirs)} | {number} | {target} | {verdict} |")
    times = (
        "once" if repeat == 1 else f"{repeat} times, alternately. Each value is a median, with the range in brackets"
    )
    return "\n".join([f"{machine()} Measured {times}.", "", *lines])


def saving_table(seconds: dict[str, dict[str, list[float]]]) -> str:
    """The table of saving, as Markdown: `seconds` by step and file manager."""
    lines = ["| What | labdock | Jupyter | ratio | target | |", "|---|---|---|---|---|---|"]
    for what, by_manager in seconds.items():
        ours, theirs = by_manager["labdock"], by_manager["Jupyter"]
        ratio = median(ours) / median(theirs)
        shown = [f"{median(values):.3f} s ({min(values):.3f} to {max(values):.3f})" for values in (ours, theirs)]
        verdict = "met" if ratio <= SAVING else "**missed**"
        lines.append(f"| {what} | {shown[0]} | {shown[1]} | {ratio:.2f} | ratio ≤ {SAVING} | {verdict} |")
    times = len(next(iter(seconds.values()))["labdock"])
    return "\n".join(
        [
            f"{machine()} Measured {times} times, alternately. Each value is a median, with the range in brackets.",
            "",
            *lines,
        ]
    )


def apart_table(samples: Samples, repeat: int) -> str:
    """The table of two containers against one, as Markdown."""
    lines = ["| What | two containers | one | ratio | target | |", "|---|---|---|---|---|---|"]

    def words(row: str, values: list[float]) -> str:
        value = max(values) if row == "attacked" else median(values)
        if row == "memory":
            return f"{value / 1e6:.0f} MB"
        return f"{value * 1000:.1f} ms" if value < 0.1 else f"{value:.2f} s"

    for row, (what, most_ratio, most) in APART.items():
        ours, theirs = samples[row, "labdock"], samples.get((row, "one-container"), [])
        ratio = median(ours) / median(theirs) if theirs else 0.0
        target = f"ratio ≤ {most_ratio}" if most_ratio else f"≤ {most:g} s" if most else ""
        met = ratio <= most_ratio if most_ratio else max(ours) <= most if row == "attacked" and most else None
        met = median(ours) <= most if met is None and most else met
        verdict = {None: "", True: "met", False: "**missed**"}[met]
        other = words(row, theirs) if theirs else ""
        lines.append(
            f"| {what} | {words(row, ours)} | {other} | {f'{ratio:.2f}' if theirs else ''} | {target} | {verdict} |"
        )
    return "\n".join([f"{machine()} Measured {repeat} times, alternately. Each value is a median.", "", *lines])


def ablations_table(costs: dict[str, dict[str, float]]) -> str:
    """What labdock costs with each change, as Markdown; a cell is empty if it was not measured."""
    keys = [key for key in ROWS if any(key in found for found in costs.values())]
    lines = [
        "| " + " | ".join(["Change", *(ROWS[key].what.lower() for key in keys)]) + " |",
        "|---" * (len(keys) + 1) + "|",
        *(
            "| " + " | ".join([what, *(shown(key, found[key]) if key in found else "" for key in keys)]) + " |"
            for what, found in costs.items()
        ),
    ]
    return "\n".join([f"{machine()} Measured once.", "", *lines])


def parts_table(parts: dict[str, float], image: float) -> str:
    """The table of the parts of labdock's image, as Markdown: bytes by part, and the bytes of the image."""
    rest = image - sum(parts.values())
    rows = [*parts.items(), ("Debian packages, and bytecode of the standard library", rest), ("**All**", image)]
    lines = [f"| {what} | {size / 1e6:.0f} MB |" for what, size in rows]
    return "\n".join([machine(), "", "| What | Size |", "|---|---|", *lines])


def labs_table(labs: int, container: float, machine_wide: float) -> str:
    """The table of the memory of one lab, if several labs run on one machine, as Markdown. The arguments are bytes."""
    rows = [
        ("Memory of a lab at rest, as the engine counts it for its containers", container),
        ("Memory that each lab takes from the machine, without the page cache", machine_wide),
    ]
    lines = [f"| {what} | {size / 1e6:.0f} MB |" for what, size in rows]
    return "\n".join([f"{machine()} {labs} labs of one image.", "", "| What | Size |", "|---|---|", *lines])


def packages_table(costs: dict[int, tuple[float, float]]) -> str:
    """Build time and image size by the number of packages, as Markdown: seconds and bytes."""
    lines = [f"| {number} | {seconds:.0f} s | {size / 1e6:.0f} MB |" for number, (seconds, size) in costs.items()]
    picture = "![Seconds and megabytes by the number of packages](../images/packages.svg)"
    return "\n".join([machine(), "", "| Packages | Cold build | Image |", "|---|---|---|", *lines, "", picture])


def demo_table(steps: list[tuple[str, float]], engine_before: bool) -> str:
    """The table of `make demo`, as Markdown."""
    rows = [f"| {what} | {seconds:.1f} |" for what, seconds in steps]
    state = (
        "An engine was running before, and layers may have been in its cache."
        if engine_before
        else "No engine was running before."
    )
    return "\n".join([f"{machine()} {state}", "", "| Step of `make demo` | Seconds |", "|---|---|", *rows])


def machine() -> str:
    """Date, hardware and versions, in sentences."""

    def ask(*command: str) -> str:
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
        return done.stdout.strip() if done.returncode == 0 else "none"

    label = ask("docker", "image", "inspect", "--format", '{{index .Config.Labels "org.labdock.stand-in"}}', BASE)
    base = f"`{BASE}` (stand-in of {label})" if label else f"`{BASE}` (official)"
    server = dict(PIN.findall((ROOT / LOCKS["server"][0]).read_text()))
    return (
        f"{datetime.date.today()}, commit {ask('git', 'rev-parse', '--short', 'HEAD')}. {os.cpu_count()} processors, "
        f"{memory():.0f} GB, Linux {platform.release().split('-')[0]}, load {os.getloadavg()[2]:.1f}; "
        f"Docker {ask('docker', 'version', '--format', '{{.Server.Version}}')}, "
        f"Compose {ask('docker', 'compose', 'version', '--short')}; base {base}; JupyterLab {server['jupyterlab']}, "
        f"Notebook {server['notebook']}."
    )


def memory() -> float:
    """The machine's memory in GB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def write(part: str, text: str, page: Path = PAGE) -> None:
    """Print a table, and write it between its markers on the page."""
    print(f"\n{text}")
    marked = re.compile(rf"(<!-- measured: {part} -->\n).*?(<!-- end -->)", re.DOTALL)
    old = page.read_text(encoding="utf-8")
    if not marked.search(old):
        raise RuntimeError(f"{page} has no markers for '{part}'. Add '<!-- measured: {part} -->' and '<!-- end -->'.")
    page.write_text(marked.sub(lambda m: f"{m[1]}{text}\n{m[2]}", old), encoding="utf-8")
