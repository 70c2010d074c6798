"""File systems that lack something, such as extended attributes. Debian's bindfs is such a FUSE file system."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.debian import program
from tests.support.requirements import lacking
from tests.support.waiting import until


@contextmanager
def bindfs(folder: Path, *mounts: tuple[Path, str]) -> Iterator[None]:
    """Mount the folder PATH.real at each PATH of `mounts`, with the given option of bindfs.

    The packages go to `folder`. All folders belong to the ids that own `folder`.
    """
    if os.geteuid() or not Path("/dev/fuse").exists():
        lacking("only root can mount a FUSE file system for others")
    command = [program(folder, "bindfs", "bindfs/testing"), "-f", "-o", "allow_other"]
    processes = []
    try:
        for path, option in mounts:
            for each in (path, real(path)):
                each.mkdir(parents=True)
                os.chown(each, 1000, 1000)
            processes.append(subprocess.Popen([*command, option, real(path), path], stdin=subprocess.DEVNULL))
            until(path.is_mount, f"{path} is mounted", 30)
        yield
    finally:
        for process, (path, _) in zip(processes, mounts, strict=False):
            subprocess.run(["umount", "--lazy", path], check=True)
            process.wait(60)


def real(path: Path) -> Path:
    """The folder that bindfs shows at `path`."""
    return path.with_name(f"{path.name}.real")
