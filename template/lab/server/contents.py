"""Jupyter's file manager, with which no program in the lab can reach a file outside the mounts."""

import asyncio
import atexit
import base64
import shutil
import stat
import time
from contextlib import ExitStack
from pathlib import Path

import kept_output
import pinned
from jupyter_server.base.handlers import AuthenticatedFileHandler
from jupyter_server.services.contents import filecheckpoints, fileio, filemanager, largefilemanager
from jupyter_server.utils import to_api_path
from saving import Replacing, beside, is_read_only, mounts_in
from tornado.web import HTTPError
from traitlets import default

GIVEN_UP = 3600  # an upload is deleted after this number of seconds without a new piece
for module in (filecheckpoints, fileio, filemanager, largefilemanager):
    pinned.confine(module)


class PinnedFiles(AuthenticatedFileHandler):
    """Sends a file to the browser. Tornado itself checks a path and then opens it."""

    def validate_absolute_path(self, root, absolute_path):
        try:
            with pinned.place(absolute_path) as at:
                path = at.path
            if not self.contents_manager.allow_hidden and pinned.is_hidden(path):
                raise HTTPError(404)
            self._stat_result = pinned.stat(path)
        except pinned.LeadsOutError as error:
            raise HTTPError(403) from error
        except OSError as error:
            raise HTTPError(404) from error
        if not stat.S_ISREG(self._stat_result.st_mode):
            raise HTTPError(403)
        return path

    @classmethod
    def get_content(cls, abspath, start=None, end=None):
        with pinned.open_file(abspath, "rb") as file:
            yield from super().get_content(pinned.by_number(file.fileno()), start, end)


class MountedCheckpoints(Replacing, filecheckpoints.AsyncFileCheckpoints):
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
        if pinned.islink(path) and not is_read_only(path.parent):
            self.log.warning("Removing %s: it is a link, not a checkpoint", path)
            pinned.unlink(path)

    async def create_checkpoint(self, contents_mgr, path):
        old = self.checkpoint_path("checkpoint", path)
        if pinned.exists(old) and not pinned.isdir(old) and (not pinned.isfile(old) or pinned.stat(old).st_nlink > 1):
            # If this is a hard link, a save would overwrite the linked file. A save to a named pipe is refused.
            pinned.unlink(old)
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
        if not pinned.isfile(src):
            raise HTTPError(403, f"'{src}' is not a regular file. Rename it or delete it.")
        with self.open(src, "rb") as content, self.atomic_writing(dest, text=False) as new:
            await asyncio.to_thread(shutil.copyfileobj, content, new)


