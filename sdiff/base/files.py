"""Files that take their name only when they are whole and on the disk. What killed writers left, the next removes.
Files that are read are regular ones: see `regular`.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

MARK = ".sdiff-"  # how the names of scratch folders begin
LOCK = "lock"
CLAIM = f"{MARK}claim"


def regular(path: Path) -> Path:
    """The same path, once it is known to be safe to open: reading a pipe may wait for ever, and a device never end.

    Raises:
        OSError: there is no such file, it is a folder, a pipe, a device or a socket.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe, a device or a socket, not a file", str(path))
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to: what is there in the end takes the place of `path` in one step, and outlasts a power cut.

    Where the block fails or the process is killed, an older file stays as it was.
    """
    with scratch(path.parent) as folder:
        whole = folder / path.name
        yield whole
        sync(whole)  # a rename must not reach the disk before the bytes do
        whole.replace(path)
        sync(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """The whole file or the old one, never half of it."""
    with replacing(path) as whole:
        whole.write_bytes(data)


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A folder of one's own in `parent`, gone in the end with all that is in it. Raises OSError where it cannot be."""
    sweep(parent)
    folder, held = _claimed(parent)
    try:
        yield folder
    finally:
        held.close()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keeps other processes that claim the folder out of it until the end, also if this process is killed.

    The folder is made if need be, and removed again if nothing was put there.

    Raises:
        BlockingIOError: another has claimed it.
        OSError: nothing can be written there.
    """
    made = not folder.exists()
    path = folder / CLAIM
    held = _locked(path)
    try:
        yield
    finally:
        if sys.platform == "win32":  # where an open file cannot be removed
            held.close()
        path.unlink(missing_ok=True)  # while it is locked: afterwards it may be another's
        held.close()
        if made:
            with suppress(OSError):  # not empty
                folder.rmdir()


def _locked(path: Path) -> IO:
    """A new or abandoned file, opened and locked. Raises BlockingIOError where another has locked it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("ab")
        except FileNotFoundError:  # the folder was removed again by who had claimed it
            continue
        try:
            lock(file)
        except (BlockingIOError, PermissionError):
            file.close()
            raise BlockingIOError(f"{path} is locked") from None
        except OSError:  # nothing can be locked here
            return file
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # it was removed before it was locked


def sweep(parent: Path) -> None:
    """Removes the scratch folders in `parent` that processes left which are dead; where no file can be locked, none."""
    own = getattr(os, "geteuid", int)()  # in a folder of all users, others' are theirs
    for folder in parent.glob(f"{MARK}*"):
        with suppress(OSError):
            if folder.lstat().st_uid == own:
                with open(folder / LOCK, "ab") as file:
                    lock(file)
                    shutil.rmtree(folder, ignore_errors=True)


def lock(file: IO) -> None:
    """Locks an open file, until it is closed or the process ends, however it does.

    Raises:
        BlockingIOError, on Windows PermissionError: another has locked it.
    """
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync(path: Path) -> None:
    """Sees that the bytes of a file, or the names in a folder where the system can, are on the disk."""
    if path.is_dir():
        with suppress(OSError):
            _fsync(path, os.O_RDONLY)
    else:
        _fsync(path, os.O_RDWR)


def _fsync(path: Path, mode: int) -> None:
    handle = os.open(path, mode)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _claimed(parent: Path) -> tuple[Path, IO]:
    """A new folder and its lock. It may be swept before it is locked: then there is another."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=MARK, dir=parent))
        try:
            held = open(folder / LOCK, "ab")  # noqa: SIM115 (closed by `scratch`)
        except FileNotFoundError:
            continue
        try:
            lock(held)
            swept = not (folder / LOCK).exists()
        except (BlockingIOError, PermissionError):
            swept = True
        except OSError:  # nothing can be locked here, so nothing is swept
            swept = False
        if not swept:
            return folder, held
        held.close()
