"""The network between a browser and a lab, which a test can cut."""

import socket
from contextlib import suppress
from threading import Thread
from urllib.parse import urlsplit


class Cable:
    """Passes TCP connections on to a lab. `address` is the lab's address for a browser at the other end."""

    def __init__(self, lab: str) -> None:
        self.lead_to(lab)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.whole = True
        self.browser: list[socket.socket] = []
        self.server: list[socket.socket] = []
        Thread(target=self.accept, daemon=True).start()

    def lead_to(self, lab: str) -> None:
        self.lab = (urlsplit(lab).hostname, urlsplit(lab).port)

    def accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                browser, _ = self.listener.accept()
                if not self.whole:
                    browser.close()
                    continue
                try:
                    # While the engine stops the lab, a connection may get no answer at all.
                    server = socket.create_connection(self.lab, timeout=2)
                except OSError:  # the lab has stopped
                    browser.close()
                    continue
                server.settimeout(None)
                self.browser.append(browser)
                self.server.append(server)
                Thread(target=self.pump, args=(browser, server), daemon=True).start()
                Thread(target=self.pump, args=(server, browser), daemon=True).start()

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if self.whole:
                    sink.sendall(data)
            how = socket.SHUT_WR
        except OSError:  # the other end has reset the connection
            how = socket.SHUT_RDWR
        with suppress(OSError):
            if self.whole:
                sink.shutdown(how)

    def cut(self) -> None:
        """The browser sees that its connections ended. The lab sees nothing: no answer, and no end."""
        self.whole = False
        for each in self.browser:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.browser.clear()

    def join(self) -> None:
        """New connections work again. The old ones stay as they are."""
        self.whole = True

    def close(self) -> None:
        self.listener.close()
        for each in (*self.browser, *self.server):
            each.close()
