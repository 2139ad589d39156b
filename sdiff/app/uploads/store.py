"""Uploaded tables, stored under a key derived from their content. A second upload of a table finds its trained models.

A key has the form `own:<digest>/<title>?<options>`. No key leads out of the folder for uploads.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import shutil
import zlib
from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from sdiff.base.errors import SDiffError, brief
from sdiff.base.files import scratch, sync
from sdiff.data.database import database, readable_errors
from sdiff.data.datasets import OWN, Dataset, load_dataset
from sdiff.data.items import untitled
from sdiff.data.own import own_items
from sdiff.data.readers import read_interactions, split_of
from sdiff.data.reading import Reading
from sdiff.data.report import FaultyRows
from sdiff.data.summary import Summary, summarize
from sdiff.data.tables.faults import Faults

TITLE = 60  # maximum number of characters: a folder name may have 255 bytes, a character up to 4
KEY = re.compile(rf"own:(?P<digest>[0-9a-f]{{16}})/(?P<title>[\w .-]{{0,{TITLE - 1}}}\w)(\?(?P<query>.*))?")
PACKED = (".gz", ".zst")
ROWS = 20_000_000  # maximum number of rows; each takes about 100 bytes of memory
UNPACKED = 512 << 20  # maximum number of bytes when uncompressed


@dataclass(frozen=True)
class Checked:
    """What an upload holds, without its invalid rows.

    Attributes:
        summary: of the data set; None if the interactions cannot be read.
        rows: number of rows of interactions.
        invalid: the invalid rows of "interactions" and "items", if there are any.
        described: the columns that describe the items, by role.
        problems: for "interactions" and "items", why the file cannot be read.
    """

    summary: Summary | None
    rows: int = 0
    invalid: dict[str, Faults] = field(default_factory=dict)
    described: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def check(interactions: Path, items: Path | None, reading: Reading) -> Generator[Checked, None, None]:
    """Reads tables without storing them. A generator with one step, for `runs.in_subprocess`."""
    reading, problems = replace(reading, skip_faulty=True), {}
    try:
        _refuse_bomb(interactions)
        pairs, report = read_interactions(interactions, reading)
        split = split_of(pairs, reading)
    except SDiffError as error:
        yield Checked(None, problems={"interactions": str(error)})
        return
    try:
        if items:
            _refuse_bomb(items)
        found = own_items(interactions, pairs.items, reading, report, items)
    except SDiffError as error:
        problems["items"], found = str(error), untitled(pairs.items)
    summary = summarize(Dataset("", interactions.name, OWN, split, found, report))
    titles = found.titles
    faults = {"interactions": report.faults} | ({"items": titles.faults} if titles else {})
    invalid = {role: found for role, found in faults.items() if found.count}
    yield Checked(summary, report.rows, invalid, titles.columns if titles else {}, problems)


def key_of(interactions: Path, items: Path | None, reading: Reading) -> str:
    """The key of a table of interactions, with an optional table of items, read with certain options."""
    digest = hashlib.sha256()
    for path in (interactions, items):
        if path:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    stem = interactions.name.removesuffix(_suffix(interactions))
    title = re.sub(r"[^\w .-]|[ .-]$", "_", stem[:TITLE]) or "data"
    return f"own:{digest.hexdigest()[:16]}/{title}" + (f"?{query}" if (query := reading.query()) else "")


def keep(interactions: Path, items: Path | None, reading: Reading, root: Path) -> Dataset:
    """Reads tables and stores copies in `root`. Unreadable tables leave no files there.

    Raises:
        SDiffError: the tables cannot be read or stored.
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
            dataset = _read(whole, key, {role: path.name for role, path in tables.items()})
            if not folder.exists():
                folder.parent.mkdir(exist_ok=True)
                whole.rename(folder)
                for names in (folder, folder.parent, root):
                    sync(names)
    except OSError as error:
        raise SDiffError(
            f"Cannot store {interactions.name} ({error.strerror}): free up space, or allow writing."
        ) from error
    return dataset


