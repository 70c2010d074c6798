"""Run in the container `server`, by its Python: print every route of the server as JSON, [pattern, is a websocket].

It starts the server again with the same arguments and environment, and stops before the server listens. So the routes
of extensions are included.
"""

import json
import os
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

from jupyter_server.serverapp import ServerApp
from tornado.routing import Rule
from tornado.util import import_object
from tornado.websocket import WebSocketHandler

EVERY = re.compile(".*$")


def routes(rules: list[Rule]) -> Iterator[tuple[str, bool]]:
    """The pattern of each route in `rules`, and whether it is a websocket.

    The host names of dashboards are left out: tests/attack/test_dashboards.py attacks them.
    """
    for rule in rules:
        if getattr(rule.matcher, "host_pattern", EVERY) != EVERY:
            continue
        if hasattr(rule.target, "rules"):
            yield from routes(rule.target.rules)
        elif hasattr(rule.matcher, "regex"):  # other rules only refuse requests
            handler = import_object(rule.target) if isinstance(rule.target, str) else rule.target
            yield rule.matcher.regex.pattern, issubclass(handler, WebSocketHandler)


def show(server: ServerApp) -> None:
    """Replaces the start of the server."""
    found = dict.fromkeys(routes(server.web_app.default_router.rules))
    print(json.dumps(list(found)))


def main() -> None:
    for process in Path("/proc").glob("[0-9]*"):
        command = (process / "cmdline").read_text().split("\0")
        if "-m" in command:
            break
    environment = (process / "environ").read_text().split("\0")
    os.environ.clear()
    os.environ.update(line.split("=", 1) for line in environment if line)
    ServerApp.init_httpserver = lambda server: None
    ServerApp.start = show
    module, *arguments = command[command.index("-m") + 1 : -1]
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


main()
