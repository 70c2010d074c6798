"""A notebook with the key of the cluster attacks the other machines"""

import secrets
import socket
from pathlib import Path

import pytest

from tests.support.cluster import Cluster

pytestmark = pytest.mark.full


def in_worker(cluster: Cluster, body: str) -> str:
    """Run the body of a function in the first worker of the second machine. Return what it returns, as a string."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    call = f"print(client.run(attack, workers=['{cluster.worker(1)}'])['{cluster.worker(1)}'], end='')\n"
    return cluster.run(f"def attack():\n{lines}\n{call}")


@pytest.mark.attack(
    "Run code in the workers on other machines",
    "The code runs: workers exist for this. It has the worker's uid and no capabilities, and cannot get more rights.",
)
def test_code_runs_in_workers_without_rights(cluster_of_three: Cluster) -> None:
    status = in_worker(cluster_of_three, "return open('/proc/self/status').read()")
    found = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    uid, _, gid = cluster_of_three.lab.config()["services"]["worker"]["user"].partition(":")
    assert set(found["Uid"].split()) == {uid} and set(found["Gid"].split()) == {gid}
    assert all(int(found[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
    assert found["NoNewPrivs"] == "1" and found["Seccomp"] == "2"


@pytest.mark.attack(
    "Read and change the files in data/ on another machine",
    "Workers can read these files. They cannot change, delete or create one.",
)
def test_workers_cannot_change_data(cluster_of_three: Cluster) -> None:
    file = cluster_of_three.copies[0].folder / "data/table.csv"
    file.write_text("kept")
    file.chmod(0o666)
    file.parent.chmod(0o777)
    tries = """
import os, pathlib
file = pathlib.Path(os.environ["HOME"], "data/table.csv")
said = [file.read_text()]
new = file.with_name("new")
for attempt in (lambda: file.write_text("x"), file.unlink, new.touch, lambda: file.chmod(0o777)):
    try:
        attempt()
        said.append("done")
    except OSError as error:
        said.append(error.strerror)
return said
"""
    assert in_worker(cluster_of_three, tries) == str(["kept", *["Read-only file system"] * 4])
    assert file.read_text() == "kept" and [path.name for path in file.parent.iterdir()] == ["table.csv"]
    file.unlink()


@pytest.mark.attack(
    "Look in a worker for the files of its machine: other files of the project, and the engine's socket",
    "The worker sees data/, its own key and certificate, and the image. Nothing else of the machine is there.",
)
def test_workers_see_no_file_of_their_machine(cluster_of_three: Cluster) -> None:
    """The control: the file in data/ with the same content is found."""
    copy = cluster_of_three.copies[0].folder
    mark = secrets.token_hex(20)
    for name in ("notebooks/mark", "secrets/mark", "secrets/cluster/mark", ".env.mark", "data/mark"):
        (copy / name).write_text(mark)
        (copy / name).chmod(0o644)
    search = f"""
import os
mark, found = {mark[:20]!r} + {mark[20:]!r}, []
without = ("/proc", "/sys", "/dev", "/usr", "/opt/venv", "/opt/jupyter")
for folder, folders, files in os.walk("/"):
    folders[:] = [each for each in folders if os.path.join(folder, each) not in without]
    for name in files:
        path = os.path.join(folder, name)
        try:
            if os.path.isfile(path) and os.path.getsize(path) < 100_000 and mark.encode() in open(path, "rb").read():
                found.append(path)
        except OSError:
            pass
sockets = [path for path in ("/run/docker.sock", "/var/run/docker.sock") if os.path.exists(path)]
mounts = ["/run/cluster", os.environ["HOME"]]
return [found, sockets, os.path.exists("/run/secrets"), [sorted(os.listdir(each)) for each in mounts]]
"""
    home = f"/home/{cluster_of_three.lab.config()['services']['worker']['environment']['JUPYTER_USERNAME']}"
    found = in_worker(cluster_of_three, search)
    assert found == str([[f"{home}/data/mark"], [], False, [["ca.pem", "tls.key", "tls.pem"], ["data"]]])
    for name in ("notebooks/mark", "secrets/mark", "secrets/cluster/mark", ".env.mark", "data/mark"):
        (copy / name).unlink()


@pytest.mark.attack(
    "Look in the lab and in the workers for the key of the CA, with which new certificates could be made",
    "It is in no container of the cluster. A worker's own key is in its container, where code can read it.",
)
def test_the_key_of_the_authority_is_in_no_container(cluster_of_three: Cluster) -> None:
    """The control: the worker's own key is found in the same way."""
    lab = cluster_of_three.lab.folder / "secrets/cluster"
    read = "'cat /run/cluster/* /run/lab/* /run/secrets/* 2>/dev/null'"
    look = f"subprocess.run({read}, shell=True, capture_output=True, text=True).stdout"
    seen = in_worker(cluster_of_three, f"import subprocess\nreturn {look}")
    seen += cluster_of_three.run(f"import subprocess\nprint({look})\n")
    for role in ("worker", "client"):
        assert body(lab / role / "tls.key") in seen
    assert body(lab / "ca.key") not in seen
    assert body(lab / "scheduler/tls.key") not in seen
    assert (cluster_of_three.lab.folder / "secrets/jupyter_token").read_text().strip() not in seen