class MountedContents(Replacing, largefilemanager.AsyncLargeFileManager):
    """Refuses to save files in places that are empty again at the next start."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        # Target -> the temporary file with the pieces, the number of the next piece, the file's end, and when the last
        # piece came, by time.monotonic(). The dates of files can come from another machine's clock.
        self.uploads = {}
        atexit.register(lambda: [upload.close() for *_, upload, _ in self.uploads.values()])

    @default("files_handler_class")
    def _files_handler_class_default(self):
        return PinnedFiles

    @default("checkpoints_class")
    def _checkpoints_class_default(self):
        return MountedCheckpoints

    async def get(self, path, content=True, **options):
        if content:
            await kept_output.before_reading(path.strip("/"))
        model = await super().get(path, content=content, **options)
        if model.get("hash"):
            kept_output.GIVEN.append(model["hash"])
        return model

    async def save(self, model, path=""):
        path = path.strip("/")
        async with kept_output.saving(path, model):
            return await (self.save_itself if model.get("chunk") is None else self.save_piece)(model, path)

    async def get_itself(self, path, **options):
        """Read a file for the recorder (kept_output.py)."""
        return await super().get(path, **options)

    async def save_itself(self, model, path):
        """Save a file, also for the recorder."""
        self.check_mounted(self._get_os_path(path))
        return await super().save(model, path)

    async def rename_file(self, old_path, new_path):
        self.check_mounted(self._get_os_path(new_path.strip("/")))
        self.check_removable(old_path)
        async with kept_output.lock(old_path.strip("/")):
            await super().rename_file(old_path, new_path)
        kept_output.renamed(self.parent.web_app.settings, old_path.strip("/"), new_path.strip("/"))

    async def delete_file(self, path):
        self.check_removable(path)
        async with kept_output.lock(path.strip("/")):
            return await super().delete_file(path)

    def check_removable(self, path):
        """Raise HTTP 403 if `path` or its folder is read-only, or if `path` is or contains a mount.

        Otherwise, half a folder could be deleted. To move a mount, Jupyter would copy its files and delete them.
        """
        found = Path(self._get_os_path(path.strip("/")))
        self.check_writable(found.parent, *([] if pinned.islink(found) else [found]))
        for mount in [] if pinned.islink(found) else mounts_in(pinned.realpath(found)):
            mount = to_api_path(str(mount), self.root_dir)
            raise HTTPError(
                403, f"'{mount}' is a mount and cannot be moved or deleted. Move or delete the files in it."
            )

    async def _get_dir_size(self, path="."):
        try:
            return str(await asyncio.to_thread(pinned.size, path))  # Jupyter itself starts a program
        except OSError:  # a file was deleted meanwhile
            return "0"

    async def _copy_dir(self, from_path, to_path_original, to_name, to_path):
        source, target = self._get_os_path(from_path), self._get_os_path(to_path)
        self.check_mounted(target)
        try:
            await asyncio.to_thread(pinned.copytree, source, target)
        except OSError as error:
            raise HTTPError(400, f"'{from_path}' cannot be copied to '{to_path}': {error}") from error
        return await self.get(to_path, content=False)

    async def save_piece(self, model, path):
        """Save one piece of an upload. Pieces have the numbers 1, 2 and so on, but the last piece has -1.

        Until the last piece comes, a temporary file next to the target collects the pieces.
        """
        target, number = Path(self._get_os_path(path)), model["chunk"]
        self.check_mounted(target)
        if model.get("type") != "file" or not isinstance(model.get("content"), str):
            kind = model.get("type")
            raise HTTPError(
                400, f"'{path}' has the type '{kind}', but only a file can be uploaded in pieces. Upload it as a file."
            )
        try:
            data = model["content"].encode() if model.get("format") == "text" else base64.b64decode(model["content"])
        except ValueError as error:
            raise HTTPError(400, f"Piece {number} of '{path}' cannot be read: {error}.") from error
        try:
            if number == 1:
                self.run_pre_save_hooks(model=model, path=path)
                self.begin_upload(target)
            new, awaited, upload, _ = self.uploads.pop(target, (None, 1, ExitStack(), 0))
            with upload:
                if not new or number not in (awaited, -1):
                    wrong = f"Piece {number} of '{path}' came instead of piece {awaited}"
                    raise HTTPError(400, f"{wrong}. Upload the file again.")
                with self.perm_to_403(str(target)):
                    await asyncio.to_thread(new.file.write, data)
                    if number != -1:
                        self.uploads[target] = new, number + 1, upload.pop_all(), time.monotonic()
                        # The file does not exist yet, so this answer has the dates of its folder.
                        seen = {"name": target.name, "path": path, "type": "file"}
                        return self._base_model(path.rpartition("/")[0]) | seen
                    await asyncio.to_thread(self.put, new)
        except OSError as error:
            raise HTTPError(500, f"'{path}' was not saved: {error.strerror}.") from error
        found = await self.get(path, content=False)
        self.run_post_save_hooks(model=found, os_path=str(target))
        self.emit(data={"action": "save", "path": path})
        return found

    def begin_upload(self, target):
        """Start a new upload. Delete older temporary files of this target.

        Also delete uploads that got no piece for an hour.
        """
        for each, (*_, upload, since) in list(self.uploads.items()):
            if each == target or time.monotonic() - since > GIVEN_UP:
                del self.uploads[each]
                upload.close()
        with self.perm_to_403(str(target)), ExitStack() as upload:
            new = upload.enter_context(beside(target, mode="wb"))
            self.uploads[target] = new, 1, upload.pop_all(), time.monotonic()
