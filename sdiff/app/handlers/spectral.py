"""Data of the spectral plots: energy of a history, noise schedules, and the reverse process step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from sdiff.app.handlers.ranking import held_out_of, history_of, ranked, shifts
from sdiff.app.handlers.waves import carried
from sdiff.app.query import Query
from sdiff.app.settings import without_effect
from sdiff.app.state import serve
from sdiff.config import Config, Schedule
from sdiff.data.catalog import Row
from sdiff.method.diffusion import condition, denoise, neighbourhood_scores
from sdiff.method.histories import Histories
from sdiff.method.linear import DegreeBasis
from sdiff.method.model import LearntBasis
from sdiff.method.schedule import NoiseSchedule, frequencies
from sdiff.method.spectrum import SpectralBasis
from sdiff.serving.recommender import Recommender

KINDS: tuple[Schedule, ...] = get_args(Schedule)
BANDS = 20  # frequency bands that energy is averaged over
SHOWN = 10  # items in the list of a frame
STEPS = 20  # at most that a film shows; of more, a selection


@dataclass(frozen=True)
class SpectralView:
    """Start and result of the sampling of a list.

    Attributes:
        lam: eigenvalues (K,).
        tau: time at which sampling starts.
        snr_at_tau: SNR (K,) at tau by schedule, with the noise that sampling adds.
        bands: middle index of each frequency band.
        energy: mean v^2 per band of the history, of its noised version, and of the denoised estimate.
        names: names (K,) of the waves.
        words: captions.
    """

    lam: np.ndarray
    names: list[str]
    tau: float
    snr_at_tau: dict[str, np.ndarray]
    bands: np.ndarray
    energy: tuple[np.ndarray, np.ndarray, np.ndarray]
    words: dict[str, str]


@dataclass(frozen=True)
class ScheduleView:
    """Spectrum and schedules.

    Attributes:
        lam: eigenvalues (K,).
        times: times (n,).
        shown_lam: a few eigenvalues (m,).
        schedules: alpha and sigma (n, m) by schedule.
        mapped: frequency indices of the SNR maps, from 1 on.
        maps: SNR over times and these frequencies, by schedule.
        words: captions.
    """

    lam: np.ndarray
    times: np.ndarray
    shown_lam: np.ndarray
    schedules: dict[str, tuple[np.ndarray, np.ndarray]]
    mapped: np.ndarray
    maps: dict[str, np.ndarray]
    words: dict[str, str]


@dataclass(frozen=True)
class Frame:
    """A moment of the diffusion of a history, under each schedule.

    Attributes:
        title: what is shown.
        t: diffusion time.
        energy: mean v^2 per band of the spectrum at this moment, by schedule.
        lists: the items that this spectrum ranks first, by schedule.
        moves: places won since the frame before, by schedule; None for the first frame.
        words: caption.
    """

    title: str
    t: float
    energy: dict[str, np.ndarray]
    lists: dict[str, list[Row]]
    moves: dict[str, list[int | None] | None]
    words: str


@dataclass(frozen=True)
class Film:
    """The diffusion of a history: as it is, noised at t = tau, and restored in T steps.

    Attributes:
        bands: middle index of each frequency band.
        history: mean v^2 per band of the history. All energies are in the space of v_0, so they can be compared.
        names: names (K,) of the waves.
        steps: T.
        frames: the history, its noised version, and all steps, or `STEPS` of them, evenly spaced.
    """

    bands: np.ndarray
    history: np.ndarray
    names: list[str]
    steps: int
    frames: list[Frame]


def diffuses(query: Query) -> bool:
    """Whether the model of a query uses diffusion. Raises SDiffError like `recommend`."""
    return "tau" not in without_effect(serve(query.dataset, query.model)[1].config)


def spectral_view(query: Query) -> SpectralView:
    """SNR at the start of sampling, and energy of a history before and after. Raises SDiffError like `recommend`."""
    config, model, x = _resolve(query)
    lam = model.basis.lam.cpu()
    d = frequencies(lam, config)
    snr = {kind: s.snr(torch.tensor(config.tau), d) for kind, s in _kinds(config).items()}
    at_tau = {kind: (values / config.noise**2).numpy() for kind, values in snr.items()}  # of what is really added
    noised: list[Tensor] = []
    noise = torch.Generator().manual_seed(query.seed)
    near = neighbourhood_scores(model.model, x, config)
    v_0 = condition(model.basis, x, config).mean(1)
    after = denoise(model.model, x, config, noise, lambda _, v_t, v0_hat: noised.append(v_t), near)
    after = model.model.v_0(after, v_0, x, near)
    before_energy, noised_energy, after_energy = (_by_band(v) for v in (v_0, noised[0], after))
    finite = np.isfinite(at_tau["vp"])
    tenth = np.flatnonzero(finite)[: max(len(lam) // 10, 1)]
    lowest = {kind: np.median(np.log10(values[tenth])) for kind, values in at_tau.items() if len(tenth)}
    medians = ", ".join(f"{median:.2f} under {kind.upper()}" for kind, median in lowest.items())
    low = slice(0, max(len(before_energy) // 4, 1))
    share = before_energy[low].sum() / max(before_energy.sum(), 1e-12)
    share_after = after_energy[low].sum() / max(after_energy.sum(), 1e-12)
    words = {
        "snr": f"At t = {config.tau:g}, where restoring starts"
        + (f" and {config.noise:.0%} of the noise is added" if config.noise != 1 else "")
        + f", the method's schedule (VP) leaves {(~finite).sum()} of {len(lam)} waves without noise."
        + (
            f" For the slowest tenth of the others, the median log₁₀ SNR (signal-to-noise ratio) is {medians}."
            if medians
            else ""
        )
        + " VE and DDPM are the alternatives that the paper compares with.",
        "energy": f"The slowest quarter of the waves carries {share:.0%} of the history's energy, and "
        f"{share_after:.0%} of the energy of the restored history.",
    }
    energy = (before_energy, noised_energy, after_energy)
    names = [wave.name for wave in carried(query).waves]
    return SpectralView(lam.numpy(), names, config.tau, at_tau, bands(len(lam)), energy, words)


def schedule_view(query: Query) -> ScheduleView:
    """Spectrum of a model, and the three schedules with the query's settings. Raises SDiffError like `recommend`."""
    config, model, _ = _resolve(query)
    lam = model.basis.lam.cpu()
    times = torch.linspace(0, config.tau, 81)
    levels = torch.linspace(float(lam[0]), float(lam[-1]), 5)
    shown = (lam - levels[:, None]).abs().argmin(1).unique()  # eigenvalues spread evenly over the spectrum
    mapped = torch.linspace(0, len(lam) - 1, min(80, len(lam))).round().long()
    d = frequencies(lam, config)
    kinds = _kinds(config)
    alpha, sigma = (f(times[-1], d) for f in (kinds["vp"].alpha, kinds["vp"].sigma))
    below = {kind: float((s.snr(times, d[mapped]) < 1).float().mean()) for kind, s in kinds.items()}
    shares = ", ".join(f"{share:.0%} under {kind.upper()}" for kind, share in below.items())
    words = {
        "schedules": f"At t = {config.tau:g} the slowest wave keeps {alpha[0]:.0%} of its signal under VP, with noise "
        f"σ = {sigma[0]:.2f}; the fastest one keeps {alpha[-1]:.0%}, with σ = {sigma[-1]:.2f}. VE has the α of VP, "
        "but its σ depends on time alone; under DDPM all waves share one curve.",
        "maps": f"Noise is stronger than signal (SNR = α² / σ² below 1) in this share of times and waves: {shares}. "
        "Without noise (t = 0, or λ = 0 under VP) SNR is infinite and drawn in the brightest colour. "
        "VP is the method; VE and DDPM are the alternatives in the paper's Table 3.",
    }
    return ScheduleView(
        lam=lam.numpy(),
        times=times.numpy(),
        shown_lam=lam[shown].numpy(),
        schedules={
            kind: (s.alpha(times, d[shown]).numpy(), s.sigma(times, d[shown]).numpy()) for kind, s in kinds.items()
        },
        mapped=mapped.numpy() + 1,
        maps={kind: s.snr(times, d[mapped]).numpy() for kind, s in kinds.items()},
        words=words,
    )


