"""Cases of the fuzz test: checkpoints, tables, training states and archives, damaged at random from a seed."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb
import numpy as np
import torch

from benchmarks.mutations import archive, of_columns, of_json, of_table, of_tensors
from benchmarks.processes import memory_mb
from sdiff.app import state
from sdiff.app.handlers import pickers, ranking
from sdiff.app.query import Query
from sdiff.app.uploads import store
from sdiff.base.errors import SDiffError
from sdiff.config import PRESETS, Config
from sdiff.data import download as fetching
from sdiff.data.download import Archive, fetch
from sdiff.data.interactions import Interactions, Vocabulary
from sdiff.data.preview import preview
from sdiff.data.reading import Reading
from sdiff.data.splits import chronological_split
from sdiff.serving.recommender import Recommender
from sdiff.training.run_state import resume, save_state
from sdiff.training.trainer import Trainer

ENCODINGS = (
    *("latin-1", "utf-16", "gb18030", "cp1252", "utf-7", "idna", "punycode", "undefined", "base64", "'"),
    "unicode_escape",
)
HEADER = ("user", "item", "rating", "timestamp")
SECONDS, MEGABYTES = 10.0, 512  # limits of a case
LONGEST = 5000  # maximum characters of an error message
TINY: dict[str, Any] = {"K": 8, "hidden": 16, "time_dim": 4, "epochs": 1, "eval_every": 1, "batch_size": 20}
MODELS = {
    "paper": PRESETS["paper"].override(TINY),
    "tuned": PRESETS["tuned"].override(TINY | {"graph_entries": 90}),
    "temporal": PRESETS["temporal"].override(TINY),
    "instant": PRESETS["instant"].override({"K": 8}),
}
MEMBERS = {"data/ratings.csv": b"user,item\n1,2\n" * 1000, "data/movies.csv": b"item,title\n2,Heat\n" * 100}


class Box:
    """A folder in which cases run one after the other. The valid files are created once."""

    def __init__(self, root: Path) -> None:
        self.root, self.case = root, root / "case"
        os.environ |= {"SDIFF_RUNS_DIR": str(self.case), "SDIFF_CACHE_DIR": str(root / "scratch")}
        for name in ("scratch", "valid"):
            (root / name).mkdir()
        tempfile.tempdir = str(root / "scratch")
        (root / "outside").write_text("untouched")
        torch.set_num_threads(1)
        users, items = np.repeat(np.arange(20), 6), np.concatenate([np.arange(u, u + 6) % 30 for u in range(20)])
        of_users, of_items = (Vocabulary(tuple(f"{kind}{i}" for i in range(n))) for kind, n in (("u", 20), ("i", 30)))
        times = np.arange(len(users), dtype=float)
        self.split = chronological_split(Interactions.from_pairs(of_users, of_items, users, items, times))
        for name, config in MODELS.items():
            trainer = self.trainer(config)
            trainer.fit()
            trainer.checkpoint("demo", name).save(root / "valid" / name)
            save_state(trainer, root / "valid" / f"{name}.state")
        self.tables = dict(_tables(root / "valid", [(f"u{u}", f"i{i}") for u, i in zip(users, items, strict=True)]))
        self.before = self.outside()

    def trainer(self, config: Config) -> Trainer:
        return Trainer(config, self.split, 0, torch.device("cpu"))

    def outside(self) -> dict[str, tuple[int, int]]:
        """Size and modification time of all files outside the folder of the case."""
        own = (self.case, self.root / "scratch")
        paths = [path for top in self.root.iterdir() if top not in own for path in (top, *top.rglob("*"))]
        return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths}

    def run(self, seed: int, number: int) -> tuple[str, str]:
        """Runs a case. Returns (type of file, outcome): "read", "refused" or a description of the violation."""
        rng = random.Random(f"{seed}:{number}")
        kind = list(KINDS)[number % len(KINDS)]
        shutil.rmtree(self.case, ignore_errors=True)
        self.case.mkdir()
        before, started = memory_mb(os.getpid(), "VmRSS"), time.perf_counter()
        Path("/proc/self/clear_refs").write_text("5")  # reset the peak memory
        attempt = KINDS[kind](rng, self)
        try:
            attempt()
            outcome = "read"
        except SDiffError as error:
            outcome = "refused" if len(str(error)) < LONGEST else f"an error of {len(str(error)):,} characters"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"[:300]
        seconds, megabytes = time.perf_counter() - started, memory_mb(os.getpid(), "VmHWM") - before
        if seconds > SECONDS:
            outcome = f"{seconds:.0f} seconds"
        if megabytes > MEGABYTES:
            outcome = f"{megabytes} MB"
        if self.outside() != self.before:
            outcome = f"written outside: {sorted(self.outside().items() ^ self.before.items())}"[:300]
            self.before = self.outside()
        return kind, outcome


def checkpoint(rng: random.Random, box: Box) -> Callable[[], Any]:
    """A checkpoint with a damaged file and a corrected checksum, read as by the app."""
    folder = box.case / "stranger"
    shutil.copytree(box.root / "valid" / rng.choice(list(MODELS)), folder)
    [weights] = folder.glob("model-*")
    card, part = folder / "config.json", rng.randrange(10)
    if part < 4:
        weights.write_bytes(of_tensors(rng, weights.read_bytes()))
        text = card.read_text().replace(json.loads(card.read_text())["weights"]["sha256"], _sha256(weights))
        card.write_text(text)
    elif part < 8:
        card.write_bytes(of_json(rng, card.read_bytes()))
    elif part == 8 and (folder / "metrics.json").is_file():
        (folder / "metrics.json").write_bytes(of_json(rng, (folder / "metrics.json").read_bytes()))
    else:
        victim = rng.choice((weights, card))
        victim.unlink()
        if (target := rng.choice(("/dev/zero", "/dev/stdin", "../../outside", "fifo", "nowhere"))) == "fifo":
            os.mkfifo(victim)
        else:
            victim.symlink_to(target)

    def read() -> None:
        listed = state.checkpoints("demo")
        Recommender.load(folder, torch.device("cpu")).recommend(["i1"], 3)
        if "stranger" in listed:
            pickers.model_card("demo", "stranger")

    return read


def run_state(rng: random.Random, box: Box) -> Callable[[], Any]:
    """A run that is resumed from a damaged training state."""
    name = rng.choice(list(MODELS))
    path = box.case / "training.safetensors"
    path.write_bytes(of_tensors(rng, (box.root / "valid" / f"{name}.state").read_bytes()))

    def read() -> None:
        trainer = box.trainer(MODELS[name].override({"epochs": 2} if name != "instant" else {}))
        resume(trainer, path)
        trainer.fit()

    return read


def table(rng: random.Random, box: Box) -> Callable[[], Any]:
    """An upload with random options that is previewed, saved and opened as by the app."""
    name = rng.choice(list(box.tables))
    path, items = box.case / name, box.case / "titles.csv"
    if rng.random() < 0.5:
        path.write_bytes(of_table(rng, box.tables[name]))
    else:
        of_columns(rng, box.root / "valid" / "x.csv", path)
    titles = b"item,title,year,genres,more\n" + b"".join(b"i%d,Heat (1995),1995,a|b,x\n" % n for n in range(30))
    items.write_bytes(of_table(rng, titles) if rng.random() < 0.5 else titles)
    options: dict[str, Any] = {"skip_faulty": rng.random() < 0.7}
    if rng.random() < 0.2:
        options["encoding"] = rng.choice(ENCODINGS)
    if rng.random() < 0.2:
        options["delimiter"] = rng.choice((";", "::", "'", "\\", "\n", "xyzxyz", "\0", "é"))
    if rng.random() < 0.2:
        forms = ("%d/%m/%Y", "%m/%d/%Y %I:%M:%S %p", "s", "ns", "%Q", "%", "x" * 300, "'", "%c%c%c")
        options["timestamp_format"] = rng.choice(forms)
    if rng.random() < 0.2:
        options |= {
            **{f"items_{role}": rng.choice(("", "-", "item", "title", "nobody")) for role in ("id", "title", "genres")},
            "items_delimiter": rng.choice(("", ",", "\\t", "::")),
            "items_encoding": rng.choice(("", "gb18030", "utf-16-le", "utf-7", "idna")),
            "items_names": rng.choice(((), ("item", "title"), ("item", "'", '"', "4", "5"))),
        }
    if rng.random() < 0.1:
        options["names"] = rng.choice(
            (("user", "item"), ("user", "item", "'", '"'), ("user",) * 2, ("item", "user", ""))
        )
    if rng.random() < 0.1:
        options |= {
            "core": rng.choice((0, -1, 2, 99, 10**20)),
            "min_rating": rng.choice((3, -1e308, float("nan"), float("inf"))),
        }

    def read() -> None:
        reading = Reading(**options)
        with suppress(SDiffError):
            preview(path, reading)
        tables = path, items if rng.random() < 0.5 else None, reading
        opened = state.opened_here(partial(store.keep, *tables, box.case / "uploads"))
        key = opened.dataset.key
        state.keep_open(key, opened)
        opened.catalog.rows(opened.catalog.search("heat"))
        user = opened.dataset.split.users.ids[0]
        ranking.recommend(Query(key, state.INSTANT, user, k=3))

    return read


def download(rng: random.Random, box: Box) -> Callable[[], Any]:
    """A downloaded archive."""
    data, folder = archive(rng, MEMBERS), box.case / "set"
    expected = Archive("https://x/x.zip", 1 << 20, {name: Path(name).name for name in MEMBERS})

    def write(client: Any, archive: Archive, part: Path, note: Any, progress: Any) -> None:
        part.write_bytes(data)

    def read() -> None:
        with mock.patch.object(fetching, "_download", write):
            fetch(expected, folder)
        if {path.name for path in folder.iterdir()} != set(expected.names) or any(
            p.is_symlink() for p in folder.iterdir()
        ):
            raise AssertionError(f"{list(folder.iterdir())} was unpacked")

    return read


KINDS = {"checkpoint": checkpoint, "table": table, "state": run_state, "archive": download}


def _tables(folder: Path, pairs: list[tuple[str, str]]) -> Iterator[tuple[str, bytes]]:
    """(file name, contents) of the same rows in every format."""
    rows = [(user, item, n % 5 + 1, 1_600_000_000 + n) for n, (user, item) in enumerate(pairs)]
    text = "user,item,rating,timestamp\n" + "".join(f"{u},{i},{r},{t}\n" for u, i, r, t in rows)
    objects = [json.dumps(dict(zip(HEADER, row, strict=True))) for row in rows]
    days = [datetime.fromtimestamp(t + 90_000 * n, UTC) for n, (*_, t) in enumerate(rows)]
    dated = [(*row[:3], f"{day:%d/%m/%Y %H:%M}") for row, day in zip(rows, days, strict=True)]
    (folder / "x.csv").write_text(text)
    yield "x.csv", text.encode()
    yield "nobody.csv", text.partition("\n")[2].encode()
    yield "dates.csv", ("user,item,rating,timestamp\n" + "".join(f"{u},{i},{r},{t}\n" for u, i, r, t in dated)).encode()
    yield "quoted.tsv", ("user\titem\n" + "".join(f'"{u}"\t"{i}"\n' for u, i, *_ in rows)).encode()
    yield "lines.csv", ("user,item,note\n" + "".join(f'{u},{i},"a\n""b"""\n' for u, i, *_ in rows)).encode()
    yield "aligned.txt", "".join(f"{u:<8}{i:>8}{r:>4}{t:>12}\n" for u, i, r, t in [HEADER, *rows]).encode()
    yield "wide.csv", text.encode("utf-16-le")
    yield "pretty.json", json.dumps([dict(zip(HEADER, row, strict=True)) for row in rows], indent=1).encode()
    yield "joined.json", "".join(objects).encode()
    yield "x.tsv", text.replace(",", "\t").encode()
    yield "x.jsonl", "\n".join(objects).encode()
    yield "x.json", f"[{','.join(objects)}]".encode()
    yield "x.csv.gz", gzip.compress(text.encode(), mtime=0)
    for codec in ("uncompressed", "snappy", "zstd"):
        file = folder / f"{codec}.parquet"
        duckdb.sql(f"COPY (FROM read_csv('{folder / 'x.csv'}')) TO '{file}' (CODEC '{codec}')")
        yield file.name, file.read_bytes()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
