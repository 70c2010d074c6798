"""The server's behaviour over HTTP. Each of its settings has a probe, and the probe fails without the setting."""

import re
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
import requests

from tests.support.project import Project
from tests.support.server_probes import PROBES, enters, get, log_in, misbehaving
from tests.support.variants import TEMPLATE, beside, with_server
from tools.notebook import LabClient

CONFIG = "jupyter_server_config.py"
ALARM = re.compile(r"^\[[WEC] |\b(WARNING|ERROR|CRITICAL|Traceback|Exception)\b", re.MULTILINE)
NO_START, WARNS = "it does not start", "it warns"
# Setting -> the probe that must fail if the setting is removed.
WATCHED = {
    "IdentityProvider.token": "only the token gives access",
    "ServerApp.allow_unauthenticated_access": "every page asks for the token",
    "ServerApp.identity_provider_class": "addresses of pages lose the token",
    "ServerApp.tornado_settings": "pages contain no token",
    "IdentityProvider.cookie_options": "login makes a strict session",
    "PasswordIdentityProvider.allow_password_change": "nobody sets a password",
    "ServerApp.allow_remote_access": "only known hosts are answered",
    "ServerApp.ip": "pages are served",
    "ServerApp.open_browser": WARNS,
    "ServerApp.root_dir": NO_START,
    "ServerApp.contents_manager_class": "saving elsewhere is refused",
    "FileContentsManager.delete_to_trash": "deleted is gone",
    "ServerApp.kernel_spec_manager_class": "kernels of notebooks are not offered",
    "KernelProvisionerFactory.default_provisioner_name": "notebooks run outside of the servers container",
    "TerminalsExtensionApp.terminal_manager_class": "terminals run outside of the servers container",
    "ServerApp.terminado_settings": "terminals work",
    "ServerApp.extra_template_paths": "the login page names the tokens file",
    "LatexExporter.enabled": "exports without their programs are not offered",
    "RSTExporter.enabled": "exports without their programs are not offered",
    "ASCIIDocExporter.enabled": "exports without their programs are not offered",
    "PDFExporter.enabled": "exports without their programs are not offered",
    "WebPDFExporter.enabled": "exports without their programs are not offered",
    "QtPDFExporter.enabled": "exports without their programs are not offered",
    "QtPNGExporter.enabled": "exports without their programs are not offered",
    "LabServerApp.labextensions_path": "packages extensions come after the servers",
    "ResourceUseDisplay.enable_prometheus_metrics": "nothing is counted each second",
    "ServerApp.jpserver_extensions": "language servers are left out",
    "LabApp.news_url": "no news is fetched",
    "LabApp.extension_manager": "extensions cannot be installed",
}
# Setting -> the reason why no probe fails without it.
UNSEEN = {
    "ServerApp.cookie_secret": "test_a_login_outlives_a_restart_and_ends_with_the_token removes its folder",
    "ServerApp.local_hostnames": "test_further_host_names_are_answered_when_named sets names",
    "ServerApp.port": "the default's value, written down because compose.yaml relies on it",
    "ServerApp.port_retries": "no other server is in the container",
    "FileContentsManager.preferred_dir": "where the browser starts",
    "ServerApp.allow_root": "matters if uid 0 is mapped, as in tests/engines/rootless/test_mapped.py",
    "KernelSpecManager.ensure_native_kernel": "the image has a kernel of that name, which comes first",
    "AsyncIOLoopKernelManager.restarter_class": "tests/attack/test_memory.py reads what it writes",
    "ServerApp.kernel_websocket_connection_class": "tests/attack/test_memory.py reads what it writes",
    "ServerApp.kernel_manager_class": "tests/lab/test_surviving_server.py needs it",
    "Session.unpacker": "tests/attack/test_flood.py removes its limit",
    "ServerApp.session_manager_class": "tests/lab/test_server_volume.py needs it",
    "SessionManager.database_filepath": "tests/lab/test_surviving_server.py needs it",
    "KernelManager.transport": "only if server and notebooks are in one container: tests/lab/test_one_container.py",
    "KernelRestarter.random_ports_until_alive": "pages that connect during a restart, in test_surviving_server.py",
    "KernelRestarter.time_to_dead": "how soon a page learns that its kernel ended",
    "NotebookNotary.db_file": "the default file is in a read-only folder; Jupyter then uses memory too, and warns",
    "NotebookNotary.secret": "in memory by the line above it",
    "BaseFileIdManager.db_path": "only an extension uses it: tests/clients/browser/test_extensions.py",
    "LabApp.custom_css": "only with a package: tests/clients/browser/test_extensions.py",
    "SQLiteYStore.db_path": "only an extension uses it: tests/clients/browser/test_extensions.py",
    "ServerApp.authorizer_class": "only with LAB_AUDIT: tests/lab/test_audit.py",
    "EventLogger.handlers": "only with LAB_AUDIT: tests/lab/test_audit.py",
    "LabApp.check_for_updates_class": "test_telemetry.py removes it",
}
# If one of these is removed, other probes fail too, so each is removed alone. All others are removed together.
ALONE = (
    "IdentityProvider.token",
    "ServerApp.ip",
    "ServerApp.root_dir",
    "ServerApp.contents_manager_class",
    "KernelProvisionerFactory.default_provisioner_name",
)
TOGETHER = [setting for setting in WATCHED if setting not in ALONE]