def film(query: Query) -> Film:
    """The diffusion of a query's history under each schedule, with the same noise. Raises SDiffError like `recommend`.

    The history and its noised version are shown by the inverse transform alone, `U v`; the estimates by the model's
    scores. The model was trained with one schedule: the others are what its denoiser makes of their noise.
    """
    config, model, x = _resolve(query)
    opened, _ = serve(query.dataset, query.model)
    catalog, held_out = opened.catalog, opened.dataset.split.items.encode(held_out_of(query)).tolist()
    near = neighbourhood_scores(model.model, x, config)
    v_0 = condition(model.basis, x, config).mean(1)
    shown = np.unique(np.linspace(0, config.T - 1, STEPS).round().astype(int)).tolist()  # indices of the shown steps

    def restored(kind: Schedule) -> Iterator[tuple[Tensor, list[int]]]:
        """Spectrum and ranking of each frame."""
        noise = torch.Generator().manual_seed(query.seed)
        steps: list[tuple[Tensor, Tensor]] = []
        under = replace(config, schedule=kind)
        denoise(model.model, x, under, noise, lambda _, v_t, v0_hat: steps.append((v_t, v0_hat)), near)
        for v in (v_0, steps[0][0]):
            yield v, ranked(inverse(model.basis, v), x, query, catalog)
        for n in shown:
            _, v0_hat = steps[n]
            scores = model.model.scores(v0_hat, near, beta=config.beta)
            yield model.model.v_0(v0_hat, v_0, x, near), ranked(scores, x, query, catalog)

    moments = {kind: [*restored(kind)] for kind in KINDS}
    after = NoiseSchedule.of(config).times(config.T).flip(0)[1:]  # (T,) time after each step
    times = [0.0, config.tau, *after[shown].tolist()]
    frames = []
    for n, t in enumerate(times):
        now = {kind: path[n][1] for kind, path in moments.items()}
        moves: dict[str, list[int | None] | None] = {
            kind: shifts(order[:SHOWN], moments[kind][n - 1][1]) if n else None for kind, order in now.items()
        }
        step = shown[n - 2] + 1 if n > 1 else 0
        frames.append(
            Frame(
                title=("The history", "Noised")[n] if n < 2 else f"Step {step:,} of {config.T:,}",
                t=t,
                energy={kind: _by_band(path[n][0]) for kind, path in moments.items()},
                lists={kind: catalog.rows(order[:SHOWN], held_out=held_out) for kind, order in now.items()},
                moves=moves,
                words=_words_of(n, step, config, now, {kind: path[-1][1] for kind, path in moments.items()}),
            )
        )
    names = [wave.name for wave in carried(query).waves]
    return Film(bands(len(model.basis.lam)), _by_band(v_0), names, config.T, frames)


