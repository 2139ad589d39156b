"""The diffusion process: condition, forward noising, guidance and sampling (Algorithm 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from sdiff.config import Config
from sdiff.method.histories import Histories
from sdiff.method.model import Model
from sdiff.method.schedule import NoiseSchedule, frequencies
from sdiff.method.spectrum import EVERY, Items

SCORES = 4_000_000  # maximum number of scores computed at once; larger arrays do not fit in the caches of a CPU
FEWEST = 80  # minimum number of users at once; with fewer, reading U takes most of the time


class Predictor(Protocol):
    """A denoiser: estimates v_0 (B, K) from v_t (B, K), U'c (B, M, K) and t (B,)."""

    def __call__(self, v_t: Tensor, c: Tensor, t: Tensor) -> Tensor: ...


class Basis(Protocol):
    """A graph Fourier transform: the eigenvectors of the graph, or a learned basis."""

    @property
    def lam(self) -> Tensor: ...
    def gft(self, x: Histories) -> Tensor: ...
    def igft(self, v: Tensor, items: Items = ...) -> Tensor: ...


def scaled(x: Histories, config: Config) -> Histories:
    """x as the model's input: with `config.normalise`, each row is divided by its sum."""
    return x.normalised() if config.normalise else x


def memory_inputs(x: Histories, config: Config) -> list[Histories]:
    """The history x weighted by recency, once per memory (M half-lives, each 4 times the last). Else unweighted."""
    x = scaled(x, config)
    half_lives = [config.half_life * 4**m for m in range(config.memories)]
    return [x.recent(h) if h else x for h in half_lives]


def condition(basis: Basis, x: Histories, config: Config) -> Tensor:
    """U'c (B, M, K): the spectrum of a history for each memory."""
    return torch.stack([basis.gft(c) for c in memory_inputs(x, config)], dim=1)


def neighbourhood_scores(model: Model, x: Histories, config: Config, items: Items = EVERY) -> Tensor | None:
    """A c (B, n_items), or only of `items`, for the mean of the memories of x, with sum 1; None without a graph."""
    return None if model.graph is None else model.graph.dot(mean_memory(x, config), items)


def mean_memory(x: Histories, config: Config) -> Histories:
    """The mean of the memories of x, with sum 1."""
    weights = torch.stack([c.weights for c in memory_inputs(x, config)]).mean(0)
    return x.weighted(weights).normalised()


def root_mean_square(basis: Basis, x: Histories, config: Config) -> Tensor:
    """(K,) root mean square of each coordinate of v_0 = U'x over the histories x."""
    return basis.gft(scaled(x, config)).square().mean(0).sqrt()


def q_sample(schedule: NoiseSchedule, v_0: Tensor, t: Tensor, lam: Tensor, eps: Tensor | None) -> Tensor:
    """v_t = alpha_t * v_0 + sigma_t * eps (B, K): Eq. (1) per frequency. Without eps, returns the mean."""
    mean = schedule.alpha(t, lam) * v_0
    return mean if eps is None else mean + schedule.sigma(t, lam) * eps  # Eqs. (3), (8)-(11)


def guided(denoiser: Predictor, v_t: Tensor, c: Tensor, t: Tensor, s: float) -> Tensor:
    """Classifier-free guidance v_c + s (v_c - v_u) (B, K) in one forward pass; s = 0 gives the conditional estimate.

    v_c and v_u are the estimates of v_0 with and without the condition c (B, M, K), for v_t (B, K) and t (B,)
    (Section 3.3; Ho & Salimans 2022, "Classifier-free diffusion guidance").
    """
    if s == 0:
        return denoiser(v_t, c, t)
    both = denoiser(torch.cat([v_t, v_t]), torch.cat([c, torch.zeros_like(c)]), torch.cat([t, t]))
    v_c, v_u = both.chunk(2)
    return v_c + s * (v_c - v_u)


def guide(denoiser: Predictor, c: Tensor, s: float, T: int) -> Callable[[Tensor, Tensor], Tensor]:
    """`guided` for a fixed condition and T steps: returns (v_t, t) -> v0_hat, with one time t (1,) for all rows.

    A denoiser may provide `conditioned(c, s)`, which computes once what all steps and both passes share. It is used
    only with several guided steps; otherwise it is not faster.
    """
    conditioned = getattr(denoiser, "conditioned", None)
    if conditioned is not None and s and T > 1:
        return conditioned(c, s)
    return lambda v_t, t: guided(denoiser, v_t, c, t.expand(len(c)), s)