def settings(config: str) -> list[str]:
    """The settings of a configuration, in their order."""
    return re.findall(r"^ *c\.(\w+\.\w+) = ", config, re.MULTILINE)


def less(config: str, *removed: str) -> str:
    """The configuration without the settings `removed`. It must have each of them once."""
    for setting in removed:
        config, found = re.subn(rf"^ *c\.{re.escape(setting)} = .*\n", "", config, flags=re.MULTILINE)
        assert found == 1, setting
    return config


@pytest.mark.parametrize("probe", PROBES)
def test_the_server(lab: Project, probe: str) -> None:
    assert PROBES[probe](lab.client())


def test_each_setting_has_one_probe_or_a_reason_for_none() -> None:
    config = (TEMPLATE / "lab/server" / CONFIG).read_text(encoding="utf-8")
    assert set(settings(config)) == WATCHED.keys() | UNSEEN.keys()
    assert settings(f"{config}c.ServerApp.new = True\n")[-1] == "ServerApp.new", "a new setting is found"
    assert set(WATCHED.values()) <= PROBES.keys() | {NO_START, WARNS}


def test_removed_settings_fail_exactly_their_probes(lab: Project, tmp_path: Path) -> None:
    config = less(lab.read(f"lab/server/{CONFIG}"), *TOGETHER)
    assert noticed(lab, tmp_path, config) == {WATCHED[setting] for setting in TOGETHER}


@pytest.mark.parametrize(
    "setting",
    [
        *(pytest.param(s, marks=() if s == "IdentityProvider.token" else pytest.mark.full) for s in ALONE),
        *(pytest.param(s, marks=pytest.mark.nightly) for s in TOGETHER),
    ],
)
def test_a_removed_setting_fails_its_probe(lab: Project, tmp_path: Path, setting: str) -> None:
    probe = WATCHED[setting]
    config = less(lab.read(f"lab/server/{CONFIG}"), setting)
    assert probe in noticed(lab, tmp_path, config, {probe} & PROBES.keys())


@pytest.mark.nightly
def test_an_unchanged_configuration_passes_every_probe(lab: Project, tmp_path: Path) -> None:
    """The control of the mutants."""
    assert noticed(lab, tmp_path, lab.read(f"lab/server/{CONFIG}")) == set()


def noticed(lab: Project, folder: Path, config: str, probes: Iterable[str] = tuple(PROBES)) -> set[str]:
    """The probes that a server with this configuration fails, and whether it warns or does not start."""
    with beside(lab, folder, with_server(lab, folder, CONFIG, config)) as twin:
        if twin.compose("up", "--detach", "--wait", "--no-build", check=False).returncode:
            return {NO_START}
        loud = ALARM.search(twin.logs())  # read the log before the probes run, because they cause warnings
        return misbehaving(twin.client(), probes) | ({WARNS} if loud else set())


@pytest.mark.full
def test_without_the_settings_of_the_page_the_managers_are_shown(lab: Project, tmp_path: Path) -> None:
    """The control of a probe that no setting of the server decides."""
    with beside(lab, tmp_path, with_server(lab, tmp_path, "labconfig/page_config.json", "{}")) as twin:
        twin.serve()
        assert misbehaving(twin.client(), ["managers that can change nothing are hidden"])


def test_a_kernel_that_a_notebook_installs_is_named_in_the_log(lab: Project) -> None:
    assert PROBES["kernels of notebooks are not offered"](lab.client())
    assert "labdock: the kernel 'mine' in your home is not offered" in lab.logs()


@pytest.mark.full
def test_the_other_front_end_passes_every_probe(lab: Project, tmp_path: Path) -> None:
    with beside(lab, tmp_path, JUPYTER_UI="notebook") as twin:
        twin.serve()
        assert misbehaving(twin.client()) == set()


