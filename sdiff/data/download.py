"""Downloads data set files: https only, verified, resumable, and installed atomically."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, TextIO

import httpx

from sdiff.base.errors import SDiffError
from sdiff.base.files import lock, sync

SCHEMES = ("https",)
TIMEOUT = httpx.Timeout(30, connect=10)  # seconds without data, not for the whole download
EXPANSION = 20  # maximum unpacked size, as a multiple of the download limit; ratings expand 5 to 10 times
ENTRIES = 10_000  # maximum number of files in an archive


@dataclass(frozen=True)
class Archive:
    """A file on the web and what to extract from it.

    Attributes:
        limit: maximum size of the download in bytes.
        members: paths in the zip or tar archive and their new file names, or one file name to keep the download itself.
        checksum: "md5:..." or "sha256:...", empty if none is published.
    """

    url: str
    limit: int
    members: Mapping[str, str] | str
    checksum: str = ""

    def __post_init__(self) -> None:
        for name in self.names:
            if not re.fullmatch(r"\w[\w.-]*", name):  # a path would leave the folder
                raise ValueError(f"{name!r} is not a plain file name")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the resulting files."""
        return (self.members,) if isinstance(self.members, str) else tuple(self.members.values())


class _Unusable(Exception):
    """The download is not the expected file, so resuming it would not help."""


def fetch(
    archive: Archive, folder: Path, progress: Callable[[int, int | None], None] = lambda done, total: None
) -> None:
    """Downloads and unpacks an archive into `folder`, which changes only after all files are complete.

    After an error, the partial download stays in `.downloads` next to `folder`, and the next call resumes it. Other
    files in `folder` are unchanged.

    Args:
        progress: called with the bytes so far and the total, None if unknown.

    Raises:
        SDiffError: the connection or server fails, the file is too large, damaged or not the expected one, the disk is
            full or not writable, or another process downloads the same file.
    """
    folder = folder.resolve()  # follow links: files can only be renamed on the same disk
    name = f"{folder.name}-{hashlib.sha256(archive.url.encode()).hexdigest()[:8]}"
    part, unpacked = (folder.parent / ".downloads" / f"{name}.{kind}" for kind in ("part", "unpacked"))
    by_hand = f"put {', '.join(archive.names)} into {folder} by hand"
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with _locked(part.with_suffix(".lock"), archive.url) as note:
            try:
                with httpx.Client(timeout=TIMEOUT, follow_redirects=True, event_hooks={"request": [_permit]}) as client:
                    _download(client, archive, part, note, progress)
                shutil.rmtree(unpacked, ignore_errors=True)  # from a killed process
                unpacked.mkdir()
                with open(part, "rb") as file:
                    _verify(file, archive.checksum)
                    _unpack(file, archive, unpacked)
                _move(unpacked, folder)
                part.unlink()
            except _Unusable as error:
                part.unlink(missing_ok=True)
                raise SDiffError(f"{archive.url} is not the expected file ({error}): {by_hand}.") from error
            finally:
                shutil.rmtree(unpacked, ignore_errors=True)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        retry = "try again later, or " if status >= 500 or status == 429 else ""
        answer = f"the server answers {status} {error.response.reason_phrase}".rstrip()
        raise SDiffError(f"Cannot download {archive.url} ({answer}): {retry}{by_hand}.") from error
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
        raise SDiffError(f"Cannot download {archive.url} ({error}): {by_hand}.") from error
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        retry = "check the connection and try again (the download will resume)"
        raise SDiffError(f"Cannot download {archive.url} ({reason}): {retry}, or {by_hand}.") from error
    except OSError as error:
        raise SDiffError(
            f"Cannot write the files of {archive.url} to {folder} ({error.strerror}): free up space, or allow writing."
        ) from error


@contextmanager
def _locked(path: Path, url: str) -> Iterator[TextIO]:
    """Opens and locks a file for this process. The lock ends with the process, even if it is killed.

    The file is never deleted, because then two processes could lock two files of the same name.
    """
    with open(path, "a+", encoding="ascii", errors="ignore") as file:
        try:
            lock(file)
        except (BlockingIOError, PermissionError) as error:
            raise SDiffError(f"{url} is already being downloaded: wait until it finishes.") from error
        yield file


def _permit(request: httpx.Request) -> None:
    """Rejects requests that are not https. Called before every request, including redirects."""
    if request.url.scheme not in SCHEMES:
        raise httpx.UnsupportedProtocol(f"{request.url} is not https")


