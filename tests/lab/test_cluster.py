"""The Dask cluster beside a lab: computations, encryption, certificates, workers that come and go, and faults."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.build_sources import stand_in
from tests.support.dashboards import entered
from tests.support.hardening import failing
from tests.support.package_index import authority, signed
from tests.support.project import Project, Render
from tests.support.waiting import until

CONNECT = "from dask.distributed import Client\nclient = Client()\n"


@pytest.fixture(scope="module")
def cluster(default_image: None, new_project: Render) -> Iterator[Project]:
    """A running lab with two workers. Tests leave it as they found it."""
    project = new_project(scale_out="dask")
    project.set_env(LAB_WORKER_MEMORY="512m")
    project.start()
    yield project
    project.down()


def run(project: Project, code: str) -> str:
    """What code in a notebook prints, after it has connected to the cluster."""
    return project.client().run(CONNECT + code)


def workers(project: Project) -> int:
    """The number of workers that the scheduler knows."""
    ask = "curl -s --noproxy '*' http://127.0.0.1:8790/json/counts.json || echo '{\"workers\": 0}'"
    return json.loads(project.shell(ask, "scheduler"))["workers"]


# --- computations -------------------------------------------------------------------------------------
TRANSPOSED = """
import dask.array
matrix = dask.array.arange(1_000_000, chunks=10_000, dtype="int64").reshape((1000, 1000)).rechunk((250, 250))
print(int((matrix @ matrix.T).trace().compute()), len(client.scheduler_info()["workers"]))
versions = client.get_versions(check=True)
others = [versions["scheduler"], *versions["workers"].values()]
print(all(versions["client"]["packages"] == each["packages"] for each in others))
print(client.dashboard_link)
"""


def test_a_notebook_finds_the_cluster(cluster: Project) -> None:
    """The result is exact, and notebook, scheduler and workers have the same versions."""
    asks = "from distributed import Client; print(len(Client().scheduler_info()['workers']))"
    assert cluster.shell(f'python -c "{asks}"') == "2\n"  # in `docker compose exec` and in VS Code too
    exact = sum(n * n for n in range(1_000_000))
    assert run(cluster, TRANSPOSED) == f"{exact} 2\nTrue\n/dashboards/8790\n"
    assert [failing(name, each) for name in ("scheduler", "worker") for each in containers(cluster, name)] == [
        set()
    ] * 3


def containers(project: Project, service: str) -> list[dict[str, Any]]:
    return [each for each in project.containers() if each["Config"]["Labels"]["com.docker.compose.service"] == service]


LOCAL = """
from dask.distributed import LocalCluster
with LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0") as own, Client(own) as inside:
    print(inside.submit(sum, [20, 22]).result(), own.scheduler_address.partition(":")[0])
import dask
print(dask.delayed(sum)([1, 2]).compute(scheduler="threads"))
"""


@pytest.mark.full
def test_a_cluster_in_the_notebook_itself_still_works(cluster: Project) -> None:
    assert run(cluster, LOCAL) == "42 inproc\n3\n"


SEES = """
import os
def sees(path):
    try:
        return sorted(os.listdir(os.path.expanduser(path)))
    except OSError as error:
        return type(error).__name__
def writes(path):
    try:
        open(os.path.expanduser(path), "w").close()
    except OSError as error:
        return error.strerror
for path in ("~/data", "~/notebooks", "/run/secrets", "/run/kernels", "/run/cluster"):
    print(path, {str(found) for found in client.run(sees, path).values()})
print({*client.run(writes, "~/data/new").values()}, {*client.run(os.getuid).values()})
"""


def test_workers_see_the_data_and_nothing_else_of_the_project(cluster: Project) -> None:
    (cluster.folder / "data/table.csv").write_text("a\n1\n")
    assert run(cluster, SEES).splitlines() == [
        """~/data {"['.gitkeep', 'table.csv']"}""",
        "~/notebooks {'FileNotFoundError'}",
        "/run/secrets {'FileNotFoundError'}",
        "/run/kernels {'[]'}",
        """/run/cluster {"['ca.pem', 'tls.key', 'tls.pem']"}""",
        "{'Read-only file system'} {1000}",
    ]


# --- encryption -----------------------------------------------------------------------------------------
def connection(address: str, security: str) -> str:
    """Code that connects, and prints the result of a computation or the kind of the error."""
    return f"""