def sample(
    denoiser: Predictor,
    schedule: NoiseSchedule,
    lam: Tensor,
    c: Tensor,
    T: int,
    guidance: float = 0.0,
    noise: Tensor | None = None,
    callback: Callable[[int, Tensor, Tensor], None] | None = None,
    as_v_0: Callable[[Tensor], Tensor] = lambda v0_hat: v0_hat,
) -> Tensor:
    """Algorithm 2: starts at the noised spectrum of the full history and estimates v_0, Eq. (2).

    Args:
        lam: (K,) frequencies, as by `frequencies`.
        c: U'c (B, M, K), the spectrum of the full history. It is the condition and, noised to t = tau, the start.
        T: number of reverse steps.
        guidance: the scale s of `guided`.
        noise: eps (T, B, K), one draw per step, from t = tau downwards. Without it, each step uses the mean.
        callback: called as callback(k, v_t, v0_hat) at each step k = T ... 1.
        as_v_0: turns the denoiser's output into the estimate of v_0 that the next step noises.

    Returns:
        The last estimate of v_0, (B, K).
    """
    times = schedule.times(T, c.device)
    alpha, sigma = schedule.alpha(times, lam), schedule.sigma(times, lam)  # (T + 1, K)
    v_0 = c.mean(1)  # (B, K)
    estimate = guide(denoiser, c, guidance, T)
    v0_hat = v_0
    for k in range(T, 0, -1):
        if k < T:
            v_0 = as_v_0(v0_hat)
        t = times[k : k + 1]  # (1,), the same for all rows
        v_t = alpha[k] * v_0  # Eqs. (3), (8)-(11), as in `q_sample`
        if noise is not None:
            v_t = v_t + sigma[k] * noise[T - k]
        v0_hat = estimate(v_t, t)
        if callback is not None:
            callback(k, v_t, v0_hat)
    return v0_hat


def denoise(
    model: Model,
    x: Histories,
    config: Config,
    generator: torch.Generator,
    callback: Callable[[int, Tensor, Tensor], None] | None = None,
    near: Tensor | None = None,
) -> Tensor:
    """Runs Algorithm 2 with the settings of `config`: sparse histories x in, v0_hat (B, K) out.

    `generator` is as in `sampling_noise`. `near` are the `neighbourhood_scores` of x, if they are known already.
    """
    return denoise_with(sampling_noise(model, len(x), config, generator), model, x, config, callback, near)


def sampling_noise(model: Model, n_users: int, config: Config, generator: torch.Generator) -> Tensor | None:
    """The noise (T, n_users, K) of Algorithm 2, times `config.noise` and `noise_scale`; None if it is off.

    It is drawn on the device of `generator`: a CPU generator gives the same noise whatever the device of the model.
    """
    if not config.noise:
        return None
    shape = (config.T, n_users, len(model.basis.lam))
    eps = torch.randn(shape, generator=generator, device=generator.device).to(model.noise_scale)
    return config.noise * eps * model.noise_scale


@torch.inference_mode()
def denoise_with(
    noise: Tensor | None,
    model: Model,
    x: Histories,
    config: Config,
    callback: Callable[[int, Tensor, Tensor], None] | None = None,
    near: Tensor | None = None,
) -> Tensor:
    """`denoise` with given `sampling_noise`."""
    c = condition(model.basis, x, config)  # (B, M, K)
    if near is None and config.T > 1:
        near = neighbourhood_scores(model, x, config)
    return sample(
        model.denoiser,
        NoiseSchedule.of(config),
        frequencies(model.basis.lam, config),
        c,
        config.T,
        config.guidance,
        noise,
        callback,
        lambda v0_hat: model.v_0(v0_hat, c.mean(1), x, near),
    )


def score(model: Model, x: Histories, config: Config, generator: torch.Generator, shared: bool = False) -> Tensor:
    """Item scores x_hat (B, n_items) that Algorithm 2 predicts from histories x.

    They are logits if the loss is softmax, and have no unit otherwise. `generator` is as in `sampling_noise`. With
    `shared`, all histories have the same noise, that of a batch of one. A CPU takes the histories in blocks.
    """
    noise = sampling_noise(model, 1 if shared else len(x), config, generator)
    users = torch.arange(len(x), device=model.log_counts.device)
    blocks = users.split(block_of(len(model.log_counts))) if users.device.type == "cpu" else [users]
    if len(blocks) == 1:
        return score_with(noise, model, x, config)
    draws = [noise] * len(blocks) if noise is None or shared else noise.split(len(blocks[0]), dim=1)
    each = zip(blocks, draws, strict=True)
    return torch.cat([score_with(eps, model, x.take(block), config) for block, eps in each])


def block_of(n_items: int) -> int:
    """The number of users whose scores a CPU computes at once."""
    return max(SCORES // n_items, FEWEST)


def score_with(noise: Tensor | None, model: Model, x: Histories, config: Config) -> Tensor:
    """`score` with given `sampling_noise`."""
    near = neighbourhood_scores(model, x, config)
    return model.scores(denoise_with(noise, model, x, config, near=near), near, beta=config.beta)
