"""Labs with each answer to `network`: their start, and packages through the proxy. Also the page over TLS."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from playwright.sync_api import Browser, sync_playwright

from benchmarks import report, subjects
from benchmarks.report import Samples
from benchmarks.subjects import Subject, held
from engine import machine
from tests.clients.browser.chromium import chromium_container
from tools.notebook import LabClient, execute, text

NETWORKS = ("open", "allowlist", "sealed")
PACKAGE = "scipy"  # about 40 MB
MOST = 1.2  # the highest allowed ratio of an installation through the proxy
MOST_TLS = 1.1  # the highest allowed ratio of the page over TLS
VISITS = 5  # in each round
INSTALL = f"""
import shutil, subprocess, sys, time
begin = time.monotonic()
options = ["--quiet", "--no-cache-dir", "--no-deps", "--target", "/run/lab/tmp/new"]
done = subprocess.run([sys.executable, "-m", "pip", "install", *options, {PACKAGE!r}], capture_output=True, text=True)
print(time.monotonic() - begin if done.returncode == 0 else done.stderr)
shutil.rmtree("/run/lab/tmp/new", ignore_errors=True)
"""


@contextmanager
def labs(folder: Path) -> Iterator[list[Subject]]:
    """A built lab for each network. Its notebooks may reach the package index of this machine."""
    found = []
    try:
        for network in NETWORKS:
            subject = subjects.render(folder / network, network, network=network)
            found.append(subject)
            index = subject.environment.get("PIP_INDEX_URL", "")
            subject.environment = {**subject.environment, "LAB_PIP_INDEX_URL": index}
            if network == "allowlist":
                (subject.folder / "egress/allowlist.txt").write_text("\n".join(hosts(subject)))
            subject.build()
        yield found
    finally:
        for subject in found:
            subject.remove()


def hosts(subject: Subject) -> list[str]:
    """The hosts from which pip gets the package in a lab on this machine: those of the index and of its files."""
    pip = ("env", f"PIP_CONFIG_FILE={os.devnull}", sys.executable, "-m", "pip", "install")  # as in a lab
    options = ("--dry-run", "--ignore-installed", "--no-cache-dir", "--no-deps", "--only-binary=:all:", "--quiet")
    resolved = json.loads(subject.run(*pip, *options, "--report", "-", PACKAGE))
    (usual,) = re.findall(r"\(default\s+(https://\S+)\)", subject.run(*pip, "--help"))
    index = subject.environment.get("PIP_INDEX_URL") or usual
    addresses = [index, *(each["download_info"]["url"] for each in resolved["install"])]
    return sorted({urlsplit(each).hostname or "" for each in addresses})


def walls(folder: Path, repeat: int) -> Samples:
    """Measure each lab `repeat` times, in turn. Samples by row and network."""
    samples: Samples = {}
    with labs(folder) as found:
        for round_ in range(repeat):
            print(f"Round {round_ + 1} of {repeat}", flush=True)
            for subject in found:
                more = (lambda lab: {}) if subject.name == "sealed" else installed
                for row, value in subject.measure_start(more).items():
                    samples.setdefault((row, subject.name), []).append(value)
                    print(f"  {row:<12} {subject.name:<10} {value:.4g}", flush=True)
        (allowlist,) = (subject for subject in found if subject.name == "allowlist")
        allowlist.run("docker", "compose", "up", "--detach", "--wait")
        samples["proxy", "allowlist"] = [proxy(allowlist)]
        allowlist.run("docker", "compose", "down", "--timeout", "5")
    samples.update(pages(folder, VISITS * repeat))
    return samples


def pages(folder: Path, visits: int) -> Samples:
    """Seconds from the login until JupyterLab lists the files in a browser, without TLS and with it, in turn."""
    answers = {"http": "none", "https": "self-signed"}
    both = [subjects.render(folder / scheme, scheme, tls=tls) for scheme, tls in answers.items()]
    samples: Samples = {}
    try:
        for lab in both:
            lab.build()
            lab.run("docker", "compose", "up", "--detach", "--wait")
        settings = {**machine.settings(), "BROWSER_CA": str(both[1].folder / "certs/ca.pem")}
        with (
            chromium_container("labdock-bench-browser", **settings) as (_, address),
            sync_playwright() as playwright,
        ):
            browser = playwright.chromium.connect_over_cdp(address)
            for _ in range(visits):
                for lab in both:
                    seconds = visit(browser, f"{lab.name}://127.0.0.1:{lab.port}", lab.client().token)
                    samples.setdefault(("page", lab.name), []).append(seconds)
                    print(f"  {'page':<12} {lab.name:<10} {seconds:.4g}", flush=True)
    finally:
        for lab in both:
            lab.remove()
    return samples


def visit(browser: Browser, address: str, token: str) -> float:
    """Log in and wait for JupyterLab's list of files, in a window of its own."""
    context = browser.new_context()
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(f"{address}/lab")
    page.get_by_label("Token", exact=True).fill(token)
    begin = time.monotonic()
    page.get_by_role("button", name="Log in").click()
    page.locator(".jp-DirListing").get_by_text("iris.ipynb").wait_for()
    seconds = time.monotonic() - begin
    context.close()
    return seconds


def installed(lab: LabClient) -> dict[str, float]:
    """Seconds that pip takes in a notebook, the median of three."""
    with lab.kernel() as kernel:
        seconds = [float(text(execute(kernel, INSTALL))) for _ in range(3)]
    return {"pip": median(seconds)}


def proxy(subject: Subject) -> float:
    """Bytes of memory of the proxy, some seconds after its start."""
    time.sleep(5)
    (stats,) = subject.stats(service="egress")
    return held(stats)


def table(samples: Samples, repeat: int) -> str:
    """The table of the networks, as Markdown."""
    middle = {key: median(values) for key, values in samples.items()}
    ratio = middle["pip", "allowlist"] / middle["pip", "open"]
    plain, encrypted = middle["page", "http"], middle["page", "https"]
    tls = encrypted / plain
    lines = [
        "| What | open | allowlist | sealed |",
        "|---|---|---|---|",
        "| `docker compose up` until all containers are healthy | "
        + " | ".join(f"{middle['healthy', network]:.2f} s" for network in NETWORKS)
        + " |",
        f"| pip installs {PACKAGE} | {middle['pip', 'open']:.2f} s | {middle['pip', 'allowlist']:.2f} s | |",
        f"| Memory of the proxy at rest | | {middle['proxy', 'allowlist'] / 1e6:.0f} MB | |",
        "",
        f"Through the proxy, pip takes {ratio:.2f} of the time (target: at most {MOST}, "
        f"{'met' if ratio <= MOST else '**missed**'}).",
        "",
        f"From the login until JupyterLab lists the files in Chromium, {plain:.2f} s pass without TLS, and "
        f"{encrypted:.2f} s with `tls: self-signed`, or {tls:.2f} of the time (median of "
        f"{VISITS * repeat}; target: at most {MOST_TLS}, {'met' if tls <= MOST_TLS else '**missed**'}).",
    ]
    return "\n".join([f"{report.machine()} Measured {repeat} times, in turn. Each value is a median.", "", *lines])
