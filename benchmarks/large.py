"""Time and memory on large catalogs, compared with the ALS of implicit.

    python -m benchmarks.large --size movielens-25m

Synthetic interactions with communities (`communities`). Each part runs in its own process, which reports seconds and
the peak of its resident memory while it works, data included: reading and splitting a Parquet file; the spectrum; the
preset `instant`; the item graph; one epoch of `tuned` and of `temporal`, with a softmax over `NEGATIVES` items and the
hidden ones; the top-20 lists of all users to Parquet, by `instant`, and those of `SOME` users, by `tuned`, which
takes several steps. If implicit is installed, its ALS trains with the same K, and ranks the same users; all sweeps are
alike, so that two are measured and counted as fifteen. The last line is JSON, with the ratios to implicit. Memory is
read from /proc, on Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import scipy.sparse as sp
import torch

from benchmarks.processes import memory_mb
from benchmarks.training import durations, timed, unvalidated
from sdiff.base.device import device_name
from sdiff.base.distributed import ALONE
from sdiff.base.paths import cache_dir
from sdiff.config import preset
from sdiff.data.datasets import Dataset, load_dataset
from sdiff.data.interactions import Interactions, Vocabulary
from sdiff.data.items import untitled
from sdiff.experiments.record import report, script_parser
from sdiff.method.graph import ItemGraph
from sdiff.method.spectrum import cached_basis
from sdiff.serving.recommender import Recommender
from sdiff.serving.shards import write_shards
from sdiff.training.trainer import Trainer

SIZES = {  # users, items, pairs
    "small": (6_000, 3_000, 300_000),
    "amazon-book": (108_822, 94_949, 3_100_000),
    "movielens-25m": (162_000, 59_000, 25_000_000),
    "million-items": (500_000, 1_000_000, 20_000_000),
}
COMMUNITY, OWN = 500, 0.8  # items in a community, and share of a user's pairs in the own one
USERS, ITEMS = 0.4, 0.6  # exponents of the power laws of activity and popularity
TOP, SWEEPS, MEASURED = 20, 15, 2  # items in a list; sweeps of ALS, implicit's default, and how many are measured
NEGATIVES = 4_000
SOME = 10_000  # users whose lists `tuned` makes
RATIOS = {  # the second of two parts or sums of parts is ours
    "ALS / spectrum and instant": (["ALS"], ["spectrum", "instant"]),
    "implicit's lists / ours": (["lists, ALS"], ["lists, instant"]),
}


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--size", default="small", choices=SIZES)
    parser.add_argument("--parts", nargs="+", default=[*PARTS], choices=PARTS, metavar="PART", help="only these parts")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # used by `alone`
    arguments = parser.parse_args()
    if arguments.one:
        return print(json.dumps(measured(arguments.one, SIZES[arguments.size])))
    parts = [part for part in arguments.parts if "ALS" not in part or find_spec("implicit")]
    with tempfile.TemporaryDirectory() as cache:  # for the spectra, which are computed once
        found = {part: alone(cache, part, arguments.size) for part in parts}
    ratios = {
        name: round(sum(found[part]["seconds"] for part in theirs) / sum(found[part]["seconds"] for part in ours), 2)
        for name, (theirs, ours) in RATIOS.items()
        if {*theirs, *ours} <= {part for part, row in found.items() if "seconds" in row}
    }
    result = {
        "command": f"python -m benchmarks.large --size {arguments.size}",
        "users, items, pairs": SIZES[arguments.size],
        "K": preset("instant").K,
        "device": device_name("cpu"),
        "torch": torch.__version__,
        "implicit": version("implicit") if find_spec("implicit") else None,
        "parts": found,
        "ratios": ratios,
    }
    report(result, f"large-{arguments.size}", arguments.save)


def alone(cache: str, part: str, size: str) -> dict[str, Any]:
    """`measured` in a new process, or how that process ended."""
    command = [sys.executable, "-m", "benchmarks.large", "--one", part, "--size", size]
    done = subprocess.run(command, env=os.environ | {"SDIFF_CACHE_DIR": cache}, capture_output=True, text=True)
    row = {"failed": (done.stderr.strip() or f"signal {-done.returncode}")[-300:]}
    if not done.returncode:
        row = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{part:<28}", row, flush=True)
    return row


def measured(part: str, size: tuple[int, int, int]) -> dict[str, float]:
    """Seconds and peak megabytes of one part. Making the data and the model counts towards neither."""
    run = PARTS[part](size)
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak memory (Linux)
    seconds = run()
    return {"seconds": round(seconds, 2), "peak MB": memory_mb(os.getpid(), "VmHWM")}


def communities(n_users: int, n_items: int, n_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Users and items (n_pairs,) of synthetic pairs, in the order of time; pairs may repeat.

    Items are in communities of about `COMMUNITY`. Each user has a community, from which a share `OWN` of the items is
    drawn, and the rest from all items. Activity and popularity follow power laws, the latter also within a community.
    """
    rng = np.random.default_rng(0)
    n_communities = -(-n_items // COMMUNITY)

    def ranks(n: int, exponent: float) -> np.ndarray:
        """Ranks (n_pairs,) below n, with probabilities ~ rank^-exponent, by the inverse of their distribution."""
        return (n * rng.random(n_pairs) ** (1 / (1 - exponent))).astype(np.int64)

    users = ranks(n_users, USERS)
    own = rng.integers(n_communities, size=n_users)[users]
    inside = ranks(COMMUNITY, ITEMS) * n_communities + own  # the popular items come first in every community
    items = np.where(rng.random(n_pairs) < OWN, inside, ranks(n_items, ITEMS))
    return users, np.minimum(items, n_items - 1)


def train_part(size: tuple[int, int, int]) -> Interactions:
    """The pairs of `communities` as a training part, in order."""
    n_users, n_items, _ = size
    users, items = (Vocabulary(tuple(map(str, range(n)))) for n in (n_users, n_items))
    return Interactions.from_pairs(users, items, *communities(*size), ordered=True)


def reading(size: tuple[int, int, int]) -> Callable[[], float]:
    path = cache_dir() / "pairs.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    user, item = communities(*size)
    timestamp = np.arange(len(user)) + 1_500_000_000
    with duckdb.connect() as con:
        con.register("pairs", {"user": user, "item": item, "timestamp": timestamp})
        con.execute(f"COPY pairs TO '{path}' (FORMAT parquet)")
    return lambda: timed(lambda: load_dataset(str(path)))


def spectrum(size: tuple[int, int, int]) -> Callable[[], float]:
    train, config = train_part(size), preset("instant")
    return lambda: timed(lambda: cached_basis(train, config.K, p=config.user_power))


def fit(name: str, size: tuple[int, int, int]) -> Callable[[], float]:
    """From the interactions to a model: graphs and training, with the spectrum in the cache."""
    split = unvalidated(train_part(size))
    return lambda: timed(lambda: Trainer(preset(name), split, 0, "cpu").fit())


def item_graph(size: tuple[int, int, int]) -> Callable[[], float]:
    train = train_part(size)
    graph = ItemGraph(len(train.items), preset("tuned").graph_entries)
    return lambda: timed(lambda: graph.build(train))


def epoch(name: str, size: tuple[int, int, int]) -> Callable[[], float]:
    """One epoch, without the spectrum and the graph."""
    config = preset(name).override({"epochs": 1, "folds": 0, "negatives": NEGATIVES})
    trainer = Trainer(config, unvalidated(train_part(size)), 0, "cpu")
    return lambda: next(durations(trainer))


def lists(name: str, size: tuple[int, int, int]) -> Callable[[], float]:
    split = unvalidated(train_part(size))
    trainer = Trainer(preset(name).override({"epochs": 0, "folds": 0} if name == "tuned" else {}), split, 0, "cpu")
    if name != "tuned":
        trainer.fit()
    model = Recommender(trainer.checkpoint("pairs", name), "cpu")
    if name == "tuned":
        split = unvalidated(split.train.where(split.train.rows < SOME))
    dataset = Dataset("pairs", "pairs", "", split, untitled(split.items))

    def run() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return timed(lambda: write_shards(Path(folder), model, dataset, TOP, model.config, 0, False, ALONE))

    return run


def als(size: tuple[int, int, int], ranks: bool = False) -> Callable[[], float]:
    """Seconds of training implicit's ALS with K factors, or of the lists of all users."""
    from implicit.als import AlternatingLeastSquares  # pyright: ignore[reportMissingImports]

    X = sp.csr_matrix(train_part(size).matrix().astype(np.float32))  # implicit takes no sparse arrays
    model = AlternatingLeastSquares(preset("instant").K, iterations=1 if ranks else MEASURED, random_state=0)
    if not ranks:
        return lambda: timed(lambda: model.fit(X, show_progress=False)) * SWEEPS / MEASURED
    model.fit(X, show_progress=False)
    return lambda: timed(lambda: model.recommend(np.arange(size[0]), X, N=TOP))


PARTS: dict[str, Callable[[tuple[int, int, int]], Callable[[], float]]] = {
    "read": reading,
    "spectrum": spectrum,
    "instant": partial(fit, "instant"),
    "graph": item_graph,
    "epoch, tuned": partial(epoch, "tuned"),
    "epoch, temporal": partial(epoch, "temporal"),
    "lists, instant": partial(lists, "instant"),
    f"lists of {SOME:,} users, tuned": partial(lists, "tuned"),
    "ALS": als,
    "lists, ALS": partial(als, ranks=True),
}


if __name__ == "__main__":
    main()
