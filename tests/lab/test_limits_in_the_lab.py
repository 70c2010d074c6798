"""Libraries count the CPUs of the lab, not of the machine. Programs share as much memory as the lab has."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from tests.attack.test_memory import ends
from tests.support.project import Project
from tests.support.variants import TEMPLATE, beside, with_server
from tests.support.waiting import until
from tools.notebook import execute

COUNTS = """
import json, os, joblib, numpy, sklearn.cluster, threadpoolctl
pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
names = ("OMP_NUM_THREADS", "NUMEXPR_MAX_THREADS", "RAYON_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
print(json.dumps([len(pools) > 1, *pools, os.cpu_count(), joblib.cpu_count(), *(int(os.environ[n]) for n in names)]))
"""
# How many threads OpenBLAS has in a process of joblib.
WORKER = """
import os, joblib
os.environ.update({more})
def threads():
    import numpy, threadpoolctl
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
print(joblib.Parallel(n_jobs=2)([joblib.delayed(threads)()] * 2))
"""
LARGE, USED = 400 << 20, 100 << 20  # bytes
SHARED = """
from multiprocessing.shared_memory import SharedMemory
shared = SharedMemory(create=True, size={size})
for start in range(0, {size}, 1 << 20):
    shared.buf[start : start + (1 << 20)] = bytes(1 << 20)
shared.close()
shared.unlink()
print("written")
"""

# Reads a file several times, so that Linux keeps it in memory. Uses less memory itself.
READS = f"""
import pathlib
file = pathlib.Path("../data/large")
with file.open("wb") as out:
    for _ in range({LARGE >> 20}):
        out.write(bytes(1 << 20))
for _ in range(4):
    with file.open("rb") as found:
        while found.read(1 << 20):
            pass
used = b"x" * {USED}
"""


# --- CPUs -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("files", "machine", "expected"),
    [
        ({"cpu.max": "200000 100000"}, 64, 2),
        ({"cpu.max": "150000 100000"}, 64, 2),
        ({"cpu.max": "5000 100000"}, 64, 1),
        ({"cpu.max": "6400000 100000"}, 2, 2),
        ({"cpu.max": "max 100000"}, 64, 64),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 64, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64, 64),
        ({}, 64, 64),
    ],
)
def test_a_limit_is_rounded_up(tmp_path: Path, files: dict[str, str], machine: int, expected: int) -> None:
    """With cgroups v2 and v1, and in a rootless engine without limits. The user's variable changes no count."""
    nproc = tmp_path / "nproc"
    nproc.write_text(f'#!/bin/sh\necho "${{OMP_NUM_THREADS:-{machine}}}"\n')
    nproc.chmod(0o755)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    script = f". {TEMPLATE}/lab/server/cpus.sh; cpu_limit {tmp_path}"
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "OMP_NUM_THREADS": "7"}
    done = subprocess.run(["sh", "-euc", script], env=env, check=True, text=True, capture_output=True)
    assert done.stdout == f"{expected}\n"


@pytest.fixture(scope="module")
def half(lab: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A lab with half a CPU, whose user sets one of the variables."""
    own = {"services": {"lab": {"environment": {"POLARS_MAX_THREADS": "3"}}}}
    with beside(lab, tmp_path_factory.mktemp("half"), own, LAB_CPU_PERCENT="50") as twin:
        twin.serve()
        yield twin


@pytest.mark.full
def test_libraries_count_the_cpus_of_the_lab(half: Project) -> None:
    """In a notebook, in a shell, and in a kernel that VS Code starts. The user's own variables stay."""
    counts = json.loads(half.client().run(COUNTS))
    assert counts[0] is True and {*counts[1:]} == {1}
    assert half.client().run("import os; print(os.environ['POLARS_MAX_THREADS'])") == "3\n"
    shell = ("exec", "--no-TTY", "lab", "bash", "-ic", "echo $OMP_NUM_THREADS $POLARS_MAX_THREADS")
    assert half.compose(*shell).stdout == "1 3\n"
    assert half.compose("exec", "--env", "OMP_NUM_THREADS=7", *shell[1:]).stdout == "7 3\n"
    python = "import os; print(os.environ.get('OMP_NUM_THREADS'))"
    started = ("exec", "--no-TTY", "lab", "/opt/venv/bin/python")
    assert half.compose(*started, "-m", "IPython", "-c", python).stdout == "1\n"
    assert half.compose(*started, "-c", python).stdout == "None\n"  # the control


@pytest.mark.full
def test_processes_of_joblib_share_the_cpus(lab: Project) -> None:
    """The control shows why the lab sets no variable of OpenBLAS: joblib passes it on to each process."""
    assert lab.client().run(WORKER.format(more={})) == "[[1], [1]]\n"
    assert lab.client().run(WORKER.format(more={"OPENBLAS_NUM_THREADS": "2"})) == "[[2], [2]]\n"


# --- memory ---------------------------------------------------------------------------------------
@pytest.mark.full
@pytest.mark.parametrize("guarded", [True, False], ids=["as delivered", "the control: as docker stats counts"])
def test_files_in_the_cache_are_no_used_memory(lab: Project, tmp_path: Path, guarded: bool) -> None:
    """The status bar shows only what Linux cannot free."""
    text = lab.read("lab/server/cgroup.py")
    twice = ', "active_file")'
    assert text.count(twice) == 1
    layer = with_server(lab, tmp_path, "cgroup.py", text if guarded else text.replace(twice, ",)"))
    with beside(lab, tmp_path, layer) as twin:
        twin.serve()
        client = twin.client()

        def shown() -> int:
            return client.request("GET", "metrics/v1").json()["rss"]

        with client.kernel() as kernel:
            before = shown()
            execute(kernel, READS)
            until(lambda: shown() > before + USED / 2, "the memory of the notebook is counted")
            counted = shown() - before
        (twin.folder / "data/large").unlink()
    assert (counted < LARGE) == guarded


# --- shared memory --------------------------------------------------------------------------------
def test_programs_share_large_arrays(lab: Project) -> None:
    assert lab.client().run(SHARED.format(size=200 << 20)) == "written\n"


@pytest.mark.full
def test_too_much_shared_memory_ends_the_kernel_only(lab: Project, tmp_path: Path) -> None:
    with beside(lab, tmp_path, LAB_MEMORY="512m") as twin:
        twin.serve()
        with suppress(requests.RequestException), twin.client().kernel() as kernel:  # its shutdown fails then
            kernel.execute(SHARED.format(size=500 << 20))
            ends(kernel)
        assert twin.client().run(SHARED.format(size=50 << 20)) == "written\n"
        assert twin.container()["RestartCount"] == 0
