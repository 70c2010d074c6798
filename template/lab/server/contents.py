"""The server's file manager: it saves into the mounts only, and a save that is cut short loses nothing."""

import errno
import glob
import os
import secrets
from contextlib import contextmanager
from pathlib import Path

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError

MOUNTS = ("data", "notebooks")
RUN = secrets.token_hex(4)  # in the name of each temporary file; those of another run were left by a crash


class MountedContents(AsyncLargeFileManager):
    """Refuses to put files where they would be gone at the next start, and replaces files instead of rewriting them."""

    async def save(self, model, path=""):
        check_mounted(path)
        return await super().save(model, path)

    async def rename_file(self, old_path, new_path):
        check_mounted(new_path)
        return await super().rename_file(old_path, new_path)

    @contextmanager
    def atomic_writing(self, os_path, text=True, encoding="utf-8", **kwargs):
        """A file to write the new content of `os_path` to: on disk, whole, before it takes the old one's place.

        Jupyter itself writes over the old file, which a crash in between leaves truncated.
        """
        path = Path(os_path)
        if why := cannot_replace(path):
            self.log.warning("Saving %s in place, which a crash could cut short: %s", path, why)
            with super().atomic_writing(os_path, text=text, encoding=encoding, **kwargs) as file:
                yield file
            return
        for left in path.parent.glob(f".~{glob.escape(path.name)}.*.saving"):
            if f".{RUN}-" not in left.name:
                left.unlink(missing_ok=True)
        # One for each save: two browsers may save the same notebook at once.
        new = path.with_name(f".~{path.name}.{RUN}-{secrets.token_hex(4)}.saving")
        with self.perm_to_403(os_path):
            if path.exists() and not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, "it is read-only", os_path)
            try:
                how = {"mode": "w", "encoding": encoding, "newline": "\n"} if text else {"mode": "wb"}
                with new.open(**(how | kwargs)) as file:
                    yield file
                    file.flush()
                    if path.exists():
                        os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
                    os.fsync(file.fileno())
                self.replace(new, path)
            finally:
                new.unlink(missing_ok=True)

    def replace(self, new, path):
        """Rename `new` over `path`; where the file system has no such rename, copy it over."""
        try:
            new.replace(path)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.EXDEV, errno.ENOTSUP, errno.ENOSYS):
                raise
            self.log.warning("Saving %s in place, which a crash could cut short: %s", path, error.strerror)
            path.write_bytes(new.read_bytes())
            return
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # or a power failure could take the rename back
        finally:
            os.close(folder)


def check_mounted(path):
    """Raise HTTP 400 unless `path`, relative to home, lies in a mount."""
    if path.strip("/").split("/")[0] not in MOUNTS:
        raise HTTPError(400, f"'{path}' would be lost when the lab stops: put it into notebooks/ or data/.")


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
