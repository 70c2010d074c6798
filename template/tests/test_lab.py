"""Tests the running lab: `make test`. Run these tests after you change the Dockerfile or a Compose file."""

import json
import subprocess
from pathlib import Path

import pytest
import requests
import testinfra

ROOT = Path(__file__).resolve().parent.parent


def compose(*arguments: str) -> str:
    command = ["docker", "compose", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, text=True, capture_output=True).stdout.strip()


@pytest.fixture(scope="session", params=["server", "lab"])
def container(request: pytest.FixtureRequest) -> dict:
    """The container of a service, as `docker inspect` shows it."""
    found = compose("ps", "--quiet", request.param)
    return json.loads(subprocess.run(["docker", "inspect", found], check=True, capture_output=True).stdout)[0]


@pytest.fixture(scope="session")
def service(container: dict) -> str:
    """server (the Jupyter server) or lab (notebooks and terminals)."""
    return container["Config"]["Labels"]["com.docker.compose.service"]


@pytest.fixture(scope="session")
def host(container: dict) -> testinfra.host.Host:
    """The container, to run commands in it."""
    return testinfra.get_host(f"docker://{container['Id']}")


@pytest.fixture(scope="session")
def home(host: testinfra.host.Host) -> str:
    return "/home/" + host.check_output("printenv JUPYTER_USERNAME")


@pytest.fixture(scope="session")
def address() -> str:
    """The address that `make url` prints, without its path."""
    printed = subprocess.run(["sh", "lab/commands/url.sh"], cwd=ROOT, check=True, text=True, capture_output=True).stdout
    return printed.rpartition("Address: ")[2].strip().rpartition("/")[0]


