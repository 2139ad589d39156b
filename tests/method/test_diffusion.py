import math

import numpy as np
import pytest
import torch

from sdiff.config import Config
from sdiff.data.interactions import Interactions, Split
from sdiff.method.denoiser import Denoiser, FiLM, timestep_embedding
from sdiff.method.diffusion import guided, sample, sampling_noise
from sdiff.method.histories import Histories
from sdiff.method.losses import LOSSES, denoising_loss, noised
from sdiff.method.model import Model
from sdiff.method.schedule import NoiseSchedule
from sdiff.serving.recommender import Recommender
from sdiff.training.trainer import Trainer
from tests.conftest import CPU, SMALL, vocabulary

LAM = torch.linspace(0, 1, 6)
V = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
C = V[:, None]  # one memory, (B, M, K)


def noise(T, seed=0):
    return torch.randn(T, *V.shape, generator=torch.Generator().manual_seed(seed))


def network(fusion="film"):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Denoiser(Config().override({"fusion": fusion, "hidden": 32}), 6).eval().requires_grad_(False)


def test_sampling_starts_from_the_noised_history_and_renoises_each_estimate():
    schedule, T, seen = NoiseSchedule("vp"), 3, []
    sample(lambda v_t, c, t: torch.full_like(v_t, 2.0), schedule, LAM, C, T, callback=lambda *step: seen.append(step))
    assert [k for k, _, _ in seen] == [3, 2, 1]
    times = schedule.times(T)
    torch.testing.assert_close(seen[0][1], schedule.alpha(times[3:], LAM) * V)
    torch.testing.assert_close(seen[1][1], (schedule.alpha(times[2:3], LAM) * 2.0).expand(4, 6))


def test_sampling_starts_from_the_mean_of_the_memories():
    c, seen = torch.stack([V, 3 * V], dim=1), []
    sample(lambda v_t, c, t: v_t, NoiseSchedule(), LAM, c, 1, callback=lambda *step: seen.append(step))
    torch.testing.assert_close(seen[0][1], NoiseSchedule().alpha(torch.ones(1), LAM) * 2 * V)


def test_the_same_noise_gives_the_same_sample_and_a_batch_equals_its_rows():
    model, schedule = network(), NoiseSchedule("vp")
    together = sample(model, schedule, LAM, C, 5, 0.5, noise(5))
    assert torch.equal(together, sample(model, schedule, LAM, C, 5, 0.5, noise(5)))
    assert not torch.equal(together, sample(model, schedule, LAM, C, 5, 0.5, noise(5, seed=1)))
    for i in range(4):
        alone = sample(model, schedule, LAM, C[i : i + 1], 5, 0.5, noise(5)[:, i : i + 1])
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-5)


