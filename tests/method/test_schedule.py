import pytest
import torch

from sdiff.config import Config
from sdiff.method.diffusion import q_sample
from sdiff.method.schedule import NoiseSchedule, frequencies, heat_kernel

LAM = torch.linspace(0, 1, 11)
TIMES = torch.linspace(0, 1, 21)
KINDS = ["vp", "ve", "ddpm"]


def test_vp_without_bounds_preserves_variance_and_keeps_its_snr_above_the_bound_of_the_paper():
    schedule = NoiseSchedule("vp", alpha_min=0.0, sigma_max=1.0, tau=1.0)  # Eq. (12)
    alpha, sigma = schedule.alpha(TIMES, LAM), schedule.sigma(TIMES, LAM)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha))
    kernel = torch.exp(torch.tensor(-1.0))  # lam <= 1, so exp(-tau) where the paper has exp(-2 tau)
    assert (schedule.snr(TIMES[1:], LAM) >= kernel**2 / (1 - kernel**2) - 1e-5).all()


@pytest.mark.parametrize("kind", ["ddpm", "ve"])
def test_the_ablation_schedules_treat_all_frequencies_alike(kind):
    sigma = NoiseSchedule(kind).sigma(TIMES, LAM)
    assert (sigma == sigma[:, :1]).all() and (sigma.diff(dim=0) > 0).all()


def test_ddpm_ends_in_noise_and_vp_does_not():
    end = torch.ones(1)
    assert NoiseSchedule("ddpm").snr(end, LAM).max() < 1e-3 < NoiseSchedule("vp").snr(end, LAM).min()


def test_the_heat_kernel_solves_the_heat_equation():
    # Eqs. (5)-(7): d/dt exp(-lam t) = -lam exp(-lam t), by central differences
    t, h = torch.tensor([0.4], dtype=torch.float64), 1e-5
    slope = (heat_kernel(t + h, LAM.double()) - heat_kernel(t - h, LAM.double())) / (2 * h)
    torch.testing.assert_close(slope, -LAM.double() * heat_kernel(t, LAM.double()), atol=1e-8, rtol=0)


def test_alpha_is_the_heat_kernel_bounded_by_alpha_min_and_sigma_its_complement_bounded_by_sigma_max():
    kernel = torch.exp(-TIMES[:, None] * LAM)
    schedule = NoiseSchedule("vp", alpha_min=0.3, sigma_max=0.6)
    torch.testing.assert_close(schedule.alpha(TIMES, LAM), 0.7 * kernel + 0.3)  # Eq. (13)
    torch.testing.assert_close(schedule.sigma(TIMES, LAM), (1 - kernel**2).sqrt().clamp(max=0.6))  # Eq. (14)


@pytest.mark.parametrize("tau", [0.5, 3.0])
def test_the_ablation_schedules_scale_with_tau(tau):
    for kind in ("ve", "ddpm"):
        short, long = NoiseSchedule(kind, tau=1.0), NoiseSchedule(kind, tau=tau)
        torch.testing.assert_close(long.sigma(tau * TIMES, LAM), short.sigma(TIMES, LAM))
    torch.testing.assert_close(
        NoiseSchedule("ddpm", tau=tau).alpha(tau * TIMES, LAM), NoiseSchedule("ddpm").alpha(TIMES, LAM)
    )


def test_ddpm_is_the_limit_of_its_thousand_steps():
    steps = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0).sqrt()  # Ho et al. 2020, Eq. (4)
    for k in (100, 500, 1000):
        alpha = NoiseSchedule("ddpm", tau=2.0).alpha(torch.tensor([2.0 * k / 1000]), LAM)
        torch.testing.assert_close(alpha, steps[k - 1].float().expand(1, len(LAM)), atol=2e-3, rtol=0)


def test_times_run_from_zero_to_tau():
    assert NoiseSchedule(tau=2.0).times(4).tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize("kind", KINDS)
def test_q_sample_has_the_mean_and_variance_of_its_schedule(kind):
    schedule = NoiseSchedule(kind, alpha_min=0.1, sigma_max=0.4)
    v_0, t = torch.linspace(-2, 3, 11), torch.tensor([0.6])
    eps = torch.randn(40_000, 11, generator=torch.Generator().manual_seed(0))
    v_t = q_sample(schedule, v_0, t, LAM, eps)
    torch.testing.assert_close(v_t.mean(0), schedule.alpha(t, LAM)[0] * v_0, atol=0.02, rtol=0)
    torch.testing.assert_close(v_t.std(0), schedule.sigma(t, LAM)[0], atol=0.02, rtol=0)
    torch.testing.assert_close(q_sample(schedule, v_0, t, LAM, None)[0], schedule.alpha(t, LAM)[0] * v_0)


def test_frequencies_are_the_eigenvalues_or_spread_over_the_range_of_the_paper():
    lam = torch.tensor([0.0, 0.7, 0.8, 0.95, 0.96])
    assert torch.equal(frequencies(lam, Config()), lam)
    stretched = frequencies(lam + 0.01, Config(frequency_scale="stretched"))
    torch.testing.assert_close(stretched, 2 * lam / 0.96)
    assert frequencies(lam, Config(frequency_scale="rank")).tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    one = torch.tensor([0.3])
    for scale in ("stretched", "rank"):
        assert frequencies(one, Config(frequency_scale=scale)).tolist() == [0.0]