def _download(
    client: httpx.Client, archive: Archive, part: Path, note: TextIO, progress: Callable[[int, int | None], None]
) -> None:
    """Downloads the rest of `part`. `note` stores the ETag or date of the version that `part` belongs to."""
    note.seek(0)
    version = note.read()
    done = part.stat().st_size if version and part.is_file() else 0
    headers = {"Accept-Encoding": "identity"}  # so that lengths and ranges refer to the file itself
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": version}
    with client.stream("GET", archive.url, headers=headers) as response:
        total = int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        if done and response.status_code in (206, 416):
            sent = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
            start, total = (sent[1], int(sent[2])) if sent else (None, None)
            same = _version(response) in ("", version)
            if response.status_code == 416 and total == done and same:  # already complete
                return
            if response.status_code == 416 or start != str(done) or not same:
                part.unlink()
                return _download(client, archive, part, note, progress)
        elif response.status_code != 200:
            response.raise_for_status()
            raise httpx.RemoteProtocolError(f"the server answers {response.status_code}")
        else:
            done = 0
        if total is not None and total > archive.limit:
            raise _Unusable(f"{total} bytes, but the limit is {archive.limit}")
        with open(part, "ab" if done else "wb") as file:
            if not done:  # only after the old part has been emptied
                note.truncate(0)
                note.write(_version(response))
                note.flush()
            progress(done, total)
            for chunk in response.iter_raw():
                done += len(chunk)
                if done > archive.limit:
                    raise _Unusable(f"more than the limit of {archive.limit} bytes")
                file.write(chunk)
                progress(done, total)
    if total is not None and done != total:
        raise httpx.RemoteProtocolError(f"received {done} of {total} bytes")


def _version(response: httpx.Response) -> str:
    """A value for If-Range: the strong ETag, else the date of the last change, else an empty text."""
    etag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified", "") if etag.startswith("W/") else etag


def _verify(file: BufferedReader, checksum: str) -> None:
    """Raises _Unusable if the checksum does not match."""
    if checksum:
        algorithm, expected = checksum.split(":")
        actual = hashlib.file_digest(file, algorithm).hexdigest()
        if actual != expected:
            raise _Unusable(f"{algorithm} is {actual}, not {expected}")


def _unpack(file: BufferedReader, archive: Archive, folder: Path) -> None:
    """Writes the files of `archive.members`, and no others, into the empty `folder`."""
    file.seek(0)
    if isinstance(archive.members, str):
        return _write(file, folder / archive.members)
    missing, budget = dict(archive.members), EXPANSION * archive.limit
    try:
        for count, (name, size, source) in enumerate(_entries(file, missing), 1):
            budget -= max(size, 0)  # before reading: no reader returns more bytes than the declared size
            if budget < 0 or count > ENTRIES:
                raise _Unusable(f"it unpacks to more than {EXPANSION * archive.limit} bytes or {ENTRIES} files")
            if source:
                with source:
                    _write(source, folder / missing.pop(name))
            if not missing:
                return
    except _Unusable:
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors share no base class
        if isinstance(error, OSError) and error.errno:  # a disk error; those of archives have no errno
            raise
        raise _Unusable(f"not a zip or tar archive, or damaged: {error}") from error
    raise _Unusable(f"it does not contain {', '.join(missing)}")


def _entries(file: BufferedReader, wanted: Container[str]) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """Name and size of every entry, and its open file if the name is wanted and the entry is a regular file."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                regular = not info.is_dir() and stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
                source = archive.open(info) if regular and info.filename in wanted else None
                yield info.filename, info.file_size, source
    else:
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            for info in archive:
                source = archive.extractfile(info) if info.isreg() and info.name in wanted else None
                yield info.name, info.size, source


def _write(source: IO[bytes], path: Path) -> None:
    with open(path, "wb") as target:
        shutil.copyfileobj(source, target)
    sync(path)


def _move(unpacked: Path, folder: Path) -> None:
    """Moves all files at once if `folder` is new or empty, else one by one."""
    try:
        os.replace(unpacked, folder)
    except OSError:  # the folder is not empty
        folder.mkdir(exist_ok=True)
        for path in unpacked.iterdir():
            os.replace(path, folder / path.name)
    for directory in (folder, folder.parent):
        sync(directory)
