"""The settings of the Jupyter server. Only the front end's own settings come from home."""

import os
import re
import secrets
import sys
import tempfile
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from pathlib import Path
from shutil import which

from jupyter_client.provisioning import KernelProvisionerFactory
from jupyter_core.paths import jupyter_path
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.serverapp import ServerApp

c = get_config()  # noqa: F821 (given by Jupyter)
sys.path.append("/opt/labdock")  # for the other modules in this folder
home = Path(os.environ["HOME"])
tempfile.tempdir = "/tmp"  # the server uses no file of the volume to which TMPDIR leads

# --- authentication -----------------------------------------------------------------------------------
# An empty token would open the lab to everybody. So this process repeats the rule of setting_rules.sh for the token.
token = Path("/run/secrets/jupyter_token").read_bytes().removeprefix(b"\xef\xbb\xbf").strip()
characters = b"".join(token.split())
if len(characters) < 32 or not all(33 <= character <= 126 for character in characters):
    raise SystemExit(
        f"labdock: secrets/jupyter_token contains {len(characters)} characters, but the server needs at least 32, all "
        "of them ASCII. Run 'make rotate' to make a new token."
    )
c.IdentityProvider.token = characters.decode()
# By default, Jupyter writes the token into two files, so that other programs find the server. Do not write them.
ServerApp.write_server_info_file = ServerApp.write_browser_open_files = lambda self: None
c.ServerApp.allow_unauthenticated_access = False  # also if an extension forgets to ask for the token
MONTH = 30 * 24 * 3600  # seconds. A date in a cookie would be wrong if the clocks of browser and server differ
c.IdentityProvider.cookie_options = {"samesite": "Strict", "max_age": MONTH}
c.PasswordIdentityProvider.allow_password_change = False
# A restart of the server does not end a login, and `make rotate` does. LAB_STATE is a folder of the server's own.
c.ServerApp.cookie_secret = import_module("cookie_key").cookie_key(characters, os.environ.get("LAB_STATE"))
# A script in a cell's output can read the page and its address. So neither contains the token: browsers use the cookie.
c.ServerApp.identity_provider_class = "login.Login"
namespace = JupyterHandler.template_namespace.fget
JupyterHandler.template_namespace = property(lambda handler: namespace(handler) | {"token": ""})
# The server answers a request only if its Host header contains one of `hosts` or a loopback address. This stops DNS
# rebinding.
c.ServerApp.allow_remote_access = False
hosts = ["localhost", *os.environ.get("JUPYTER_HOSTS", "").lower().replace(",", " ").split()]
c.ServerApp.local_hostnames = hosts
check_name = JupyterHandler.check_host  # Jupyter's function refuses every address, except loopback addresses


def check_host(handler):
    """Is the host in the request's Host header, without its port, one of `hosts`?"""
    return re.sub(r":\d+$", "", handler.request.host).strip("[]") in hosts or check_name(handler)


JupyterHandler.check_host = check_host

# --- address -----------------------------------------------------------------------------------------
c.ServerApp.ip = "0.0.0.0"  # inside the container. compose.yaml limits who can connect
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
# Allow uid 0 only in an engine that runs without root. There, uid 0 is an ordinary user on the host.
inside, outside, _ = Path("/proc/self/uid_map").read_text().split()[:3]
c.ServerApp.allow_root = inside == "0" and outside != "0"

# --- files and kernels -------------------------------------------------------------------------------
c.ServerApp.root_dir = str(home)
c.ServerApp.contents_manager_class = "contents.MountedContents"
c.FileContentsManager.preferred_dir = "notebooks"
c.FileContentsManager.delete_to_trash = False
c.ServerApp.kernel_spec_manager_class = "kernelspecs.ImageKernelSpecs"
c.KernelSpecManager.ensure_native_kernel = False
c.Session.unpacker = "messages.unpack"
# If a kernel ends because memory was full, the notebook and the log say so.
c.AsyncIOLoopKernelManager.restarter_class = "memory.Restarter"
c.ServerApp.kernel_websocket_connection_class = "memory.Connection"
# A restarted kernel keeps its sockets' names. Otherwise, a page that connects during the restart would wait forever.
c.KernelRestarter.random_ports_until_alive = False
if os.environ.get("LAB_AUDIT") == "on":
    # The server writes which code it passes to kernels.
    audit = import_module("audit")
    c.ServerApp.kernel_websocket_connection_class = audit.Connection
    c.ServerApp.authorizer_class = audit.Terminals
    c.EventLogger.handlers = [audit.Kernels()]