@pytest.fixture(scope="session")
def status(host: testinfra.host.Host) -> dict[str, str]:
    """What Linux reports about the container's first process: name -> value."""
    lines = host.check_output("cat /proc/1/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_nothing_runs_as_root(host: testinfra.host.Host) -> None:
    # While the engine starts a command in the container, such as the health check, this process is still root.
    looks = [host.check_output("stat -c '%n %u:%g' /proc/[0-9]* 2>/dev/null || true").splitlines() for _ in range(3)]
    owners = [line.split()[1] for line in set(looks[0]).intersection(*looks)]
    assert set(owners) == {f"{host.check_output('id -u')}:{host.check_output('id -g')}"}
    # In a rootless engine, id 0 in the container is an ordinary user on the machine.
    maps = [host.check_output(f"cat /proc/self/{kind}").split()[:2] for kind in ("uid_map", "gid_map")]
    assert all(
        part != "0" or (inside, outside != "0") == ("0", True)
        for owner in owners
        for part, (inside, outside) in zip(owner.split(":"), maps, strict=True)
    )


def test_the_lab_has_no_capability(status: dict[str, str]) -> None:
    assert {int(status[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}


def test_the_lab_cannot_gain_privileges(host: testinfra.host.Host, status: dict[str, str]) -> None:
    assert status["NoNewPrivs"] == "1"
    assert host.check_output("find / -xdev -type f -perm /6000 2>/dev/null || true") == ""


def test_only_allowed_system_calls_work(container: dict, host: testinfra.host.Host, status: dict) -> None:
    profile = json.dumps(json.loads((ROOT / "lab/runtime/seccomp.json").read_text()), separators=(",", ":"))
    assert container["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true", f"seccomp={profile}"]
    assert status["Seccomp"] == "2"
    tried = host.run("python -c 'import socket; socket.socket(38, socket.SOCK_SEQPACKET)'")  # AF_ALG
    assert "Operation not permitted" in tried.stderr


def test_the_lab_shares_nothing_with_the_host(container: dict, service: str) -> None:
    settings = container["HostConfig"]
    assert settings["Privileged"] is False
    assert not any(settings[kind] for kind in ("CapAdd", "Devices", "GroupAdd"))
    # The only exception is a GPU that compose.yaml reserves.
    reserved = json.loads(compose("config", "--format", "json"))["services"][service].get("deploy", {})
    assert bool(settings["DeviceRequests"]) == bool(reserved.get("resources", {}).get("reservations"))
    kinds = ("NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode", "CgroupnsMode")
    assert not any(settings[kind].startswith(("host", "container:")) for kind in kinds)


# Folders of the host's system. No mount may contain them; other mounts are your decision.
SYSTEM = (
    "/boot",
    "/dev",
    "/etc",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/run",
)


def test_no_mount_contains_the_hosts_system(container: dict, service: str) -> None:
    binds = {m["Destination"]: m["Source"] for m in container["Mounts"] if m["Type"] == "bind"}
    binds.pop("/run/ca.pem", None)  # your certificates (LAB_CA_BUNDLE)
    assert not [source for source in binds.values() if source in ("/", "/home", "/var", "/var/lib")]
    assert not [source for source in binds.values() if any(f"{source}/".startswith(f"{top}/") for top in SYSTEM)]
    assert not [source for source in binds.values() if source.endswith(".sock")]
    # The server mounts only the token of secrets/, and the lab mounts none of it. Git's folder is read-only.
    token = {"/run/secrets/jupyter_token": str(ROOT / "secrets/jupyter_token")}
    assert {name: path for name, path in binds.items() if "secrets" in name + path} == (
        token if service == "server" else {}
    )
    assert str(ROOT / "secrets") not in binds.values() and str(ROOT) not in binds.values()
    assert not [mount for mount in container["Mounts"] if mount["Destination"] == "/workspace/.git" and mount["RW"]]


def test_memory_cpus_processes_and_logs_are_limited(container: dict) -> None:
    settings = container["HostConfig"]
    assert 0 < settings["Memory"] == settings["MemorySwap"]
    assert (settings["PidsLimit"] or 0) > 0
    assert settings["CpuQuota"] > 0 or settings["NanoCpus"] > 0
    limits = {limit["Name"]: limit["Hard"] for limit in settings["Ulimits"] or []}
    assert limits.get("core") == 0 and limits.get("nofile", 0) > 0
    assert {"max-size", "max-file"} <= (settings["LogConfig"]["Config"] or {}).keys()


@pytest.mark.parametrize("folder", ["/tmp", "/run/lab", "home"])
def test_temporary_folders_are_limited_and_safe(host: testinfra.host.Host, home: str, folder: str) -> None:
    path = home if folder == "home" else folder
    options = host.check_output(f"grep ' {path} ' /proc/mounts").split()[3].split(",")
    assert {"nosuid", "nodev"} <= set(options) and any(option.startswith("size=") for option in options)
    assert folder == "home" or "noexec" in options  # programs may start from home


def test_the_health_check_passes(container: dict) -> None:
    assert container["State"].get("Health", {}).get("Status") == "healthy"


def test_the_root_is_read_only(host: testinfra.host.Host) -> None:
    options = host.check_output("awk '$2 == \"/\" {print $4}' /proc/mounts").splitlines()[-1]
    assert "ro" in options.split(",")


@pytest.mark.parametrize("folder", ["data", "notebooks"])
def test_the_mounts_belong_to_you_and_are_writable(host: testinfra.host.Host, home: str, folder: str) -> None:
    options = host.check_output(f"awk '$2 == \"{home}/{folder}\" {{print $4}}' /proc/mounts").splitlines()[-1]
    if "ro" in options.split(","):  # compose.override.yaml, or a folder of the machine that is read-only itself
        assert host.run(f"ls {home}/{folder}").rc == 0
        return
    assert host.check_output(f"stat -c %u {home}/{folder}") == host.check_output("id -u")
    assert host.run(f"t=$(mktemp {home}/{folder}/.test-XXXXXX) && rm $t").rc == 0


def test_only_the_server_reads_the_token(host: testinfra.host.Host, service: str) -> None:
    """Notebooks cannot read it, and nobody can change it."""
    assert (host.run("test -r /run/secrets/jupyter_token").rc == 0) is (service == "server")
    assert host.run("test -w /run/secrets/jupyter_token || test -w /run/secrets").rc != 0


def test_server_and_notebooks_share_only_files_and_sockets(container: dict, service: str) -> None:
    """They have no network in common. The server cannot write the volume with the sockets."""
    other = json.loads(
        subprocess.run(
            ["docker", "inspect", compose("ps", "--quiet", "lab" if service == "server" else "server")],
            check=True,
            capture_output=True,
        ).stdout
    )[0]
    networks, others = (c["NetworkSettings"]["Networks"].keys() for c in (container, other))
    assert networks and not networks & others
    volumes, others = ({m["Name"]: m["RW"] for m in c["Mounts"] if m["Type"] == "volume"} for c in (container, other))
    (shared,) = volumes.keys() & others.keys()
    assert shared.endswith("_sockets") and volumes[shared] is (service == "lab")


def test_the_token_is_in_its_file_only(container: dict, host: testinfra.host.Host, service: str) -> None:
    """The engine, the log and the processes in the container do not show it."""
    token = (ROOT / "secrets/jupyter_token").read_text(encoding="utf-8-sig").strip()
    history = ["docker", "history", "--no-trunc", container["Image"]]
    shown = [json.dumps(container), subprocess.run(history, check=True, text=True, capture_output=True).stdout]
    started = host.check_output("cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' || true")
    assert "JUPYTER_USERNAME" in started and container["Id"] in shown[0]
    assert not [text for text in (*shown, compose("logs", service), started) if token in text]


def test_the_user_cannot_change_the_image(container: dict) -> None:
    """The user cannot write to programs, packages and settings, even if the root filesystem were writable."""
    if container["Config"]["User"].startswith("0:"):
        pytest.skip("in a rootless engine the user owns the image's files, and only the read-only root protects them")
    command = ["docker", "run", "--rm", "--network=none", f"--user={container['Config']['User']}", "--entrypoint=find"]
    there = "/opt/labdock/entrypoint.sh"  # proves that the search ran
    where = ["/opt", "/etc", "/usr", "(", "!", "-type", "l", "-writable", "-o", "-path", there, ")", "-print"]
    done = subprocess.run([*command, container["Image"], *where], check=False, text=True, capture_output=True)
    assert done.stdout == f"{there}\n"


def test_prepare_has_no_network() -> None:
    found = compose("ps", "--all", "--quiet", "prepare")
    seen = json.loads(subprocess.run(["docker", "inspect", found], check=True, capture_output=True).stdout)[0]
    assert seen["HostConfig"]["NetworkMode"] == "none"


def test_another_website_cannot_use_the_lab(address: str) -> None:
    """Another website cannot send the cookie, write with the cookie alone, or use another name for this address."""
    token = (ROOT / "secrets/jupyter_token").read_text(encoding="utf-8-sig").strip()
    browser = requests.Session()
    entered = browser.get(f"{address}/login", params={"token": token}, timeout=30)
    cookies = " ".join(answer.headers.get("Set-Cookie", "") for answer in (*entered.history, entered))
    assert "username-" in cookies and "SameSite=Strict" in cookies
    assert browser.get(f"{address}/api/contents", timeout=30).status_code == 200  # the cookie works for its own user
    assert browser.post(f"{address}/api/contents/notebooks", json={}, timeout=30).status_code == 403
    headers = {"Authorization": f"token {token}", "Host": "rebound.example"}
    assert requests.get(f"{address}/api/contents", headers=headers, timeout=30).status_code == 403


def test_no_websocket_opens_without_the_token(address: str) -> None:
    token = (ROOT / "secrets/jupyter_token").read_text(encoding="utf-8-sig").strip()
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "A" * 22 + "=="

    def opened(**headers: str) -> bool:
        options = {"headers": upgrade | headers, "allow_redirects": False, "stream": True, "timeout": 30}
        with requests.get(f"{address}/api/events/subscribe", **options) as answer:
            return answer.status_code == 101

    assert opened(Authorization=f"token {token}")
    assert not opened()


def test_only_the_token_opens_the_lab(address: str) -> None:
    token = (ROOT / "secrets/jupyter_token").read_text(encoding="utf-8-sig").strip()
    assert len(token) >= 32
    for header, expected in ((None, 403), ("token " + "0" * 64, 403), (f"token {token}", 200)):
        headers = {"Authorization": header} if header else {}
        assert requests.get(f"{address}/api/contents", headers=headers, timeout=30).status_code == expected


def test_the_port_is_open_on_the_chosen_address_only(container: dict, service: str) -> None:
    """This machine only, unless JUPYTER_BIND is another address. Only the server has this port."""
    if service == "lab":
        assert "8888/tcp" not in (container["HostConfig"]["PortBindings"] or {})
        return
    settings = dict(line.split("=", 1) for line in compose("config", "--environment").splitlines() if "=" in line)
    bindings = [binding for ports in container["HostConfig"]["PortBindings"].values() for binding in ports]
    assert {binding["HostIp"] for binding in bindings} == {settings.get("JUPYTER_BIND") or "127.0.0.1"}