def test_guidance_zero_is_the_conditional_estimate_and_more_moves_away_from_the_unconditional_one():
    model, t = network(), torch.full((4,), 0.4)
    v_c, v_u = model(V, C, t), model(V, torch.zeros_like(C), t)
    assert torch.equal(guided(model, V, C, t, 0.0), v_c)
    torch.testing.assert_close(guided(model, V, C, t, 2.0), v_c + 2.0 * (v_c - v_u), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(guided(model, V, C, t, -1.0), v_u, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("s", [0.0, 0.02, 2.0, -1.0])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("fusion", ["film", "concat"])
@pytest.mark.parametrize("memories", [1, 3])
def test_precomputing_the_condition_does_not_change_the_estimate(s, residual, fusion, memories):
    torch.manual_seed(5)
    model = Denoiser(Config(K=6, hidden=16, fusion=fusion, residual=residual, memories=memories), 6).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    c = torch.randn(4, memories, 6)
    estimate = model.conditioned(c, s)
    for t in (torch.full((4,), 0.9), torch.full((4,), 0.1)):
        v_t = torch.randn(4, 6)
        torch.testing.assert_close(estimate(v_t, t), guided(model, v_t, c, t, s), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("s", [0.0, 0.5, -1.0])
@pytest.mark.parametrize("T", [1, 5])
@pytest.mark.parametrize("fusion", ["film", "concat"])
def test_sampling_equals_the_forward_pass_of_the_denoiser_at_each_step(T, s, fusion):
    model, schedule = network(fusion), NoiseSchedule("vp")
    by_forward = sample(lambda v_t, c, t: model.forward(v_t, c, t), schedule, LAM, C, T, s, noise(T))
    torch.testing.assert_close(sample(model, schedule, LAM, C, T, s, noise(T)), by_forward, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("T", "s"), [(1, 0.0), (1, 0.5), (5, 0.0)])
def test_one_step_or_no_guidance_takes_one_forward_pass_per_step(T, s):
    model, passes = network(), []
    model.conditioned = lambda *_: pytest.fail("preparing takes longer than it saves")  # pyright: ignore
    model.register_forward_hook(lambda *_: passes.append(1))
    sample(model, NoiseSchedule("vp"), LAM, C, T, s, noise(T))
    assert len(passes) == T


def test_several_guided_steps_share_the_work_on_the_condition():
    model = network()
    model.register_forward_hook(lambda *_: pytest.fail("a full pass where the condition is known"))
    assert sample(model, NoiseSchedule("vp"), LAM, C, 5, 0.5, noise(5)).shape == V.shape


def test_film_is_initialised_as_addition_and_is_elementwise():
    film = FiLM(6)
    v_t = torch.ones(4, 6)
    assert torch.equal(film(v_t, C)[:, 0], v_t + V)
    for parameter in film.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    moved = C.clone()
    moved[..., 2] += 1
    changed = (film(v_t, moved) != film(v_t, C))[:, 0].any(0)
    assert changed.tolist() == [False, False, True, False, False, False]
    gamma, beta = film.f_weight * V + film.f_bias, film.h_weight * V + film.h_bias
    torch.testing.assert_close(film(v_t, C)[:, 0], v_t + gamma * V + beta)  # Eq. (17)


def test_the_time_encoding_distinguishes_times():
    codes = timestep_embedding(torch.linspace(0, 1, 50), 16)
    assert codes.shape == (50, 16) and codes.abs().max() <= 1
    assert torch.cdist(codes, codes).fill_diagonal_(1).min() > 1e-3
    assert timestep_embedding(torch.zeros(2), 7).shape == (2, 7)


@pytest.mark.parametrize("dim", [6, 16])
def test_the_time_encoding_equals_that_of_ddpm_with_1000_steps(dim):
    half = dim // 2
    for t, step in ((0.0, 0), (0.25, 250), (1.0, 1000)):
        angles = [step / 10_000 ** (i / half) for i in range(half)]
        expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
        torch.testing.assert_close(
            timestep_embedding(torch.tensor([t]), dim)[0], torch.tensor(expected), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("fusion", ["film", "concat"])
def test_every_weight_of_the_denoiser_gets_a_gradient(fusion, basis, tastes):
    config = SMALL.override({"fusion": fusion})
    model = Model(config, basis, torch.ones(30))
    x = Histories.from_interactions(tastes, CPU)
    denoising_loss(model, x, config, torch.Generator().manual_seed(0)).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_the_loss_is_the_error_of_v_0_and_the_condition_is_dropped_at_the_configured_rate(basis, tastes):
    x = Histories.from_interactions(tastes, CPU)
    v_0 = basis.gft(x)
    generator = torch.Generator().manual_seed(0)

    def loss(denoiser, config=SMALL):
        model = Model(config, basis, torch.ones(30))
        model.denoiser.forward = denoiser
        return denoising_loss(model, x, config, generator).mean()

    assert loss(lambda v_t, c, t: v_0) == 0
    nothing = loss(lambda v_t, c, t: torch.zeros_like(v_t))
    torch.testing.assert_close(nothing, v_0.square().mean())
    dropped = []

    def watch(v_t, c, t):
        dropped.append((c == 0).all((1, 2)).float().mean().item())
        assert (t >= 0).all() and (t <= SMALL.tau).all()
        return v_t

    for _ in range(100):
        loss(watch, SMALL.override({"p_uncond": 0.3}))
    assert sum(dropped) / 100 == pytest.approx(0.3, abs=0.04)


VARIANTS = {"mse": {}, "mse, sizes": {"normalise": True}, "softmax": {"loss": "softmax", "q": 0.3, "normalise": True}}


@pytest.mark.parametrize("sampled", [0.0, 0.4])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_loss_equals_algorithm_1_step_by_step(name, sampled, basis, tastes):
    """Dense matrices instead of sparse rows and formulas instead of the schedule, with the model's network."""
    changes = {"p_uncond": 0.4, "mask": 0.3, "tau": 2.5, "alpha_min": 0.1, "sigma_max": 0.4, "sampled": sampled, "T": 3}
    config = SMALL.override(changes | VARIANTS[name])
    model = Model(config, basis, torch.from_numpy(tastes.item_counts)).eval()
    loss, x = LOSSES[config.loss], Histories.from_interactions(tastes, CPU)
    found = loss(model, x, config, torch.Generator().manual_seed(3)).mean()

    generator = torch.Generator().manual_seed(3)
    users, items = torch.from_numpy(tastes.rows), torch.from_numpy(tastes.indices)
    kept = torch.rand(len(tastes), generator=generator) >= 0.3
    x, shown = torch.zeros(2, 60, 30)
    x[users, items] = 1.0
    shown[users[kept], items[kept]] = 1 / 0.7
    hidden = (x > 0) & (shown == 0)
    if config.normalise:
        x, shown = (matrix / matrix.sum(1, keepdim=True).clamp(min=1e-9) for matrix in (x, shown))
    U = basis.U * (30**0.5 if config.loss == "softmax" else 1)
    c, v_0 = shown @ U, x @ U
    seen = c * (torch.rand(60, 1, 1, generator=generator) >= 0.4)[:, 0]
    t = 2.5 * torch.rand(60, generator=generator)

    def noised(v, t):
        kernel = torch.exp(-t[:, None] * basis.lam)
        sigma = (1 - kernel**2).clamp(min=0).sqrt().clamp(max=0.4)
        return (0.9 * kernel + 0.1) * v + sigma * torch.randn(v.shape, generator=generator)

    def probabilities(v0_hat):
        logits = torch.exp(torch.tensor(-3.0)) * v0_hat @ U.T + torch.log(torch.from_numpy(tastes.item_counts) + 1.0)
        return logits.masked_fill(shown > 0, -torch.inf).softmax(1)

    v_t = noised(v_0, t)
    if sampled:
        chosen = torch.rand(60, generator=generator) < 0.4
        k = torch.randint(1, 4, (60,), generator=generator)
        last = torch.full((60,), 2.5)
        v_tau = noised(c, last)
        estimate = model.denoiser(v_tau, seen[:, None], last)
        if config.loss == "softmax":
            estimate = 0.7 * c + 0.3 * probabilities(estimate) @ U
        later = noised(estimate, 2.5 * k / 3)
        v_t = torch.where(chosen[:, None], torch.where((k == 3)[:, None], v_tau, later), v_t)
        t = torch.where(chosen, 2.5 * k / 3, t)
    v0_hat = model.denoiser(v_t, seen[:, None], t)
    expected = (v0_hat - v_0).square().mean()
    if config.loss == "softmax":
        p = probabilities(v0_hat)
        n = hidden.sum(1, keepdim=True)
        expected = ((1 - (n * p) ** 0.3) / 0.3)[hidden].mean()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("loss", ["mse", "softmax"])
def test_standardised_noise_is_relative_to_the_root_mean_square_of_v_0(loss, split):
    config = SMALL.override({"epochs": 1, "normalise": True, "loss": loss, "folds": 2})
    nobody = Interactions.from_pairs(vocabulary("n", 1), split.items, np.empty(0, int), np.empty(0, int))
    train = split.train.joined(nobody)  # a user without a history has no influence
    split = Split(train, *(part.among(train.items, train.users) for part in (split.valid, split.test)))
    plain, scaled = (Trainer(config.override({"standardise": on}), split, 0, CPU) for on in (False, True))
    x = Histories.from_interactions(split.train, CPU).take(torch.arange(60))
    v_0 = plain.model.basis.gft(x.normalised())
    rms = v_0.square().mean(0).sqrt()
    assert torch.equal(plain.model.noise_scale, torch.ones(config.K))
    torch.testing.assert_close(scaled.model.noise_scale, rms)

    def sampled(trainer):
        return sampling_noise(trainer.model, 3, config, torch.Generator().manual_seed(0))

    def trained(trainer):
        t, nothing = torch.ones(60), torch.zeros(60, 1, config.K)
        generator = torch.Generator().manual_seed(0)
        v_t, _ = noised(trainer.model, v_0, t, nothing, nothing, x, None, config, generator)
        return v_t - NoiseSchedule.of(config).alpha(t, plain.model.basis.lam) * v_0

    for noise in (sampled, trained):
        torch.testing.assert_close(noise(scaled), noise(plain) * rms, rtol=1e-4, atol=1e-6)
    model = Recommender(scaled.fit().checkpoint("tastes", "paper"), CPU)
    assert torch.equal(model.model.noise_scale, scaled.model.noise_scale)
