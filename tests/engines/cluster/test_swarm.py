"""Workers that Docker's Swarm runs on three machines (`make scale` with LAB_SWARM_IMAGE)."""

import base64
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.build_sources import fetch_registry, running_registry
from tests.support.cluster import Cluster, copied, make
from tests.support.computations import EXACT, RESULT, WORK, other_numpy
from tests.support.machines import Machine
from tests.support.waiting import until

pytestmark = pytest.mark.full

IMAGE = "study-swarm-lab"  # without a registry: each machine has it
SERVICE = "study-swarm_swarm-worker"


@pytest.fixture(scope="module")
def swarm(started_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A second lab on the first machine, which is the manager of a Swarm of three machines. No worker runs."""
    started_cluster.empty()
    first, *others = started_cluster.machines
    usual = started_cluster.lab.config()["services"]["lab"]["image"]
    for each in started_cluster.machines:
        each.docker("tag", usual, IMAGE)
    first.docker("swarm", "init", "--advertise-addr", first.address)
    token = first.docker("swarm", "join-token", "--quiet", "worker").strip()
    for each in others:
        each.docker("swarm", "join", "--token", token, "--advertise-addr", each.address, f"{first.address}:2377")
    folder = tmp_path_factory.mktemp("swarm")
    lab = copied(started_cluster.lab, first, folder / "lab")
    shared = folder / "shared"
    shared.mkdir()
    (shared / "seen.txt").write_text("seen\n")
    lab.set_env(LAB_NAME="study-swarm", LAB_SCHEDULER_BIND="", LAB_SWARM_IMAGE=IMAGE, LAB_SWARM_DATA=str(shared))
    lab.make("up")
    yield Cluster(started_cluster.machines, lab, [])
    lab.make("down")
    for each in reversed(started_cluster.machines):
        each.docker("swarm", "leave", "--force")


def containers(machine: Machine) -> list[dict[str, Any]]:
    """The workers of the Swarm that run on this machine."""
    ids = machine.docker("ps", "--quiet", "--filter", f"label=com.docker.swarm.service.name={SERVICE}").split()
    return json.loads(machine.docker("inspect", *ids)) if ids else []


def held(machine: Machine) -> list[str]:
    """The services, secrets, configs and networks of the Swarm."""
    kinds = ("service", "secret", "config", "network")
    return [line for kind in kinds for line in machine.docker(kind, "ls", "--format", "{{.Name}}").split()]


def test_workers_spread_over_all_machines(swarm: Cluster) -> None:
    done = make(swarm.lab, "scale", WORKERS="3")
    assert done.stdout == (f"Workers in the cluster: 3. See their machines with 'docker service ps {SERVICE}'.\n"), (
        done.stderr
    )
    assert [len(containers(each)) for each in swarm.machines] == [1, 1, 1]
    assert len(swarm.workers()) == 3
    swarm.run(EXACT)


def protections(container: dict[str, Any]) -> dict[str, Any]:
    host = container["HostConfig"]
    options = dict(re.split("[:=]", each, maxsplit=1) for each in host["SecurityOpt"])
    return {
        "user": container["Config"]["User"],
        "read-only": host["ReadonlyRootfs"],
        "capabilities": host["CapDrop"],
        "seccomp": json.loads(options["seccomp"]),
        "no-new-privileges": options["no-new-privileges"],
        "processes": host["PidsLimit"],
        "init": host["Init"],
        "limits": sorted((each["Name"], each["Soft"], each["Hard"]) for each in host["Ulimits"]),
        "log": host["LogConfig"],
        "privileged": host["Privileged"],
    }


def test_workers_of_a_swarm_are_protected_like_the_lab(swarm: Cluster) -> None:
    """Their protections are those of a container that Compose started."""
    make(swarm.lab, "scale", WORKERS="3")
    (scheduler,) = json.loads(swarm.lab.run("docker", "inspect", *swarm.lab.ids("service=scheduler")).stdout)
    for machine in swarm.machines:
        (worker,) = containers(machine)
        assert protections(worker) == protections(scheduler)
        assert worker["HostConfig"]["Memory"] == 1024**3 and worker["HostConfig"]["NanoCpus"] == 10**9
        assert worker["NetworkSettings"]["Ports"] == {}
    status = "print(client.run(lambda: [line for line in open('/proc/1/status') if line.split(':')[0] in NAMES]))"
    found = swarm.run(status.replace("NAMES", "('CapBnd', 'NoNewPrivs', 'Seccomp')"))
    assert found.count("'CapBnd:\\t0000000000000000\\n', 'NoNewPrivs:\\t1\\n', 'Seccomp:\\t2\\n'") == 3, found


# The mounts that each worker needs, and what they have in common with those of the lab.
MOUNTS = """
import json
def mounts():
    lines = map(str.split, open("/proc/mounts"))
    return {place: options.split(",") for _, place, _, options, *_ in lines}
print(json.dumps(list(client.run(mounts).values())))
"""


def test_mounts_of_workers_of_a_swarm(swarm: Cluster) -> None:
    make(swarm.lab, "scale", WORKERS="3")
    found = json.loads(swarm.run(MOUNTS))
    assert len(found) == 3
    for mounts in found:
        for place in ("/", "/run/cluster/tls.key", "/run/ca.pem", "/home/jovyan/data"):
            assert "ro" in mounts[place], place
        for place, size in {"/tmp": "1048576k", "/run/lab": "65536k"}.items():
            assert {"noexec", "nosuid", "nodev", f"size={size}"} <= {*mounts[place]}, place
        assert {"nosuid", "nodev", "size=1048576k"} <= {*mounts["/home/jovyan"]}


@pytest.mark.nightly
def test_a_service_without_protections_is_replaced(swarm: Cluster) -> None:
    """It is what a command leaves that was stopped in the middle."""
    swarm.lab.make("down")
    swarm.lab.make("up")
    first = swarm.machines[0]
    first.docker("service", "create", "--detach", "--replicas", "0", "--no-resolve-image", "--name", SERVICE, IMAGE)
    label = f"labdock.service={SERVICE}"
    first.docker("secret", "create", "--label", label, f"{SERVICE}-ca.pem", "-", input="of an earlier start")
    make(swarm.lab, "scale", WORKERS="1")
    (worker,) = [each for machine in swarm.machines for each in containers(machine)]
    assert protections(worker)["read-only"] and len(swarm.workers()) == 1


def test_workers_read_the_shared_folder(swarm: Cluster) -> None:
    make(swarm.lab, "scale", WORKERS="3")
    code = """
def tried():
    from pathlib import Path
    file = Path.home() / "data/seen.txt"
    try:
        file.write_text("changed")
    except OSError as error:
        return file.read_text() + error.strerror
print(*set(client.run(tried).values()))
"""
    assert swarm.run(code) == "seen\nRead-only file system\n"


@pytest.mark.nightly
def test_fewer_workers_keep_the_results(swarm: Cluster) -> None:
    make(swarm.lab, "scale", WORKERS="3")
    before = {each["Id"] for machine in swarm.machines for each in containers(machine)}
    with swarm.running(WORK) as running:
        make(swarm.lab, "scale", WORKERS="1")
        left = {each["Id"] for machine in swarm.machines for each in containers(machine)}
        assert len(swarm.workers()) == len(left) == 1 and left < before
        assert running.end() == RESULT
    make(swarm.lab, "scale", WORKERS="0")
    swarm.has()


@pytest.mark.nightly
def test_a_machine_loses_its_power(swarm: Cluster) -> None:
    """The Swarm starts its worker on another machine. `make scale` works without the lost one, and with it."""
    make(swarm.lab, "scale", WORKERS="3")
    first, second, third = swarm.machines
    with swarm.running(WORK) as running:
        third.crash()
        try:
            assert running.end() == RESULT
            until(lambda: len(swarm.workers()) == 3, "a worker starts on another machine", 120)
            make(swarm.lab, "scale", WORKERS="4")
            assert len(containers(first)) + len(containers(second)) == len(swarm.workers()) == 4
        finally:
            third.start()
    make(swarm.lab, "scale", WORKERS="3")
    assert len(swarm.workers()) == 3


@pytest.mark.nightly
def test_the_image_comes_from_a_registry(swarm: Cluster, tmp_path: Path) -> None:
    """The registry wants a password. The control: without the login, the machines cannot get the image."""
    name, user = "127.0.0.1:5000/study/lab:1", ("ada", "a-password")
    login = tmp_path / "login"
    login.mkdir()
    secret = base64.b64encode(":".join(user).encode()).decode()
    (login / "config.json").write_text(json.dumps({"auths": {"127.0.0.1:5000": {"auth": secret}}}))
    swarm.lab.set_env(LAB_SWARM_IMAGE=name)
    fetch_registry(tmp_path)
    with ExitStack() as stack:
        for each in swarm.machines:  # each machine reaches the same images at this address
            each.inside.run(stack.enter_context, running_registry(tmp_path, 5000, user))
        first = swarm.machines[0]
        first.docker("tag", IMAGE, name)
        first.docker("--config", str(login), "push", "--quiet", name)
        first.docker("image", "rm", name)
        try:
            assert "a machine of the Swarm rejected a worker (vm: " in fails(swarm)
            swarm.lab.environment["DOCKER_CONFIG"] = str(login)
            make(swarm.lab, "scale", WORKERS="3")
            images = {each["Config"]["Image"] for machine in swarm.machines for each in containers(machine)}
            assert len(images) == 1 and images.pop().startswith(f"{name}@sha256:")
            swarm.run(EXACT)
        finally:
            del swarm.lab.environment["DOCKER_CONFIG"]
            swarm.lab.set_env(LAB_SWARM_IMAGE=IMAGE)


# --- refusals -----------------------------------------------------------------------------------------
def fails(cluster: Cluster) -> str:
    """Require that no worker starts, and that nothing of the workers is left. Return what `make scale` says."""
    done = make(cluster.lab, "scale", check=False, WORKERS="3")
    said = [line for line in done.stderr.splitlines() if line.startswith("labdock: ")]
    assert done.returncode and len(said) == 1, done.stderr
    assert [name for name in held(cluster.machines[0]) if SERVICE in name] == []
    assert cluster.workers() == []
    return said[0].removeprefix("labdock: ")


def test_machines_without_the_image(swarm: Cluster) -> None:
    """The control: with the image, they start (all other tests)."""
    swarm.lab.set_env(LAB_SWARM_IMAGE="nobody-has-it:1")
    try:
        said = fails(swarm)
    finally:
        swarm.lab.set_env(LAB_SWARM_IMAGE=IMAGE)
    assert "a machine of the Swarm rejected a worker (vm: " in said and "No such image: nobody-has-it:1" in said, said
    assert "'docker save nobody-has-it:1 | ssh MACHINE docker load'" in said


@pytest.mark.nightly
def test_an_image_with_other_packages(swarm: Cluster, tmp_path: Path) -> None:
    version, path = other_numpy(swarm, tmp_path / "METADATA")

    (tmp_path / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY METADATA {path}\n")

    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda each: each.docker("build", "--tag", "other-packages", str(tmp_path)), swarm.machines))
    swarm.lab.set_env(LAB_SWARM_IMAGE="other-packages")
    try:
        said = fails(swarm)
    finally:
        swarm.lab.set_env(LAB_SWARM_IMAGE=IMAGE)
    assert f"packages differ from those of the scheduler: numpy is 1.0.0 here and {version} there." in said


LOST = {
    "security_opt: ['label:type:lab_t']": "security_opt 'label:type:lab_t'",
    "runtime: other": "'runtime'",
    "networks: [server]": "'networks'",
    "volumes: [{type: tmpfs, target: /mnt}]": "this kind of volume at /mnt",
}


@pytest.mark.parametrize("line", LOST)
def test_what_a_swarm_cannot_set(swarm: Cluster, line: str) -> None:
    """Nothing starts without a line that the user added."""
    layer = swarm.lab.folder / "compose.override.yaml"
    before = layer.read_text()
    layer.write_text(f"{before.rstrip()[:-1]}, worker: {{{line}}}}}\n")
    try:
        said = fails(swarm)
    finally:
        layer.write_text(before)
    assert said.startswith(f"the Swarm did not accept the workers (a Swarm's worker cannot have {LOST[line]}. Remove")


# --- changes ------------------------------------------------------------------------------------------
@pytest.mark.nightly
def test_new_certificates_reach_the_workers(swarm: Cluster) -> None:
    make(swarm.lab, "scale", WORKERS="2")
    before = {each["Id"] for machine in swarm.machines for each in containers(machine)}
    said = make(swarm.lab, "certs").stderr
    assert "note  the Swarm's workers are of an earlier image, certificate or setting." in said, said
    assert "so all workers start anew ..." in make(swarm.lab, "scale", WORKERS="2").stderr
    after = {each["Id"] for machine in swarm.machines for each in containers(machine)}
    assert len(after) == 2 and not after & before
    assert len(swarm.workers()) == 2
    assert "anew" not in make(swarm.lab, "scale", WORKERS="2").stderr  # the control


def test_a_swarm_that_no_setting_names_is_noticed(swarm: Cluster) -> None:
    """The control: with the setting, `make scale` works (all other tests)."""
    make(swarm.lab, "scale", WORKERS="1")
    swarm.lab.environment["LAB_SWARM_IMAGE"] = ""
    try:
        said = make(swarm.lab, "scale", check=False, WORKERS="1").stderr
        assert (
            "labdock: LAB_SWARM_IMAGE is empty, but the Swarm still runs workers of this lab. Run 'make down'" in said
        )
    finally:
        del swarm.lab.environment["LAB_SWARM_IMAGE"]


def volumes(cluster: Cluster) -> set[str]:
    """The volumes without a name, which workers have."""
    ls = ("volume", "ls", "--quiet", "--filter", "label=com.docker.volume.anonymous")
    return {name for each in cluster.machines for name in each.docker(*ls).split()}


def test_the_end_of_the_lab_ends_the_workers(swarm: Cluster) -> None:
    """No volume of a worker stays either."""
    swarm.lab.make("down")
    before = volumes(swarm)
    swarm.lab.make("up")
    make(swarm.lab, "scale", WORKERS="2")
    assert any(SERVICE in name for name in held(swarm.machines[0])) and volumes(swarm) - before  # the control
    swarm.lab.make("down")
    assert [name for name in held(swarm.machines[0]) if "study-swarm" in name] == []
    assert [containers(each) for each in swarm.machines] == [[], [], []]
    until(lambda: volumes(swarm) <= before, "the machines remove the workers' volumes", 60)
    swarm.lab.make("up")
