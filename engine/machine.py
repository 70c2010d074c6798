"""The settings of this machine's network that builds need: mirrors, package index, proxies, certificates.

No host is named here. Every value comes from the machine's own configuration.
"""

import configparser
import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from engine.common import run

# Folders for certificates that an administrator adds, and the bundle that the system makes of them.
CERTIFICATES = (
    (Path("/usr/local/share/ca-certificates"), Path("/etc/ssl/certs/ca-certificates.crt")),
    (Path("/etc/pki/ca-trust/source/anchors"), Path("/etc/pki/tls/certs/ca-bundle.crt")),
)


def settings(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The `.env` settings that a project needs on this machine. Often, there are none."""
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    index = pip_setting("index-url", env)
    found = {
        "LAB_CA_BUNDLE": ca_bundle(env),
        "PIP_INDEX_URL": index,
        # Notebooks can read LAB_PIP_INDEX_URL, so it never contains a password.
        "LAB_PIP_INDEX_URL": None if index and "@" in index else index,
        **debian_mirrors(),
        **{name: env.get(name) or env.get(name.lower()) for name in proxies},
    }
    return {name: value for name, value in found.items() if value}


def ca_bundle(env: Mapping[str, str]) -> str | None:
    """The PEM bundle that builds must trust, if this machine trusts more than public certificates."""
    usual = [str(bundle) for _, bundle in CERTIFICATES]
    named = [env.get(name) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")]
    for path in (*named, pip_setting("cert", env)):
        if path and path not in usual and Path(path).is_file():
            return path
    for added, bundle in CERTIFICATES:
        if bundle.is_file() and any(path.is_file() for path in added.rglob("*")):
            return str(bundle)
    return None


def pip_setting(name: str, env: Mapping[str, str]) -> str | None:
    """A setting of pip. pip's environment variable comes first, then the last of pip's files with this setting."""
    if value := env.get("PIP_" + name.upper().replace("-", "_")):
        return value
    extra = env.get("PIP_CONFIG_FILE") or ""
    if extra == os.devnull:  # with this value, pip reads no file
        return None
    home = Path(env.get("HOME", "/nonexistent"))
    files = (
        Path("/etc/pip.conf"),
        home / ".pip/pip.conf",
        Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf",
        Path(sys.prefix) / "pip.conf",
        Path(extra),
    )
    parser = configparser.RawConfigParser(strict=False)
    parser.read(files, encoding="utf-8")
    return parser.get("install", name, fallback=parser.get("global", name, fallback=None))


def os_release() -> dict[str, str]:
    """The fields of /etc/os-release. The result is empty if there is no such file."""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def system() -> str:
    """The name of this machine's system, such as `Debian GNU/Linux 12 (bookworm)`."""
    return os_release().get("PRETTY_NAME") or platform.system()


def debian_codename() -> str | None:
    """The Debian release that this machine runs or is derived from, such as `bookworm`."""
    release = os_release()
    own = release.get("VERSION_CODENAME") if release.get("ID") == "debian" else None
    return release.get("DEBIAN_CODENAME") or own


def debian_mirrors() -> dict[str, str]:
    """The Debian archives in this machine's apt sources, as apt reads them."""
    codename = debian_codename()
    if not codename:
        return {}
    return pick_mirrors(run("apt-get", "update", "--print-uris").stdout, codename)


def pick_mirrors(uris: str, codename: str) -> dict[str, str]:
    """Pick the main and security archives from the output of `apt-get update --print-uris`.

    Other vendors use Debian's suite names too, so an archive with `CODENAME-updates` is preferred.
    """
    suites: dict[str, str] = {}
    for uri, suite in re.findall(r"^'(.+?)/+dists/([^/']+)/InRelease'", uris, re.MULTILINE):
        suites.setdefault(suite, uri)
    found = {
        "DEBIAN_MIRROR": suites.get(f"{codename}-updates") or suites.get(codename),
        "DEBIAN_SECURITY_MIRROR": suites.get(f"{codename}-security"),
    }
    return {name: value for name, value in found.items() if value}
