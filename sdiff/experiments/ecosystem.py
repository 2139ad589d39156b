"""S-Diff beside implicit, LensKit and RecTools on the same data, each through its own interface.

    pip install implicit lenskit "rectools[torch]" "pyarrow<24"
    python -m sdiff.experiments.ecosystem --dataset ml-latest-small --save

Every model is a function that takes a log and returns lists, written as the documentation of its library suggests.
Its settings are chosen from a small grid by recall@20 on the validation part, with the training part as the log. The
best ones are trained again on both parts, and tested on the test part. So no list contains an item of either part.
S-Diff's presets have no grid; `Recommender.fit` itself holds out the end of each history to choose the epochs.

Each model runs in a process of its own. Seconds are those of the last training and its lists, without the choice of
settings; memory is the peak of the process, with Python, its libraries and the log. Lines are those of the function.
Libraries that are not installed are left out. The last line is JSON; --save writes it to benchmarks/results.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import product
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sdiff import Recommender
from sdiff.base.device import best_device, device_name, peak_memory_mb
from sdiff.data.datasets import load_dataset
from sdiff.data.interactions import Interactions, Split
from sdiff.evaluation.metrics import METRICS
from sdiff.experiments.record import report, script_parser, versions
from sdiff.training.trainer import CRITERION

if TYPE_CHECKING:
    import pandas as pd

K, CUTOFFS = 20, (10, 20)
SHOWN = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


def implicit_als(log: pd.DataFrame, users: list[str], k: int, **settings: Any) -> pd.DataFrame:
    import pandas as pd
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    user, user_ids = pd.factorize(log["user_id"])
    item, item_ids = pd.factorize(log["item_id"])
    matrix = csr_matrix((np.ones(len(log), np.float32), (user, item)))
    model = AlternatingLeastSquares(**settings, random_state=0)
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

    dataset = Dataset.construct(log.assign(weight=1).rename(columns={"timestamp": "datetime"}))
    model = EASEModel(**settings).fit(dataset)
    return model.recommend(users=users, dataset=dataset, k=k, filter_viewed=True)


def rectools_sasrec(log: pd.DataFrame, users: list[str], k: int, **settings: Any) -> pd.DataFrame:
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    torch.manual_seed(0)
    dataset = Dataset.construct(log.assign(weight=1).rename(columns={"timestamp": "datetime"}))
    model = SASRecModel(**settings).fit(dataset)
    return model.recommend(users=users, dataset=dataset, k=k, filter_viewed=True)


def s_diff(log: pd.DataFrame, users: list[str], k: int, **settings: Any) -> pd.DataFrame:
    model = Recommender.fit(log, **settings)
    return model.recommend(users=users, k=k)


@dataclass(frozen=True)
class Model:
    """A model of a library: the function that makes its lists, and the values of its settings to choose from."""

    library: str
    lists: Callable[..., pd.DataFrame]
    grid: dict[str, tuple[Any, ...]]
    order: bool = False  # whether it uses the order of interactions

    def settings(self) -> list[dict[str, Any]]:
        return [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]


MODELS = {
    "implicit ALS": Model(
        "implicit", implicit_als, {"factors": (32, 64, 128), "regularization": (0.01, 1.0), "alpha": (1.0, 5.0)}
    ),
    "implicit BPR": Model("implicit", implicit_bpr, {"factors": (64, 128), "iterations": (100, 300)}),
    "LensKit ItemKNN": Model("lenskit", lenskit_item_knn, {"max_nbrs": (10, 20, 50, 100)}),
    "LensKit EASE": Model("lenskit", lenskit_ease, {"regularization": (50.0, 100.0, 200.0, 400.0, 800.0)}),
    "RecTools EASE": Model("rectools", rectools_ease, {"regularization": (50.0, 100.0, 200.0, 400.0, 800.0)}),
    "RecTools SASRec": Model(
        "rectools", rectools_sasrec, {"n_factors": (64, 128), "epochs": (10, 30), "deterministic": (True,)}, order=True
    ),
    **{
        f"S-Diff {name}": Model("sdiff", s_diff, {"preset": (name,)}, order=name == "temporal")
        for name in ("filter", "instant", "tuned", "temporal")
    },
}


def main() -> None:
    parser = script_parser(__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL")
    arguments = parser.parse_args()
    ordered = load_dataset(arguments.dataset).split.train.ordered
    chosen = {name: MODELS[name] for name in arguments.models if ordered or not MODELS[name].order}
    missing = {model.library for model in chosen.values() if not find_spec(model.library)}
    if missing:
        print(f"not installed, and left out: {', '.join(sorted(missing))}")
    rows = []
    for name, model in chosen.items():
        if model.library not in missing:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows.append({"model": name, **pool.submit(measured, name, arguments.dataset).result()})
            print(f"{name:<16}", *(f"{key} {rows[-1]['test'][key]:.4f}" for key in SHOWN), flush=True)
    split = load_dataset(arguments.dataset).split
    result: dict[str, Any] = {
        "dataset": arguments.dataset,
        "data_fingerprint": split.fingerprint,
        "command": f"python -m sdiff.experiments.ecosystem --dataset {arguments.dataset}"
        + (f" --models {' '.join(map(repr, chosen))}" if arguments.models != list(MODELS) else ""),
        "versions": versions("torch", "numpy", *sorted({MODELS[row["model"]].library for row in rows})),
        "device": device_name(best_device()),
        "cores": os.cpu_count(),
        "rows": rows,
    }
    report(result, f"ecosystem-{arguments.dataset}", arguments.save)


def measured(name: str, key: str) -> dict[str, Any]:
    """Test metrics, seconds, peak memory and lines of code of a model with the settings that are best on validation."""
    model, split = MODELS[name], load_dataset(key).split
    candidates = model.settings()
    log = frame(split.train)
    best = max(candidates, key=partial(validated, model, split, log)) if len(candidates) > 1 else candidates[0]
    log = frame(split.merged().train)
    users = known(log, split.test)
    started = time.perf_counter()
    lists = model.lists(log, users, K, **best)
    return {
        "library": model.library,
        "order": model.order,
        "settings": best,
        "candidates": len(candidates),
        "test": accuracy(lists, split.test),
        "seconds": round(time.perf_counter() - started, 1),
        "peak memory MB": peak_memory_mb(),
        "lines": lines(model.lists),
    }


def validated(model: Model, split: Split, log: pd.DataFrame, settings: dict[str, Any]) -> float:
    """Recall@20 on the validation part."""
    return accuracy(model.lists(log, known(log, split.valid), K, **settings), split.valid)[CRITERION]


def known(log: pd.DataFrame, held_out: Interactions) -> list[str]:
    """Ids of the users with held-out items who are in the log."""
    logged = set(log["user_id"])
    return [user for user, n in zip(held_out.users.ids, held_out.lengths, strict=True) if n and user in logged]


def frame(part: Interactions) -> pd.DataFrame:
    """The log of a part. As data sets keep only the order of interactions, they are a day apart."""
    import pandas as pd

    users, items = (np.array(vocabulary.ids) for vocabulary in (part.users, part.items))
    return pd.DataFrame(
        {
            "user_id": users[part.rows],
            "item_id": items[part.indices],
            "timestamp": pd.to_datetime(part.positions, unit="D"),
        }
    )


def accuracy(lists: pd.DataFrame, held_out: Interactions) -> dict[str, float]:
    """Means of recall and NDCG over the users with held-out items. A user without a list has no hits.

    Args:
        lists: columns user_id and item_id, with the items of each user from the best to the worst.
    """
    rank = lists.groupby("user_id", sort=False).cumcount().to_numpy()
    users, items = (
        vocabulary.encode(lists[name])
        for vocabulary, name in ((held_out.users, "user_id"), (held_out.items, "item_id"))
    )
    hits = torch.zeros(len(held_out.users), K, dtype=torch.bool)
    n_items = len(held_out.items)
    hits[users, rank] = torch.from_numpy(np.isin(users * n_items + items, held_out.rows * n_items + held_out.indices))
    counts = torch.from_numpy(held_out.lengths)
    hits, counts = hits[counts > 0], counts[counts > 0]
    return {
        f"{name}@{n}": METRICS[name](hits, counts, n).double().mean().item()
        for n in CUTOFFS
        for name in ("recall", "ndcg")
    }


def lines(function: Callable[..., Any]) -> int:
    """Lines of code of a function, without blank lines."""
    return sum(bool(line.strip()) for line in inspect.getsource(function).splitlines())


if __name__ == "__main__":
    main()