# If memory runs out, Linux ends programs in terminals and notebooks (kernelspecs.py) before the server. Kernels that a
# program in a terminal installs go to home. Do not use a login shell, because it would reset PATH.
shell = ["env", "-u", "JUPYTER_DATA_DIR", "JUPYTER_PATH=/opt/labdock", "bash"]
c.ServerApp.terminado_settings = {"shell_command": ["choom", "-n", "1000", "--", *shell]}
# Notebooks and terminals run in the container `lab`. With LAB_MODE=serve, they run next to the server.
apart = import_module("agent_client").APART
if apart:
    c.ServerApp.kernel_manager_class = "lab_kernels.LabKernels"
    KernelProvisionerFactory.provisioners["lab"] = EntryPoint(
        "lab", "lab_kernels:LabProvisioner", KernelProvisionerFactory.GROUP_NAME
    )
    c.KernelProvisionerFactory.default_provisioner_name = "lab"
    c.KernelRestarter.time_to_dead = 1.0  # seconds between two checks. One question to the agent serves all kernels
    c.TerminalsExtensionApp.terminal_manager_class = "lab_terminals.LabTerminals"
    c.ServerApp.session_manager_class = "sessions.Sessions"
    c.SessionManager.database_filepath = os.environ["LAB_STATE"] + "/sessions.sqlite"
else:
    c.ServerApp.kernel_manager_class = "messages.Kernels"
    c.KernelManager.transport = "ipc"  # sockets that only the lab's user can open, instead of ports
c.NotebookNotary.db_file = ":memory:"
c.NotebookNotary.secret = secrets.token_bytes(32)

# --- front end ---------------------------------------------------------------------------------------
c.ServerApp.extra_template_paths = ["/opt/labdock/templates"]  # the login page
# The server also offers front-end extensions of your packages that work alone, such as ipympl's extension
# (lab/build/find_kernels_and_extensions.py). If a name exists twice, the lab uses the server's own extension. The
# server serves no extension from home or from a mount, and loads no server extension of your packages.
offered = Path("/opt/venv/share/jupyter/offered")
c.LabServerApp.labextensions_path = [*jupyter_path("labextensions"), str(offered / "labextensions")]


def installed(name):
    """Does the server's environment contain this package?"""
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


for name in (offered / "left-out.txt").read_text(encoding="utf-8").split():
    if not installed(name):
        message = (
            f"the front end does not load {name}, because the server's environment lacks this package. "
            f"Run 'make extend PKG={name}'."
        )
        ServerApp.instance().log.warning("labdock: %s", message)

# --- your server extensions (`make extend`) --------------------------------------------------------------
# These extensions write files. By default, the files would be in folders that are read-only.
c.BaseFileIdManager.db_path = ":memory:"
c.SQLiteYStore.db_path = "/tmp/jupyter_ystore.db"
# jupyter_lsp takes a second at start, and the image has no language server. Only jupyterlab-lsp needs jupyter_lsp.
language_servers = installed("jupyterlab-lsp")
# Panel's front-end extension draws plots. It also adds buttons that fail without its server extension, and asks the
# server for layouts. custom/custom.css hides the buttons, and panel_layout.py answers.
panel_alone = (offered / "labextensions/@pyviz").exists() and not installed("panel")
c.LabApp.custom_css = panel_alone
extensions = {
    "jupyter_lsp": language_servers,
    "panel_layout": panel_alone,
    "dashboards": True,
    "kept_output": True,
    "lab_kernels": apart,
    "lab_terminals": apart,
}
c.ServerApp.jpserver_extensions = extensions
# page_config.json turns off this plugin of the front end. With jupyterlab-lsp, `page_config` turns it on again.
LSP = "@jupyterlab/lsp-extension"


def page_config(handler, config):
    """The settings of the page, which Jupyter gives to this function. The page does not get the token."""
    disabled = config.get("disabledExtensions", [])
    if language_servers:
        disabled = [name for name in disabled if name != LSP]
    return config | {"disabledExtensions": disabled, "token": ""}


xsrf = {"path": "/", "max_age": MONTH}
ping = 10_000  # milliseconds. A page whose network was cut counts as gone after three of them
page_settings = {"page_config_hook": page_config, "xsrf_cookie_kwargs": xsrf, "ws_ping_interval": ping}
c.ServerApp.tornado_settings = page_settings

# Some answers to Copier's questions add a folder with more settings.
for part in sorted(Path("/opt/labdock").glob("*/settings.py")):
    import_module(f"{part.parent.name}.settings").configure(c)


# --- reports -----------------------------------------------------------------------------------------
# "Save and Export Notebook As" offers an export only if its programs are in the image.
# A notebook can contain TeX code. So TeX reads and writes only in its own folder, and starts no program.
os.environ |= {"openin_any": "p", "openout_any": "p", "shell_escape": "f"}
c.LatexExporter.enabled = which("pandoc") is not None
c.RSTExporter.enabled = which("pandoc") is not None
c.ASCIIDocExporter.enabled = which("pandoc") is not None
c.PDFExporter.enabled = which("pandoc") is not None and which("xelatex") is not None
c.WebPDFExporter.enabled = False  # needs a browser in the lab
c.QtPDFExporter.enabled = False
c.QtPNGExporter.enabled = False


# --- status bar --------------------------------------------------------------------------------------
c.ResourceUseDisplay.enable_prometheus_metrics = False  # they cost CPU time every second, and nothing reads them

# --- turned off --------------------------------------------------------------------------------------
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
