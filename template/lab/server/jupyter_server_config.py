"""How the server behaves. Root owns this file in the image; nothing outside the image is read."""

import os
import secrets
import sys
from pathlib import Path

from jupyter_core.paths import jupyter_path
from jupyter_server.serverapp import ServerApp

c = get_config()  # noqa: F821 (given by Jupyter)
sys.path.append("/opt/labdock")  # for contents.py
home = Path(os.environ["HOME"])

# --- who may come in ---------------------------------------------------------------------------------
# An empty token would open the lab to everybody, so it is checked here again, in the process that uses it.
token = Path("/run/secrets/jupyter_token").read_text(encoding="utf-8-sig").strip()
if len(token) < 32:
    raise SystemExit(f"labdock: secrets/jupyter_token holds {len(token)} characters, 32 are needed: delete it.")
c.IdentityProvider.token = token
# Nor is it written elsewhere: the files by which programs of the same machine would find the server hold it too.
ServerApp.write_server_info_file = ServerApp.write_browser_open_files = lambda self: None
c.ServerApp.allow_unauthenticated_access = False  # not even where an extension forgot to ask for the token
c.IdentityProvider.cookie_options = {"samesite": "Strict"}
c.PasswordIdentityProvider.allow_password_change = False
c.ServerApp.cookie_secret = secrets.token_bytes(32)  # a restart ends every session
# The Host header is checked against these names: no rebinding of a foreign name to this address.
c.ServerApp.allow_remote_access = False
c.ServerApp.local_hostnames = ["localhost", *os.environ.get("JUPYTER_HOSTS", "").replace(",", " ").split()]

# --- where it listens --------------------------------------------------------------------------------
c.ServerApp.ip = "0.0.0.0"  # inside the container; compose.yaml says who reaches it
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
# The server refuses uid 0, but where that is another id outside: an ordinary user, under an engine without root.
inside, outside, _ = Path("/proc/self/uid_map").read_text().split()[:3]
c.ServerApp.allow_root = inside == "0" and outside != "0"

# --- files and kernels -------------------------------------------------------------------------------
c.ServerApp.root_dir = str(home)
c.ServerApp.contents_manager_class = "contents.MountedContents"
c.FileContentsManager.preferred_dir = "notebooks"
c.FileContentsManager.delete_to_trash = False
c.KernelSpecManager.ensure_native_kernel = False
c.KernelManager.transport = "ipc"  # kernels speak over files only their user can open, not over ports
# Where memory runs out, what runs in a terminal or kernel (kernel.json) ends, not the server. No login shell: it would
# lose PATH.
c.ServerApp.terminado_settings = {"shell_command": ["choom", "-n", "1000", "--", "bash"]}
c.NotebookNotary.db_file = ":memory:"
c.NotebookNotary.secret = secrets.token_bytes(32)

# --- what the page is made of ------------------------------------------------------------------------
# The browser's half of your packages (ipympl has one), from the image, after the server's own, whose names win. What is
# in home or in a mount is not served; what a package brings for the server is not loaded.
c.LabServerApp.labextensions_path = [*jupyter_path("labextensions"), "/opt/venv/share/jupyter/labextensions"]


# --- what the status bar shows -----------------------------------------------------------------------
def memory_limit():
    """Bytes that the container may use, by version 2 or 1 of cgroups; 0 without a limit."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup", name)
        if file.exists() and (limit := file.read_text().strip()).isdigit():
            return int(limit) if int(limit) < 2**60 else 0  # version 1's word for none is a number beyond
    return 0


c.ResourceUseDisplay.mem_limit = memory_limit()
c.ResourceUseDisplay.enable_prometheus_metrics = False  # would count every second, for nobody

# --- what it leaves out ------------------------------------------------------------------------------
c.ServerApp.jpserver_extensions = {"jupyter_lsp": False}  # costs a second at start, and no language server is here
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
