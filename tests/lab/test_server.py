"""How the server behaves over HTTP; and that each line of its configuration is watched."""

import re
from pathlib import Path

import pytest
import requests

from tests.support.mutants import TEMPLATE, beside, with_server
from tests.support.probes import PROBES, get, log_in, misbehaving
from tests.support.project import Project

CONFIG = "jupyter_server_config.py"
LINES = re.findall(r"^c\..*", (TEMPLATE / "lab/server" / CONFIG).read_text(), re.MULTILINE)
# Lines whose loss no probe can notice; every other, and every new one, needs a probe.
UNSEEN = {
    "c.ServerApp.cookie_secret": "the default one lies on a tmpfs and is as new after a start",
    "c.ServerApp.local_hostnames": "test_further_host_names_are_answered_when_named names some",
    "c.ServerApp.port": "the default's value, written down because compose.yaml relies on it",
    "c.ServerApp.port_retries": "no other server is in the container",
    "c.FileContentsManager.preferred_dir": "where the browser starts",
    "c.ServerApp.allow_root": "matters where uid 0 is mapped, as in tests/engines/rootless/test_mapped.py",
    "c.KernelSpecManager.ensure_native_kernel": "the image has a kernel of that name, which comes first",
    "c.NotebookNotary.db_file": "the default's place is read-only; memory is then taken as well, with a warning",
    "c.NotebookNotary.secret": "in memory by the line above it",
    "c.LabApp.check_for_updates_class": "test_telemetry.py takes it away",
}
WORST = ("c.IdentityProvider.token", "c.ServerApp.allow_remote_access")
ALARM = re.compile(r"^\[[WEC] |\b(WARNING|ERROR|CRITICAL|Traceback|Exception)\b", re.MULTILINE)


@pytest.mark.parametrize("probe", PROBES)
def test_the_server(lab: Project, probe: str) -> None:
    assert PROBES[probe](lab.lab())


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, id=line.split()[0], marks=() if line.startswith(WORST) else pytest.mark.full)
        for line in LINES
        if not line.startswith(tuple(f"{name} " for name in UNSEEN))
    ],
)
def test_a_line_of_the_configuration_less_is_noticed(lab: Project, tmp_path: Path, line: str) -> None:
    config = lab.read(f"lab/server/{CONFIG}").replace(f"{line}\n", "", 1)
    assert noticed(lab, tmp_path, config), f"no probe misses {line}"


@pytest.mark.full
def test_an_unchanged_configuration_passes_every_probe(lab: Project, tmp_path: Path) -> None:
    """The control of the mutants."""
    assert noticed(lab, tmp_path, lab.read(f"lab/server/{CONFIG}")) == set()


def noticed(lab: Project, folder: Path, config: str) -> set[str]:
    """What tells a server with this configuration from the one that is delivered."""
    with beside(lab, folder, with_server(lab, folder, CONFIG, config)) as twin:
        if twin.compose("up", "--detach", "--wait", "--no-build", check=False).returncode:
            return {"it does not start"}
        loud = ALARM.search(twin.logs())  # before the probes, whose refusals are logged
        return misbehaving(twin.lab()) | ({f"it warns: {loud[0]}"} if loud else set())


@pytest.mark.full
def test_the_other_front_end_passes_every_probe(lab: Project, tmp_path: Path) -> None:
    with beside(lab, tmp_path, JUPYTER_UI="notebook") as twin:
        twin.compose("up", "--detach", "--wait", "--no-build")
        assert misbehaving(twin.lab()) == set()


@pytest.mark.parametrize("checked", [True, False], ids=["as delivered", "without the check"])
def test_the_server_itself_refuses_to_be_open(lab: Project, tmp_path: Path, checked: bool) -> None:
    """The entrypoint accepts an empty token here. Without the check in the configuration, everybody gets in."""
    length, check = '"$length" -lt 32', "if len(characters) < 32 or"
    checks, config = (lab.read(f"lab/server/{file}") for file in ("checks.sh", CONFIG))
    assert length in checks and check in config
    layer = with_server(lab, tmp_path, "checks.sh", checks.replace(length, '"$length" -lt 0'))
    if not checked:
        (tmp_path / "server" / CONFIG).write_text(config.replace(check, "if False and"))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/jupyter_token").touch()
    file = "secrets/jupyter_token"
    secrets = {"services": {"lab": {"volumes": [f"{tmp_path / file}:/run/{file}:ro"]}}}
    with beside(lab, tmp_path, layer, secrets) as twin:
        serves = twin.compose("up", "--detach", "--wait", "--no-build", check=False).returncode == 0
        assert serves is not checked
        if serves:
            assert get(twin.lab(), "/api/contents") == 200
        else:
            assert "labdock: secrets/jupyter_token holds 0 characters. It needs 32" in twin.logs()


# --- names, pages, log ----------------------------------------------------------------------------
def test_further_host_names_are_answered_when_named(lab: Project, tmp_path: Path) -> None:
    with beside(lab, tmp_path, JUPYTER_HOSTS="lab.example, other.example") as twin:
        twin.compose("up", "--detach", "--wait", "--no-build")
        named = twin.lab()
        names = {"lab.example": 200, "other.example": 200, "localhost": 200, "rebound.example": 403}
        assert {name: get(named, "/api/contents", named.token, Host=name) for name in names} == names


@pytest.mark.parametrize(("front_end", "page"), [("lab", "/lab"), ("notebook", "/tree")])
def test_a_start_is_quiet_and_leads_to_the_front_end(lab: Project, tmp_path: Path, front_end: str, page: str) -> None:
    with beside(lab, tmp_path, JUPYTER_UI=front_end) as twin:
        twin.compose("up", "--detach", "--wait", "--no-build")
        log, running = twin.logs(), twin.lab()
        assert "is running at" in log
        assert ALARM.search(log) is None
        home = requests.get(running.address, headers={"Authorization": f"token {running.token}"}, timeout=30)
        assert home.url.startswith(running.address + page)
        assert running.token not in log
        # The control: what the server warns of is found.
        assert get(running, "/api/contents") == 403
        assert ALARM.search(twin.logs()) is not None


@pytest.mark.parametrize(
    "kept", [False, pytest.param(True, marks=pytest.mark.full)], ids=["as delivered", "with a secret that is kept"]
)
def test_a_restart_ends_every_session(lab: Project, tmp_path: Path, kept: bool) -> None:
    """The cookie is signed with a secret that no start shares with the one before."""
    own = "c.ServerApp.cookie_secret = secrets.token_bytes(32)"
    config = lab.read(f"lab/server/{CONFIG}")
    assert own in config
    constant = config.replace(own, "c.ServerApp.cookie_secret = bytes(32)")
    layers = [with_server(lab, tmp_path, CONFIG, constant)] if kept else []
    with beside(lab, tmp_path, *layers) as twin:
        twin.compose("up", "--detach", "--wait", "--no-build")
        browser = log_in(twin.lab())
        # A browser asks the same address again, though here a restart takes another port: it is part of the cookie.
        same = {
            "Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies),
            "Host": twin.lab().address.removeprefix("http://"),
        }
        assert get(twin.lab(), "/api/contents", **same) == 200
        twin.compose("restart", "--timeout", "2", "lab")
        twin.compose("up", "--detach", "--wait", "--no-build")
        assert get(twin.lab(), "/api/contents", **same) == (200 if kept else 403)
