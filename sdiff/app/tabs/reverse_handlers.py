"""The reverse process step by step: what each of its estimates looks like in the spectrum, and what it would list."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sdiff.app.handlers import held_out_of, ranked, shifts
from sdiff.app.query import Query
from sdiff.app.state import serve
from sdiff.app.tabs.spectral_handlers import asked, bands, by_band
from sdiff.data.catalog import Row
from sdiff.method.diffusion import condition, denoise
from sdiff.method.schedule import NoiseSchedule


@dataclass(frozen=True)
class Reverse:
    """Sampling in steps n = 1 ... T, from t = tau down: arrays (T,), and of one chosen step the rest.

    overlap: how many items a step's list shares with the last one's. hits: how many of it were held out.
    energy: by band, of the history, of v_t and of the estimate. moves: places won since the step before.
    """

    times: np.ndarray
    overlap: np.ndarray
    hits: np.ndarray
    step: int
    bands: np.ndarray
    energy: tuple[np.ndarray, np.ndarray, np.ndarray]
    rows: list[Row]
    moves: list[int | None] | None
    words: str


def reverse_process(query: Query, step: int) -> Reverse:
    """All of sampling for a query, and its step `step`; one beyond the last is the last.

    Raises:
        SDiffError: as `recommend`.
    """
    config, model, x = asked(query)
    opened, _ = serve(query.dataset, query.model)
    steps: list[tuple[Tensor, Tensor]] = []
    noise = torch.Generator().manual_seed(query.seed)
    denoise(model.model, x, config, noise, lambda _, v_t, v0_hat: steps.append((v_t, v0_hat)))
    orders = [ranked(model.model.scores(v0_hat, x), x, query, opened.catalog) for _, v0_hat in steps]
    tops = [order[: query.k] for order in orders]
    held_out = held_out_of(query)
    times = NoiseSchedule.of(config).times(config.T)
    n = min(max(step, 1), config.T)
    t, lam = times[config.T - n + 1], model.basis.lam.cpu()
    moves = shifts(tops[n - 1], orders[n - 2]) if n > 1 else None
    overlap, hits = ([len(set(top) & set(other)) for top in tops] for other in (tops[-1], held_out))
    v_t, v0_hat = steps[n - 1]
    alpha, sigma = (f(t, lam) for f in (NoiseSchedule.of(config).alpha, NoiseSchedule.of(config).sigma))
    noised = f"up to {sigma.max():.2f} of noise" if config.noise else "no noise, as it is switched off"
    words = (
        f"**Step {n} of {config.T}, t = {t:.3g}.** v_t holds {alpha.min():.0%} to {alpha.max():.0%} of "
        f"{'the history' if n == 1 else 'the last estimate'} and {noised}. The list of this estimate shares "
        f"**{overlap[n - 1]} of {len(tops[-1])}** with the last one's"
        + (f", and finds {hits[n - 1]} of the {len(held_out)} items held out." if held_out else ".")
    )
    if config.T == 1:
        words += " This model takes a single step: move T, under More settings, to see more of them."
    return Reverse(
        times=times.flip(0)[:-1].numpy(),
        overlap=np.array(overlap),
        hits=np.array(hits),
        step=n,
        bands=bands(len(lam)),
        energy=(by_band(condition(model.basis, x, config).mean(1)), by_band(v_t), by_band(v0_hat)),
        rows=opened.catalog.rows(tops[n - 1], held_out=held_out),
        moves=moves,
        words=words,
    )