from dask.distributed import Client
from distributed.security import Security
import dask
try:
    with Client({address!r}, security={security}, timeout=5) as client:
        print(client.submit(sum, [20, 22]).result())
except (OSError, TimeoutError, RuntimeError) as error:
    print("refused")
"""


def with_files(folder: str) -> str:
    files = {"tls_ca_file": "ca.pem", "tls_client_cert": "tls.pem", "tls_client_key": "tls.key"}
    return f"Security(**{ {option: f'{folder}/{name}' for option, name in files.items()} })"


@pytest.fixture(scope="module")
def foreign(cluster: Project) -> Iterator[str]:
    """A folder in the lab with a key and a certificate of another CA. It has the project's own CA too."""
    folder = cluster.folder / "notebooks/foreign"
    folder.mkdir()
    authority(folder)
    certificate = signed(folder, "client")
    (folder / "tls.pem").write_bytes(certificate.read_bytes())
    (folder / "tls.key").write_bytes(certificate.read_bytes())
    shutil.copy(cluster.folder / "secrets/cluster/ca.pem", folder / "ca.pem")
    shutil.chown(folder, 1000)
    for file in folder.iterdir():
        shutil.chown(file, 1000)
    yield "/home/jovyan/notebooks/foreign"
    shutil.rmtree(folder)


@pytest.mark.attack("Connect to the scheduler of the cluster without TLS", "The scheduler refuses the connection.")
def test_a_connection_without_tls_is_refused(cluster: Project) -> None:
    client = cluster.client()
    assert client.run(connection("tcp://scheduler:8786", "None")) == "refused\n"
    assert client.run(connection("tls://scheduler:8786", with_files("/run/cluster"))) == "42\n"  # the control


@pytest.mark.attack(
    "Connect to the scheduler with a key that another CA has signed, or with none", "The scheduler refuses both."
)
def test_a_key_of_another_ca_is_refused(cluster: Project, foreign: str) -> None:
    client = cluster.client()
    assert client.run(connection("tls://scheduler:8786", with_files(foreign))) == "refused\n"
    assert client.run(shake_hands("scheduler:8786", None)) == "refused\n"
    assert client.run(shake_hands("scheduler:8786", "/run/cluster")) == "accepted\n"  # the control


@pytest.mark.attack(
    "Connect to a worker, or to the door of the dashboard, with a key that another CA has signed",
    "Both end the connection.",
)
def test_workers_and_the_dashboard_ask_for_a_key(cluster: Project, foreign: str) -> None:
    address = run(cluster, "print(*client.scheduler_info()['workers'])").split()[0].removeprefix("tls://")
    for place in (address, "scheduler:8791"):
        assert cluster.client().run(shake_hands(place, foreign)) == "refused\n"
        assert cluster.client().run(shake_hands(place, "/run/cluster")) == "accepted\n"  # the control


def shake_hands(place: str, folder: str | None) -> str:
    """Code that opens a TLS connection. The other side refuses a key only after the handshake of TLS 1.3."""
    host, _, port = place.rpartition(":")
    load = f"context.load_cert_chain('{folder}/tls.pem', '{folder}/tls.key')" if folder else ""
    return f"""
import socket, ssl
context = ssl.create_default_context(cafile="/run/cluster/ca.pem")
context.check_hostname = False
{load}
with socket.create_connection(("{host}", {port}), timeout=5) as plain, context.wrap_socket(plain) as tls:
    tls.settimeout(2)
    try:
        print("refused" if tls.recv(1) == b"" else "accepted")
    except TimeoutError:
        print("accepted")
    except (ssl.SSLError, ConnectionError):
        print("refused")
"""


