"""If LAB_AUDIT is on, the server writes which code it passes to kernels. Code that it cannot write does not run."""

import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from audit_lines import Files, claimed, no_code, read, run
from jupyter_server.auth.authorizer import AllowAllAuthorizer
from jupyter_server.auth.identity import User
from jupyter_server.base.call_context import CallContext
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.serverapp import ServerApp
from jupyter_server.services.kernels.connection.base import (
    deserialize_binary_message,
    deserialize_msg_from_ws_v1,
)
from kept_output import EVENTS, V1, follows
from memory import Connection as MemoryConnection
from tornado.web import HTTPError

if not (STATE := os.environ.get("LAB_STATE")):
    raise SystemExit("labdock: LAB_AUDIT is on, but this server has no folder of its own. Set LAB_AUDIT=off in .env.")
FILES = Files(Path(STATE, "audit"))
ALWAYS = {"input", "interrupt_request", "shutdown_request"}  # the server passes them on even if it cannot write


class Unwritten(Exception):
    """The sentence that says why nothing runs."""


def write(handler: JupyterHandler | None, what: dict[str, Any]) -> None:
    """Write a line about a request of this handler, or about the server itself. Raises Unwritten."""
    user = handler and handler.current_user
    who = {"login": user.username, "address": handler.request.remote_ip} if handler and user else {}
    try:
        FILES.write(who | what)
    except OSError as error:
        message = (
            f"labdock: nothing runs, because LAB_AUDIT is on and the server cannot write what runs ({error}). "
            "Free space on the disk, or set LAB_AUDIT=off in .env and run 'make up'."
        )
        ServerApp.instance().log.error(message)
        raise Unwritten(message) from error


class Connection(MemoryConnection):
    """Writes what a kernel runs, before the kernel gets it."""

    def handle_incoming_message(self, incoming_msg: str | bytes) -> None:
        if not self.channels or self.written(incoming_msg):
            super().handle_incoming_message(incoming_msg)

    def written(self, message: str | bytes) -> bool:
        """Write a message from the browser, if it contains code. If this fails, refuse the message."""
        if self.subprotocol == V1:
            channel, parts = deserialize_msg_from_ws_v1(message)
            header = read(parts[0])
            if no_code(channel, header):
                return True
            metadata, content = read(parts[2]), read(parts[3])
            if channel == "shell" and follows(header, metadata):
                return True  # the server answers it. No kernel gets it
        else:
            whole = deserialize_binary_message(message) if isinstance(message, bytes) else json.loads(message)
            header, metadata, content = (whole.get(name) for name in ("header", "metadata", "content"))
            channel = whole.get("channel") or "shell"
        if (what := run(channel, header, content)) is None:
            return True
        sessions = self.websocket_handler.session_manager.cursor
        paths = sessions.execute("SELECT path FROM session WHERE kernel_id = ?", (self.kernel_id,)).fetchall()
        kernel = {"kernel": self.kernel_id, "kernel_name": self.kernel_manager.kernel_name}
        places = {"notebooks": [path for (path,) in paths], "claimed": claimed(header, metadata or {})}
        try:
            write(self.websocket_handler, {**kernel, **places, **what})
        except Unwritten as unwritten:
            if what["event"] not in ALWAYS:
                self.refuse(channel, header, content, str(unwritten))
                return False
        return True

    def refuse(self, channel: str, header: dict[str, Any], content: dict[str, Any], sentence: str) -> None:
        """Answer as a kernel does whose code fails with this sentence."""
        error = {"status": "error", "ename": "NotRecorded", "evalue": sentence, "traceback": [sentence]}
        debugger = {"type": "response", "success": False, "command": content.get("command"), "message": sentence}
        reply = str(header["msg_type"]).replace("_request", "_reply")
        for to, kind, answer in (
            ("iopub", "status", {"execution_state": "busy"}),
            ("iopub", "error", error),
            (channel, reply, error | debugger | {"request_seq": content.get("seq"), "execution_count": None}),
            ("iopub", "status", {"execution_state": "idle"}),
        ):
            self.say(to, kind, answer, header)


class Terminals(AllowAllAuthorizer):
    """Writes a line for each page that opens a terminal. What is typed there is not written."""

    def is_authorized(self, handler: JupyterHandler, user: User, action: str, resource: str) -> bool:
        if (action, resource) == ("execute", "terminals"):
            try:
                write(handler, {"event": "terminal", "terminal": handler.request.path.rpartition("/")[2]})
            except Unwritten as unwritten:
                raise HTTPError(503, str(unwritten)) from unwritten
        return super().is_authorized(handler, user, action, resource)


class Kernels(logging.Handler):
    """Writes the starts, restarts, interrupts and ends of kernels. Jupyter reports them as events."""

    def emit(self, record: logging.LogRecord) -> None:
        event = record.msg
        if not isinstance(event, dict) or event.get("__schema__") != EVENTS:
            return
        handler = CallContext.get(CallContext.JUPYTER_HANDLER)
        # Nobody asks for a restart after a crash. Its context is the request that started the kernel, long ago.
        asked = handler if isinstance(handler, JupyterHandler) and not handler._finished else None
        kernel = {"kernel": event.get("kernel_id"), "kernel_name": event.get("kernel_name")}
        with suppress(Unwritten):  # the server's log says so
            write(asked, {"event": f"kernel {event['action']}", **kernel, "status": event.get("status")})
