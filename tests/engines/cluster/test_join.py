"""`make join` and `make leave` on other machines: what they refuse, and what they leave behind."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.cluster import LOADED, Cluster, make
from tests.support.computations import other_numpy
from tests.support.package_index import dated
from tests.support.project import Project

pytestmark = pytest.mark.full

WORKER = "secrets/cluster/worker"


def held(project: Project) -> list[set[str]]:
    """The containers, volumes and networks of the engine of this project."""
    kinds = (("container", "ls", "--all"), ("volume", "ls"), ("network", "ls"))
    return [set(project.run("docker", *kind, "--quiet").stdout.split()) for kind in kinds]


# --- certificates -------------------------------------------------------------------------------------
@pytest.fixture
def empty(started_cluster: Cluster) -> Cluster:
    """The cluster without workers."""
    started_cluster.empty()
    return started_cluster


@pytest.fixture
def changed(empty: Cluster, tmp_path: Path) -> Iterator[Path]:
    """The certificates of a copy, for a test to change. They come back at the end."""
    folder = empty.copies[0].folder / WORKER
    subprocess.run(["cp", "-a", folder, tmp_path / "before"], check=True)
    yield folder
    subprocess.run(["cp", "-a", f"{tmp_path}/before/.", folder], check=True)


@pytest.fixture
def foreign(empty: Cluster, tmp_path: Path) -> Path:
    """The worker's certificates of another project."""
    secrets = tmp_path / "foreign"
    secrets.mkdir()
    (owner,) = {path.stat().st_uid for path in (empty.copies[0].folder / WORKER).iterdir()}
    shutil.chown(secrets, owner, owner)
    image = empty.lab.config()["services"]["lab"]["image"]
    program = ("--entrypoint", "/opt/jupyter/bin/python", image, "-I", "/opt/labdock/cluster/authority.py")
    empty.machines[0].docker(
        "run", "--rm", "--user", f"{owner}:{owner}", "--volume", f"{secrets}:/run/secrets", *program
    )
    return secrets / "cluster/worker"


def expired(ca: Path, role: Path) -> None:
    """Sign the certificate of a role again, valid until 2020."""
    dated(role / "tls.pem", role / "tls.key", ca, "200101000000Z", "200201000000Z")


def take(source: Path, target: Path, *names: str) -> None:
    for name in names:
        (target / name).write_bytes((source / name).read_bytes())


def fails(cluster: Cluster, **words: str) -> str:
    """Require that joining fails and leaves nothing behind. Return what it said."""
    before = held(cluster.copies[0])
    done = cluster.join(1, check=False, **words)
    assert done.returncode != 0
    *_, said, make = done.stderr.splitlines()
    assert make.startswith("make: ***") and said.startswith("labdock: "), done.stderr
    assert held(cluster.copies[0]) == before
    assert cluster.workers() == []
    return said.removeprefix("labdock: ")


FOREIGN = {
    "everything": (
        ("ca.pem", "tls.pem", "tls.key"),
        "the scheduler tls://198.18.0.1:8786 has a certificate of another certificate authority (CA). Copy the folder "
        "secrets/cluster/worker from the scheduler's machine, then join again.",
    ),
    "the key and the certificate": (
        ("tls.pem", "tls.key"),
        "the certificate secrets/cluster/worker/tls.pem is not signed by ",
    ),
    "the authority": (("ca.pem",), "the certificate secrets/cluster/worker/tls.pem is not signed by "),
    "the key": (("tls.key",), "secrets/cluster/worker/tls.key is not the key of the certificate in tls.pem. "),
}


@pytest.mark.attack(
    "Join with files of another project in secrets/cluster/worker/",
    "`make join` fails, and says which file is wrong. The scheduler accepts no connection.",
)
@pytest.mark.parametrize("case", FOREIGN)
def test_certificates_of_another_project(empty: Cluster, changed: Path, foreign: Path, case: str) -> None:
    """The control: all other tests join with the project's own certificates."""
    names, expected = FOREIGN[case]
    take(foreign, changed, *names)
    assert fails(empty).startswith(expected)


@pytest.mark.attack("Join with a certificate that has expired", "`make join` fails, and names the certificate.")
def test_an_expired_certificate_of_a_worker(empty: Cluster, changed: Path) -> None:
    expired(empty.lab.folder / "secrets/cluster", changed)
    assert fails(empty).startswith("the certificate secrets/cluster/worker/tls.pem is not valid or has expired. ")


