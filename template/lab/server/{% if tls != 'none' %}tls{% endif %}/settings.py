"""Adds TLS to the settings of the Jupyter server."""

import os
import ssl
from typing import Any


def configure(c: Any) -> None:
    """Add the settings to `c`, those in jupyter_server_config.py."""
    if os.environ.get("LAB_MODE") != "server":
        return  # another program gives this platform its TLS
    c.ServerApp.certfile = "/run/lab/server.pem"
    c.ServerApp.keyfile = "/run/lab/server.key"
    # These ciphers exist only in TLS 1.2. Those of TLS 1.3 are always allowed. Python's own minimum is TLS 1.2 too.
    ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20"
    c.ServerApp.ssl_options = {"ssl_version": ssl.PROTOCOL_TLS_SERVER, "ciphers": ciphers}
    # Browsers send the cookies only through TLS. Jupyter itself does this for the cookie of the login.
    c.ServerApp.tornado_settings["xsrf_cookie_kwargs"]["secure"] = True
    # No certificate can be for all names below localhost.
    c.ServerApp.tornado_settings["dashboards_domain"] = "dashboards.localhost"