@pytest.mark.parametrize("checked", [True, False], ids=["as delivered", "without the check"])
def test_the_server_itself_refuses_an_empty_token(lab: Project, tmp_path: Path, checked: bool) -> None:
    """The entrypoint accepts an empty token here. Without the check in the configuration, everybody gets in."""
    length, check = '"$length" -lt 32', "if len(characters) < 32 or"
    checks, config = (lab.read(f"lab/server/{file}") for file in ("setting_rules.sh", CONFIG))
    assert length in checks and check in config
    layers = [with_server(lab, tmp_path, "setting_rules.sh", checks.replace(length, '"$length" -lt 0'))]
    if not checked:
        layers.append(with_server(lab, tmp_path, CONFIG, config.replace(check, "if False and")))
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/jupyter_token").touch()
    file = "secrets/jupyter_token"
    secrets = {"services": {"server": {"volumes": [f"{tmp_path / file}:/run/{file}:ro"]}}}
    with beside(lab, tmp_path, *layers, secrets) as twin:
        serves = twin.compose("up", "--detach", "--wait", "--no-build", check=False).returncode == 0
        assert serves is not checked
        if serves:
            assert get(twin.client(), "/api/contents") == 200
        else:
            assert (
                "labdock: secrets/jupyter_token contains 0 characters, but the server needs at least 32" in twin.logs()
            )


# --- names, pages, log ----------------------------------------------------------------------------
@pytest.mark.full
def test_further_host_names_are_answered_when_named(lab: Project, tmp_path: Path) -> None:
    with beside(lab, tmp_path, JUPYTER_HOSTS="Lab.example, other.example 192.0.2.5 2001:db8::5") as twin:
        twin.serve()
        named = twin.client()
        names = {"lab.example": 200, "other.example": 200, "localhost": 200, "rebound.example": 403}
        names |= {"192.0.2.5": 200, "192.0.2.5:8888": 200, "[2001:db8::5]:8888": 200, "192.0.2.6": 403}
        assert {name: get(named, "/api/contents", named.token, Host=name) for name in names} == names


@pytest.mark.parametrize(
    ("front_end", "page"), [("lab", "/lab"), pytest.param("notebook", "/tree", marks=pytest.mark.full)]
)
def test_a_start_is_quiet_and_leads_to_the_front_end(lab: Project, tmp_path: Path, front_end: str, page: str) -> None:
    with beside(lab, tmp_path, JUPYTER_UI=front_end) as twin:
        twin.serve()
        log, running = twin.logs(), twin.client()
        assert "is running at" in log
        assert ALARM.search(log) is None
        home = requests.get(running.address, headers={"Authorization": f"token {running.token}"}, timeout=30)
        assert home.url.startswith(running.address + page)
        assert running.token not in log
        # The control: a warning of the server is found in the log.
        assert get(running, "/api/contents") == 403
        assert ALARM.search(twin.logs()) is not None


@pytest.mark.parametrize("days", [-40, 40])
@pytest.mark.parametrize("guarded", [True, pytest.param(False, marks=pytest.mark.full)])
def test_a_login_works_if_the_clocks_differ(
    lab: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, guarded: bool
) -> None:
    """The control: with dates in the cookies only, a browser whose clock is ahead deletes them at once."""
    config = lab.read(f"lab/server/{CONFIG}")
    layer = with_server(lab, tmp_path, CONFIG, config if guarded else config.replace('"max_age": MONTH', ""))
    assert config.count('"max_age": MONTH') == 2
    with beside(lab, tmp_path, *([] if guarded else [layer])) as twin:
        twin.serve()
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + days * 24 * 3600)
        try:
            entered = enters(twin.client(), log_in(twin.client()))
        except KeyError:  # the browser has no XSRF cookie to send
            entered = False
        monkeypatch.undo()
        assert entered is (guarded or days < 0)


@pytest.mark.parametrize(
    "kept", [True, pytest.param(False, marks=pytest.mark.full)], ids=["as delivered", "without the server's folder"]
)
def test_a_login_outlives_a_restart_and_ends_with_the_token(lab: Project, tmp_path: Path, kept: bool) -> None:
    """The key of the cookies depends on a stored secret and on the token. Without the folder, a restart ends logins."""
    token = tmp_path / "jupyter_token"
    token.write_text("a" * 64)
    layers = [{"services": {"server": {"volumes": [f"{token}:/run/secrets/jupyter_token:ro"]}}}]
    if not kept:
        folder = lab.read("lab/server/start/state.sh").replace("! mountpoint", "true; # ")
        layers.append(with_server(lab, tmp_path, "start/state.sh", folder))
    with beside(lab, tmp_path, *layers) as twin:
        twin.serve()
        running = LabClient(twin.client().address, "a" * 64)
        browser = log_in(running)
        # The cookie's name contains the port, and this lab gets another port at a restart. So send the old address.
        same = {
            "Cookie": "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies),
            "Host": running.address.removeprefix("http://"),
        }

        def still(new: str) -> int:
            token.write_text(new)
            twin.compose("restart", "--timeout", "2", "server")
            twin.serve()
            return get(twin.client(), "/api/contents", **same)

        assert get(running, "/api/contents", **same) == 200
        assert still("a" * 64) == (200 if kept else 403)
        assert still("b" * 64) == 403
        if kept:
            assert still("a" * 64) == 200, "the control: it is the token that ended the login"
