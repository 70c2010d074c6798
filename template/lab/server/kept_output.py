"""Keeps what cells print while no page shows it, for the file and for the page that opens next.

A run is one execution of a cell. The page that started it shows its outputs and saves them. If this page has gone, the
recorder of the kernel writes the outputs into the file. A page that opens the notebook asks for the runs, and follows
each of them with an empty execute_request that names the run (extension.js). The server answers this request itself:
with the outputs so far, and with each further message of the run.
"""

import asyncio
import json
import os
import sqlite3
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from weakref import WeakValueDictionary

from agent_client import APART
from jupyter_client.jsonutil import json_default
from jupyter_server.base.handlers import APIHandler
from jupyter_server.services.kernels.connection.base import deserialize_msg_from_ws_v1, serialize_msg_to_ws_v1
from jupyter_server.utils import url_path_join
from messages import Limited, unpack
from runs import FIELDS, MALFORMED, MOST, Output, Run, joined
from tornado.web import HTTPError, authenticated
from tornado.websocket import WebSocketClosedError

V1 = "v1.kernel.websocket.jupyter.org"  # the protocol of JupyterLab and the classic interface
RUN = "labdock_run"  # metadata of the request with which a page follows a run
EVENTS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"
PAUSE = 2  # seconds between two writes of a file. It is longer if a write takes long
OPENING = 20  # seconds that a page has, after it read the file, to follow the runs
LONGEST = 3600  # seconds between two writes that fail
BATCH = 200, 4 << 20  # messages, and bytes, that it keeps as they came
RESTARTED = "labdock: the server restarted here. It does not know what the cell printed meanwhile.\n"
KEPT = "cell", "session", "count", "status", "started", "in_file", "whole", "question"  # of a run, for the next server
RECORDERS = {}  # kernel id -> its Recorder
ASKED = deque(maxlen=1000)  # sessions of pages that ask for runs. Other programs use Jupyter's own protocol only
GIVEN = deque(maxlen=1000)  # hashes of files that pages got
LOCKS = WeakValueDictionary()  # path -> the lock of a file that is being changed


