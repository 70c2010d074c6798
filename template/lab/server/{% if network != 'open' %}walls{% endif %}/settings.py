"""Adds the extension `walls` to the settings of the Jupyter server."""

from typing import Any


def configure(c: Any) -> None:
    """Add the settings to `c`, those in jupyter_server_config.py."""
    c.ServerApp.jpserver_extensions["walls"] = True
    # Without the extension, scripts could reach other machines. So the server ends if an extension cannot be loaded.
    c.ServerApp.reraise_server_extension_failures = True
