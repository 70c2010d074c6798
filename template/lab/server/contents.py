"""Saves files for the Jupyter server, only in the mounts. After an interrupted save, the old file is complete."""

import asyncio
import atexit
import base64
import errno
import glob
import os
import re
import secrets
import shutil
import time
from contextlib import contextmanager
from pathlib import Path

from jupyter_server.services.contents.filecheckpoints import AsyncFileCheckpoints
from jupyter_server.services.contents.fileio import AsyncFileManagerMixin
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from jupyter_server.utils import to_api_path
from tornado.web import HTTPError
from traitlets import default

MOUNTS = ("data", "notebooks")
RUN = secrets.token_hex(4)  # part of each temporary file's name. A crash leaves files with another value
GIVEN_UP = 3600  # an upload is deleted after this number of seconds without a new piece
OVERWRITING = "Overwriting %s directly. A crash could leave half a file. The file cannot be replaced: %s"
# Errors of file systems that lack an operation, such as CIFS, sshfs and other FUSE file systems.
LACKING = {errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOTTY, errno.EBADF}
copystat = shutil.copystat


@contextmanager
def if_supported():
    """Ignore an error that says that the file system lacks an operation. Raise other errors, such as a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in LACKING:
            raise


def copy_properties(source, target, *, follow_symlinks=True):
    """Copy the mode and the dates of a file, if the file system of `target` supports this."""
    with if_supported():
        copystat(source, target, follow_symlinks=follow_symlinks)


shutil.copystat = copy_properties  # shutil copies folders, and moves files between mounts, with this function


class Replacing(AsyncFileManagerMixin):
    """Writes into the mounts only, and replaces files instead of rewriting them."""

    def check_mounted(self, os_path, status=400):
        """Follow all links of `os_path`. If the path or the result is not in a mount, raise HTTP `status`.

        If the mount is read-only, raise 403.
        """
        home = Path(self.root_dir)
        path = Path(os.path.normpath(os_path)).relative_to(home)
        if path.parts[:1] not in [(mount,) for mount in MOUNTS]:
            raise HTTPError(status, f"'{path}' would be lost when the lab stops. Save it in notebooks/ or data/.")
        if not any(Path(os_path).resolve().is_relative_to((home / mount).resolve()) for mount in MOUNTS):
            raise HTTPError(status, f"'{path}' is a link that leads out of notebooks/ and data/. Remove the link.")
        self.check_writable(Path(os_path))

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

    @contextmanager
    def atomic_writing(self, os_path, text=True, encoding="utf-8", **kwargs):
        """A file for the new content of `os_path`. It is complete on disk before it replaces the old file.

        Jupyter itself overwrites the old file. A crash at this moment leaves a truncated file.
        """
        path = Path(os_path)
        if why := cannot_replace(path):
            self.log.warning(OVERWRITING, path, why)
            self.use_atomic_writing = can_sync(path)  # Jupyter's own atomic writing needs fsync
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
        """Replace `path` with the open file `file`. If this is impossible, copy the content of `file` to `path`."""
        file.flush()
        why = cannot_replace(path)
        if path.exists():
            with if_supported():
                os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
            if os.fstat(file.fileno()).st_mode != path.stat().st_mode:
                why = "chmod failed"
        with if_supported():
            os.fsync(file.fileno())
        try:
            if not why:
                Path(file.name).replace(path)
        except OSError as error:
            if error.errno not in {errno.EBUSY, errno.EXDEV, errno.EEXIST, *LACKING}:
                raise
            why = error.strerror
        if why:
            self.log.warning(OVERWRITING, path, why)
            shutil.copyfile(file.name, path)
            return
        with if_supported():  # you may lack the permission to read the folder
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)  # without this, a power failure could undo the rename
            finally:
                os.close(folder)


class MountedCheckpoints(Replacing, AsyncFileCheckpoints):
    """Checkpoints without links, because a folder from another person may contain links.

    A restore replaces the file in the same way as a save.
    """

    def checkpoint_path(self, checkpoint_id, path):
        self.unlink_link(Path(self._get_os_path(path.strip("/"))).with_name(self.checkpoint_dir))
        found = super().checkpoint_path(checkpoint_id, path)
        self.unlink_link(Path(found))
        return found

    def unlink_link(self, path):
        """Remove `path` if it is a link.

        Jupyter never creates links here. If it found one, it would overwrite the linked file.
        """
        if path.is_symlink() and not is_read_only(path.parent):
            self.log.warning("Removing %s: it is a link, not a checkpoint", path)
            path.unlink()

    async def create_checkpoint(self, contents_mgr, path):
        old = Path(self.checkpoint_path("checkpoint", path))
        if old.exists() and not old.is_dir() and (not old.is_file() or old.stat().st_nlink > 1):
            # If this is a hard link, a save would overwrite the linked file. If it is a named pipe, a save would wait
            # forever.
            old.unlink()
        return await super().create_checkpoint(contents_mgr, path)

    async def restore_checkpoint(self, contents_mgr, checkpoint_id, path):
        if not await self.list_checkpoints(path):
            self.no_such_checkpoint(path, checkpoint_id)
        await super().restore_checkpoint(contents_mgr, checkpoint_id, path)

    async def _copy(self, src, dest):
        for path in map(Path, (src, dest)):
            # If the notebook's folder is read-only, Jupyter keeps the checkpoint in /tmp.
            if path.is_relative_to(self.root_dir):
                self.check_mounted(path, status=403)  # with this status, the browser continues without a checkpoint
        if not Path(src).is_file():
            # Reading a named pipe would wait forever.
            raise HTTPError(403, f"'{src}' is not a regular file. Rename it or delete it.")
        with self.perm_to_403(), self.atomic_writing(dest, text=False) as new:
            await asyncio.to_thread(append, src, new)


class MountedContents(Replacing, AsyncLargeFileManager):
    """Refuses to save files in places that are empty again at the next start."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.uploads = {}  # target -> the temporary file with the pieces, and the number of the next piece
        atexit.register(lambda: [discard(file) for file, _ in self.uploads.values()])

    @default("checkpoints_class")
    def _checkpoints_class_default(self):
        return MountedCheckpoints

    async def save(self, model, path=""):
        path = path.strip("/")
        self.check_mounted(self._get_os_path(path))
        return await (super().save if model.get("chunk") is None else self.save_piece)(model, path)

    async def rename_file(self, old_path, new_path):
        self.check_mounted(self._get_os_path(new_path.strip("/")))
        self.check_removable(old_path)
        return await super().rename_file(old_path, new_path)

    async def delete_file(self, path):
        self.check_removable(path)
        return await super().delete_file(path)

    def check_removable(self, path):
        """Raise HTTP 403 if `path` or its folder is read-only, or if `path` is or contains a mount.

        Otherwise, half a folder could be deleted. To move a mount, Jupyter would copy its files and delete them.
        """
        found = Path(self._get_os_path(path.strip("/")))
        self.check_writable(found.parent, *([] if found.is_symlink() else [found]))
        for mount in [] if found.is_symlink() else mounts_in(found.resolve()):
            mount = to_api_path(str(mount), self.root_dir)
            raise HTTPError(
                403, f"'{mount}' is a mount and cannot be moved or deleted. Move or delete the files in it."
            )

    async def _copy_dir(self, from_path, to_path_original, to_name, to_path):
        """Copy a folder, and copy each link as a link.

        Jupyter itself copies everything that a link leads to. In the meantime, the server answers nothing. So a link to
        / froze the server, and a link to /run/secrets put a copy of the token into a mount.
        """
        source, target = self._get_os_path(from_path), self._get_os_path(to_path)
        self.check_mounted(target)
        try:
            await asyncio.to_thread(shutil.copytree, source, target, symlinks=True)
        except OSError as error:
            raise HTTPError(400, f"'{from_path}' cannot be copied to '{to_path}': {error}") from error
        return await self.get(to_path, content=False)

    async def save_piece(self, model, path):
        """Save one piece of an upload. Pieces have the numbers 1, 2 and so on, but the last piece has -1.

        Until the last piece comes, a temporary file next to the target collects the pieces.
        """
        target, number = Path(self._get_os_path(path)), model["chunk"]
        if model.get("type") != "file" or not isinstance(model.get("content"), str):
            kind = model.get("type")
            raise HTTPError(
                400, f"'{path}' has the type '{kind}', but only a file can be uploaded in pieces. Upload it as a file."
            )
        try:
            data = model["content"].encode() if model.get("format") == "text" else base64.b64decode(model["content"])
        except ValueError as error:
            raise HTTPError(400, f"Piece {number} of '{path}' cannot be read: {error}.") from error
        file = None
        try:
            if number == 1:
                self.run_pre_save_hooks(model=model, path=path)
                self.begin_upload(target)
            file, awaited = self.uploads.pop(target, (None, 1))
            if not file or number not in (awaited, -1):
                wrong = f"Piece {number} of '{path}' came instead of piece {awaited}"
                raise HTTPError(400, f"{wrong}. Upload the file again.")
            with self.perm_to_403(str(target)):
                await asyncio.to_thread(file.write, data)
                if number == -1:
                    await asyncio.to_thread(self.put, file, target)
                else:
                    self.uploads[target] = file, number + 1
                    # The file does not exist yet, so this answer has the dates of its folder.
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
        """Start a new upload. Delete older temporary files of this target.

        Also delete uploads that got no piece for an hour.
        """
        for each, (file, _) in list(self.uploads.items()):
            if each == target or time.time() - os.fstat(file.fileno()).st_mtime > GIVEN_UP:
                discard(self.uploads.pop(each)[0])
        with self.perm_to_403(str(target)):
            self.uploads[target] = beside(target).open("xb"), 1


