"""Keeps the scripts of the lab's pages from other machines, and turns downloads off with LAB_DOWNLOADS=off.

A script in a cell's output runs in the browser, which has a network of its own. So every answer of the server tells the
browser to load from this server only and to send to this server only. docs/how-to/networks.md lists what remains.
"""

import mimetypes
import os
import re
from typing import Any

from jupyter_server.utils import url_path_join
from tornado import web
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.routing import Matcher, Rule

DOWNLOADS = (os.environ.get("LAB_DOWNLOADS") or "on") == "on"
CSP = "Content-Security-Policy"
# The browser applies this policy and every other policy of the same answer. So this one loosens nothing.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "  # widgets and plots make scripts in the page
    "base-uri 'self'; form-action 'self'"
)
if not DOWNLOADS:  # a sandbox that allows what a page needs, and no downloads
    POLICY += (
        "; sandbox allow-scripts allow-same-origin allow-forms allow-modals allow-popups "
        "allow-popups-to-escape-sandbox allow-pointer-lock allow-orientation-lock allow-presentation"
    )
HEADERS = {
    # Chromium refuses what no policy covers: leaving for another address, new tabs, WebRTC, prefetching. Other browsers
    # ignore this header. No redirect of this server leads elsewhere.
    "Connection-Allowlist": "(response-origin); redirects=allow; webrtc=block",
    "Cross-Origin-Opener-Policy": "same-origin",  # a page that opened the lab gets no messages from it
    "Referrer-Policy": "same-origin",
    "X-DNS-Prefetch-Control": "off",
}
# Headers of a dashboard or a proxied page that make the browser send reports, or load from other machines.
REMOVED = (
    "Connection-Allowlist-Report-Only", "Link", "NEL", "Refresh", "Report-To", "Reporting-Endpoints",
    "Speculation-Rules", "Content-Security-Policy-Report-Only", "Cross-Origin-Opener-Policy-Report-Only",
    "Cross-Origin-Embedder-Policy-Report-Only",
)  # fmt: skip
REPORT = re.compile(r"report-(uri|to)\s[^;,]*", re.IGNORECASE)
REPORT_HERE = re.compile(r"report-uri /(?![/\\])[^\s;,]*", re.IGNORECASE)  # Jupyter's own: to this server
# What the page shows from /files/. It shows all other files through the API.
SHOWN = ("image/", "audio/", "video/", "font/")
DISABLED = [
    "@jupyterlab/apputils-extension:print",
    "@jupyterlab/docmanager-extension:download",
    "@jupyterlab/docmanager-extension:open-browser-tab",
    "@jupyterlab/filebrowser-extension:download",
    "@jupyterlab/filebrowser-extension:open-browser-tab",
    "@jupyterlab/notebook-extension:export",
]
STYLE = "labdock-walls"  # the front-end extension that leaves printed pages empty
NO_DOWNLOADS = "Downloads are turned off: LAB_DOWNLOADS is off in .env."


class Walls(web.OutputTransform):
    """Adds the headers to every answer of the server: pages, files, errors and dashboards."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self.refused = False

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        for name in REMOVED:
            headers.pop(name, None)
        policies = headers.get_list(CSP)
        headers.pop(CSP, None)
        for policy in (*map(without_reports, policies), POLICY):
            headers.add(CSP, policy)
        headers.update(HEADERS)
        if not DOWNLOADS and headers.get("Content-Disposition", "").lower().startswith("attachment"):
            self.refused = True
            for name in ("Content-Disposition", "Content-Encoding", "Content-Range", "Etag", "Last-Modified"):
                headers.pop(name, None)
            status_code, chunk = 403, NO_DOWNLOADS.encode()
            headers["Content-Type"] = "text/plain; charset=utf-8"
            headers["Content-Length"] = str(len(chunk))
        return status_code, headers, chunk

    def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
        return b"" if self.refused else chunk


def without_reports(policy: str) -> str:
    """A policy that makes the browser send reports to this server only."""
    return REPORT.sub(lambda found: found[0] if REPORT_HERE.fullmatch(found[0]) else "", policy).strip("; ")


class Refused(Matcher):
    """Matches the requests that the server refuses, with the reason."""

    def __init__(self, base: str) -> None:
        self.base = base

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        reason = self.reason(request)
        return {"target_kwargs": {"reason": reason}} if reason else None

    def reason(self, request: HTTPServerRequest) -> str:
        headers, path = request.headers, request.path
        # The answers of a service worker are pages without these headers.
        if headers.get("Service-Worker"):
            return "A page of this lab may not register a service worker."
        if DOWNLOADS:
            return ""
        files = path.startswith(url_path_join(self.base, "files/"))
        kind = mimetypes.guess_type(path)[0] or ""
        shown = kind.startswith(SHOWN) and headers.get("Sec-Fetch-Dest", "image") not in ("document", "empty")
        exports = tuple(url_path_join(self.base, name) for name in ("nbconvert/", "directories/"))
        if (files and not shown) or path.startswith(exports):
            return NO_DOWNLOADS
        return ""


class Refuse(web.RequestHandler):
    """Answers 403 with a sentence."""

    def initialize(self, reason: str) -> None:
        self.reason = reason

    def check_xsrf_cookie(self) -> None:
        """This handler changes nothing."""

    def prepare(self) -> None:
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(f"{self.reason}\n")


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "walls"}]


def _load_jupyter_server_extension(app: Any) -> None:
    web_app = app.web_app
    web_app.add_transform(Walls)
    # After the host names of dashboards, whose paths are their own.
    web_app.default_router.rules.insert(1, Rule(Refused(app.base_url), Refuse))
    hook = web_app.settings["page_config_hook"]

    def page_config(handler: Any, config: dict[str, Any]) -> dict[str, Any]:
        config = hook(handler, config)
        disabled = [STYLE] if DOWNLOADS else DISABLED
        return config | {"disabledExtensions": [*config.get("disabledExtensions", []), *disabled]}

    web_app.settings["page_config_hook"] = page_config