def _words_of(n: int, step: int, config: Config, now: dict[str, list[int]], last: dict[str, list[int]]) -> str:
    """Caption of frame n, after `step` steps. `now` and `last`: rankings of this frame and of the last one."""
    if n == 0:
        return "The history as a sum of waves, before anything happens. The list is what these waves alone suggest."
    if n == 1:
        share = "" if config.noise == 1 else f", at {config.noise:.0%} of its full strength"
        noise = f"noise is added{share}" if config.noise else "no noise is added, as it is switched off"
        return (
            f"At t = τ the waves are damped, and {noise}. VP spares slow waves from both. VE damps like VP and gives "
            "all waves the same noise. DDPM damps all waves alike, nearly to nothing. The lists rank what is left."
        )
    common = {kind: len({*now[kind][:SHOWN]} & {*last["vp"][:SHOWN]}) for kind in KINDS}
    texts = ", ".join(f"{kind.upper()} {count}" for kind, count in common.items())
    return (
        f"The denoiser has estimated the history {step:,} time{'s'[: step != 1]}. Of the {SHOWN} items of the final "
        f"list under VP, these lists hold: {texts}."
    )


def inverse(basis: LearntBasis | SpectralBasis | DegreeBasis, v: Tensor) -> Tensor:
    """U v (B, n_items) without the bias and the scale that a learned basis has."""
    return v @ (basis.encoder() if isinstance(basis, LearntBasis) else basis.U).T


def _resolve(query: Query) -> tuple[Config, Recommender, Histories]:
    """Configuration, model and history (1, n_items) of a query. Raises SDiffError like `recommend`."""
    _, model = serve(query.dataset, query.model)
    return model.config.at_inference(query.settings), model, model.encode(history_of(query))


def _by_band(v: Tensor) -> np.ndarray:
    """Mean energy of the spectrum v (1, K) per band."""
    energy = np.square(v[0].cpu().numpy())
    return np.array([energy[band].mean() for band in _bands(len(energy))])


def bands(K: int) -> np.ndarray:
    """Middle index, from 1 on, of each band of K frequencies."""
    return np.array([band.mean() + 1 for band in _bands(K)])


def _bands(K: int) -> list[np.ndarray]:
    return np.array_split(np.arange(K), min(BANDS, K))


def _kinds(config: Config) -> dict[Schedule, NoiseSchedule]:
    return {kind: NoiseSchedule(kind, config.alpha_min, config.sigma_max, config.tau) for kind in KINDS}