def test_the_keys_stay_where_they_belong(cluster: Project) -> None:
    """The key of the CA is in no running container, and no key is in the image, the environment or git."""
    folder = cluster.folder / "secrets/cluster"
    found = {path.relative_to(folder).as_posix(): path.stat().st_mode & 0o777 for path in folder.rglob("*.key")}
    assert found == dict.fromkeys(("ca.key", "client/tls.key", "scheduler/tls.key", "worker/tls.key"), 0o600)
    key = (folder / "ca.key").read_text().splitlines()[1]
    for service in ("lab", "server", "scheduler", "worker"):
        container = containers(cluster, service)[0]["Id"]
        search = (
            f"find / -xdev -name ca.key 2>/dev/null; grep -rsl {key} /run /home /var/lib /var/cache 2>/dev/null || true"
        )
        assert cluster.run("docker", "exec", container, "sh", "-c", search).stdout == ""
        assert "PRIVATE KEY" not in json.dumps(containers(cluster, service))
    own = cluster.run("docker", "exec", containers(cluster, "lab")[0]["Id"], "ls", "/run/cluster").stdout
    assert own == "ca.pem\ntls.key\ntls.pem\n"
    cluster.run("git", "init", "--quiet")
    listed = cluster.run("git", "ls-files", "--others", "--exclude-standard", "secrets").stdout.split()
    shutil.rmtree(cluster.folder / ".git")
    assert listed == ["secrets/.gitkeep"]


# --- the dashboard ----------------------------------------------------------------------------------------
@pytest.mark.attack(
    "Open the dashboard of the cluster without a login, at its own addresses",
    "Nothing answers without a key of the CA.",
)
def test_the_dashboard_opens_through_the_lab_only(cluster: Project) -> None:
    page = entered(cluster.client(), 8790).ask("/status")
    assert page.status == 200 and b"Dask" in page.body
    networks = containers(cluster, "scheduler")[0]["NetworkSettings"]["Networks"].values()
    for address in [network["IPAddress"] for network in networks]:
        assert subprocess.run(["curl", "-s", "-m", "5", f"http://{address}:8790/health"]).returncode == 7
        assert subprocess.run(["curl", "-sk", "-m", "5", f"https://{address}:8791/health"]).returncode not in (0, 7)
    assert containers(cluster, "scheduler")[0]["HostConfig"]["PortBindings"] in (None, {})


# --- workers that come and go -----------------------------------------------------------------------------
HELD = """
held = client.scatter(list(range(100)), broadcast=False)
client.publish_dataset(held=held)
"""
TAKEN = """
held = client.get_dataset("held")
client.unpublish_dataset("held")
print(sum(client.gather(held)), {len(keys) > 0 for keys in client.has_what().values()})
"""


def test_more_and_fewer_workers(cluster: Project) -> None:
    """Workers that end give their results to the others."""
    try:
        done = cluster.make("scale", "WORKERS=3")
        assert "Workers in the cluster: 3. To start as many with the next 'make up', run" in done.stdout
        assert workers(cluster) == 3
        run(cluster, HELD)
        cluster.make("scale", "WORKERS=1")
        assert workers(cluster) == 1
        assert run(cluster, TAKEN) == "4950 {True}\n"
    finally:
        cluster.make("scale", "WORKERS=2")
    assert workers(cluster) == 2


@pytest.mark.full
def test_workers_end_without_a_scheduler(cluster: Project) -> None:
    """Nobody can take their results. The engine would have to kill (137) a worker that waits for the scheduler."""
    for _ in range(3):  # the scheduler ends before the workers are told to, or after
        cluster.compose("stop")
        rows = cluster.compose("ps", "--all", "--format", "json", "worker").stdout.splitlines()
        assert [json.loads(row)["ExitCode"] for row in rows] == [0, 0]
        cluster.compose("start")
        until(lambda: workers(cluster) == 2, "the workers join again")


@pytest.mark.parametrize("number", ["", "-1", "two", "1001"])
def test_a_wrong_number_of_workers_is_refused(cluster: Project, number: str) -> None:
    done = cluster.make("scale", f"WORKERS={number}", check=False)
    assert f"labdock: WORKERS is '{number}', not a number from 0 to 1000." in done.stderr and done.returncode


# --- settings ---------------------------------------------------------------------------------------------
WRONG = {
    "LAB_WORKERS": ["-1", "two", "1001", "1.5"],
    "LAB_WORKER_CPUS": ["0", "1.5", "many"],
    "LAB_WORKER_MEMORY": ["0", "2", "100m", "1.5g", "2t"],
}


