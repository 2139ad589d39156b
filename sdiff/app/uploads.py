"""Visitors' own tables, kept under a key made of their content: who brings them again finds the models trained on them.

A key is `own:<digest>/<title>?<options>`. It leads only into the folder of uploads, whatever a visitor sends.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sdiff.base.errors import SDiffError, brief
from sdiff.base.files import scratch, sync
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.data.readers import Reading
from sdiff.data.tables import database, readable_errors

TITLE = 60  # characters, of up to four bytes each: a folder's name may have 255 bytes
KEY = re.compile(rf"own:(?P<digest>[0-9a-f]{{16}})/(?P<title>[\w .-]{{0,{TITLE - 1}}}\w)(\?(?P<query>.*))?")
PACKED = (".gz", ".zst")
ROWS, UNPACKED = 20_000_000, 512 << 20  # rows take 100 bytes of memory each; bytes of a packed file, and of Parquet


def key_of(interactions: Path, items: Path | None, reading: Reading) -> str:
    """The key of a table of interactions, and perhaps one of items, read in a certain way."""
    digest = hashlib.sha256()
    for path in (interactions, items):
        if path:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    stem = interactions.name.removesuffix(_suffix(interactions))
    title = re.sub(r"[^\w .-]|[ .-]$", "_", stem[:TITLE]) or "data"
    return f"own:{digest.hexdigest()[:16]}/{title}" + (f"?{query}" if (query := reading.query()) else "")


def keep(interactions: Path, items: Path | None, reading: Reading, root: Path) -> Dataset:
    """Reads tables, and copies them to `root` if they can be read: what is refused leaves nothing there.

    Raises:
        SDiffError: they cannot be read, or not be kept.
    """
    tables = {"interactions": interactions} | ({"items": items} if items else {})
    for path in tables.values():
        _refuse_bomb(path)
    key = key_of(interactions, items, reading)
    folder = _folder(key, root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with scratch(root) as unfinished:
            whole = unfinished / folder.name
            whole.mkdir()
            for role, path in tables.items():
                sync(shutil.copyfile(path, whole / (role + (_suffix(path).lower() or ".csv"))))
            dataset = _read(whole, key)
            if not folder.exists():
                folder.parent.mkdir(exist_ok=True)
                whole.rename(folder)
                for names in (folder, folder.parent, root):
                    sync(names)
    except OSError as error:
        raise SDiffError(f"Cannot keep {interactions.name} ({error.strerror}): make room, or allow writing.") from error
    return dataset


def discard(key: str, root: Path) -> None:
    """Removes what `keep` kept."""
    folder = _folder(key, root)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()  # unless the same table is kept by another name


def load(key: str, root: Path) -> Dataset:
    """The data set of a key. Raises SDiffError when it is not there, or not as its options say."""
    return _read(folder_of(key, root), key)


def folder_of(key: str, root: Path) -> Path:
    """The folder of a key. Raises SDiffError where there is none."""
    folder = _folder(key, root)
    if not folder.is_dir():
        raise SDiffError(f"{folder.name} is no longer here: upload it again.")
    return folder


def _read(folder: Path, key: str) -> Dataset:
    query = key.partition("?")[2]
    if Reading.parse(query).items:  # it would be a path of this machine
        raise SDiffError("Upload the table of items beside the interactions.")
    try:
        return replace(load_dataset(f"{folder}?{query}"), key=key)
    except SDiffError as error:  # a visitor knows the file by its own name
        error.args = (re.sub(re.escape(str(folder)) + r"/(interactions|items)[\w.]*", folder.name, str(error)),)
        raise


def is_kept(key: str, root: Path) -> bool:
    return KEY.fullmatch(key) is not None and _folder(key, root).is_dir()


def choices(keys: Iterable[str], root: Path) -> list[tuple[str, str]]:
    """(title, key) of those that are still here."""
    return [(f"{title_of(key)} (yours)", key) for key in keys if is_kept(key, root)]


def title_of(key: str) -> str:
    """What a key calls its data set."""
    found = KEY.fullmatch(key)
    return found["title"] if found else key


def _folder(key: str, root: Path) -> Path:
    found = KEY.fullmatch(key)
    if not found:
        raise SDiffError(f"Unknown data set {brief(key)}: choose one from the list.")
    return root / found["digest"] / found["title"]


def _refuse_bomb(path: Path) -> None:
    """Raises SDiffError where a file, small as it may be, unpacks to more than can be read here."""
    with path.open("rb") as file:
        start = file.read(4)
    rows, too_much = 0, f"{path.name} unpacks to more than {UNPACKED >> 20} MB: upload less of it."
    if start == b"PAR1":
        with database(path) as con, readable_errors(path):
            [[rows]] = con.execute("SELECT sum(num_rows) FROM parquet_file_metadata(?)", [str(path)]).fetchall()
            columns = "SELECT coalesce(sum(total_uncompressed_size), 0) FROM parquet_metadata(?)"
            [[unpacked]] = con.execute(columns, [str(path)]).fetchall()
        if not 0 <= unpacked <= UNPACKED:
            raise SDiffError(too_much)
    elif path.suffix.lower() == ".zst" or start == b"\x28\xb5\x2f\xfd":
        raise SDiffError(f"{path.name} is packed by zstd, which is not looked into here: upload it as .gz.")
    else:
        packed = start.startswith(b"\x1f\x8b")
        with suppress(EOFError, zlib.error, gzip.BadGzipFile), gzip.open(path) if packed else path.open("rb") as file:
            for n, block in enumerate(iter(lambda: file.read(1 << 20), b"")):
                rows += block.count(b"\n")
                if n << 20 >= UNPACKED:
                    raise SDiffError(too_much)
    if not 0 <= rows <= ROWS:
        raise SDiffError(f"{path.name} has {rows:,} rows, where at most {ROWS:,} are read here: upload fewer.")


def _suffix(path: Path) -> str:
    """.csv, or .csv.gz."""
    return "".join(path.suffixes[-2:] if path.suffix in PACKED else path.suffixes[-1:])