def test_an_expired_certificate_of_the_scheduler(empty: Cluster, tmp_path: Path) -> None:
    """The running scheduler has the old certificate. After `make certs` and a restart, workers join."""
    secrets = empty.lab.folder / "secrets/cluster"
    replaced = secrets / "scheduler"
    subprocess.run(["cp", "-a", replaced, tmp_path / "before"], check=True)
    script = "lab/server/cluster/tls.sh"
    try:
        expired(secrets, replaced)
        # The scheduler itself refuses to start with such a certificate, so it starts without this check.
        layer = empty.lab.folder / "compose.override.yaml"
        (tmp_path / "tls.sh").write_text(empty.lab.read(script).partition("openssl")[0])
        layer.write_text(
            f"{LOADED.rstrip()[:-1]}, scheduler: {{volumes: ['{tmp_path}/tls.sh:/opt/labdock/cluster/tls.sh:ro']}}}}\n"
        )
        empty.lab.compose("up", "--detach", "--no-build", "--no-deps", "--wait", "scheduler")
        done = empty.join(1, check=False)
        assert (
            f"labdock: the certificate of the scheduler {empty.scheduler} has expired. Run 'make certs'" in done.stderr
        )
    finally:
        layer.write_text(LOADED)
        subprocess.run(["cp", "-a", f"{tmp_path}/before/.", replaced], check=True)
        empty.lab.compose("up", "--detach", "--no-build", "--no-deps", "--wait", "scheduler")
    empty.join(1)
    empty.has(empty.worker(1))


# --- addresses and packages ---------------------------------------------------------------------------
@pytest.mark.attack(
    "Answer at the address of the scheduler without TLS, or connect to the scheduler without TLS",
    "The worker refuses it, and says so. The scheduler closes the connection.",
)
def test_plain_tcp(empty: Cluster) -> None:
    """The control: with TLS, the same connection to the scheduler is open."""

    first = empty.machines[0]
    listening = first.inside.run(socket.create_server, (first.address, 9000))
    with ThreadPoolExecutor() as pool:
        pool.submit(answer, listening)
        try:
            said = fails(empty, SCHEDULER=f"tls://{first.address}:9000")
        finally:
            listening.shutdown(socket.SHUT_RDWR)
    assert said == f"tls://{first.address}:9000 answers without TLS, so it is not the scheduler. Check SCHEDULER."
    connect = (
        "try:\n    Client('{}://scheduler:8786', timeout=5)\n    print('open')\nexcept OSError:\n    print('closed')"
    )
    assert [empty.run(connect.format(protocol)) for protocol in ("tcp", "tls")] == ["closed\n", "open\n"]


def answer(listening: socket.socket) -> None:
    """Answer each connection in words, as a program without TLS does."""
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"220 ready\r\n" * 10)


@pytest.mark.nightly
def test_no_scheduler_at_this_address(empty: Cluster) -> None:
    wrong = f"tls://{empty.machines[0].address}:8787"
    said = fails(empty, SCHEDULER=wrong)
    assert said.startswith(f"the scheduler {wrong} does not answer (") and "LAB_SCHEDULER_BIND" in said


@pytest.mark.nightly
def test_an_address_at_which_nobody_reaches_the_worker(empty: Cluster) -> None:
    said = fails(empty, CONTACT="198.18.0.99")
    assert said.startswith("the scheduler does not reach this worker at tls://198.18.0.99:8801 (")


def test_a_port_in_use(empty: Cluster) -> None:
    """The control: the port that the message proposes works."""
    listening = empty.machines[1].inside.run(socket.create_server, ("0.0.0.0", 8801))
    with listening:
        said = fails(empty)
        assert said == "port 8801 is in use on this machine. Run 'make join' with another one, for example PORT=8901."
        empty.join(1, PORT="8901")
        empty.has(empty.worker(1, 8901))
    empty.leave(1)