def body(key: Path) -> str:
    """The middle of a key in PEM form."""
    return key.read_text().splitlines()[1]


@pytest.mark.attack(
    "Change the programs of a worker, so that later computations of other people run them",
    "The image is read-only. The worker's memory can be changed until it starts again.",
)
def test_a_worker_starts_again_without_what_was_changed(cluster_of_three: Cluster) -> None:
    plant = """
import os, sys, distributed
said = []
for path in ("/opt/venv/lib/python3.13/site-packages/planted.py", "/opt/labdock/cluster/planted.py"):
    try:
        open(path, "w").close()
        said.append("done")
    except OSError as error:
        said.append(error.strerror)
for folder in ("/run/lab", os.environ["HOME"], "/var/cache/lab/" + str(os.getuid()), *sys.path):
    try:
        open(os.path.join(folder, "planted.py"), "w").close()
    except OSError:
        pass
sys.planted = True
return said
"""
    assert in_worker(cluster_of_three, plant) == str(["Read-only file system"] * 2)
    seen = (
        "import importlib.util, sys\nreturn [hasattr(sys, 'planted'), importlib.util.find_spec('planted') is not None]"
    )
    assert in_worker(cluster_of_three, seen) == "[True, True]"
    copy = cluster_of_three.copies[0]
    (container,) = copy.run("docker", "ps", "--quiet", "--filter", "name=worker-8801").stdout.split()
    copy.run("docker", "restart", container)
    cluster_of_three.has(*cluster_of_three.all())
    assert in_worker(cluster_of_three, seen) == "[False, False]"


@pytest.mark.attack(
    "From a worker on another machine, connect to a program of that machine that listens on all its addresses",
    "The connection works, as from any container of an open network. The machine's own firewall has to prevent it.",
)
def test_workers_reach_open_ports_of_their_machine(cluster_of_three: Cluster) -> None:
    """The control: a program that listens on 127.0.0.1 is not reached."""
    second = cluster_of_three.machines[1]
    connect = f"""
import socket
said = []
for port in (9001, 9002):
    with socket.socket() as connection:
        connection.settimeout(2)
        said.append(connection.connect_ex(("{second.address}", port)) == 0)
return said
"""
    with (
        second.inside.run(socket.create_server, ("0.0.0.0", 9001)),
        second.inside.run(socket.create_server, ("127.0.0.1", 9002)),
    ):
        assert in_worker(cluster_of_three, connect) == "[True, False]"


@pytest.mark.attack(
    "As the owner of a machine that joined, send a result that runs code when the notebook reads it",
    "The code runs in the container of the notebooks, which has neither the token nor the CA's key. So join only "
    "machines of people whom you trust.",
)
def test_a_result_can_run_code_in_the_notebook(cluster_of_three: Cluster) -> None:
    code = """
import os
class Result:
    def __reduce__(self):
        return os.path.abspath, ("ran",)
print(type(client.submit(Result, pure=False, workers=addresses()[:1]).result()).__name__)
print(os.path.exists("/run/secrets/jupyter_token"))
"""
    assert cluster_of_three.run(code) == "str\nFalse\n"


@pytest.mark.attack(
    "From another machine, send packets to the addresses of the containers of the lab's machine, through a route to it",
    "The engine drops them. The scheduler is reached at its published port only.",
)
def test_a_route_to_the_containers_leads_nowhere(cluster_of_three: Cluster) -> None:
    """The control: the lab's machine itself reaches the scheduler's container."""
    first, second, _ = cluster_of_three.machines
    networks = cluster_of_three.lab.container("scheduler")["NetworkSettings"]["Networks"]
    (address,) = (each["IPAddress"] for each in networks.values())
    second.inside.ip("route", "add", address, "via", first.address)
    try:
        assert [first.inside.run(reached, address, port) for port in (8786, 8791)] == [True, True]
        assert [second.inside.run(reached, address, port) for port in (8786, 8790, 8791, 8888)] == [False] * 4
    finally:
        second.inside.ip("route", "delete", address)


def reached(address: str, port: int) -> bool:
    with socket.socket() as connection:
        connection.settimeout(2)
        return connection.connect_ex((address, port)) == 0
