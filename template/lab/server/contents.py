"""The server's file manager: it saves into the mounts only."""

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError

MOUNTS = ("data", "notebooks")


class MountedContents(AsyncLargeFileManager):
    """Refuses to put files where they would be gone at the next start."""

    async def save(self, model, path=""):
        check_mounted(path)
        return await super().save(model, path)

    async def rename_file(self, old_path, new_path):
        check_mounted(new_path)
        return await super().rename_file(old_path, new_path)


def check_mounted(path):
    """Raise HTTP 400 unless `path`, relative to home, lies in a mount."""
    if path.strip("/").split("/")[0] not in MOUNTS:
        raise HTTPError(400, f"'{path}' would be lost when the lab stops: put it into notebooks/ or data/.")