def discard(key: str, root: Path) -> None:
    """Removes the files stored by `keep`."""
    folder = _folder(key, root)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()  # fails if the same table is stored under another title


def load(key: str, root: Path) -> Dataset:
    """Loads the data set of a key. Raises SDiffError if there is none, or if its options do not fit."""
    folder = folder_of(key, root)
    return _read(folder, key, {"interactions": folder.name, "items": f"the titles of {folder.name}"})


def folder_of(key: str, root: Path) -> Path:
    """The folder of a key. Raises SDiffError if it does not exist."""
    folder = _folder(key, root)
    if not folder.is_dir():
        raise SDiffError(f"The upload {folder.name} no longer exists: upload it again.")
    return folder


def _read(folder: Path, key: str, names: Mapping[str, str]) -> Dataset:
    """Reads an upload. In errors, its files have the `names` that the visitor knows."""
    query = key.partition("?")[2]
    if Reading.parse(query).items:  # it would be a path on the server
        raise SDiffError("Upload the table of items together with the interactions.")
    try:
        return replace(load_dataset(f"{folder}?{query}"), key=key)
    except SDiffError as error:

        def named(text: str) -> str:
            path = re.escape(str(folder)) + r"/(interactions|items)[\w.]*"
            return re.sub(path, lambda match: names.get(match[1], match[1]), text)

        error.args = (named(str(error)),)
        if isinstance(error, FaultyRows):
            error.table = named(error.table)
        raise


def is_kept(key: str, root: Path) -> bool:
    return KEY.fullmatch(key) is not None and _folder(key, root).is_dir()


def choices(keys: Iterable[str], root: Path) -> list[tuple[str, str]]:
    """(title, key) of the uploads that still exist."""
    return [(f"{title_of(key)} (yours)", key) for key in keys if is_kept(key, root)]


def title_of(key: str) -> str:
    """The title in a key."""
    match = KEY.fullmatch(key)
    return match["title"] if match else key


def _folder(key: str, root: Path) -> Path:
    match = KEY.fullmatch(key)
    if not match:
        raise SDiffError(f"Unknown data set {brief(key)}: choose one from the list.")
    return root / match["digest"] / match["title"]


def _refuse_bomb(path: Path) -> None:
    """Raises SDiffError if a file has too many rows or too much data when uncompressed."""
    with path.open("rb") as file:
        start = file.read(4)
    rows, too_large = 0, f"{path.name} has more than {UNPACKED >> 20} MB uncompressed: upload a smaller file."
    if start == b"PAR1":
        with database(path) as con, readable_errors(path):
            [[rows]] = con.execute("SELECT sum(num_rows) FROM parquet_file_metadata(?)", [str(path)]).fetchall()
            columns = "SELECT coalesce(sum(total_uncompressed_size), 0) FROM parquet_metadata(?)"
            [[unpacked]] = con.execute(columns, [str(path)]).fetchall()
        if not 0 <= unpacked <= UNPACKED:
            raise SDiffError(too_large)
    elif path.suffix.lower() == ".zst" or start == b"\x28\xb5\x2f\xfd":
        raise SDiffError(f"{path.name} is compressed with zstd, which uploads do not support: upload it as .gz.")
    else:
        packed = start.startswith(b"\x1f\x8b")
        with suppress(EOFError, zlib.error, gzip.BadGzipFile), gzip.open(path) if packed else path.open("rb") as file:
            for n, block in enumerate(iter(lambda: file.read(1 << 20), b"")):
                rows += block.count(b"\n")
                if n << 20 >= UNPACKED:
                    raise SDiffError(too_large)
    if not 0 <= rows <= ROWS:
        raise SDiffError(f"{path.name} has {rows:,} rows, more than the limit of {ROWS:,}: upload fewer rows.")


def _suffix(path: Path) -> str:
    """The file extension, such as .csv or .csv.gz."""
    return "".join(path.suffixes[-2:] if path.suffix.lower() in PACKED else path.suffixes[-1:])