class Recorder:
    """The runs of one kernel."""

    def __init__(self, kernel_id, settings):
        self.kernel_id = kernel_id
        self.kernels, self.sessions = settings["kernel_manager"], settings["session_manager"]
        self.contents = settings["contents_manager"]
        self.runs = {}  # key -> Run
        self.captured = {}  # an Output widget -> the run whose outputs it takes now
        self.pages = set()
        self.stdin = {}  # session of a page that has gone -> the channel on which the kernel asks it for input
        self.stream = self.tending = None
        self.inquiry = None  # message id of the question that tells what ended before a restart of the server
        self.inherited = []  # runs of the last server
        self.begun = False  # has one of these runs begun since the question?
        self.gaps = {}  # those of them that may have printed while no server ran -> the message that says so
        self.paths = []  # of its notebooks, usually one
        self.hashes = {}  # path -> hashes of the file: which pages have, before its own writes, and the newest
        self.hold = 0.0  # until then, a page may follow the runs. So the file stays as this page read it

    # --- the kernel's messages ---------------------------------------------------------------------------
    def listen(self):
        if self.stream is None:
            self.stream = self.kernels.get_kernel(self.kernel_id).connect_iopub()
            self.stream.on_recv(self.hear)

    def hear(self, message):
        """Keep a message of a run. Pass it on to a page that follows the run."""
        with suppress(*MALFORMED):
            header, parent, _, content = parts(message)
            key = unpack(parent)["msg_id"]
            self.answer(key)
            if not (run := self.runs.get(key)):
                return
            kind = unpack(header)["msg_type"]
            if gap := self.gaps.pop(key, None):
                began_now = kind == "status" and unpack(content)["execution_state"] == "busy"
                if not (began_now or kind == "execute_input"):
                    self.hear(gap)
            if kind == "execute_input":
                run.count = int(unpack(content)["execution_count"])
                run.in_file = False
                self.begun |= key in self.inherited
                self.remember()
            captures = kind.startswith("comm_") and b'"msg_id"' in content
            if kind in FIELDS or kind in {"clear_output", "update_display_data"} or captures:
                run.failed |= kind == "error"
                run.in_file = False
                run.heard.append((kind, content))
                if len(run.heard) > BATCH[0] or sum(len(content) for _, content in run.heard) > BATCH[1]:
                    self.digest()
            if run.header:
                run.page.pass_on(run.header, message)
            elif run.missed is not None:
                run.missed.append(message)
            if not run.status and kind == "status" and unpack(content)["execution_state"] == "idle":
                self.end(run, run.outcome())

    def replied(self, message):
        """The kernel answers a page. If a run began while no server ran, only this answer has its count."""
        with suppress(*MALFORMED):
            _, parent, _, content = parts(message)
            run = self.runs[unpack(parent)["msg_id"]]
            if run.count is None:
                run.count = int(unpack(content)["execution_count"])
                run.status = run.status and run.outcome()

    def digest(self):
        """Turn the messages into outputs. Forget the oldest runs that the file or a page has, if they are too large."""
        for key, run in self.runs.items():
            heard, run.heard = run.heard, []
            room = MOST - self.size()
            for kind, content in joined(heard):
                with suppress(*MALFORMED):
                    self.take(key, run, kind, content, room)
        for key, run in list(self.runs.items()):
            if run.status and (run.in_file or run.page) and self.size() > MOST // 2:
                del self.runs[key]
            elif run.missed and sum(len(part) for message in run.missed for part in message) > MOST:
                run.missed = None  # its page has to follow it like any other

    def take(self, key, run, kind, content, room):
        """Keep one message. Raises one of MALFORMED."""
        if kind.startswith("comm_"):
            self.captured.pop(content["comm_id"], None)
            if (taken := content["data"]["state"]["msg_id"]) in self.runs:
                self.captured[content["comm_id"]] = taken
        elif key in self.captured.values():
            pass  # an Output widget shows it
        elif kind == "update_display_data":
            for each in self.runs.values():
                for output in each.outputs:
                    if output.display_id == content["transient"]["display_id"]:
                        output.update(content, room)
                        each.in_file = False
        else:
            run.add(kind, content, room)

    def size(self):
        return sum(run.size() for run in self.runs.values())

    # --- the pages ---------------------------------------------------------------------------------------
    def begin(self, key, cell, page):
        """A page runs a cell. An earlier run of this cell is no longer needed, and very old ones are forgotten."""
        for old, run in list(self.runs.items()):
            if run.cell == cell or (run.status and len(self.runs) > 1000):
                del self.runs[old]
        self.runs[key] = Run(key, cell, page.session.session, page)
        self.remember()

    def end(self, run, status):
        """A run has ended. A page that follows it gets the reply, which the kernel sent to the page before."""
        run.status, run.question = status, None
        # After a restart of the server, the kernel's own reply still reaches the page, and only this reply may have the
        # count.
        if run.header and (run.missed is None or run.count):
            run.page.reply(run.header, run.status, run.count)
        for session in set(self.stdin) - {run.session for run in self.runs.values() if not run.status}:
            self.stdin.pop(session).close()
        self.remember()

    def end_all(self):
        """The kernel has ended. For a cell that ran, the file says why, as far as the server knows."""
        why = self.kernel_id in self.kernels and getattr(self.kernels.get_kernel(self.kernel_id), "why", "")
        self.digest()
        for key, run in list(self.runs.items()):
            if not run.status:
                if why and run.count:
                    run.outputs.append(Output("stream", {"name": "stderr", "text": f"{why}\n"}))
                    run.in_file = False
                self.end(run, "aborted")
            if run.page:
                del self.runs[key]  # a page that connects again does not follow it, as its user may clear the outputs

    def enter(self, page):
        """A page connects. A page from before a restart of the server still shows its runs, so it gets the rest."""
        self.pages.add(page)
        self.listen()
        for run in self.runs.values():
            if run.missed is not None and run.session == page.session.session:
                self.show(run, page, {"msg_id": run.key, "session": run.session, "msg_type": "execute_request"})
                for message in run.missed:
                    page.pass_on(run.header, message)
                run.missed.clear()
                if run.status:
                    page.reply(run.header, run.status, run.count)

    def show(self, run, page, header):
        """From now on, a page shows a run and saves it. It gets all messages from here, each of them once."""
        if run.header and run.page is not page:  # two pages followed it at the same time
            run.page.reply(run.header, "aborted", run.count)
        run.page, run.header = page, header
        page.followed[run.key] = header
        self.remember()

    def leave(self, page):
        """A page has gone. Another one may follow its runs."""
        self.pages.discard(page)
        for run in self.runs.values():
            if run.page is page:
                run.page = run.header = None
                if run.whole:
                    run.missed = None  # its network may have been cut for a while
        session = page.session.session
        unfinished = any(run.session == session and not run.status for run in self.runs.values())
        if unfinished and session in ASKED and "stdin" in page.channels:
            self.stdin[session] = page.channels.pop("stdin")
            self.stdin[session].on_recv(self.asked)
        for other in self.pages:
            if other.recorded:
                other.say("iopub", "labdock_runs", {}, {})
        self.tend()

    def asked(self, message):
        """The kernel asks for input. Keep the question for a page that follows the run."""
        with suppress(*MALFORMED):
            _, parent, _, content = parts(message)
            run = self.runs[unpack(parent)["msg_id"]]
            question = unpack(content)
            run.question = {"prompt": str(question["prompt"]), "password": question.get("password") is True}
            if run.header:
                run.page.say("stdin", "input_request", run.question, run.header)
            self.remember()

    def answered(self, page, content):
        """The user answered. A page shows question and answer, but no password."""
        for run in self.runs.values():
            if run.page is page and run.question:
                shown = "········" if run.question["password"] else content["value"]
                text = {"name": "stdin", "text": f"{run.question['prompt']} {shown}\n"}
                run.heard.append(("stream", json.dumps(text).encode()))
                run.question = None
                self.remember()

    def follow(self, key, page, header):
        """A page follows a run, and shows it from its beginning."""
        page.say("iopub", "status", {"execution_state": "busy"}, header)
        self.digest()
        if not (run := self.runs.get(key)):
            page.reply(header, "aborted", None)
            return
        self.show(run, page, header)
        run.missed = None
        for output in run.outputs:
            page.say("iopub", *output.message(), header)
        if run.question:
            page.say("stdin", "input_request", run.question, header)
        if run.status:
            page.reply(header, run.status, run.count)

    async def offer(self, session):
        """The runs that a page with this session may follow, and the hashes of files (see extension.js)."""
        alone = [run for run in self.runs.values() if run.page is None]
        # A page that opened after the end of a run has read its outputs from the file.
        read = [run for run in alone if run.status and run.in_file and run.session != session]
        for run in read:
            run.read.add(session)
        offered = [run for run in alone if run not in read]
        elsewhere = any(run.page and run.page.session.session != session for run in self.runs.values())
        if offered:
            self.hold = time.monotonic() + OPENING
        for path in self.places():
            async with lock(path):
                pass  # a write that has begun is complete
        runs = [{"run": run.key, "cell": run.cell} for run in offered]
        return {"runs": runs, "files": {} if read or elsewhere else self.hashes}

    # --- the file ----------------------------------------------------------------------------------------
    def places(self):
        """The paths of its notebooks, which the user can rename. After the kernel's end, the last paths."""
        query = "SELECT path FROM session WHERE kernel_id = ? AND type = 'notebook'"
        with suppress(sqlite3.Error):  # the volume cannot be read
            found = [path for (path,) in self.sessions.cursor.execute(query, (self.kernel_id,))]
            self.paths = found or self.paths
        return self.paths

    def unwritten(self):
        return [run for run in self.runs.values() if not run.page and not (run.in_file and run.status)]

    def tend(self):
        """Write the file again and again, in the background."""
        if not self.tending or self.tending.done():
            self.tending = asyncio.ensure_future(self.write_on())

    async def write_on(self):
        """Return when no run is left that the file needs."""
        pause = PAUSE
        while self.unwritten():
            await asyncio.sleep(pause)
            began = time.monotonic()
            if began < self.hold:
                continue
            try:
                await self.write()
                pause = PAUSE
                rest = 20 * (time.monotonic() - began)  # more output comes, and large files take long
                while rest > PAUSE and any(not run.status for run in self.runs.values()):
                    await asyncio.sleep(PAUSE)
                    rest -= PAUSE
            except (HTTPError, OSError, *MALFORMED) as error:
                self.contents.log.warning("labdock: the output of %s is not saved yet: %s", self.paths, error)
                pause = min(2 * pause, LONGEST)
        if not self.pages and self.stream:
            self.stream.close()
            self.stream = None

    async def write(self, shown=False):
        """Write the outputs of runs without a page, or also of those that a page has `shown`. Raises HTTPError."""
        runs = [run for run in self.runs.values() if not run.in_file and (not run.page or (shown and run.whole))]
        if not runs:
            return
        known = set()
        for path in self.places():
            async with lock(path):
                known |= await self.write_into(path, runs, shown)
        for run in runs:
            if run.cell not in known:
                run.in_file = True  # the user deleted the cell, or no page has saved it yet. A page may still follow it
        self.remember()

    async def write_into(self, path, runs, shown):
        """Write the outputs into one file. All other cells stay as they are. Returns the cells of the file."""
        try:
            model = await self.contents.get_itself(path, type="notebook", require_hash=True)
        except HTTPError as error:
            if error.status_code == 404:
                return set()
            raise
        self.digest()
        cells = {cell.get("id"): cell for cell in model["content"]["cells"] if cell.cell_type == "code"}
        written = [run for run in runs if run.cell in cells and (shown or not run.page)]
        for run in written:
            cells[run.cell].update(outputs=[output.node for output in run.outputs], execution_count=run.count)
            cells[run.cell]["metadata"]["trusted"] = True
            run.in_file = True  # until the next message
        try:
            seen = await self.contents.get_itself(path, content=False)
            if seen["last_modified"] != model["last_modified"]:
                raise HTTPError(409, f"another program changed '{path}'. The server tries again.")
            if written:
                await self.contents.save_itself({"type": "notebook", "content": model["content"]}, path)
        except Exception:
            for run in written:
                run.in_file = False
            raise
        for run in written:
            run.started = True
        after = await self.contents.get_itself(path, content=False, require_hash=True)
        older = self.hashes.get(path, [])
        older = older if older[-1:] == [model["hash"]] else [model["hash"]]
        # A page from before a restart of the server may have the oldest one.
        self.hashes[path] = older[:1] + [each for each in older[1:] if each in GIVEN] + [after["hash"]]
        return set(cells)

    def shown(self):
        """The runs whose outputs their pages have got -> have they ended, and has every page got them?"""

        def everywhere(run):
            return self.pages and all(page is run.page or page.session.session in run.read for page in self.pages)

        runs = {key: run for key, run in self.runs.items() if not (run.page and run.page.waiting)}
        return {key: (bool(run.status), everywhere(run)) for key, run in runs.items()}

    def saved(self, cells, shown):
        """A page saved the notebook. Forget the runs whose outputs it saved, or its user removed.

        `shown` was the state when the save began, because the page can go before the save ends.
        """
        for key, run in list(self.runs.items()):
            ended, everywhere = shown.get(key, (False, False))
            cell = cells.get(run.cell)
            if ended and (everywhere or cell is None or cell.get("execution_count") == run.count):
                del self.runs[key]
            elif not run.page:
                run.in_file = False  # this page has not seen the run
                self.tend()
            elif everywhere and not run.started:
                run.started = True
                self.remember()

    # --- restarts of the server ----------------------------------------------------------------------------
    def remember(self):
        """Keep the names of what runs, and of what has ended without a page, for the next server."""
        if not APART:
            return
        runs = {
            key: {name: getattr(run, name) for name in KEPT}
            | {"alone": not run.page, "displays": [output.display_id for output in run.outputs]}
            for key, run in self.runs.items()
            if not (run.status and run.page)
        }
        with suppress(OSError):  # the volume is full
            new = records() / f"{self.kernel_id}.new"
            new.write_text(json.dumps({"paths": self.places(), "runs": runs, "hashes": self.hashes}))
            new.replace(new.with_suffix(".json"))

    async def restore(self, kept):
        """Go on with what the last server recorded."""
        self.paths, self.hashes = kept["paths"], kept["hashes"]
        self.hold = time.monotonic() + OPENING
        kernel = self.kernels.get_kernel(self.kernel_id)
        cells = {}
        for path in self.places():
            with suppress(HTTPError):  # the file is missing
                model = await self.contents.get_itself(path, type="notebook")
                cells |= {cell.get("id"): cell for cell in model["content"]["cells"]}
        for key, values in kept["runs"].items():
            run = Run(key, values["cell"], values["session"])
            for name in KEPT:
                setattr(run, name, values[name])
            written = cells.get(run.cell) if run.started else None
            if run.status and not written:
                continue
            self.runs[key] = run
            for output, display_id in zip_longest(written.outputs if written else (), values["displays"]):
                if output:
                    run.outputs.append(Output(output.output_type, output))
                    run.outputs[-1].display_id = display_id
            # Only the page that showed a run may have more of it than the file. Any other page has to follow the run.
            followed = run.count and written and values["alone"]
            run.missed = None if followed else []
            run.whole = followed or (run.whole and (not run.count or run.in_file))
            content = {"name": "stderr", "text": RESTARTED}
            gap = kernel.session.serialize(kernel.session.msg("stream", content, parent={"msg_id": key}))
            if not (run.count or run.status):
                self.gaps[key] = gap
            elif not (run.in_file and run.status):
                self.hear(gap)
            if not run.status and run.session not in self.stdin:
                self.stdin[run.session] = stdin = kernel.connect_stdin(identity=run.session.encode())
                stdin.channel = "stdin"
                stdin.on_recv(self.asked)
        self.listen()
        self.inherited = list(kept["runs"])
        self.ask()
        self.tend()

    def ask(self):
        """Ask the kernel something, which it answers after a cell, on two channels.

        What it published about its cells comes before the answer on the same channel. This answer is missing if the
        kernel did not know yet that the server listens.
        """
        kernel = self.kernels.get_kernel(self.kernel_id)
        shell, self.begun = kernel.connect_shell(), False

        def replied(_):
            shell.close()
            asyncio.get_running_loop().call_later(PAUSE, self.answer, inquiry)

        shell.on_recv(replied)
        inquiry = self.inquiry = kernel.session.send(shell, "kernel_info_request")["header"]["msg_id"]

    def answer(self, key):
        """The kernel answered. Kernels such as R's do so before cells that wait, but then the next one begins."""
        if key == self.inquiry:
            self.inquiry = None
            asyncio.get_running_loop().call_later(PAUSE, self.end_inherited)

    def end_inherited(self):
        """Only what has ended before can still be without its end. The kernel's reply to the page is lost."""
        if self.begun:
            self.ask()
            return
        inherited, self.inherited = self.inherited, []
        for key in inherited:
            if (run := self.runs.get(key)) and not run.status:
                if gap := self.gaps.pop(key, None):
                    self.hear(gap)
                self.end(run, run.outcome())
                if run.header and not run.count:
                    run.page.reply(run.header, run.status, None)


