"""Limits how much of the server's memory the messages of notebook kernels take."""

from collections import deque
from functools import partial

import zmq
from jupyter_client.session import json_unpacker
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

LARGEST = 128 << 20  # bytes of one message from a kernel, and of messages that wait for one page
QUEUED = 4  # messages that a socket receives before the server reads them
UNPACKED = 16 << 20  # bytes of JSON that always become Python objects, which can take 20 times as much memory
VALUES = 1_000_000  # values in longer JSON, such as a plot in one long text
TOO_LONG = "labdock: this output has too many values, so it is not shown. Write it to a file in data/ instead.\n"
SLOW = "labdock: the connection to this browser is too slow, so a part of this output is missing. Reload the page."
# Takes the place of each part of a message.
INSTEAD = {"msg_id": "", "msg_type": "stream", "version": "5.3", "execution_state": "busy"}
INSTEAD |= {"name": "stderr", "text": TOO_LONG, "data": {"text/plain": TOO_LONG}, "metadata": {}}


def unpack(part):
    """A part of a message, as Python objects. The server unpacks no outputs for browsers, but for some programs."""
    if len(part) > UNPACKED and not (part.isascii() and sum(map(part.count, (b",", b"[", b"{"))) < VALUES):
        return dict(INSTEAD)
    return json_unpacker(part)


class Kernels(AsyncMappingKernelManager):
    """Notebook kernels whose messages cannot fill the server's memory while no page reads them."""

    def _context_default(self):
        context = super()._context_default()
        context.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        context.setsockopt(zmq.RCVHWM, QUEUED)
        return context

    def start_buffering(self, kernel_id, session_key, channels):
        """Keep the newest messages for a page that lost its connection. Jupyter itself keeps all messages."""
        super().start_buffering(kernel_id, session_key, channels)
        self._kernel_buffers[kernel_id]["buffer"] = kept = Newest()
        for channel, stream in channels.items():
            stream.on_recv(partial(kept.add, channel))


class Newest(deque):
    """The newest messages, at most LARGEST bytes of them."""

    size = 0

    def add(self, channel, message):
        self.append((channel, message))
        self.size += size(message)
        while self.size > LARGEST:
            self.size -= size(self.popleft()[1])


def size(message):
    """The bytes of a message, which is a list of parts."""
    return sum(len(part) + 64 for part in message)


class Limited(ZMQChannelsWebsocketConnection):
    """Leaves out outputs while LARGEST bytes wait for a slow browser."""

    waiting = 0  # bytes that the browser has not taken yet
    left_out = False

    @property
    def write_message(self):
        return self.write

    def write(self, message, binary=False):
        def sent(_):
            self.waiting -= len(message)

        self.waiting += len(message)
        self.websocket_handler.write_message(message, binary=binary).add_done_callback(sent)

    def _limit_rate(self, channel, msg, msg_list):
        if super()._limit_rate(channel, msg, msg_list):
            return True
        if channel != "iopub" or self.waiting < LARGEST:
            self.left_out = False
            return False
        if self.get_part("header", msg["header"], msg_list)["msg_type"] == "status":
            return False
        if not self.left_out:
            self.left_out = True
            self.write_stderr(SLOW, self.get_part("parent_header", msg["parent_header"], msg_list))
        return True
