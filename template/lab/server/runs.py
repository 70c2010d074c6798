"""The outputs of a cell that runs, as a page shows them (kept_output.py)."""

import json
from contextlib import suppress
from itertools import groupby

import nbformat
from messages import unpack

MOST = 64 << 20  # bytes of output that the recorder of a kernel keeps
LEAST = 2000  # bytes that each output takes in memory
TOO_MUCH = (
    f"labdock: the outputs of this notebook are longer than {MOST >> 20} MB, so the rest is kept only while a page "
    "shows it. Write long output to a file in data/ instead.\n"
)
FIELDS = {
    "stream": ("name", "text"),
    "display_data": ("data", "metadata"),
    "execute_result": ("data", "metadata", "execution_count"),
    "error": ("ename", "evalue", "traceback"),
}
MALFORMED = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, nbformat.ValidationError)


class Output:
    """One output of a cell."""

    def __init__(self, kind, content):
        """Raises one of MALFORMED if the kernel sent no such output."""
        self.node = nbformat.v4.new_output(kind, **{name: content[name] for name in FIELDS[kind]})
        self.display_id = (content.get("transient") or {}).get("display_id")
        self.size = LEAST + len(json.dumps(content))
        if kind == "stream":
            self.node.text = shown(self.node.text)

    def append(self, text):
        """Append to a stream, as a terminal does."""
        old = self.node.text
        line = old.rfind("\n") + 1
        self.node.text = old[:line] + shown(old[line:] + text)
        self.size = LEAST + len(self.node.text)

    def update(self, content, room):
        """Show something else. Raises one of MALFORMED. Does nothing if this takes more than `room` bytes."""
        new = Output(self.node.output_type, {"execution_count": self.node.get("execution_count"), **content})
        if new.size - self.size < room:
            self.node, self.size = new.node, new.size

    def message(self):
        """Its type and its content, as the kernel sent them."""
        content = {name: self.node[name] for name in FIELDS[self.node.output_type]}
        transient = {"transient": {"display_id": self.display_id}} if self.display_id else {}
        return self.node.output_type, content | transient


class Run:
    """One execution of a cell. `page` is the connection whose page shows it. Without a page, it is for the file."""

    def __init__(self, key, cell, session, page=None):
        self.key = key  # message id of the request
        self.cell, self.session, self.page = cell, session, page
        self.header = None  # of the request with which the page follows the run
        self.heard = []  # messages that are not in `outputs` yet: type, content
        self.outputs = []
        self.count = None
        self.status = None  # of the reply. None: the cell runs, or waits for other cells
        self.failed = self.clear = self.full = False
        self.missed = None  # after a restart of the server: messages that its page, if it comes back, has not got
        self.question = None  # a message that waits for the user's input
        self.in_file = False  # does the file contain the outputs so far?
        self.started = False  # does the file contain the first of them?
        self.whole = True  # are its outputs complete? After a restart of the server, its page may have more
        self.read = set()  # sessions of other pages that have read the outputs from the file

    def add(self, kind, content, room):
        """Do what a page does with a message. Raises one of MALFORMED. `room`: bytes that may be kept."""
        if kind == "clear_output" and content["wait"]:
            self.clear = True
            return
        if kind == "clear_output" or self.clear:
            self.outputs.clear()
            self.clear = self.full = False
        if kind == "clear_output" or self.full:
            return
        last = self.outputs[-1] if self.outputs else None
        new = Output(kind, content)
        if new.size > room:
            self.full = True
            self.outputs.append(Output("stream", {"name": "stderr", "text": TOO_MUCH}))
        elif last and kind == "stream" and last.node.get("name") == new.node.name:
            last.append(content["text"])
        else:
            self.outputs.append(new)

    def size(self):
        return sum(output.size for output in self.outputs)

    def outcome(self):
        """The status of the reply to a request that has ended."""
        return "error" if self.failed else "aborted" if self.count is None else "ok"


def shown(text):
    """What a terminal shows: of each line only what follows the last carriage return."""
    if "\r" not in text:
        return text
    lines = []
    for line in text.split("\n"):
        written = line.rstrip("\r")
        lines.append(written[written.rfind("\r") + 1 :] + line[len(written) :])
    return "\n".join(lines)


def joined(heard):
    """The messages with their contents. Text that follows text on the same stream is one message."""

    def read():
        for kind, content in heard:
            with suppress(*MALFORMED):
                content = unpack(content)
                yield (content["name"], "" + content["text"]) if kind == "stream" else (None, (kind, content))

    for name, group in groupby(read(), lambda message: message[0]):
        if name:
            yield "stream", {"name": name, "text": "".join(text for _, text in group)}
        else:
            yield from (message for _, message in group)