class Recorded(Limited):
    """Tells the kernel's recorder what this page runs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.followed = {}  # key of a run -> header of the request with which the page follows it
        self.recorder = None
        self.recorded = False  # does the page use the protocol that the recorder knows?

    def connect(self):
        self.recorded = self.subprotocol == V1
        self.recorder = recorder(self.kernel_id, self.websocket_handler.settings)
        connected = super().connect()
        if connected:
            self.recorder.enter(self)
        return connected

    def create_stream(self):
        super().create_stream()
        # The kernel knows the page's session by the first channel that had its name.
        if kept := self.recorder.stdin.pop(self.session.session, None):
            self.channels["stdin"].close()
            self.channels["stdin"] = kept

    def disconnect(self):
        if self.recorder:
            self.recorder.leave(self)
            self.recorder = None
        super().disconnect()
        if self.session.session in ASKED and self.kernel_id in self.multi_kernel_manager:
            self.multi_kernel_manager.stop_buffering(self.kernel_id)  # the recorder keeps what such a page needs

    def handle_incoming_message(self, incoming_msg):
        if self.recorded and self.channels:
            channel, (header, _, metadata, content, *_) = deserialize_msg_from_ws_v1(incoming_msg)
            if channel == "stdin":
                self.recorder.answered(self, json.loads(content))
            elif channel == "shell":
                header, metadata = json.loads(header), json.loads(metadata)
                if follows(header, metadata):
                    self.recorder.follow(metadata[RUN], self, header)
                    return
                if isinstance(cell := metadata.get("cellId"), str) and header["msg_type"] == "execute_request":
                    self.recorder.begin(header["msg_id"], cell, self)
        super().handle_incoming_message(incoming_msg)

    def handle_outgoing_message(self, stream, outgoing_msg):
        channel = stream if isinstance(stream, str) else stream.channel
        if channel == "stdin":
            self.recorder.asked(outgoing_msg)
        if channel == "shell":
            self.recorder.replied(outgoing_msg)
        if channel == "iopub" and self.followed:
            with suppress(*MALFORMED):
                key = unpack(parts(outgoing_msg)[1])["msg_id"]
                if header := self.followed.get(key):
                    if key not in self.recorder.runs:  # else, the recorder passes it on
                        self.pass_on(header, outgoing_msg)
                    return
        super().handle_outgoing_message(stream, outgoing_msg)

    def pass_on(self, header, message):
        """Send a message to the page, as an answer to the request with this header."""
        at = message.index(b"<IDS|MSG>") + 3
        with suppress(WebSocketClosedError):
            super().handle_outgoing_message("iopub", [*message[:at], json.dumps(header).encode(), *message[at + 1 :]])

    def say(self, channel, kind, content, header):
        """Send a message of the server's own to the page, as an answer to the request with this header."""
        made = self.session.msg(kind, content, parent=header)
        with suppress(WebSocketClosedError):
            if self.recorded:
                self.write_message(serialize_msg_to_ws_v1(made, channel, self.session.pack), binary=True)
            else:
                self.write_message(json.dumps(made | {"channel": channel}, default=json_default))

    def reply(self, header, status, count):
        """Tell the page that the request with this header has ended."""
        self.say("shell", "execute_reply", {"status": status, "execution_count": count}, header)
        self.say("iopub", "status", {"execution_state": "idle"}, header)


