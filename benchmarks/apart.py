"""Server and notebooks in two containers, compared with the last version that had one."""

import base64
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median, quantiles

import requests

from benchmarks import subjects
from benchmarks.report import Samples
from benchmarks.subjects import ROOT, Subject
from tools.notebook import LabClient, execute

BEFORE = "^release: v0.2.0"  # the commit of the last version with one container
HOSTILE = (ROOT / "tests/attack/hostile_agent.py").read_text(encoding="utf-8")
BEHAVIOURS = ("silent", "endless", "slow", "noise", "never accepts")
PIECE, PIECES = base64.b64encode(os.urandom(10 << 20)).decode(), 10
FILE = "data/large.bin"


def apart(folder: Path, repeat: int) -> Samples:
    """Measure both versions `repeat` times, in turn. Samples by row and subject."""
    samples: Samples = {}
    log = ["git", "log", "--format=%H", "--max-count=1", f"--grep={BEFORE}"]
    before = subprocess.run(log, cwd=ROOT, check=True, text=True, capture_output=True).stdout.strip()
    both = [subjects.render(folder / "one", "one-container", before), subjects.render(folder / "two", "labdock")]
    try:
        for subject in both:
            subject.build()
        for round_ in range(repeat):
            print(f"Round {round_ + 1} of {repeat}", flush=True)
            for subject in both:
                for row, value in subject.measure_start(work).items():
                    samples.setdefault((row, subject.name), []).append(value)
                    print(f"  {row:<12} {subject.name:<14} {value:.4g}", flush=True)
        ours = both[1]
        ours.run("docker", "compose", "up", "--detach", "--wait")
        samples["attacked", "labdock"] = [attacked(ours, behaviour) for behaviour in BEHAVIOURS]
        samples["twenty", "labdock"] = [twenty(ours.client())]
    finally:
        for subject in both:
            subject.remove()
    return samples


def work(lab: LabClient) -> dict[str, float]:
    """Seconds of an empty cell (the median of 200), and of an upload and a download of 100 MB."""
    found = {}
    with lab.kernel() as kernel:
        trips = []
        for _ in range(200):
            begin = time.perf_counter()
            execute(kernel, "")
            trips.append(time.perf_counter() - begin)
        found["trip"] = median(trips)
    begin = time.monotonic()
    for number in [*range(1, PIECES), -1]:
        piece = {"type": "file", "format": "base64", "content": PIECE, "chunk": number}
        lab.request("PUT", f"contents/{FILE}", json=piece)
    found["upload"] = time.monotonic() - begin
    begin = time.monotonic()
    answer = requests.get(f"{lab.address}/files/{FILE}", headers={"Authorization": f"token {lab.token}"}, timeout=60)
    found["download"] = time.monotonic() - begin
    assert len(answer.content) == PIECES * (10 << 20)
    lab.request("DELETE", f"contents/{FILE}")
    return found


def attacked(subject: Subject, behaviour: str) -> float:
    """The 99th percentile of the seconds for /api/status, while notebooks play the agent and browsers start kernels."""
    lab = subject.client()
    labels = ["label=com.docker.compose.service=lab", f"label=com.docker.compose.project={subject.project}"]
    container = subject.run("docker", "ps", "--quiet", *(f"--filter={label}" for label in labels)).strip()
    command = ["docker", "exec", container, "python", "-c", HOSTILE, behaviour]
    seconds = []

    def start_kernels() -> None:
        while len(seconds) < 300:
            with suppress(requests.RequestException):
                lab.request("POST", "kernels", json={"name": "python3"})

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as hostile, ThreadPoolExecutor(8) as browsers:
        assert hostile.stdout
        assert hostile.stdout.readline() == "ready\n"
        for _ in range(8):
            browsers.submit(start_kernels)
        while len(seconds) < 300:
            begin = time.monotonic()
            lab.request("GET", "status")
            seconds.append(time.monotonic() - begin)
        subject.run("docker", "exec", container, "pkill", "-TERM", "-f", "[t]rue-agent")
    return quantiles(seconds, n=100)[98]


def twenty(lab: LabClient) -> float:
    """Seconds until 20 new kernels have each run a cell, one after the other."""
    begin = time.monotonic()
    managers = [lab.kernel() for _ in range(20)]
    kernels = [manager.__enter__() for manager in managers]
    for kernel in kernels:
        execute(kernel, "1 + 1")
    took = time.monotonic() - begin
    for manager in managers:
        manager.__exit__(None, None, None)
    return took