def test_a_worker_with_other_packages(empty: Cluster, tmp_path: Path) -> None:
    """The control: without the difference, the same machine joins."""
    copy = empty.copies[0]
    version, path = other_numpy(empty, tmp_path / "METADATA")
    mount = f"'{tmp_path}/METADATA:{path}:ro'"
    layer = copy.folder / "compose.override.yaml"
    layer.write_text(f"{LOADED.rstrip()[:-1]}, worker: {{volumes: [{mount}]}}}}\n")
    try:
        said = fails(empty)
    finally:
        layer.write_text(LOADED)
    assert said.startswith(
        f"this worker's packages differ from those of the scheduler: numpy is 1.0.0 here and {version} there. Copy "
    )
    empty.join(1)
    empty.has(empty.worker(1))


# --- leaving ------------------------------------------------------------------------------------------
SCATTERED = """
import json
from distributed import wait
from operator import add
there = [address for address in addresses() if LEAVING in address]
data = [client.scatter(number, workers=there, direct=False, hash=False) for number in range(40)]
made = client.map(add, range(40), range(40), pure=False, workers=there, allow_other_workers=True)
wait(made)
assert not set().union(*client.who_has(data).values()) - set(there)
print("middle", flush=True)
input()
try:
    print(sum(client.gather(data)), sum(client.gather(made)))
except Exception as error:
    print(type(error).__name__)
"""


def test_leaving_keeps_the_results(cluster_of_three: Cluster) -> None:
    """Data that was sent to the workers exists nowhere else. The control: when they are killed, it is lost."""
    code = SCATTERED.replace("LEAVING", repr(cluster_of_three.machines[1].address))
    with cluster_of_three.running(code) as running:
        done = cluster_of_three.leave(1)
        assert running.end() == f"{sum(range(40))} {2 * sum(range(40))}\n"
    assert (done.stdout, done.stderr) == ("Workers that have left: 2.\n", "")
    cluster_of_three.has(cluster_of_three.worker(2))
    cluster_of_three.join(1, 2)
    with cluster_of_three.running(code) as running:
        copy = cluster_of_three.copies[0]
        copy.run("docker", "kill", *copy.run("docker", "ps", "--quiet").stdout.split())
        assert running.end() in ("FutureCancelledError\n", "KilledWorker\n", "CancelledError\n")
    cluster_of_three.leave(1)


def test_the_last_worker_says_that_its_results_are_lost(empty: Cluster) -> None:
    empty.join(1)
    with empty.running(SCATTERED.replace("LEAVING", repr(empty.machines[1].address))):
        done = empty.leave(1)
    assert done.stdout == "Workers that have left: 1.\n"
    assert done.stderr.startswith(f"note  no other worker could take the results of {empty.worker(1)}. ")
    empty.has()


def test_workers_on_the_machine_of_the_scheduler(empty: Cluster) -> None:
    """They join like all others, so that workers on other machines reach them. `make scale` says so."""
    address = empty.machines[0].address
    words = {"SCHEDULER": empty.scheduler, "CONTACT": address}
    said = make(empty.lab, "scale", check=False, WORKERS="2").stderr
    assert f"run 'make join SCHEDULER={empty.scheduler} CONTACT=HOST'" in said
    assert "1, at port 8801. 'make leave' ends them." in make(empty.lab, "join", **words).stdout
    empty.join(1)
    empty.has(f"tls://{address}:8801", empty.worker(1))
    total = "print(client.submit(sum, client.map(lambda n: n * n, range(100))).result())"
    assert empty.run(total) == f"{sum(n * n for n in range(100))}\n"
    make(empty.lab, "leave")
    empty.has(empty.worker(1))


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_many_joins_and_leaves_leave_nothing_behind(empty: Cluster) -> None:
    """In each of 25 rounds, four workers join on each of two machines."""
    for number in (1, 2):  # with its first network, an engine makes firewall rules that stay
        empty.join(number)
        empty.leave(number)
    before = [held(copy) for copy in empty.copies]
    rules = [each.rules() for each in empty.machines]
    with ThreadPoolExecutor() as pool:
        for _ in range(25):
            list(pool.map(lambda number: empty.join(number, 4), (1, 2)))
            assert len(empty.workers()) == 8
            for done in pool.map(empty.leave, (1, 2)):
                assert done.stdout == "Workers that have left: 4.\n"
            empty.has()
    assert [held(copy) for copy in empty.copies] == before
    assert [each.rules() for each in empty.machines] == rules
