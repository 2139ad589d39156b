"""Random damage to valid files: bytes, JSON documents, tensors, tables and archives."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import torch
from safetensors.torch import load, save

DEEP = 200_000  # levels of nesting
HUGE = "9" * 400  # an integer that overflows a float
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
FRAGMENTS = (
    *(b'"', b"'", b"\0", b"\n", b"\r\n", b",", b"\t", b"::", b"{", b"[" * 5000, b"\xff\xfe", b"\xef\xbb\xbf", b"\xf0"),
    *(b"../../outside", b"/etc/passwd", b"nan", b"inf", b"1e999", HUGE.encode(), b"-1", b"x" * 70_000),
    *(b"user,item\n", b"PAR1", b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06", b"=1+1", b"'); DROP TABLE pairs; --"),
)
TEXTS = ("", "..", "../outside", "/etc/passwd", "/dev/zero", "fifo", "away", "a\0b", "<script>", "x" * 100_000)
TEXTS += ("NULL", "nan", "[1, 2]", "{'a': 1}", "user", "01/02/2020", "2020-01-01 x", "1577836800000", '5" disk', "\\")
VALUES: tuple[Any, ...] = (
    *(None, True, [], {}, -1, 0, 0.5, 10**5, 10**9, 10**400, 1e308, float("nan"), float("inf"), "@deep@"),
    *TEXTS,
)

COLUMNS = (  # SQL expressions (DuckDB) that replace a column {0}
    *("NULL", "true", "md5({0})::UUID", "{0}::BLOB", "[{0}]", "[{0}][:0]", "{{'a': {0}}}", "MAP {{{0}: 1}}", "''"),
    *("hash({0})", "-hash({0})::HUGEINT", "hash({0})::DOUBLE", "hash({0}) % 7", "9e37::DECIMAL(38)", "1e-300::DOUBLE"),
    *("'nan'::FLOAT", "'-infinity'::DOUBLE", "INTERVAL 1 DAY", "TIME '12:00'", "DATE '9999-12-31'", "DATE 'infinity'"),
    *("TIMESTAMPTZ '1900-01-01' + to_days((hash({0}) % 99999)::INT)", "TIMESTAMP_NS '2020-01-01'", "repeat({0}, 999)"),
    *("if(hash({0}) % 5 > 0, {0}, NULL)", "left({0}, 1)", "upper({0})", "' ' || {0}", "{0} || $odd", "$odd"),
    *("if(hash({0}) % 5 > 0, {0}, $odd)", "if(hash({0}) % 20 = 0, $odd, {0})"),
)


def of_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flips bits, overwrites lengths, deletes, repeats or zeroes parts, or inserts fragments, up to four times."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not changed:
            break
        # Positions near the start and the end are preferred: headers and footers contain the lengths.
        place = rng.choice((rng.randrange(len(changed)), rng.randrange(min(len(changed), 64))))
        place = place if rng.random() < 0.8 else len(changed) - 1 - rng.randrange(min(len(changed), 64))
        n = rng.choice((1, 1, 4, 30, 5000))
        kind = rng.randrange(7)
        if kind == 0:
            for _ in range(n):
                changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            width, order = rng.choice((1, 2, 4, 8)), rng.choice(("<", ">"))
            form = order + {1: "B", 2: "H", 4: "I", 8: "Q"}[width]
            changed[place : place + width] = struct.pack(form, rng.choice(EXTREMES) % 2 ** (8 * width))
        elif kind == 2:
            del changed[place:]
        elif kind == 3:
            del changed[place : place + n]
        elif kind == 4:
            start = rng.randrange(len(changed))
            changed[place:place] = changed[start : start + n]
        elif kind == 5:
            changed[place : place + n] = bytes(min(n, len(changed) - place))
        else:
            changed[place:place] = rng.choice(FRAGMENTS)
    return bytes(changed)


def of_json(rng: random.Random, data: bytes) -> bytes:
    """Replaces, deletes or adds values of a JSON document, or damages its bytes."""
    if rng.random() < 0.2:
        return of_bytes(rng, data)
    document = json.loads(data)
    for _ in range(rng.randint(1, 2)):
        parent, key = document, "unheard of"
        while keys := list(parent) if isinstance(parent, dict) else list(range(len(parent))):
            key = rng.choice(keys)
            if not isinstance(parent[key], dict | list) or rng.random() < 0.2:
                break
            parent = parent[key]
        if keys and rng.random() < 0.2:
            del parent[key]
        elif keys and rng.random() < 0.9:
            parent[key] = rng.choice(VALUES)
        elif isinstance(parent, dict):
            parent["unheard of"] = rng.choice(VALUES)
    return json.dumps(document).replace('"@deep@"', "[" * DEEP + "]" * DEEP).encode()


def of_tensors(rng: random.Random, data: bytes) -> bytes:
    """Changes types, shapes, values or metadata of a safetensors file, or damages its bytes."""
    if rng.random() < 0.4:
        return of_bytes(rng, data)
    tensors = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header.get("__metadata__", {})
    for _ in range(rng.randint(1, 2)):
        name = rng.choice(list(tensors))
        tensor = tensors[name]
        changes: list[Callable[[], Any]] = [
            lambda t=tensor: t.to(rng.choice((torch.float64, torch.int8, torch.bool, torch.bfloat16, torch.int64))),
            lambda t=tensor: t.to(torch.complex64),
            lambda t=tensor: torch.full_like(t.float(), rng.choice((float("nan"), float("inf"), -1e38, 1e38))),
            lambda t=tensor: torch.full_like(t.to(torch.int32), rng.choice((-1, 2**31 - 1, -(2**31)))),
            lambda t=tensor: t[:0] if t.ndim else t,
            lambda t=tensor: t[:-1] if t.ndim else t[None],
            lambda t=tensor: t.flatten(),
            lambda t=tensor: t.T if t.ndim == 2 else t[None],
            lambda t=tensor: torch.zeros(rng.choice((0, 1, 10**6))),
            lambda t=tensor: t.flip(0) if t.ndim else -t,
        ]
        if (kind := rng.randrange(len(changes) + 3)) < len(changes):
            tensors[name] = changes[kind]().contiguous()
        elif kind == len(changes):
            del tensors[name]
        elif kind == len(changes) + 1:
            tensors["unheard.of"] = tensor.clone()
        elif metadata:
            key = rng.choice(list(metadata))
            metadata[key] = of_json(rng, metadata[key].encode()).decode("latin-1")
        if not tensors:
            break
    return save(tensors, metadata=metadata)


def archive(rng: random.Random, members: dict[str, bytes]) -> bytes:
    """A zip or tar archive of the members and of hostile entries: path traversal, links, bombs and duplicates."""
    entries = [*members.items()] * rng.choice((1, 1, 2))
    hostile: list[tuple[str, bytes]] = [
        ("../outside", b"x"),
        ("../" * 8 + "outside", b"x"),
        ("/outside", b"x"),
        ("data\\..\\..\\outside", b"x"),
        (next(iter(members)) + "/../../outside", b"x"),
        ("bomb", bytes(rng.choice((10**6, 60 * 10**6)))),
        (next(iter(members)), bytes(60 * 10**6)),
        ("", b"x"),
        ("x" * 300, b"x"),
    ]
    entries += rng.sample(hostile, rng.randint(0, 3))
    rng.shuffle(entries)
    link = rng.choice((None, None, "../outside", "/etc/passwd"))
    out = io.BytesIO()
    if rng.random() < 0.6:
        with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as file:
            for name, data in entries:
                info = zipfile.ZipInfo(name or "empty")
                info.compress_type = zipfile.ZIP_DEFLATED
                if link and rng.random() < 0.5:
                    info.create_system, info.external_attr, data = 3, 0o120777 << 16, link.encode()
                file.writestr(info, data)
    else:
        with tarfile.open(fileobj=out, mode=rng.choice(("w:gz", "w:bz2", "w"))) as file:
            for name, data in entries:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                if link and rng.random() < 0.5:
                    info.type, info.linkname, info.size = rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE)), link, 0
                file.addfile(info, io.BytesIO(data))
    return out.getvalue() if rng.random() < 0.5 else of_bytes(rng, out.getvalue())


def of_columns(rng: random.Random, source: Path, target: Path) -> None:
    """Writes the rows of a CSV file to `target`, in its format, with odd types, texts or names of some columns."""
    odd = rng.choice((*TEXTS, *(fragment.decode("latin-1") for fragment in FRAGMENTS)))
    with duckdb.connect() as con:
        con.execute("CREATE TABLE valid AS FROM read_csv(?, all_varchar=true)", [str(source)])
        columns = {row[0]: f'"{row[0]}"' for row in con.execute("DESCRIBE valid").fetchall()}
        for column in rng.choices(list(columns), k=rng.randint(1, 3)):
            columns[column] = rng.choice(COLUMNS).format(f'"{column}"')
        if rng.random() < 0.2:
            columns[odd[:50] or "''"] = rng.choice(list(columns.values()))
        names = (name.replace('"', '""') for name in columns)
        select = ", ".join(f'{made} AS "{name}"' for made, name in zip(columns.values(), names, strict=True))
        con.execute(f"CREATE TABLE odd AS SELECT {select} FROM valid", {"odd": odd} if "$odd" in select else None)
        tabs = "(DELIMITER '\t')" if target.suffix == ".tsv" else ""
        con.execute(f"COPY odd TO ? {tabs}", [str(target)])


def of_table(rng: random.Random, data: bytes) -> bytes:
    """Damages the bytes of a table, or inserts fragments into fields and shuffles the lines."""
    if data.startswith(b"\x1f\x8b") and rng.random() < 0.5:
        return gzip.compress(of_table(rng, gzip.decompress(data)), mtime=0)
    if rng.random() < 0.5 or data.startswith((b"PAR1", b"\x1f\x8b")):
        return of_bytes(rng, data)
    lines = data.split(b"\n")
    for _ in range(rng.randint(1, 20)):
        at = rng.randrange(len(lines))
        fields = lines[at].split(b",")
        fields[rng.randrange(len(fields))] = rng.choice(FRAGMENTS) + rng.choice(TEXTS).encode()
        lines[at] = b",".join(fields)
    return b"\n".join(np.random.default_rng(rng.randrange(2**32)).permutation(np.array(lines, dtype=object)).tolist())
