"""Another machine, to which a page's script tries to send something."""

import selectors
import socket
from collections.abc import Iterable
from contextlib import suppress
from threading import Thread

ANSWER = b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n"


class Sentinel:
    """Listens on one port for each name, with TCP and UDP. `arrived` contains each name whose port got anything."""

    def __init__(self, names: Iterable[str]) -> None:
        self.arrived: set[str] = set()
        self.addresses: dict[str, str] = {}  # name -> host and port
        self.selector = selectors.DefaultSelector()
        for name in names:
            listener = socket.create_server(("127.0.0.1", 0))
            datagrams = socket.socket(type=socket.SOCK_DGRAM)
            datagrams.bind(listener.getsockname())
            self.selector.register(listener, selectors.EVENT_READ, name)
            self.selector.register(datagrams, selectors.EVENT_READ, name)
            self.addresses[name] = f"127.0.0.1:{listener.getsockname()[1]}"
        self.open = True
        Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        while self.open:
            for key, _ in self.selector.select(timeout=1):
                each = key.fileobj
                assert isinstance(each, socket.socket)
                if key.data is None:
                    self.selector.unregister(each)
                    with each, suppress(OSError):
                        each.recv(65536)
                        each.sendall(ANSWER)
                    continue
                self.arrived.add(key.data)
                if each.type == socket.SOCK_DGRAM:
                    each.recv(65536)
                else:  # the browser may open a connection and send nothing
                    self.selector.register(each.accept()[0], selectors.EVENT_READ, None)

    def close(self) -> None:
        self.open = False
        for key in list(self.selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
