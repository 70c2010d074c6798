"""Keeps the list of open notebooks in the server's volume, or in memory if the volume cannot be used."""

import sqlite3
from contextlib import suppress

from jupyter_server.services.sessions.sessionmanager import SessionManager
from lab_kernels import UNWRITTEN
from traitlets import validate


class Sessions(SessionManager):
    """Jupyter itself does not start with a damaged file, and opens no notebook if the disk is full."""

    def __init__(self, **options):
        super().__init__(**options)
        self.try_file()

    @validate("database_filepath")
    def _validate_database_filepath(self, proposal):
        return proposal["value"]

    async def create_session(self, *args, **options):
        self.try_file()
        return await super().create_session(*args, **options)

    def try_file(self):
        """Write to the file. If this fails, use memory from now on."""
        rows = []
        try:
            rows = self.cursor.execute("SELECT session_id, path, name, type, kernel_id FROM session").fetchall()
            self.cursor.execute("PRAGMA user_version = 1")
        except sqlite3.Error as error:
            self.log.warning(UNWRITTEN, error)
            with suppress(AttributeError):
                self._connection.close()
            self.database_filepath, self._connection, self._cursor = ":memory:", None, None
            self.cursor.executemany("INSERT INTO session VALUES (?, ?, ?, ?, ?)", map(tuple, rows))
