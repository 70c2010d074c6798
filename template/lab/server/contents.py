"""Saves files for the Jupyter server, only in the mounts. After an interrupted save, the old file is complete."""

import asyncio
import atexit
import base64
import errno
import glob
import os
import secrets
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

from jupyter_server.services.contents.filecheckpoints import AsyncFileCheckpoints
from jupyter_server.services.contents.fileio import AsyncFileManagerMixin
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError
from traitlets import default

MOUNTS = ("data", "notebooks")
RUN = secrets.token_hex(4)  # part of each temporary file's name; a file with another value is left from a crash
GIVEN_UP = 3600  # seconds without another piece until an upload is deleted
OVERWRITING = "Overwriting %s directly. A crash could leave half a file. The file cannot be replaced: %s"


class Replacing(AsyncFileManagerMixin):
    """Writes into the mounts only, and replaces files instead of rewriting them."""

    def check_mounted(self, os_path, status=400):
        """Raise HTTP `status` unless `os_path`, every link followed, lies in a mount."""
        home = Path(self.root_dir)
        path = Path(os.path.normpath(os_path)).relative_to(home)
        if path.parts[:1] not in [(mount,) for mount in MOUNTS]:
            raise HTTPError(status, f"'{path}' would be lost when the lab stops. Save it in notebooks/ or data/.")
        if not any(Path(os_path).resolve().is_relative_to((home / mount).resolve()) for mount in MOUNTS):
            raise HTTPError(status, f"'{path}' is a link that leads out of notebooks/ and data/. Remove the link.")

    @contextmanager
    def atomic_writing(self, os_path, text=True, encoding="utf-8", **kwargs):
        """A file for the new content of `os_path`. It is complete on disk before it replaces the old file.

        Jupyter itself overwrites the old file. A crash during that leaves a truncated file.
        """
        path = Path(os_path)
        if why := cannot_replace(path):
            self.log.warning(OVERWRITING, path, why)
            with super().atomic_writing(os_path, text=text, encoding=encoding, **kwargs) as file:
                yield file
            return
        with self.perm_to_403(os_path):
            new = beside(path)
            try:
                how = {"mode": "w", "encoding": encoding, "newline": "\n"} if text else {"mode": "wb"}
                with new.open(**(how | kwargs)) as file:
                    yield file
                    self.put(file, path)
            finally:
                new.unlink(missing_ok=True)

    def put(self, file, path):
        """Replace `path` with `file`, which is open and written. If that fails, copy the content over."""
        file.flush()
        if path.exists():
            os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
        os.fsync(file.fileno())
        why = cannot_replace(path)
        try:
            if not why:
                Path(file.name).replace(path)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.EXDEV, errno.ENOTSUP, errno.ENOSYS):
                raise
            why = error.strerror
        if why:
            self.log.warning(OVERWRITING, path, why)
            shutil.copyfile(file.name, path)
            return
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # or a power failure could take the rename back
        finally:
            os.close(folder)


class MountedCheckpoints(Replacing, AsyncFileCheckpoints):
    """Follows no link in a folder from another person, and restores a file in the way it is saved."""

    def checkpoint_path(self, checkpoint_id, path):
        self.unlink_link(Path(self._get_os_path(path.strip("/"))).with_name(self.checkpoint_dir))
        found = super().checkpoint_path(checkpoint_id, path)
        self.unlink_link(Path(found))
        return found

    def unlink_link(self, path):
        """Remove `path` if it is a link. Jupyter makes no links here, and would write to the linked file."""
        if path.is_symlink():
            self.log.warning("Removing %s: it is a link, not a checkpoint", path)
            path.unlink()

    async def create_checkpoint(self, contents_mgr, path):
        old = Path(self.checkpoint_path("checkpoint", path))
        if old.is_file() and old.stat().st_nlink > 1:
            old.unlink()  # a hard link: a save would overwrite the other file too
        return await super().create_checkpoint(contents_mgr, path)

    async def restore_checkpoint(self, contents_mgr, checkpoint_id, path):
        if not await self.list_checkpoints(path):
            self.no_such_checkpoint(path, checkpoint_id)
        await super().restore_checkpoint(contents_mgr, checkpoint_id, path)

    async def _copy(self, src, dest):
        for path in map(Path, (src, dest)):
            if path.is_relative_to(self.root_dir):  # beside a folder that cannot be written, Jupyter takes /tmp
                self.check_mounted(path, status=403)  # with which the browser goes on without a checkpoint
        if not Path(src).is_file():
            raise HTTPError(403, f"'{src}' is no file.")  # a pipe would be waited for
        with self.perm_to_403(), self.atomic_writing(dest, text=False) as new:
            await asyncio.to_thread(append, src, new)


