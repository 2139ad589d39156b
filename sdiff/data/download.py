"""Downloads a data set's files: over https alone, checked, continued where it stopped, put in place all at once."""

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
TIMEOUT = httpx.Timeout(30, connect=10)  # seconds without a byte, not for the whole download
EXPANSION = 20  # the unpacked size accepted, in download limits: ratings shrink five- to tenfold, a bomb a thousandfold
ENTRIES = 10_000


@dataclass(frozen=True)
class Archive:
    """A file on the web and what is wanted of it.

    members: of a zip or tar archive, which file gets which name; a name alone, where the file itself is wanted.
    limit: the largest download accepted, in bytes. checksum: "md5:..." or "sha256:...", "" where none is published.
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
        """The names in the folder."""
        return (self.members,) if isinstance(self.members, str) else tuple(self.members.values())


class _Unusable(Exception):
    """What has been downloaded is not what was asked for: continuing it would not help."""


def fetch(
    archive: Archive, folder: Path, progress: Callable[[int, int | None], None] = lambda done, total: None
) -> None:
    """Downloads and unpacks: on return the wanted files lie in `folder`, which is touched only when all are complete.

    What has come before an error stays in `.downloads` beside `folder`, and the next call asks for the rest.
    Files of `folder` under other names stay as they are.

    Args:
        progress: called with the bytes so far and the total, None where the server does not tell.

    Raises:
        SDiffError: no connection, an error from the server, a file too large, damaged or other than expected,
            no space or no right to write, or another process that fetches the same file.
    """
    folder = folder.resolve()  # behind a link: what is renamed must lie on the same disk
    name = f"{folder.name}-{hashlib.sha256(archive.url.encode()).hexdigest()[:8]}"
    part, unpacked = (folder.parent / ".downloads" / f"{name}.{kind}" for kind in ("part", "unpacked"))
    by_hand = f"put {', '.join(archive.names)} into {folder} by hand"
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with _locked(part.with_suffix(".lock"), archive.url) as note:
            try:
                with httpx.Client(timeout=TIMEOUT, follow_redirects=True, event_hooks={"request": [_permit]}) as client:
                    _download(client, archive, part, note, progress)
                shutil.rmtree(unpacked, ignore_errors=True)  # left by a process that was killed
                unpacked.mkdir()
                with open(part, "rb") as file:
                    _verify(file, archive.checksum)
                    _unpack(file, archive, unpacked)
                _move(unpacked, folder)
                part.unlink()
            except _Unusable as error:
                part.unlink(missing_ok=True)
                raise SDiffError(f"{archive.url} is not the file expected ({error}): {by_hand}.") from error
            finally:
                shutil.rmtree(unpacked, ignore_errors=True)
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        again = "try again later, or " if status >= 500 or status == 429 else ""
        answer = f"the server answers {status} {error.response.reason_phrase}".rstrip()
        raise SDiffError(f"Cannot download {archive.url} ({answer}): {again}{by_hand}.") from error
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
        raise SDiffError(f"Cannot download {archive.url} ({error}): {by_hand}.") from error
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        again = "check the connection and try again, the download goes on where it stopped"
        raise SDiffError(f"Cannot download {archive.url} ({reason}): {again}, or {by_hand}.") from error
    except OSError as error:
        raise SDiffError(
            f"Cannot write the files of {archive.url} to {folder} ({error.strerror}): make room, or allow writing."
        ) from error


@contextmanager
def _locked(path: Path, url: str) -> Iterator[TextIO]:
    """A file that one process at a time has open: the system frees it even if the process is killed.

    It stays when all is done: deleted, it could be locked by one process while the next makes it anew.
    """
    with open(path, "a+", encoding="ascii", errors="ignore") as file:
        try:
            lock(file)
        except (BlockingIOError, PermissionError) as error:
            raise SDiffError(f"{url} is being downloaded already: wait until that is done.") from error
        yield file


def _permit(request: httpx.Request) -> None:
    """Called before every request, those after a redirect included."""
    if request.url.scheme not in SCHEMES:
        raise httpx.UnsupportedProtocol(f"{request.url} is not https")


def _download(
    client: httpx.Client, archive: Archive, part: Path, note: TextIO, progress: Callable[[int, int | None], None]
) -> None:
    """Completes `part`. `note` holds the ETag or date of the version that it is a part of."""
    note.seek(0)
    version = note.read()
    done = part.stat().st_size if version and part.is_file() else 0
    headers = {"Accept-Encoding": "identity"}  # lengths and ranges count the bytes of the file itself
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": version}
    with client.stream("GET", archive.url, headers=headers) as response:
        total = int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        if done and response.status_code in (206, 416):
            sent = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
            start, total = (sent[1], int(sent[2])) if sent else (None, None)
            same = _version(response) in ("", version)
            if response.status_code == 416 and total == done and same:  # nothing is missing
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
            raise _Unusable(f"{total} bytes, where at most {archive.limit} are accepted")
        with open(part, "ab" if done else "wb") as file:
            if not done:  # only now that the old part is empty
                note.truncate(0)
                note.write(_version(response))
                note.flush()
            progress(done, total)
            for chunk in response.iter_raw():
                done += len(chunk)
                if done > archive.limit:
                    raise _Unusable(f"more than the {archive.limit} bytes accepted")
                file.write(chunk)
                progress(done, total)
    if total is not None and done != total:
        raise httpx.RemoteProtocolError(f"{done} of {total} bytes came")


def _version(response: httpx.Response) -> str:
    """The strong ETag, else the date of the last change: what If-Range takes. "" where there is neither."""
    etag = response.headers.get("ETag", "W/")
    return response.headers.get("Last-Modified", "") if etag.startswith("W/") else etag


def _verify(file: BufferedReader, checksum: str) -> None:
    if checksum:
        algorithm, expected = checksum.split(":")
        found = hashlib.file_digest(file, algorithm).hexdigest()
        if found != expected:
            raise _Unusable(f"{algorithm} {expected} expected, {found} found")


def _unpack(file: BufferedReader, archive: Archive, folder: Path) -> None:
    """Writes the wanted files, and nothing else, into the empty `folder`."""
    file.seek(0)
    if isinstance(archive.members, str):
        return _write(file, folder / archive.members)
    missing, budget = dict(archive.members), EXPANSION * archive.limit
    try:
        for count, (name, size, source) in enumerate(_entries(file, missing), 1):
            budget -= max(size, 0)  # before its bytes are read; no reader gives more than the size says
            if budget < 0 or count > ENTRIES:
                raise _Unusable(f"it unpacks to more than {EXPANSION * archive.limit} bytes or {ENTRIES} files")
            if source:
                with source:
                    _write(source, folder / missing.pop(name))
            if not missing:
                return
    except _Unusable:
        raise
    except Exception as error:  # zipfile, tarfile and the decompressors have no common one
        if isinstance(error, OSError) and error.errno:  # the disk's; theirs have no number
            raise
        raise _Unusable(f"no zip or tar archive, or a damaged one: {error}") from error
    raise _Unusable(f"there is no {', '.join(missing)} in it")


def _entries(file: BufferedReader, wanted: Container[str]) -> Iterator[tuple[str, int, IO[bytes] | None]]:
    """Name and size of every entry, and the opened file where it is wanted and a regular one, not a link or device."""
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
    """All files in one step where `folder` is new or empty, else one after the other."""
    try:
        os.replace(unpacked, folder)
    except OSError:  # there are files in it
        folder.mkdir(exist_ok=True)
        for path in unpacked.iterdir():
            os.replace(path, folder / path.name)
    for names in (folder, folder.parent):
        sync(names)