def checked(project: Project, engine: str = "docker", **settings: str) -> str:
    """What the check of the settings prints."""
    inside = Project(project.folder, project.answers, settings)
    return inside.run("sh", "-c", f". lab/commands/lib/all.sh; engine={engine}; check_cluster; check_swarm").stdout


def test_wrong_settings_of_the_cluster_are_refused(engine: None, render: Render) -> None:
    project = render(scale_out="dask")
    for name, values in WRONG.items():
        for value in values:
            assert checked(project, **{name: value}).startswith(f"{name} is '{value}', not a "), value
    for good in ({}, {"LAB_WORKERS": "0", "LAB_SCHEDULER_BIND": "192.0.2.1"}, {"LAB_WORKER_MEMORY": "800m"}):
        assert checked(project, **good) == ""  # the control
    assert "the Dask cluster needs Docker, and this engine is Podman." in checked(project, "podman")
    said = checked(project, LAB_SCHEDULER_BIND="192.0.2.1")
    assert "LAB_WORKERS is '2', but with LAB_SCHEDULER_BIND, workers on other machines could not reach" in said
    assert "'make join SCHEDULER=tls://192.0.2.1:8786 CONTACT=192.0.2.1' on this machine too" in said


# The answers of a manager of a Swarm in which one machine has an old engine.
MANAGER = """case "$*" in
*ControlAvailable*) echo true; exit ;;
"node ls --quiet") echo one two; exit ;;
"node inspect "*" one two") printf '28.5.2+dfsg4 new\\n%s old\\n' "$ENGINE"; exit ;;
esac"""


def test_a_machine_with_an_old_engine_is_named(engine: None, render: Render, tmp_path: Path) -> None:
    """It would ignore the seccomp profile and no-new-privileges. The control: the oldest engine that knows them."""
    project = render(scale_out="dask")
    stand_in(project, tmp_path, "docker", MANAGER)
    for version, expected in {
        "24.0.7": "the engine 24.0.7 of the machine old would ignore protections",
        "25.0.0": "",
    }.items():
        said = checked(project, **SWARM, ENGINE=version, PATH=project.environment["PATH"])
        assert said.startswith(expected) and bool(said) is bool(expected), said


SWARM = {"LAB_SWARM_IMAGE": "study-lab", "LAB_WORKERS": "0"}


def test_wrong_settings_of_a_swarm_are_refused(engine: None, render: Render) -> None:
    """The control: without LAB_SWARM_IMAGE, none of these settings matters."""
    project = render(scale_out="dask")
    no_manager = (
        "LAB_SWARM_IMAGE is set, but this engine is not a manager of a Swarm. Run 'docker swarm init', or remove "
    )
    assert checked(project, **SWARM).startswith(no_manager)
    wrong = {
        "LAB_SWARM_IMAGE": ("Study Lab", "not the name of an image"),
        "LAB_SWARM_DATA": ("data", "not a folder that starts with /"),
        "LAB_WORKERS": ("2", "but with LAB_SWARM_IMAGE, workers on other machines could not reach these workers. Run "),
    }
    for name, (value, said) in wrong.items():
        assert checked(project, **{**SWARM, name: value}).startswith(f"{name} is '{value}', {said}")
    both = checked(project, **SWARM, LAB_SCHEDULER_BIND="192.0.2.1")
    assert both.startswith("LAB_SWARM_IMAGE and LAB_SCHEDULER_BIND are both set, but ")
    for value in ("study-lab", "registry.example.com:5000/a/study-lab:1", "127.0.0.1:5000/lab"):
        assert checked(project, **{**SWARM, "LAB_SWARM_IMAGE": value}).startswith(no_manager), value
    assert checked(project, LAB_SWARM_DATA="data") == ""
    walled = checked(render(scale_out="dask", network="sealed"), **SWARM)
    assert walled.startswith("LAB_SWARM_IMAGE is set, but the network of this project is not open, so ")
    assert "an engine that runs without root has no networks over several machines." in checked(
        project, "rootless", **SWARM
    )
