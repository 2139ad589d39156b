"""What the head of the page offers: data sets, models and users, each with a line that describes it."""

from __future__ import annotations

from threading import Condition
from typing import Literal

import numpy as np
from cachetools import LRUCache, cached

from sdiff.app.labels import BASELINE_LABELS, PARTS, RECALL, literal, preset_label
from sdiff.app.query import K
from sdiff.app.state import INSTANT, checkpoints, folder_of, open_dataset, open_model, origin, serve
from sdiff.app.uploads import store
from sdiff.base.errors import SDiffError
from sdiff.base.paths import uploads_dir
from sdiff.data.registry import REGISTRY

Pick = Literal["typical", "random", "heavy", "light"]
TYPICAL = 40  # users of about the median length among whom a typical one is found


def pick_user(dataset: str, pick: Pick) -> str:
    """Id of a user: a `typical` one, random, or among the 10 % with the longest or shortest histories.

    A typical user has a history of about the median length, and an average number of hits with the first model.
    """
    split = open_dataset(dataset).dataset.split
    lengths = split.train.lengths
    present = np.flatnonzero(lengths)
    by_length = present[np.argsort(lengths[present], kind="stable")]
    if pick == "typical":
        middle = len(by_length) // 2
        return _average(dataset, tuple(by_length[max(middle - TYPICAL // 2, 0) : middle + TYPICAL // 2 + 1].tolist()))
    tenth = max(len(present) // 10, 1)
    pool = {"random": present, "heavy": by_length[-tenth:], "light": by_length[:tenth]}[pick]
    return split.users.ids[np.random.default_rng().choice(pool)]


@cached(LRUCache(8), condition=Condition())
def _average(dataset: str, users: tuple[int, ...]) -> str:
    """Id of the user with an average number of hits; the one in the middle if hits cannot be counted."""
    middle = users[len(users) // 2]
    try:
        opened, model = serve(dataset, models(dataset)[0])
    except SDiffError:  # the page will say so
        return open_dataset(dataset).dataset.split.users.ids[middle]
    split = opened.dataset.split
    hits = []
    for user in users:
        id = split.users.ids[user]
        recommended = model.recommend(opened.history(id), K)
        hits.append(len({*recommended.ids} & {*opened.held_out(id)}))
    from_middle = sorted(range(len(users)), key=lambda i: abs(i - len(users) // 2))
    best = min(from_middle, key=lambda i: abs(hits[i] - max(np.mean(hits), 1)))
    return split.users.ids[users[best]]


def data_card(dataset: str) -> str:
    """One-line description of a data set: size, density and terms."""
    opened = open_dataset(dataset).dataset
    split = opened.split
    n = len(split.train) + len(split.valid) + len(split.test)
    users, items = len(split.users), len(split.items)
    facts = [f"{users:,} users", f"{items:,} items", f"{n:,} interactions ({n / users / items:.2%} of all pairs)"]
    if len(split.valid) or len(split.test):
        facts.append(f"{'the last' if split.train.ordered else 'some'} items of each user are held out")
    return " · ".join([*facts, opened.terms])


def model_card(dataset: str, checkpoint: str) -> str:
    """One-line description of a model: metrics and origin."""
    card = open_model(checkpoint, dataset).checkpoint
    origin, metrics = card.provenance, card.metrics
    recalls = [f"{metrics[part]['recall@20']:.1%} on {name}" for part, name in PARTS.items() if part in metrics]
    beside = [
        f"{literal(BASELINE_LABELS.get(str(name), str(name)).partition(' (')[0])} {row['test']['recall@20']:.1%}"
        for name, row in metrics.get("references", {}).items()
        if "test" in row
    ]
    facts = [f"recall@20 (the {RECALL}): {', '.join(recalls)}"] * bool(recalls)
    facts += [f"on test, {', '.join(beside)}"] * bool(beside)
    if checkpoint == INSTANT:
        return " · ".join([*facts, "solved in closed form, not trained"])
    data = "" if origin.dataset == dataset else f" on {literal(origin.dataset)}"
    trained = f"trained{data} for {origin.epoch} epoch{'s'[: origin.epoch != 1]}"
    return " · ".join([*facts, trained, f"seed {origin.seed}", literal(origin.created)])


def models(dataset: str) -> list[str]:
    """Names of the models of a data set, default first: those that ship, those trained here, the closed-form model."""
    return [*checkpoints(dataset), INSTANT]


def model_choices(dataset: str) -> list[tuple[str, str]]:
    """(what the model is and its name, its name) of `models`."""
    return [(model_title(name), name) for name in models(dataset)]


def model_title(name: str, short: bool = False) -> str:
    """What a model is, in everyday words, and its name. `short`: in a word, for the legend of a plot."""
    folder = folder_of(name)
    label = preset_label(name if folder is None else origin(folder, "preset") or "?")
    label = label.partition(":")[0] if short else label
    return label if folder is None else f"{label} · {name}"


def choices(uploaded: list[str]) -> list[tuple[str, str]]:
    """(title, key) of the visitor's uploads, then of the registered data sets that are here."""
    here = [(source.title, key) for key, source in REGISTRY.items() if not source.missing]
    return [*store.choices(uploaded, uploads_dir()), *here]


def missing_choices() -> list[tuple[str, str]]:
    """(title, key) of the registered data sets that are not here."""
    return [(source.title, key) for key, source in REGISTRY.items() if source.missing]
