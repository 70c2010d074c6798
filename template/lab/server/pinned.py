"""Functions for files in home that follow no link out of the mounts, whatever other programs change meanwhile.

A program in the lab can replace a file or folder by a link, also between a check and the next call. So Linux never gets
a path with links to follow. `place` opens one folder after the other, and reads the links itself. Each function then
uses the descriptor of the last folder and a name in it.
"""

import errno
import os
import shutil
import stat as kinds
import tempfile
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

HOME = str(Path.home())
MOUNTS = ("data", "notebooks")
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
STEPS = 4096  # links can make a path endless
BLOCK = 1 << 20  # bytes that are copied at once
# Errors of file systems that lack an operation, such as CIFS, sshfs and other FUSE file systems.
LACKING = {errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOTTY, errno.EBADF}


class LeadsOutError(FileNotFoundError):
    """A path or a link leads out of the mounts. Most callers treat this as a missing file."""


class Place(NamedTuple):
    """Where a file is or can be created."""

    folder: int  # a descriptor of the folder, opened with O_PATH
    name: str  # the name in this folder, or "." for home itself
    path: str  # the path without links


@contextmanager
def if_supported():
    """Ignore an error that says that the file system lacks an operation. Raise other errors, such as a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno not in LACKING:
            raise


@contextmanager
def place(path, follow=True):
    """Yield the place of `path`. A link as the last name is followed only with `follow`.

    In each OSError, also of the caller, the file name is `path`.
    """
    path = os.path.abspath(path)
    try:
        found = resolve(path, follow)
        try:
            yield found
        finally:
            os.close(found.folder)
    except OSError as error:
        error.filename = path
        raise


def resolve(path, follow):
    """Open the folder of `path`, which is in home or a checkpoint in the folder for temporary files. Return the place.

    A link may lead to a mount, or to the folder of home that `path` begins with. Raises LeadsOutError for other links.
    """
    temporary = tempfile.gettempdir()
    if is_below(path, HOME):
        root, parts = HOME, parts_of(path.removeprefix(HOME))
        allowed = {*MOUNTS, *parts[:1]} | {f".mounted-{part}" for part in parts[:1]}  # mounts.sh makes links to these
    elif is_below(path, f"{temporary}/jupyter_checkpoints"):  # for a folder that cannot be written
        root, parts = temporary, parts_of(path.removeprefix(temporary))
        allowed = {parts[0]}
    else:
        raise LeadsOutError(errno.ENOENT, os.strerror(errno.ENOENT))
    at = 0  # the number of folders that were opened
    folder = os.open(root, FOLDER)
    try:
        if not parts:
            return Place(folder, ".", root)
        for _ in range(STEPS):
            if not parts or (at == 0 and parts[0] not in allowed):
                raise LeadsOutError(errno.ENOENT, os.strerror(errno.ENOENT))
            name, last = parts[at], at == len(parts) - 1
            if name == "..":
                del parts[at - 1 : at + 1]
                folder, at = enter(root, folder), 0  # start again, because the folder could have moved
            elif (follow or not last) and (target := read_link(name, folder)):
                if target.startswith("/"):
                    target = target.removeprefix(root) if is_below(target, root) else ".."
                    parts[:at], at = [], 0
                    folder = enter(root, folder)
                parts[at : at + 1] = parts_of(target)
            elif last:
                return Place(folder, name, os.path.join(root, *parts))
            else:
                folder, at = enter(name, folder), at + 1
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    except BaseException:
        os.close(folder)
        raise


def is_below(path, root):
    """Is `path` the folder `root` or below it, without regard to links?"""
    return path == root or path.startswith(f"{root}/")


def parts_of(path):
    """The names in `path`."""
    return [part for part in path.split("/") if part not in ("", ".")]


def read_link(name, folder):
    """Where a link leads to. None if `name` is no link or does not exist."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOENT}:
            raise
        return None


def enter(name, folder):
    """Open the folder `name` in `folder`, and close `folder`."""
    inner = os.open(name, FOLDER, dir_fd=folder)
    os.close(folder)
    return inner


def by_number(descriptor):
    """A path to the open file or folder that does not depend on its name."""
    return f"/proc/self/fd/{descriptor}"


