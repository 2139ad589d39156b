"""What the controls do, as plain functions from values to values: gradio calls them, tests do too."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any, Literal, get_args

import numpy as np
import torch

from sdiff.catalog import ALL, Filter, Row
from sdiff.config import INFERENCE_KEYS, Config, Schedule, parse_assignments, preset
from sdiff.device import best_device
from sdiff.diffusion import condition, denoise
from sdiff.errors import SDiffError
from sdiff.explain import explain
from sdiff.histories import Histories
from sdiff.schedule import NoiseSchedule
from sdiff.training import CRITERION, Progress, Trainer
from sdiff.ui.state import INSTANT, checkpoints, new_run, open_dataset, open_model, serve

Pick = Literal["typical", "random", "heavy", "light"]
NAMED = 6  # items of a history that an explanation names
BANDS = 6  # of frequencies, as many in each
COMPARED = 1000  # places of a list that a changed one is compared with
KINDS: tuple[Schedule, ...] = get_args(Schedule)


@dataclass(frozen=True)
class Listing:
    """One user's list: history, newest first; recommendations, best first; what was found, in words.

    moves: where the history is not the user's own, by how many places each item has come up (negative: down) since the
    list of that one; None for an item that was not among its first `COMPARED`.
    """

    user: str
    history: list[Row]
    recommendations: list[Row]
    summary: str
    changed: str
    moves: list[int | None] | None = None


@dataclass(frozen=True)
class Why:
    """What speaks for an item: its title, its score in a unit, and two accounts of that, parts that add up to it."""

    title: str
    unit: str
    score: float
    by_item: list[tuple[str, float]]
    by_frequency: list[tuple[str, float]]


@dataclass(frozen=True)
class SpectralView:
    """Arrays for the spectral plots, and a sentence for each. `mapped` and `bands` are indices of frequencies."""

    lam: np.ndarray
    tau: float
    snr_at_tau: dict[str, np.ndarray]
    times: np.ndarray
    shown_lam: np.ndarray
    schedules: dict[str, tuple[np.ndarray, np.ndarray]]
    mapped: np.ndarray
    maps: dict[str, np.ndarray]
    bands: np.ndarray
    energy: tuple[np.ndarray, np.ndarray, np.ndarray]
    words: dict[str, str]


@dataclass(frozen=True)
class TrainingView:
    """The state of a run: what to say, the curves so far, and the model's name once it can be used."""

    status: str
    epochs: list[int]
    loss: list[float]
    valid: list[tuple[int, float]]
    saved_as: str | None = None