class Runs(APIHandler):
    """The runs of a kernel that no page shows."""

    auth_resource = "kernels"

    @authenticated
    async def get(self, kernel_id):
        session = self.get_argument("session")
        if session not in ASKED:
            ASKED.append(session)
        found = RECORDERS.get(kernel_id)
        self.finish(await found.offer(session) if found else {"runs": [], "files": {}})


def follows(header, metadata):
    """Is this a page's request to follow a run? The server answers it, so no kernel gets it."""
    return header["msg_type"] == "execute_request" and isinstance(metadata.get(RUN), str)


def recorder(kernel_id, settings):
    """The Recorder of a kernel."""
    for each in set(RECORDERS) - set(settings["kernel_manager"].list_kernel_ids()):
        if not RECORDERS[each].unwritten():
            del RECORDERS[each]
    return RECORDERS.setdefault(kernel_id, Recorder(kernel_id, settings))


def parts(message):
    """The header, parent header, metadata and content of a kernel's message. Raises ValueError if it is none."""
    return message[message.index(b"<IDS|MSG>") + 2 :][:4]


def lock(path):
    """The lock of a file that is being changed."""
    found = LOCKS.get(path)
    if found is None:
        found = LOCKS[path] = asyncio.Lock()
    return found


def of(path):
    """The recorders of a notebook's kernels."""
    return [each for each in RECORDERS.values() if path in each.places()]


