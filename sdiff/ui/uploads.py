"""Visitors' own tables, kept under a key made of their content: who brings them again finds the models trained on them.

A key is `own:<digest>/<title>?<options>`. It leads only into the folder of uploads, whatever a visitor sends.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from sdiff.atomic import scratch, sync
from sdiff.datasets import Dataset, load_dataset
from sdiff.errors import SDiffError
from sdiff.readers import Reading

KEY = re.compile(r"own:(?P<digest>[0-9a-f]{16})/(?P<title>[\w .-]*\w)(\?(?P<query>.*))?")
PACKED = (".gz", ".zst")


def keep(interactions: Path, items: Path | None, reading: Reading, root: Path) -> str:
    """Copies a table of interactions, and perhaps one of items, to `root`. Returns the key to load them by."""
    tables = {"interactions": interactions} | ({"items": items} if items else {})
    digest = hashlib.sha256()
    for path in tables.values():
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    stem = interactions.name.removesuffix(_suffix(interactions))
    title = re.sub(r"[^\w .-]|[ .-]$", "_", stem[:60]) or "data"
    key = f"own:{digest.hexdigest()[:16]}/{title}" + (f"?{query}" if (query := reading.query()) else "")
    folder = _folder(key, root)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with scratch(root) as unfinished:
            whole = unfinished / "tables"
            whole.mkdir()
            for role, path in tables.items():
                sync(shutil.copyfile(path, whole / (role + (_suffix(path).lower() or ".csv"))))
            if not folder.exists():
                whole.rename(folder)
    except OSError as error:
        raise SDiffError(
            f"Cannot keep {interactions.name} ({error.strerror}): make room or see to the rights."
        ) from error
    return key


def load(key: str, root: Path) -> Dataset:
    """The data set of a key. Raises SDiffError when it is not there, or not as its options say."""
    folder = _folder(key, root)
    query = key.partition("?")[2]
    if not folder.is_dir():
        raise SDiffError(f"{folder.name} is no longer here: upload it again.")
    if Reading.parse(query).items:  # it would be a path of this machine
        raise SDiffError("Upload the table of items beside the interactions.")
    try:
        return replace(load_dataset(f"{folder}?{query}"), key=key)
    except SDiffError as error:  # a visitor knows the file by its own name
        error.args = (re.sub(re.escape(str(folder)) + r"/(interactions|items)[\w.]*", folder.name, str(error)),)
        raise


def choices(keys: Iterable[str], root: Path) -> list[tuple[str, str]]:
    """(title, key) of those that are still here."""
    return [
        (f"{found['title']} (yours)", key)
        for key in keys
        if (found := KEY.fullmatch(key)) and _folder(key, root).is_dir()
    ]


def _folder(key: str, root: Path) -> Path:
    found = KEY.fullmatch(key)
    if not found:
        raise SDiffError(f"Unknown data set {key!r}: choose one from the list.")
    return root / found["digest"] / found["title"]


def _suffix(path: Path) -> str:
    """.csv, or .csv.gz."""
    return "".join(path.suffixes[-2:] if path.suffix in PACKED else path.suffixes[-1:])