@contextmanager
def descriptor(name, flags, folder):
    """Open `name` in `folder` if it is no link."""
    opened = os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)
    try:
        yield opened
    finally:
        os.close(opened)


@contextmanager
def inode(path):
    """Yield another path to the file or folder `path`. It leads to the same file even if `path` is replaced."""
    with place(path) as at, descriptor(at.name, os.O_PATH, at.folder) as opened:
        if kinds.S_ISLNK(os.fstat(opened).st_mode):
            raise FileNotFoundError(errno.ENOENT, "It is being replaced by a link")
        yield by_number(opened)


# --- functions of os, for a path ----------------------------------------------------------------------
def following(function):
    """A function for the file or folder that a path leads to."""

    @wraps(function)
    def instead(path, *args):
        with inode(path) as file:
            return function(file, *args)

    return instead


def not_following(function):
    """A function for a path whose last name can be a link, or does not exist."""

    @wraps(function)
    def instead(path, *args):
        with place(path, follow=False) as at:
            return function(at.name, *args, dir_fd=at.folder)

    return instead


stat, listdir, listxattr, statvfs, may = map(following, (os.stat, os.listdir, os.listxattr, os.statvfs, os.access))
lstat, mkdir, unlink, rmtree = map(not_following, (os.lstat, os.mkdir, os.unlink, shutil.rmtree))


def mode_of(function, path):
    """The mode of a file, or 0 if there is none."""
    try:
        return function(path).st_mode
    except OSError:
        return 0


def leads_out(path):
    """Does a link in `path` lead out of the mounts?"""
    try:
        with place(path):
            return False
    except OSError as error:
        return isinstance(error, LeadsOutError)


def realpath(path):
    """The path without links, or `path` if it does not exist."""
    try:
        with place(path) as at:
            return at.path
    except OSError:
        return os.path.abspath(path)


def exists(path):
    """Does `path` exist? This is also true for a link that leads nowhere."""
    return bool(mode_of(lstat, path))


def islink(path):
    return kinds.S_ISLNK(mode_of(lstat, path))


def isfile(path):
    return kinds.S_ISREG(mode_of(stat, path))


def isdir(path):
    return kinds.S_ISDIR(mode_of(stat, path))


def access(path, mode):
    try:
        return may(path, mode)
    except OSError:
        return False


def samefile(path, other):
    try:
        return os.path.samestat(stat(path), stat(other))
    except OSError:
        return False


def is_file_hidden(path, stat_res=None):
    """Does the name start with a dot, or is it a folder that cannot be listed?"""
    return os.path.basename(path).startswith(".") or (isdir(path) and not access(path, os.R_OK | os.X_OK))


def is_hidden(path, root=HOME):
    """The same for `path` and the folders above it, up to `root`."""
    return any(part.startswith(".") for part in parts_of(path.removeprefix(root))) or is_file_hidden(path)


def open_regular(name, flags, folder):
    """Open a regular file in `folder`. Do not wait for a program that holds a named pipe or leased the file."""
    opened = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666, dir_fd=folder)
    if not kinds.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise PermissionError(errno.EACCES, "It is not a regular file")
    return opened


def open_descriptor(path, flags):
    """os.open(), for regular files only."""
    with place(path) as at:
        return open_regular(at.name, flags, at.folder)


def open_file(path, mode="r", **options):
    """open(), for regular files only."""
    return open(path, mode, opener=open_descriptor, **options)


def replace(source, target):
    """Rename a file or folder. An old file with the name `target` is lost."""
    with place(source, follow=False) as old, place(target, follow=False) as new:
        os.replace(old.name, new.name, src_dir_fd=old.folder, dst_dir_fd=new.folder)


def make_folders(path):
    """Create a folder and the missing folders above it."""
    try:
        mkdir(path)
    except FileExistsError:
        if not isdir(path):
            raise
    except FileNotFoundError:
        make_folders(os.path.dirname(path))
        mkdir(path)


# --- functions of shutil, for paths ---------------------------------------------------------------------
def copyfile(source, target):
    """Copy the content of a regular file."""
    with open_file(source, "rb") as old, open_file(target, "wb") as new:
        shutil.copyfileobj(old, new, BLOCK)


