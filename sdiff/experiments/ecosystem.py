"""S-Diff beside implicit, LensKit and RecTools on the same data, each through its own interface.

    pip install implicit lenskit "rectools[torch]" "pyarrow<24"
    python -m sdiff.experiments.ecosystem --dataset ml-latest-small --save

Every model is a function that takes a log and returns lists, written as the documentation of its library suggests.
Its settings are chosen from a grid by recall@20 on the validation part, with the training part as the log. The best
ones are trained again on both parts, and tested on the test part. So no list contains an item of the training or
validation part. S-Diff's presets have no grid; they were chosen on ml-1m-diffrec and the demo data. `Recommender.fit`
holds out a part of the log by itself, to choose the epochs and, for `auto`, the preset.

The choice and the test run in processes of their own. Seconds are those of the last training and its lists, with the
import of the library; those of the choice stand apart. Memory is the peak of the last process, with Python, torch and
the log. Lines are those of the function, without imports. There is one seed, and implicit's BPR is not deterministic.

Rows are saved one by one, in place of former ones of the same data; libraries that are not installed are left out. The
last line is JSON; --save writes it to benchmarks/results.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sdiff.base.device import best_device, device_name, peak_memory_mb
from sdiff.base.paths import OUTPUT
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Interactions, Split
from sdiff.evaluation.metrics import METRICS
from sdiff.experiments.record import in_process, report, run_script, script_parser, versions
from sdiff.experiments.reproduce import read
from sdiff.training.trainer import CRITERION

if TYPE_CHECKING:
    import pandas as pd

K, CUTOFFS = 20, (10, 20)
SHOWN = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


def implicit_als(log: pd.DataFrame, users: list[str], k: int, **settings: Any) -> pd.DataFrame:
    import pandas as pd
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix
    from threadpoolctl import threadpool_limits

    user, user_ids = pd.factorize(log["user_id"])
    item, item_ids = pd.factorize(log["item_id"])
    matrix = csr_matrix((np.ones(len(log), np.float32), (user, item)))
    model = AlternatingLeastSquares(**settings, random_state=0)
    with threadpool_limits(1, "blas"):
        model.fit(matrix, show_progress=False)
    rows = user_ids.get_indexer(users)
    items, _ = model.recommend(rows, matrix[rows], N=k)
    return pd.DataFrame({"user_id": np.repeat(users, k), "item_id": item_ids[items.ravel()]})


def implicit_bpr(log: pd.DataFrame, users: list[str], k: int, **settings: Any) -> pd.DataFrame:
    import pandas as pd
    from implicit.bpr import BayesianPersonalizedRanking
    from scipy.sparse import csr_matrix

    user, user_ids = pd.factorize(log["user_id"])
    item, item_ids = pd.factorize(log["item_id"])
    matrix = csr_matrix((np.ones(len(log), np.float32), (user, item)))
    model = BayesianPersonalizedRanking(**settings, random_state=0)
    model.fit(matrix, show_progress=False)
    rows = user_ids.get_indexer(users)
    items, _ = model.recommend(rows, matrix[rows], N=k)
    return pd.DataFrame({"user_id": np.repeat(users, k), "item_id": item_ids[items.ravel()]})


def lenskit_item_knn(log: pd.DataFrame, users: list[str], k: int, **settings: Any) -> pd.DataFrame:
    from lenskit.batch import recommend
    from lenskit.data import from_interactions_df
    from lenskit.knn import ItemKNNScorer
    from lenskit.pipeline import topn_pipeline

    pipe = topn_pipeline(ItemKNNScorer(**settings, feedback="implicit"))
    pipe.train(from_interactions_df(log))
    return recommend(pipe, users, n=k, n_jobs=1).to_df()


def lenskit_ease(log: pd.DataFrame, users: list[str], k: int, **settings: Any) -> pd.DataFrame:
    from lenskit.batch import recommend
    from lenskit.data import from_interactions_df
    from lenskit.knn import EASEScorer
    from lenskit.pipeline import topn_pipeline

    pipe = topn_pipeline(EASEScorer(**settings))
    pipe.train(from_interactions_df(log))
    return recommend(pipe, users, n=k, n_jobs=1).to_df()


def rectools_ease(log: pd.DataFrame, users: list[str], k: int, **settings: Any) -> pd.DataFrame:
    from rectools.dataset import Dataset
    from rectools.models import EASEModel

    dataset = Dataset.construct(log.assign(weight=1, datetime=log.get("timestamp", "2000-01-01")))
    model = EASEModel(**settings).fit(dataset)
    return model.recommend(users=users, dataset=dataset, k=k, filter_viewed=True)


def rectools_sasrec(log: pd.DataFrame, users: list[str], k: int, **settings: Any) -> pd.DataFrame:
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    torch.manual_seed(0)
    dataset = Dataset.construct(log.assign(weight=1, datetime=log["timestamp"]))
    model = SASRecModel(**settings).fit(dataset)
    return model.recommend(users=users, dataset=dataset, k=k, filter_viewed=True)


def s_diff(log: pd.DataFrame, users: list[str], k: int, **settings: Any) -> pd.DataFrame:
    from sdiff import Recommender

    model = Recommender.fit(log, **settings)
    return model.recommend(users=users, k=k)


@dataclass(frozen=True)
class Model:
    """A model of a package: the function that makes its lists, and the values of its settings to choose from."""

    package: str
    lists: Callable[..., pd.DataFrame]
    grid: dict[str, tuple[Any, ...]]
    order: bool = False  # whether it uses the order of interactions

    def settings(self) -> list[dict[str, Any]]:
        return [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]


RIDGE = (50.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0)
MODELS = {
    "implicit ALS": Model(
        "implicit",
        implicit_als,
        {"factors": (32, 64, 128), "regularization": (0.01, 1.0, 10.0), "alpha": (1.0, 5.0, 20.0)},
    ),
    "implicit BPR": Model(
        "implicit",
        implicit_bpr,
        {"factors": (64, 128), "learning_rate": (0.01, 0.05), "regularization": (0.01, 0.1), "iterations": (100, 300)},
    ),
    "LensKit ItemKNN": Model("lenskit", lenskit_item_knn, {"max_nbrs": (10, 20, 50, 100)}),
    "LensKit EASE": Model("lenskit", lenskit_ease, {"regularization": RIDGE}),
    "RecTools EASE": Model("rectools", rectools_ease, {"regularization": RIDGE}),
    "RecTools SASRec": Model("rectools", rectools_sasrec, {"n_factors": (64,), "epochs": (30, 100, 300)}, order=True),
    **{
        f"S-Diff {name}": Model("sdiff", s_diff, {"preset": (name,)}, order=name in ("temporal", "auto"))
        for name in ("filter", "instant", "tuned", "temporal", "auto")
    },
}


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL")
    arguments = parser.parse_args()
    split = load_dataset(arguments.dataset).split
    chosen = {name: MODELS[name] for name in arguments.models if split.train.ordered or not MODELS[name].order}
    missing = {model.package for model in chosen.values() if not find_spec(model.package)}
    if missing:
        print(f"not installed, and left out: {', '.join(sorted(missing))}")
    name = f"ecosystem-{arguments.dataset}"
    identity = {"dataset": arguments.dataset, "data_fingerprint": split.fingerprint}
    former = read(OUTPUT / f"{name}.json") or {}
    rows = {row["model"]: row for row in former.get("rows", ()) if identity.items() <= former.items()}
    for key, model in chosen.items():
        if model.package in missing:
            continue
        rows[key] = {"model": key, **measured(key, arguments.dataset)}
        print(f"{key:<16}", *(f"{metric} {rows[key]['test'][metric]:.4f}" for metric in SHOWN), flush=True)
        result: dict[str, Any] = {
            **identity,
            "command": f"python -m sdiff.experiments.ecosystem --dataset {arguments.dataset}",
            "versions": versions("torch", "numpy", *sorted({MODELS[name].package for name in rows})),
            "device": device_name(best_device()),
            "cores": os.cpu_count(),
            "rows": [rows[name] for name in MODELS if name in rows],
        }
        report(result, name, arguments.save)


def measured(name: str, key: str) -> dict[str, Any]:
    """Test metrics, seconds, peak memory and lines of code of a model with the settings that are best on validation."""
    model = MODELS[name]
    candidates = model.settings()
    started = time.perf_counter()
    best = in_process(chosen_settings, name, key) if len(candidates) > 1 else candidates[0]
    return {
        "package": model.package,
        "order": model.order,
        "settings": best,
        "candidates": len(candidates),
        "seconds of the choice": round(time.perf_counter() - started, 1) if len(candidates) > 1 else None,
        "lines": lines(model.lists),
        **in_process(tested, name, key, best),
    }


def chosen_settings(name: str, key: str) -> dict[str, Any]:
    """The settings of a model with the highest recall@20 on the validation part."""
    model, split = MODELS[name], load_dataset(key).split
    return max(model.settings(), key=partial(validated, model, split, frame(split.train)))


def tested(name: str, key: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Test metrics, seconds and peak memory of a model that is trained on the training and validation parts."""
    split = load_dataset(key).split
    log = frame(split.merged().train)
    users = known(log, split.test)
    started = time.perf_counter()
    lists = MODELS[name].lists(log, users, K, **settings)
    seconds = time.perf_counter() - started
    return {"test": accuracy(lists, split.test), "seconds": round(seconds, 1), "peak memory MB": peak_memory_mb()}


