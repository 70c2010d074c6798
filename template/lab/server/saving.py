"""Replaces a file by its new content, only in the mounts. After an interrupted save, the old file is complete."""

import errno
import os
import re
import secrets
import shutil
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

import pinned
from jupyter_server.services.contents.fileio import AsyncFileManagerMixin
from jupyter_server.utils import to_api_path
from pinned import LACKING, MOUNTS, if_supported
from tornado.web import HTTPError

RUN = secrets.token_hex(4)  # part of each temporary file's name. A crash leaves files with another value
OVERWRITING = "Overwriting %s directly. A crash could leave half a file. The file cannot be replaced: %s"


class Replacing(AsyncFileManagerMixin):
    """Reads and writes in the mounts only, and replaces files instead of rewriting them."""

    def check_mounted(self, os_path, status=400):
        """If `os_path` is not in a mount, or a link in it leads out of the mounts, raise HTTP `status`.

        If the mount is read-only, raise 403.
        """
        path = Path(os.path.normpath(os_path)).relative_to(self.root_dir)
        if path.parts[:1] not in [(mount,) for mount in MOUNTS]:
            raise HTTPError(status, f"'{path}' would be lost when the lab stops. Save it in notebooks/ or data/.")
        self.check_links(os_path, status)
        self.check_writable(Path(os_path))

    def check_links(self, os_path, status=400):
        """If a link in `os_path` leads out of the mounts, raise HTTP `status`."""
        if pinned.leads_out(os_path):
            path = to_api_path(str(os_path), self.root_dir)
            raise HTTPError(status, f"'{path}' is a link that leads out of notebooks/ and data/. Remove the link.")

    def check_writable(self, *paths):
        """Raise HTTP 403 if one of `paths` is on a read-only mount."""
        for path in paths:
            if is_read_only(path):
                raise HTTPError(403, read_only(path, self.root_dir))

    @contextmanager
    def perm_to_403(self, os_path=""):
        """Does the same as Jupyter's function, and also gives a message for a read-only mount."""
        try:
            with super().perm_to_403(os_path):
                yield
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            raise HTTPError(403, read_only(os_path or error.filename, self.root_dir)) from error

    async def _read_file(self, os_path, format, raw=False):
        self.check_links(os_path)
        return await super()._read_file(os_path, format, raw)

    @contextmanager
    def atomic_writing(self, os_path, text=True, encoding="utf-8", **kwargs):
        """A file for the new content of `os_path`. It is complete on disk before it replaces the old file.

        Jupyter itself overwrites the old file. A crash at this moment leaves a truncated file.
        """
        if why := cannot_replace(os_path):
            self.log.warning(OVERWRITING, os_path, why)
            self.use_atomic_writing = can_sync(os_path)  # Jupyter's own atomic writing needs fsync
            with super().atomic_writing(pinned.realpath(os_path), text=text, encoding=encoding, **kwargs) as file:
                yield file
            return
        how = {"mode": "w", "encoding": encoding, "newline": "\n"} if text else {"mode": "wb"}
        with self.perm_to_403(os_path), beside(os_path, **(how | kwargs)) as new:
            yield new.file
            self.put(new)

    def put(self, new):
        """Replace the old file. If this is impossible, copy the new content to it."""
        new.file.flush()
        path, number, why = new.path, new.file.fileno(), cannot_replace(new.path)
        if pinned.isfile(path):
            mode = pinned.stat(path).st_mode
            with if_supported():
                os.fchmod(number, mode & 0o7777)
            if os.fstat(number).st_mode != mode:
                why = "chmod failed"
        with if_supported():
            os.fsync(number)
        try:
            if not why:
                os.replace(new.file.name, Path(path).name, src_dir_fd=new.folder, dst_dir_fd=new.folder)
        except OSError as error:
            if error.errno not in {errno.EBUSY, errno.EXDEV, errno.EEXIST, *LACKING}:
                raise
            why = error.strerror
        if why:
            self.log.warning(OVERWRITING, path, why)
            with Path(pinned.by_number(number)).open("rb") as content, pinned.open_file(path, "wb") as file:
                shutil.copyfileobj(content, file)
            return
        with if_supported():  # you may lack the permission to read the folder
            folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=new.folder)
            try:
                os.fsync(folder)  # without this, a power failure could undo the rename
            finally:
                os.close(folder)


class NewFile(NamedTuple):
    """A temporary file next to `path`, in a folder that stays the same even if `path` leads to another folder."""

    path: str
    file: IO
    folder: int


@contextmanager
def beside(path, **how):
    """Open a NewFile for the new content of `path`. At the end, delete it if it has not replaced the old file.

    Deletes temporary files of `path` that a crash left. Raises PermissionError if `path` is read-only.
    """
    if pinned.exists(path) and not pinned.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only", str(path))
    with pinned.place(path, follow=False) as at:
        start = os.fsdecode(b".~" + os.fsencode(at.name)[:200] + b".")  # a name may have 255 bytes
        with suppress(OSError):  # you may lack the permission to list the folder
            for left in os.listdir(pinned.by_number(at.folder)):
                if left.startswith(start) and left.endswith(".saving") and f".{RUN}-" not in left:
                    os.unlink(left, dir_fd=at.folder)

        def create(name, flags):
            return os.open(name, flags | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=at.folder)

        # Use a new name for each save, because two browsers may save the same notebook at once.
        name = f"{start}{RUN}-{secrets.token_hex(4)}.saving"
        try:
            with open(name, opener=create, **how) as file:
                yield NewFile(path, file, at.folder)
        finally:  # close it first, because some file systems rename an open file that is deleted
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=at.folder)


def read_only(path, home):
    """The message for a `path` on a read-only mount."""
    path = to_api_path(str(path), home)
    return f"'{path}' cannot be changed, because its folder is mounted read-only. Use a folder that can be changed."


def is_read_only(path):
    """Is `path`, or the nearest of its parents that exists, on a read-only mount?"""
    try:
        return bool(pinned.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return is_read_only(path.parent)


def mounts_in(folder):
    """The mounts at and below `folder`."""
    rows = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    points = (re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), row.split()[4]) for row in rows)
    return [point for point in map(Path, points) if point.is_relative_to(folder)]


def can_sync(path):
    """Does the file system of the file `path` have fsync?"""
    try:
        with pinned.open_file(path, "rb") as file:
            os.fsync(file)
    except OSError as error:
        return error.errno not in LACKING
    return True


def cannot_replace(path):
    """The reason why a new file cannot replace `path` without losing something. None if there is no reason.

    Raises HTTP 403 if `path` is not a regular file, because a save to a named pipe would wait forever.
    """
    try:
        seen = pinned.stat(path)
    except OSError:
        seen = None
    if seen and not stat.S_ISREG(seen.st_mode):
        raise HTTPError(403, f"'{path}' is not a regular file. Rename it or delete it.")
    if pinned.islink(path):
        return "it is a symbolic link"
    if not seen:
        return None
    if seen.st_nlink > 1:
        return f"it has {seen.st_nlink} hard links"
    if (seen.st_uid, seen.st_gid) != (os.getuid(), os.getgid()):
        return f"it belongs to {seen.st_uid}:{seen.st_gid}"
    if not pinned.access(Path(path).parent, os.W_OK):
        return "its folder cannot be written"
    with if_supported():
        # SELinux labels a new file by itself.
        if [name for name in pinned.listxattr(path) if not name.startswith("security.")]:
            return "it has extended attributes"
    return None