class MountedContents(Replacing, AsyncLargeFileManager):
    """Refuses to put files where they would be gone at the next start."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.uploads = {}  # by target: the file in which its pieces gather, and the next piece's number
        atexit.register(lambda: [discard(file) for file, _ in self.uploads.values()])

    @default("checkpoints_class")
    def _checkpoints_class_default(self):
        return MountedCheckpoints

    async def save(self, model, path=""):
        path = path.strip("/")
        self.check_mounted(self._get_os_path(path))
        return await (self.save_piece if model.get("chunk") else super().save)(model, path)

    async def rename_file(self, old_path, new_path):
        self.check_mounted(self._get_os_path(new_path.strip("/")))
        return await super().rename_file(old_path, new_path)

    async def _copy_dir(self, from_path, to_path_original, to_name, to_path):
        """Copy a folder, a link as a link: Jupyter copies all that it leads to, and does nothing else meanwhile.

        A link to / so froze the server, and a copy of the token lay in a mount.
        """
        source, target = self._get_os_path(from_path), self._get_os_path(to_path)
        self.check_mounted(target)
        try:
            await asyncio.to_thread(shutil.copytree, source, target, symlinks=True)
        except OSError as error:
            raise HTTPError(400, f"'{from_path}' cannot be copied to '{to_path}': {error}") from error
        return await self.get(to_path, content=False)

    async def save_piece(self, model, path):
        """A piece of an upload; they come numbered from 1, the last as -1, and gather beside the file till then."""
        target, number = Path(self._get_os_path(path)), model["chunk"]
        if model.get("type") != "file" or not isinstance(model.get("content"), str):
            kind = model.get("type")
            raise HTTPError(400, f"'{path}' was sent in pieces, but its type is '{kind}'. Upload it as a file.")
        try:
            data = model["content"].encode() if model.get("format") == "text" else base64.b64decode(model["content"])
        except ValueError as error:
            raise HTTPError(400, f"Piece {number} of '{path}' cannot be read: {error}.") from error
        if number == 1:
            self.run_pre_save_hooks(model=model, path=path)
            self.begin_upload(target)
        file, awaited = self.uploads.pop(target, (None, 1))
        try:
            if not file or number not in (awaited, -1):
                wrong = f"Piece {number} of '{path}' came instead of piece {awaited}"
                raise HTTPError(400, f"{wrong}. Upload the file again.")
            with self.perm_to_403(str(target)):
                await asyncio.to_thread(file.write, data)
                if number == -1:
                    await asyncio.to_thread(self.put, file, target)
                else:
                    self.uploads[target] = file, number + 1
                    # Nothing is to be seen yet: the folder's dates stand for the file's.
                    seen = {"name": target.name, "path": path, "type": "file"}
                    return self._base_model(path.rpartition("/")[0]) | seen
        except OSError as error:
            raise HTTPError(500, f"'{path}' was not saved: {error.strerror}.") from error
        finally:
            if file and target not in self.uploads:
                discard(file)
        found = await self.get(path, content=False)
        self.run_post_save_hooks(model=found, os_path=str(target))
        self.emit(data={"action": "save", "path": path})
        return found

    def begin_upload(self, target):
        """Start anew, and clear away what uploads that were given up have left."""
        for each, (file, _) in list(self.uploads.items()):
            if each == target or time.time() - os.fstat(file.fileno()).st_mtime > GIVEN_UP:
                discard(self.uploads.pop(each)[0])
        with self.perm_to_403(str(target)):
            self.uploads[target] = beside(target).open("xb"), 1


def append(path, file):
    """Write all that the file at `path` holds to an open one."""
    with Path(path).open("rb") as source:
        shutil.copyfileobj(source, file)


def beside(path):
    """The name of a new file in which the next content of `path` gathers; clears away what crashes have left of it."""
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only", str(path))
    name = os.fsdecode(os.fsencode(path.name)[:200])  # of the 255 bytes that a name may have
    for left in path.parent.glob(f".~{glob.escape(name)}.*.saving"):
        if f".{RUN}-" not in left.name:
            left.unlink(missing_ok=True)
    # One for each save: two browsers may save the same notebook at once.
    return path.with_name(f".~{name}.{RUN}-{secrets.token_hex(4)}.saving")


def discard(file):
    """Close and delete; nothing is left to delete where the file has taken its place."""
    Path(file.name).unlink(missing_ok=True)
    file.close()


def cannot_replace(path):
    """Why a new file in place of `path` would not be what the old one was, or None."""
    if path.is_symlink():
        return "it is a symbolic link"
    if not path.exists():
        return None
    seen = path.stat()
    if seen.st_nlink > 1:
        return f"it has {seen.st_nlink} hard links"
    if (seen.st_uid, seen.st_gid) != (os.getuid(), os.getgid()):
        return f"it belongs to {seen.st_uid}:{seen.st_gid}"
    if not os.access(path.parent, os.W_OK):
        return "its folder cannot be written"
    # SELinux labels come by themselves.
    if [name for name in os.listxattr(path) if not name.startswith("security.")]:
        return "it has extended attributes"
    return None
