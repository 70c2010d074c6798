"""The settings of the Jupyter server. Root owns this file in the image. The server reads no settings from elsewhere."""

import os
import secrets
import sys
from pathlib import Path

from jupyter_core.paths import jupyter_path
from jupyter_server.serverapp import ServerApp

c = get_config()  # noqa: F821 (given by Jupyter)
sys.path.append("/opt/labdock")  # for contents.py
home = Path(os.environ["HOME"])

# --- authentication -----------------------------------------------------------------------------------
# An empty token would open the lab to everybody. So this process repeats the rule of start_checks.sh for the token.
token = Path("/run/secrets/jupyter_token").read_bytes().removeprefix(b"\xef\xbb\xbf").strip()
characters = b"".join(token.split())
if len(characters) < 32 or not all(33 <= character <= 126 for character in characters):
    raise SystemExit(
        f"labdock: secrets/jupyter_token contains {len(characters)} characters, but the server needs at least 32, all "
        "of them ASCII. Run 'make rotate' to make a new token."
    )
c.IdentityProvider.token = token.decode()
# By default, Jupyter writes the token into two files, so that other programs find the server. Do not write them.
ServerApp.write_server_info_file = ServerApp.write_browser_open_files = lambda self: None
c.ServerApp.allow_unauthenticated_access = False  # also if an extension forgets to ask for the token
c.IdentityProvider.cookie_options = {"samesite": "Strict"}
c.PasswordIdentityProvider.allow_password_change = False
c.ServerApp.cookie_secret = secrets.token_bytes(32)  # a restart ends every session
# The server accepts these names in the Host header only. This stops DNS rebinding.
c.ServerApp.allow_remote_access = False
c.ServerApp.local_hostnames = ["localhost", *os.environ.get("JUPYTER_HOSTS", "").replace(",", " ").split()]

# --- address -----------------------------------------------------------------------------------------
c.ServerApp.ip = "0.0.0.0"  # inside the container; compose.yaml limits who can reach it
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
# Allow uid 0 only if it is another id on the host: an ordinary user, in an engine that runs without root.
inside, outside, _ = Path("/proc/self/uid_map").read_text().split()[:3]
c.ServerApp.allow_root = inside == "0" and outside != "0"

# --- files and kernels -------------------------------------------------------------------------------
c.ServerApp.root_dir = str(home)
c.ServerApp.contents_manager_class = "contents.MountedContents"
c.FileContentsManager.preferred_dir = "notebooks"
c.FileContentsManager.delete_to_trash = False
c.KernelSpecManager.ensure_native_kernel = False
c.KernelManager.transport = "ipc"  # sockets that only the lab's user can open, instead of ports
# If memory runs out, Linux ends programs in terminals and notebooks (kernel.json) before the server. The shell is no
# login shell, which would reset PATH.
c.ServerApp.terminado_settings = {"shell_command": ["choom", "-n", "1000", "--", "bash"]}
c.NotebookNotary.db_file = ":memory:"
c.NotebookNotary.secret = secrets.token_bytes(32)

# --- front end ---------------------------------------------------------------------------------------
# Front-end extensions of your packages, such as ipympl's. If a name exists twice, the lab uses the server's own
# extension. The server serves no extension from home or from a mount, and loads no server extension of your packages.
c.LabServerApp.labextensions_path = [*jupyter_path("labextensions"), "/opt/venv/share/jupyter/labextensions"]


# --- status bar --------------------------------------------------------------------------------------
def memory_limit():
    """Memory limit of the container in bytes, from cgroups v2 or v1; 0 without a limit."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup", name)
        if file.exists() and (limit := file.read_text().strip()).isdigit():
            return int(limit) if int(limit) < 2**60 else 0  # in v1, a huge number means 'no limit'
    return 0


c.ResourceUseDisplay.mem_limit = memory_limit()
c.ResourceUseDisplay.enable_prometheus_metrics = False  # would cost CPU time every second, and nothing reads them

# --- turned off --------------------------------------------------------------------------------------
c.ServerApp.jpserver_extensions = {"jupyter_lsp": False}  # takes a second at start; the image has no language server
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