async def before_reading(path):
    """Call this before a page reads a file: it gets everything that was printed so far."""
    for each in of(path):
        if each.unwritten():
            each.hold = time.monotonic() + OPENING
            with suppress(HTTPError):  # the recorder tries again and logs it
                await each.write()


@asynccontextmanager
async def saving(path, model):
    """Use this while a page saves a file."""
    shown = {each: each.shown() for each in of(path)}
    async with lock(path):
        yield
    if model.get("type") == "notebook":
        cells = {cell.get("id"): cell for cell in model["content"].get("cells", [])}
        for each in of(path):
            each.saved(cells, shown.get(each, {}))


def renamed(settings, old, new):
    """Call this after a file or folder was renamed. A notebook that nobody has open keeps its kernel."""
    cursor = settings["session_manager"].cursor
    for session, path in cursor.execute("SELECT session_id, path FROM session").fetchall():
        if f"{path}/".startswith(f"{old}/"):
            moved = new + path[len(old) :]
            name = moved.rpartition("/")[2]
            cursor.execute("UPDATE session SET path = ?, name = ? WHERE session_id = ?", (moved, name, session))


def records():
    """The folder with the names of runs, for the next server."""
    folder = Path(os.environ["LAB_STATE"], "runs")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


async def write_all():
    """Write everything that was printed so far. Call this before the server ends.

    A page may show it, but it can be closed while no server runs.
    """
    for each in list(RECORDERS.values()):
        with suppress(Exception):  # the server ends also if a file cannot be written
            await each.write(shown=True)


async def restore(settings):
    """Go on with the runs of the last server. Call this when its kernels are adopted."""
    try:
        files = list(records().glob("*.json"))
    except OSError:  # the volume is full
        return
    for file in files:
        try:
            kept = json.loads(file.read_text())
            if kept["runs"] and file.stem in settings["kernel_manager"]:
                await recorder(file.stem, settings).restore(kept)
                continue
        except (*MALFORMED, OSError, HTTPError) as error:
            settings["contents_manager"].log.warning("labdock: the output of %s is not kept: %s", file.stem, error)
        file.unlink()


def _jupyter_server_extension_points():
    return [{"module": "kept_output"}]


def _load_jupyter_server_extension(app):
    route = url_path_join(app.base_url, r"/labdock/runs/([\w-]+)")
    app.web_app.add_handlers(".*$", [(route, Runs)])

    async def ended(logger, schema_id, data):
        if data["action"] in {"restart", "shutdown"} and (found := RECORDERS.get(data["kernel_id"])):
            found.end_all()

    app.event_logger.add_listener(schema_id=EVENTS, listener=ended)