def pick_user(dataset: str, pick: Pick) -> str:
    """A user's id: one with a history of median length, any, one of the longest, one of the shortest."""
    split = open_dataset(dataset).dataset.split
    lengths = split.train.lengths
    present = np.flatnonzero(lengths)
    by_length = present[np.argsort(lengths[present], kind="stable")]
    if pick == "typical":
        return split.users.ids[by_length[len(by_length) // 2]]
    tenth = max(len(present) // 10, 1)
    pool = {"random": present, "heavy": by_length[-tenth:], "light": by_length[:tenth]}[pick]
    return split.users.ids[np.random.default_rng().choice(pool)]


def history_of(dataset: str, user: str) -> list[str]:
    """Ids of the items of a user's train part, oldest first. Raises SDiffError for an unknown user."""
    split = open_dataset(dataset).dataset.split
    index = int(split.users.encode([user.strip()], "user")[0])
    return [split.items.ids[i] for i in split.train.history(index)]


def recommend(
    dataset: str,
    checkpoint: str,
    user: str,
    settings: dict[str, Any],
    k: int,
    seed: int,
    wanted: Filter = ALL,
    history: Sequence[str] | None = None,
) -> Listing:
    """A user's history (the train part) and top k of the wanted items; those of the held-out parts are marked.

    Args:
        history: ids of the items to take for the history instead, oldest first.

    Raises:
        SDiffError: unknown user, data set or checkpoint, a checkpoint of other items, a setting out of range.
    """
    opened, model = serve(dataset, checkpoint)
    split, catalog = opened.dataset.split, opened.catalog
    index = int(split.users.encode([user.strip()], "user")[0])
    own = [split.items.ids[i] for i in split.train.history(index)]
    items = own if history is None else list(history)
    held_out = np.concatenate([split.valid.history(index), split.test.history(index)])
    past = catalog.rows(split.items.encode(items)[::-1].tolist())
    config = model.config.at_inference(settings)  # first, so that a key such as "seed" is refused as a setting
    allowed = None if wanted == ALL else catalog.allowed(wanted)
    started = time.perf_counter()
    found = model.recommend(items, k, seed=seed, allowed=allowed, **settings)
    milliseconds = 1000 * (time.perf_counter() - started)
    rows = catalog.rows(found.indices, found.scores, held_out.tolist())
    moves, whose = None, f"**User {user.strip()}** has"
    if items != own:
        before = model.recommend(own, COMPARED, seed=seed, allowed=allowed, **settings).indices
        place = {i: rank for rank, i in enumerate(before)}
        moves = [place[i] - rank if i in place else None for rank, i in enumerate(found.indices)]
        added, removed = len(set(items) - set(own)), len(set(own) - set(items))
        whose = f"**User {user.strip()}, what if** ({added} added, {removed} removed):"
    hits = sum(row.held_out for row in rows)
    here = model.checkpoint.provenance.data_fingerprint == split.fingerprint
    seen = "and the model was not trained on" if here else "of which the model, trained on another split, may know some"
    summary = (
        f"{whose} {len(items):,} item{'s' * (len(items) != 1)} in the history. Of the {len(rows)} "
        f"recommended, **{hits}** {'is' if hits == 1 else 'are'} among the {len(held_out):,} that this user chose "
        f"later, {seen} (marked ✓). Scored in {milliseconds:.0f} ms on {device_label(model.device)}."
    )
    if allowed is not None:
        summary += f" The filter lets {allowed.sum():,} of {len(allowed):,} items through."
    return Listing(user.strip(), past, rows, summary, changes(model.config, config, seed), moves)


def why(
    dataset: str,
    checkpoint: str,
    user: str,
    item: str,
    settings: dict[str, Any],
    seed: int,
    history: Sequence[str] | None = None,
) -> Why:
    """What speaks for an item in a list, for the same arguments as `recommend`.

    Raises:
        SDiffError: as `recommend`, or an unknown item.
    """
    opened, model = serve(dataset, checkpoint)
    catalog, items = opened.catalog, opened.dataset.split.items
    past = history_of(dataset, user) if history is None else list(history)
    found = explain(model, past, item, seed=seed, **settings)
    first = np.argsort(-np.abs(found.by_item))[:NAMED]
    rows = catalog.rows(items.encode([past[j] for j in first]).tolist())
    parts = [(row.title, float(found.by_item[j])) for row, j in zip(rows, first, strict=True)]
    rest = len(past) - len(first)
    if rest:
        others = f"the other {rest} item{'s' * (rest > 1)}"
        parts.append((others, float(found.by_item.sum() - found.by_item[first].sum())))
    bands = np.array_split(np.arange(len(found.by_frequency)), min(BANDS, len(found.by_frequency)))
    by_band = [(_numbers(band), float(found.by_frequency[band].sum())) for band in bands]
    return Why(
        catalog.rows(items.encode([item]).tolist())[0].title,
        "logit of its score" if model.config.loss == "softmax" else "score",
        found.score,
        [("without a history", found.without), *parts, ("error of the sum", found.remainder)],
        [*by_band, ("beside the spectrum", found.beside)],
    )


def _numbers(band: np.ndarray) -> str:
    return f"{band[0] + 1}–{band[-1] + 1}" if len(band) > 1 else str(band[0] + 1)


def changes(trained: Config, now: Config, seed: int) -> str:
    """Which settings differ from the checkpoint's, and which noise was drawn, in words."""

    def shown(value: Any) -> str:
        return ("off", "on")[value] if isinstance(value, bool) else str(value)

    pairs = [(key, getattr(trained, key), getattr(now, key)) for key in INFERENCE_KEYS]
    differing = [f"{key} {shown(old)} → **{shown(new)}**" for key, old, new in pairs if old != new]
    drawn = f"Noise of seed {seed}." if now.noise else "No noise."
    return f"Changed: {', '.join(differing)}. {drawn}" if differing else f"All settings are as in training. {drawn}"


def spectral_view(
    dataset: str,
    checkpoint: str,
    user: str,
    settings: dict[str, Any],
    seed: int,
    history: Sequence[str] | None = None,
) -> SpectralView:
    """The spectrum, the three schedules under these settings, and what sampling does to the energy of one history."""
    opened, model = serve(dataset, checkpoint)
    config = model.config.at_inference(settings)
    lam = model.basis.lam.cpu()
    times = torch.linspace(0, config.tau, 81)
    levels = torch.linspace(float(lam[0]), float(lam[-1]), 5)
    shown = lam[(lam - levels[:, None]).abs().argmin(1).unique()]  # eigenvalues spread evenly over the spectrum
    mapped = torch.linspace(0, len(lam) - 1, min(80, len(lam))).round().long()
    kinds = {kind: NoiseSchedule(kind, config.alpha_min, config.sigma_max, config.tau) for kind in KINDS}
    at_tau = {kind: s.snr(times[-1:], lam)[0].numpy() for kind, s in kinds.items()}
    split = opened.dataset.split
    if history is None:
        items = split.train.history(int(split.users.encode([user.strip()], "user")[0]))
    else:
        items = split.items.encode(history)
    x = Histories.from_lists([items], model.device)
    noised: list[torch.Tensor] = []
    after = denoise(
        model.denoiser,
        model.basis,
        x,
        config,
        torch.Generator().manual_seed(seed),
        lambda _, v_t, v0_hat: noised.append(v_t),
    )
    groups = np.array_split(np.arange(len(lam)), min(20, len(lam)))
    before_energy, noised_energy, after_energy = (
        np.array([np.square(v[0].cpu().numpy()[group]).mean() for group in groups])
        for v in (condition(model.basis, x, config).mean(1), noised[0], after)
    )
    finite = np.isfinite(at_tau["vp"])
    tenth = np.flatnonzero(finite)[: max(len(lam) // 10, 1)]
    lowest = {kind: np.median(np.log10(values[tenth])) for kind, values in at_tau.items() if len(tenth)}
    medians = ", ".join(f"{median:.2f} under {kind.upper()}" for kind, median in lowest.items())
    low = slice(0, max(len(groups) // 4, 1))
    share = before_energy[low].sum() / max(before_energy.sum(), 1e-12)
    kept = after_energy[low].sum() / max(after_energy.sum(), 1e-12)
    words = {
        "eigenvalues": f"{len(lam)} frequencies are kept, from λ = {lam[0]:.2f} to λ = {lam[-1]:.2f}.",
        "snr": f"At t = {config.tau:g} VP leaves {(~finite).sum()} of {len(lam)} frequencies without noise."
        + (f" Over the lowest tenth of the others the median log₁₀ SNR is {medians}." if medians else ""),
        "energy": f"The lowest quarter of the frequencies holds {share:.0%} of this history's energy, "
        f"and {kept:.0%} of the denoised estimate's.",
    }
    return SpectralView(
        lam=lam.numpy(),
        tau=config.tau,
        snr_at_tau=at_tau,
        times=times.numpy(),
        shown_lam=shown.numpy(),
        schedules={kind: (s.alpha(times, shown).numpy(), s.sigma(times, shown).numpy()) for kind, s in kinds.items()},
        mapped=mapped.numpy() + 1,
        maps={kind: s.snr(times, lam[mapped]).numpy() for kind, s in kinds.items()},
        bands=np.array([group.mean() + 1 for group in groups]),
        energy=(before_energy, noised_energy, after_energy),
        words=words,
    )


def train(
    dataset: str, preset_name: str, epochs: int, seed: int, changed: str, name: str, stop: Event
) -> Generator[TrainingView, None, None]:
    """Trains a model, yielding about twice a second; setting `stop` ends it. The best weights are kept either way.

    Raises:
        SDiffError: a name that is taken, a setting that is wrong, or a loss that is no longer finite.
    """
    folder = new_run(name.strip())
    config = preset(preset_name).override({"epochs": epochs, **parse_assignments(changed.split())})
    if epochs < 1:
        raise SDiffError("Train for at least one epoch.")
    title = open_dataset(dataset).dataset.title
    yield TrainingView(f"Reading {title} and computing the graph's spectrum …", [], [], [])
    trainer = Trainer(config, open_dataset(dataset).dataset.split, seed)
    curves: tuple[list[int], list[float], list[tuple[int, float]]] = ([], [], [])
    shown = 0.0
    try:
        for progress in trainer.fit():
            curves[0].append(progress.epoch)
            curves[1].append(progress.loss)
            if progress.valid:
                curves[2].append((progress.epoch, progress.valid[CRITERION]))
            if stop.is_set():
                break
            if time.monotonic() - shown > 0.5:
                shown = time.monotonic()
                yield TrainingView(
                    f"{title}: epoch **{progress.epoch}** of at most {progress.epochs} · loss {progress.loss:.5f} · "
                    f"{_best(progress)} · at most {duration(progress.eta)} to go",
                    *curves,
                )
    finally:  # also when the visitor's page is closed
        if trainer.epoch:
            trainer.checkpoint(dataset, preset_name).save(folder)
    how = "Stopped" if stop.is_set() else "Done"
    kept = trainer.best.epoch or trainer.epoch
    yield TrainingView(
        f"{how} after {trainer.epoch} epoch{'s'[: trainer.epoch != 1]} on {title} in {duration(trainer.seconds)}. "
        f"The weights of epoch **{kept}** are saved as **{folder.name}**.",
        *curves,
        saved_as=folder.name,
    )


def _best(progress: Progress) -> str:
    if progress.best is None:
        return "not validated yet"
    return f"best validation recall@20 **{progress.best:.4f}** at epoch {progress.best_epoch}"


def data_card(dataset: str) -> str:
    """Size, density and terms of a data set, in one line."""
    opened = open_dataset(dataset).dataset
    split = opened.split
    n = len(split.train) + len(split.valid) + len(split.test)
    users, items = len(split.users), len(split.items)
    return f"{users:,} users · {items:,} items · {n:,} interactions · density {n / users / items:.2%} · {opened.terms}"


def model_card(dataset: str, checkpoint: str) -> str:
    """Where a model comes from and what it reaches, in one line."""
    card = open_model(checkpoint, dataset).checkpoint
    origin = card.provenance
    reached = "".join(
        f" · {part} R@20 {card.metrics[part]['recall@20']:.4f}" for part in ("valid", "test") if part in card.metrics
    )
    beside = [
        f"{name} {row['test']['recall@20']:.4f}"
        for name, row in card.metrics.get("references", {}).items()
        if "test" in row
    ]
    if checkpoint == INSTANT:
        return f"solved in closed form, nothing trained{reached}"
    if beside:
        reached += f" (beside it: {', '.join(beside)})"
    trained = "" if origin.dataset == dataset else f"trained on {origin.dataset} · "
    return f"{trained}preset {origin.preset} · seed {origin.seed} · epoch {origin.epoch} · {origin.created}{reached}"


def models(dataset: str) -> list[str]:
    """Names of the models for a data set, the one to open it with first: what ships, then what was trained here."""
    return [*checkpoints(dataset), INSTANT]


def device_label(device: torch.device | None = None) -> str:
    device = device or best_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
