"""Atomic writes, scratch folders and file locks.

A file gets its final name only when it is complete and on disk. Scratch folders of killed processes are removed by the
next writer.
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

MARK = ".sdiff-"  # prefix of scratch folders
LOCK = "lock"
CLAIM = f"{MARK}claim"


def regular(path: Path) -> Path:
    """Returns `path` if it is a regular file. Reading a pipe may block forever, and a device may be endless.

    Raises:
        OSError: the file does not exist, or is a folder, a pipe, a device or a socket.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe, a device or a socket, not a file", str(path))
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to. At the end of the block it replaces `path` atomically and is synced to disk.

    If the block fails or the process is killed, an existing file at `path` is unchanged.
    """
    with scratch(path.parent) as folder:
        temporary = folder / path.name
        yield temporary
        sync(temporary)  # the bytes must be on disk before the rename is
        temporary.replace(path)
        sync(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Writes `data` to `path`. An interrupted write leaves the old file unchanged."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, deleted at the end of the block. Raises OSError if it cannot be created."""
    sweep(parent)
    folder, lock_file = _new_scratch(parent)
    try:
        yield folder
    finally:
        lock_file.close()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Holds an exclusive claim on a folder during the block. The claim ends with the process, even if it is killed.

    Creates the folder if needed, and removes it again if it is still empty.

    Raises:
        BlockingIOError: another process has claimed the folder.
        OSError: the folder cannot be written to.
    """
    created = not folder.exists()
    path = folder / CLAIM
    lock_file = _locked(path)
    try:
        yield
    finally:
        if sys.platform == "win32":  # Windows cannot remove an open file
            lock_file.close()
        path.unlink(missing_ok=True)  # while still locked: later it may belong to another process
        lock_file.close()
        if created:
            with suppress(OSError):  # not empty
                folder.rmdir()


def _locked(path: Path) -> IO:
    """Opens and locks a new or abandoned file. Raises BlockingIOError if another process holds the lock."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("ab")
        except FileNotFoundError:  # the previous claimant just removed the folder
            continue
        try:
            lock(file)
        except (BlockingIOError, PermissionError):
            file.close()
            raise BlockingIOError(f"{path} is locked") from None
        except OSError:  # the file system has no locks
            return file
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # removed by its previous owner before it was locked here


def sweep(parent: Path) -> None:
    """Removes scratch folders of dead processes from `parent`. Does nothing if the file system has no locks."""
    user = getattr(os, "geteuid", int)()  # keep other users' folders, such as those in /tmp
    for folder in parent.glob(f"{MARK}*"):
        with suppress(OSError):
            if folder.lstat().st_uid == user:
                with open(folder / LOCK, "ab") as file:
                    lock(file)
                    shutil.rmtree(folder, ignore_errors=True)


def lock(file: IO) -> None:
    """Locks an open file until it is closed or the process ends.

    Raises:
        BlockingIOError: another process holds the lock (PermissionError on Windows).
    """
    if sys.platform == "win32":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync(path: Path) -> None:
    """Flushes a file to disk, or the entries of a folder if the system supports it."""
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


def _new_scratch(parent: Path) -> tuple[Path, IO]:
    """A new scratch folder and its open lock file. Retries if another process sweeps the folder before it is locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=MARK, dir=parent))
        try:
            lock_file = open(folder / LOCK, "ab")  # noqa: SIM115 (closed by `scratch`)
        except FileNotFoundError:
            continue
        try:
            lock(lock_file)
            swept = not (folder / LOCK).exists()
        except (BlockingIOError, PermissionError):
            swept = True
        except OSError:  # without locks, nothing is swept
            swept = False
        if not swept:
            return folder, lock_file
        lock_file.close()
