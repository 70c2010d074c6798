"""Computations over three machines, the certificates between them, and faults in the middle of a computation."""

import json
import re
import socket

import pytest

from tests.support.cluster import Cluster
from tests.support.computations import EXACT, RESULT, WORK

pytestmark = pytest.mark.full


# --- computations -------------------------------------------------------------------------------------
SHARES = """
import json
from collections import Counter
from distributed import wait
tasks = client.map(lambda n: n * n, range(600), pure=False)
wait(tasks)
print(json.dumps([sum(client.gather(tasks)), {worker: len(keys) for worker, keys in client.has_what().items()}]))
"""


def test_a_computation_over_all_machines_is_exact(cluster_of_three: Cluster) -> None:
    """The table and the array are made on the workers. Each machine receives a part of them from the other."""
    addresses = cluster_of_three.workers()
    assert addresses == sorted(cluster_of_three.worker(*each) for each in ((1, 8801), (1, 8802), (2, 8801)))
    before = [each.received() for each in cluster_of_three.machines[1:]]
    cluster_of_three.run(EXACT)
    after = [each.received() for each in cluster_of_three.machines[1:]]
    assert all(now - then > 8_000_000 for then, now in zip(before, after, strict=True)), (before, after)
    total, shares = json.loads(cluster_of_three.run(SHARES))
    assert total == sum(n * n for n in range(600))
    assert sorted(shares) == addresses and all(shares.values()), shares


VERSIONS = """
import warnings
warnings.simplefilter("error", UserWarning)
found = client.get_versions(check=True)
print(len(found["workers"]), found["scheduler"]["host"]["python"])
"""


def test_notebooks_scheduler_and_workers_have_equal_versions(cluster_of_three: Cluster) -> None:
    """The control: with another version on one worker, the same question fails."""
    assert re.fullmatch(r"3 3\.13\.\d+\.final\.0\n", cluster_of_three.run(VERSIONS))
    other = """
def older(found):
    import distributed.versions
    distributed.versions._version_cached = found
client.run(older, lambda name: "0", workers=addresses()[:1])
import warnings
warnings.simplefilter("error", UserWarning)
try:
    client.get_versions(check=True)
except (UserWarning, ValueError) as error:
    print(error)
finally:
    from distributed.versions import _version_cached
    client.run(older, _version_cached, workers=addresses()[:1])
"""
    assert "Mismatched versions found" in cluster_of_three.run(other)


# --- what the network lets through --------------------------------------------------------------------
def open_ports(address: str) -> set[int]:
    """The TCP ports of an address that accept a connection."""
    found = set()
    for port in range(1, 65536):
        with socket.socket() as connection:
            connection.settimeout(2)
            if connection.connect_ex((address, port)) == 0:
                found.add(port)
    return found


@pytest.mark.attack(
    "From another machine of the cluster, connect to every TCP port of the lab's machine and of a worker's machine",
    "Only the scheduler (8786) and the workers (from 8801) accept a connection. The lab and the dashboard do not.",
)
def test_other_machines_reach_only_the_listed_ports(cluster_of_three: Cluster) -> None:
    """The control: the lab's machine itself reaches the port of the lab."""
    first, second, third = cluster_of_three.machines
    assert third.inside.run(open_ports, first.address) == {8786}
    assert third.inside.run(open_ports, second.address) == {8801, 8802}
    assert second.inside.run(open_ports, third.address) == {8801}
    lab = int(cluster_of_three.lab.client().address.rpartition(":")[2])
    assert first.inside.run(open_ports, "127.0.0.1") >= {lab}


# --- faults in the middle of a computation ------------------------------------------------------------
# The worker's scratch folder, which has another name after each start.
STARTED = "import json\nprint(json.dumps(client.run(lambda dask_worker: dask_worker.local_directory)))\n"


def test_a_worker_is_killed(cluster_of_three: Cluster) -> None:
    """The engine starts it again, and it comes back."""
    with cluster_of_three.running(WORK) as running:
        before = cluster_of_three.run(STARTED)
        cluster_of_three.kill_worker()
        assert running.end() == RESULT
    cluster_of_three.has(*cluster_of_three.all())
    assert cluster_of_three.run(STARTED) != before