def validated(model: Model, split: Split, log: pd.DataFrame, settings: dict[str, Any]) -> float:
    """Recall@20 on the validation part."""
    return accuracy(model.lists(log, known(log, split.valid), K, **settings), split.valid)[CRITERION]


def known(log: pd.DataFrame, held_out: Interactions) -> list[str]:
    """Ids of the users with held-out items who are in the log."""
    logged = set(log["user_id"])
    return [user for user, n in zip(held_out.users.ids, held_out.lengths, strict=True) if n and user in logged]


def frame(part: Interactions) -> pd.DataFrame:
    """The log of a part. If its interactions have an order, they are a day apart."""
    import pandas as pd

    users, items = (np.array(vocabulary.ids) for vocabulary in (part.users, part.items))
    log = pd.DataFrame({"user_id": users[part.rows], "item_id": items[part.indices]})
    return log.assign(timestamp=pd.to_datetime(part.positions, unit="D")) if part.ordered else log


def accuracy(lists: pd.DataFrame, held_out: Interactions) -> dict[str, float]:
    """Means of recall and NDCG over the users with held-out items. A user without a list has no hits.

    Args:
        lists: columns user_id and item_id, with the items of each user from the best to the worst.
    """
    rank = lists.groupby("user_id", sort=False).cumcount().to_list()
    users, items = held_out.users.encode(lists["user_id"], "user"), held_out.items.encode(lists["item_id"])
    hits = torch.zeros(len(held_out.users), K, dtype=torch.bool)
    n_items = len(held_out.items)
    hits[users, rank] = torch.tensor(np.isin(users * n_items + items, held_out.rows * n_items + held_out.indices))
    counts = torch.tensor(held_out.lengths)
    hits, counts = hits[counts > 0], counts[counts > 0]
    return {
        f"{name}@{n}": METRICS[name](hits, counts, n).double().mean().item()
        for n in CUTOFFS
        for name in ("recall", "ndcg")
    }


def lines(function: Callable[..., Any]) -> int:
    """Lines of code of a function, without imports and blank lines."""
    written = (line.strip() for line in inspect.getsource(function).splitlines())
    return sum(bool(line) and not line.startswith(("import ", "from ")) for line in written)


if __name__ == "__main__":
    run_script(main)