def copystat(source, target):
    """Copy the mode and the dates of a file or folder."""
    with inode(source) as old, inode(target) as new:
        copy_properties(old, new)


def copytree(source, target):
    """Copy a file, or a folder with everything in it. Copy each link as a link.

    Jupyter itself copies everything that a link leads to. In the meantime, the server answers nothing. So a link to
    / froze the server, and a link to /run/secrets put a copy of the token into a mount.
    """
    with place(source, follow=False) as old, place(target, follow=False) as new:
        copy_entry(old.name, new.name, old.folder, new.folder)


def copy_entry(name, new, source, target, copy=None):
    """Copy `name` in the folder `source` to `new` in the folder `target`, which are descriptors.

    `copy` is the status of the whole copy, which is not copied again if it is in the source. If files in a folder
    cannot be copied, copy the others and raise shutil.Error.
    """
    seen = os.lstat(name, dir_fd=source)
    if kinds.S_ISLNK(seen.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), new, dir_fd=target)
    elif kinds.S_ISDIR(seen.st_mode):
        if copy and os.path.samestat(seen, copy):
            return
        os.mkdir(new, dir_fd=target)
        with descriptor(name, os.O_RDONLY | os.O_DIRECTORY, source) as old, descriptor(new, FOLDER, target) as made:
            failed = []
            for each in os.listdir(old):
                try:
                    copy_entry(each, each, old, made, copy or os.fstat(made))
                except shutil.Error as error:
                    failed += error.args[0]
                except OSError as error:
                    failed.append(f"'{each}': {error.strerror}")
            copy_properties(by_number(old), by_number(made))
            if failed:
                raise shutil.Error(failed)
    else:
        with (
            open(open_regular(name, os.O_RDONLY, source), "rb") as old,
            open(open_regular(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, target), "wb") as made,
        ):
            shutil.copyfileobj(old, made, BLOCK)
            copy_properties(by_number(old.fileno()), by_number(made.fileno()))


def copy_properties(source, target):
    """Copy the mode and the dates of an open file or folder, if the file system of `target` supports this."""
    with if_supported():
        shutil.copystat(source, target)


def move(source, target):
    """Rename a file or folder. If the file systems differ or cannot rename, copy it and delete the old one."""
    try:
        replace(source, target)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.ENOSYS, errno.ENOTSUP} or is_below(target, source):
            raise
        copytree(source, target)
        (rmtree if kinds.S_ISDIR(lstat(source).st_mode) else unlink)(source)


def size(path):
    """The number of bytes on disk of the files in a folder."""
    with place(path) as at:
        found = os.fwalk(at.name, dir_fd=at.folder)
        files = (os.lstat(name, dir_fd=folder) for _, _, names, folder in found for name in names)
        return sum(file.st_blocks * 512 for file in files)


# --- Jupyter's own code ----------------------------------------------------------------------------------
# What it gets in place of the modules os and shutil. A function that is missing here raises AttributeError.
LEXICAL = ("abspath", "dirname", "isabs", "join", "relpath", "sep", "split", "splitdrive", "splitext")
SAFE = ("O_RDONLY", "W_OK", "close", "fsync", "getcwd")
PATH = SimpleNamespace(
    **{name: getattr(os.path, name) for name in LEXICAL},
    exists=exists,
    isdir=isdir,
    isfile=isfile,
    islink=lambda path: False,
)  # all functions follow links
OS = SimpleNamespace(
    **{name: getattr(os, name) for name in SAFE},
    access=access, listdir=listdir, lstat=lstat, mkdir=mkdir, open=open_descriptor, path=PATH, remove=unlink,
    replace=replace, stat=stat, unlink=unlink,
)  # fmt: skip
SHUTIL = SimpleNamespace(copyfile=copyfile, copystat=copystat, move=move, rmtree=rmtree)


def confine(module):
    """Make a module of Jupyter use these functions only."""
    instead = {"os": OS, "shutil": SHUTIL, "open": open_file, "exists": exists, "samefile": samefile}
    instead |= {"is_hidden": is_hidden, "is_file_hidden": is_file_hidden, "ensure_dir_exists": make_folders}
    vars(module).update(instead)