def test_a_machine_leaves(cluster_of_three: Cluster) -> None:
    """`make leave` does not wait for tasks that run. Other workers run them again."""
    with cluster_of_three.running(WORK) as running:
        assert cluster_of_three.leave(1).stderr == ""
        assert cluster_of_three.workers() == [cluster_of_three.worker(2)]
        assert running.end() == RESULT


def test_a_machine_loses_its_power(cluster_of_three: Cluster) -> None:
    """When it starts again, its workers join by themselves."""
    second = cluster_of_three.machines[1]
    try:
        with cluster_of_three.running(WORK) as running:
            second.crash()
            assert running.end() == RESULT
        assert cluster_of_three.workers() == [cluster_of_three.worker(2)]
    finally:
        second.start()
    cluster_of_three.has(*cluster_of_three.all())


def test_a_cable_is_cut(cluster_of_three: Cluster) -> None:
    """The result is right without these workers, and with the cable in its place, they come back by themselves."""
    second = cluster_of_three.machines[1]
    with cluster_of_three.running(WORK) as running:
        second.link("down")
        try:
            assert running.end() == RESULT
        finally:
            second.link("up")
    cluster_of_three.has(*cluster_of_three.all())


def test_a_cable_is_out_for_a_moment(cluster_of_three: Cluster) -> None:
    with cluster_of_three.running(WORK) as running:
        cluster_of_three.machines[1].link("down")
        cluster_of_three.machines[1].link("up")
        assert running.end() == RESULT
    cluster_of_three.has(*cluster_of_three.all())


def test_the_scheduler_is_killed(cluster_of_three: Cluster) -> None:
    """The notebook gets an error that says so. Then `Client()` and the next computation work."""
    lab = cluster_of_three.lab.ids("service=scheduler")[0]
    with cluster_of_three.running(WORK) as running:
        cluster_of_three.lab.run("docker", "exec", lab, "pkill", "-9", "-f", "dask_scheduler")
        said = running.end()
    # The notebook was in a request, or waited for its results.
    assert re.match("(CommClosedError|FutureCancelledError) .*scheduler", said, re.DOTALL), said
    cluster_of_three.has(*cluster_of_three.all())
    total, _ = json.loads(cluster_of_three.run(SHARES))
    assert total == sum(n * n for n in range(600))


# --- memory -------------------------------------------------------------------------------------------
SPILL = """
import numpy
from distributed import wait
there = addresses()[:1]
def hundred_megabytes(number):
    return numpy.full(12_500_000, number)
parts = client.map(hundred_megabytes, range(12), pure=False, workers=there)
wait(parts)
print(client.run(lambda dask_worker: len(dask_worker.data.disk) > 0, workers=there)[there[0]])
print(sum(client.gather(client.map(lambda part: int(part.sum()), parts, workers=there))) == sum(range(12)) * 12_500_000)
"""
FULL = """
import numpy
there = addresses()[:1]
held = client.scatter(["a", "b"], workers=addresses()[1:])
try:
    client.submit(numpy.ones, 250_000_000, pure=False, workers=there).result()
except Exception as error:
    print(type(error).__name__)
print(client.gather(held))
"""


def test_results_over_the_limit_go_to_the_disk(cluster_of_three: Cluster) -> None:
    """A worker has 1 GB, and gets 1.2 GB of results. It does not restart."""
    before = cluster_of_three.run(STARTED)
    assert cluster_of_three.run(SPILL) == "True\nTrue\n"
    assert cluster_of_three.run(STARTED) == before


def test_a_worker_over_its_limit_starts_again_and_harms_no_other(cluster_of_three: Cluster) -> None:
    """The task gets 2 GB at once. After some attempts, the notebook gets an error. Others keep their data."""
    before = json.loads(cluster_of_three.run(STARTED))
    assert cluster_of_three.run(FULL) == "KilledWorker\n['a', 'b']\n"
    cluster_of_three.has(*cluster_of_three.all())
    after = json.loads(cluster_of_three.run(STARTED))
    assert [worker for worker in before if after[worker] != before[worker]] == [cluster_of_three.worker(1)]
