"""Data frames for the `Recommender`: training on them, recommending for many users at once, and evaluating."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sdiff.base.device import Device
from sdiff.base.errors import SDiffError, brief
from sdiff.config import AUTO, Config, preset
from sdiff.data.datasets import FRAME
from sdiff.data.frames import WHOLE, Form, is_frame, read_frame, titles_of
from sdiff.data.interactions import Interactions, Split, Unknown, Vocabulary
from sdiff.data.readers import split_of
from sdiff.data.reading import Reading
from sdiff.data.roles import PAIR
from sdiff.evaluation.baselines import Scorer
from sdiff.evaluation.report import Evaluation, assess
from sdiff.serving.export import Rows, ranked
from sdiff.training import auto
from sdiff.training.checkpoint import Checkpoint
from sdiff.training.trainer import Trainer
from sdiff.training.update import continued, update

if TYPE_CHECKING:
    from sdiff.serving.recommender import Recommender

FORMAT = ("names", "delimiter", "encoding", "items")  # options of files only, or their beginnings
OF_ITEMS = ("items_id", "items_title")  # which name columns of frames, too


@dataclass(frozen=True, eq=False)
class Attached:
    """Histories and titles that a model uses in addition to its checkpoint, which contains neither.

    Attributes:
        histories: histories of known users, indexed by the items of the model; None if no users are known.
        titles: titles by item id.
        form: library, and id columns, of the frames that the model returns.
        reading: options for reading frames.
    """

    histories: Interactions | None = None
    titles: Mapping[str, str] = field(default_factory=dict)
    form: Form = Form()
    reading: Reading = Reading()


NOTHING = Attached()


def attached(items: Vocabulary, interactions: Any, titles: Any, unknown: Unknown, options: dict[str, Any]) -> Attached:
    """Reads a frame of interactions and one of titles; each may be None.

    Args:
        items: those of the model.
        unknown: "ignore" to skip interactions with other items.
        options: of `Reading`, without those of file formats.
    """
    reading = reading_of(options)
    if interactions is None:
        return Attached(None, titles_of(items, titles, None, reading), reading=reading)
    histories, form, report = read_frame(interactions, reading)
    by_id = titles_of(items, titles, interactions, reading, report)
    return Attached(over(items, histories, unknown), by_id, form, reading)


def reading_of(options: dict[str, Any]) -> Reading:
    """The options of `Reading` that concern a frame. Raises SDiffError for others."""
    known = [f.name for f in fields(Reading) if f.name in OF_ITEMS or not f.name.startswith(FORMAT)]
    if unknown := [name for name in options if name not in known]:
        raise SDiffError(f"There is no option {', '.join(unknown)} for a frame: the options are {', '.join(known)}.")
    named: dict[str, Any] = {role: str(name) for role, name in options.items() if role in PAIR and type(name) is int}
    return Reading(**options | named)  # columns of a frame may be named by numbers


def fitted(
    interactions: Interactions, reading: Reading, chosen: str | Config, seed: int, minutes: float, device: Device | None
) -> Checkpoint:
    """Trains on all interactions, for as many epochs as are best on the last fifth of each history.

    The preset "auto" is chosen on the same fifth.
    """
    split = _with_last_fifth_as_validation(interactions, reading)
    if chosen == AUTO:
        best, name = auto.best_of(split, seed, minutes, device)
        config, epochs, settings = best.config, best.best.epoch, best.inference_settings
    else:
        config, name = (chosen, "") if isinstance(chosen, Config) else (preset(chosen), chosen)
        epochs, settings = config.epochs, {}
        if config.denoiser == "mlp" and len(split.valid):
            epochs = Trainer(config, split, seed, device).fit().best.epoch
    trainer = Trainer(config.override({"epochs": epochs}), _without_held_out(interactions), seed, device)
    trainer.inference_settings = settings
    return trainer.fit().checkpoint(FRAME, name)


def updated(model: Recommender, interactions: Any, titles: Any, seed: int) -> tuple[Checkpoint, Attached]:
    """What `Recommender.update` makes a model of: a checkpoint, and the histories and titles that it then knows."""
    given = model.attached
    histories, form, report = read_frame(interactions, replace(given.reading, core=1))
    new_items = histories.items
    epochs = None
    if given.histories is not None:
        former, form = given.histories, given.form
        histories = former.joined(histories)
        # Only new interactions can be held out: the model was trained on the others.
        valid = _with_last_fifth_as_validation(histories, given.reading).valid
        valid = valid.without(former.among(valid.items, valid.users))
        split = Split(histories.without(valid), valid, histories.empty)
        if model.config.denoiser == "mlp" and len(valid):
            epochs = update(model.checkpoint, split, seed, model.device).fit().best.epoch
    trainer = update(model.checkpoint, _without_held_out(histories), seed, model.device, epochs=epochs).fit()
    checkpoint = continued(trainer, model.checkpoint, FRAME)
    by_id = {**given.titles, **titles_of(new_items, titles, interactions, given.reading, report)}
    return checkpoint, Attached(histories.among(checkpoint.items), by_id, form, given.reading)


def _with_last_fifth_as_validation(interactions: Interactions, reading: Reading) -> Split:
    split = split_of(interactions, reading).merged()
    return Split(split.train, split.test, split.valid)


def _without_held_out(interactions: Interactions) -> Split:
    return Split(interactions, interactions.empty, interactions.empty)


def recommended(
    model: Recommender,
    users: Iterable[str | int] | None,
    histories: Any,
    k: int,
    config: Config,
    seed: int,
    exclude_seen: bool,
    allowed: np.ndarray | None,
    unknown: Unknown,
) -> Any:
    """The frame of `Recommender.recommend`: the lists of `users`, by default of all that have one of `histories`."""
    if not isinstance(users, Iterable | None):
        raise SDiffError(f"Give users as a list, such as [{brief(users)}], not as a single id.")
    pasts, form = histories_of(model, histories, unknown)
    who = np.arange(len(pasts.users)) if users is None else pasts.users.encode(users, "user", unknown)
    parts = [*ranked(model, pasts, k, config, seed, users=who, exclude_seen=exclude_seen, allowed=allowed)]
    rows = Rows(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Rows)))
    user_ids, item_ids = (np.array(ids, dtype=object) for ids in (pasts.users.ids, model.items.ids))
    columns: dict[str, Any] = {"score": rows.score, "rank": rows.rank}
    if model.attached.titles:
        columns["title"] = [model.attached.titles.get(id) for id in item_ids[rows.item]]
    return form.build(user_ids[rows.user], item_ids[rows.item], columns)


def evaluated(
    model: Recommender,
    test: Any,
    histories: Any,
    k: int | Sequence[int],
    score: Scorer,
    unknown: Unknown,
) -> Evaluation:
    """The result of `Recommender.evaluate`."""
    pasts, _ = histories_of(model, histories, unknown)
    held_out = over(model.items, read_frame(test, replace(model.attached.reading, core=1))[0], unknown)
    known = np.array([id in pasts.users for id in held_out.users.ids])
    if unknown == "ignore":
        held_out = held_out.where(known[held_out.rows])
    users = np.full(len(known), -1)
    users[known | (unknown == "error")] = pasts.users.encode(held_out.users.ids, "user", unknown)
    pairs = Interactions.from_pairs(pasts.users, model.items, users[held_out.rows], held_out.indices)
    n_items = len(model.items)
    new = ~np.isin(pairs.rows * n_items + pairs.indices, pasts.rows * n_items + pasts.indices)
    if not new.any():
        raise SDiffError(
            "There is nothing to evaluate: every interaction has an unknown user or item, or is in a history."
        )
    nothing = pasts.empty
    return assess(score, Split(pasts, nothing, pairs.where(new)), "test", model.device, k)


def histories_of(model: Recommender, histories: Any, unknown: Unknown) -> tuple[Interactions, Form]:
    """Histories over the items of the model, by default those it was given, and the form of an answer about them."""
    given = model.attached
    if histories is None:
        if given.histories is None:
            raise SDiffError(
                "The model has no histories of users: pass histories=FRAME, or load the model with interactions=FRAME."
            )
        return given.histories, given.form
    if is_frame(histories):
        read, form, _ = read_frame(histories, replace(given.reading, core=1))
        return over(model.items, read, unknown), form
    pairs = getattr(histories, "items", lambda: enumerate(histories))  # those of a dict or a Series
    listed = [*pairs()] if isinstance(histories, Iterable) else [(0, histories)]
    by_user = {str(user): ids for user, ids in listed}
    if len(by_user) < len(listed):
        raise SDiffError("histories has several histories of one user: give each user one.")
    if not all(isinstance(ids, Iterable) for ids in by_user.values()):
        raise SDiffError("histories must be a frame, or a list or dict of lists of item ids, such as [['12', '7']].")
    lists = [list(dict.fromkeys(model.items.encode(ids, unknown=unknown))) for ids in by_user.values()]
    whole = all(isinstance(user, int | np.integer) and type(user) is not bool for user, _ in listed)
    whole = whole and all(-(2**63) <= user < 2**63 for user, _ in listed)  # what a column of numbers can hold
    users = Vocabulary(tuple(by_user))
    indptr = np.cumsum([0, *map(len, lists)])
    indices = np.array([i for items in lists for i in items], dtype=np.int64)
    form = replace(given.form, user_type=WHOLE if whole else None)
    return Interactions(users, model.items, indptr, indices, ordered=True), form


def over(items: Vocabulary, interactions: Interactions, unknown: Unknown) -> Interactions:
    """The same interactions with the items of a model. Others raise an SDiffError, or are left out with "ignore"."""
    known = np.array([id in items for id in interactions.items.ids])
    index = np.full(len(known), -1)
    index[known | (unknown == "error")] = items.encode(interactions.items.ids, unknown=unknown)
    kept = interactions.where(known[interactions.indices])
    return replace(kept, items=items, indices=index[kept.indices])