def append(path, file):
    """Append the content of the file at `path` to the open `file`."""
    with Path(path).open("rb") as source:
        shutil.copyfileobj(source, file)


def beside(path):
    """The name of a temporary file next to `path` for its new content.

    Deletes temporary files of `path` that a crash left. Raises PermissionError if `path` is read-only.
    """
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only", str(path))
    name = os.fsdecode(os.fsencode(path.name)[:200])  # a name may have 255 bytes
    for left in path.parent.glob(f".~{glob.escape(name)}.*.saving"):
        if f".{RUN}-" not in left.name:
            left.unlink(missing_ok=True)
    # Use a new name for each save, because two browsers may save the same notebook at once.
    return path.with_name(f".~{name}.{RUN}-{secrets.token_hex(4)}.saving")


def discard(file):
    """Close a temporary file, and delete it if it has not replaced its target."""
    try:
        file.close()  # close it first, because some file systems rename an open file that is deleted
    finally:
        Path(file.name).unlink(missing_ok=True)


def read_only(path, home):
    """The message for a `path` on a read-only mount."""
    path = to_api_path(str(path), home)
    return f"'{path}' cannot be changed, because its folder is mounted read-only. Use a folder that can be changed."


def is_read_only(path):
    """Is `path`, or the nearest of its parents that exists, on a read-only mount?"""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
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
        with path.open("rb") as file:
            os.fsync(file)
    except OSError as error:
        return error.errno not in LACKING
    return True


def cannot_replace(path):
    """The reason why a new file cannot replace `path` without losing something. None if there is no reason.

    Raises HTTP 403 if `path` is not a regular file, because a save to a named pipe would wait forever.
    """
    if path.exists() and not path.is_file():
        raise HTTPError(403, f"'{path}' is not a regular file. Rename it or delete it.")
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
    with if_supported():
        # SELinux labels a new file by itself.
        if [name for name in os.listxattr(path) if not name.startswith("security.")]:
            return "it has extended attributes"
    return None
