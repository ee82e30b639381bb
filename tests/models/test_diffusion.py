from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ldebm.models.diffusion import NoiseSchedule, reverse_chain
from ldebm.models.energy import SymbolEnergy, TimeConditionedWeights
from ldebm.models.latent_diffusion import LatentDiffusionPrior


def test_schedule_is_the_published_one(golden: dict[str, Any], close: Callable[..., None]) -> None:
    for case in golden["noise_schedule"]:
        schedule = NoiseSchedule(case["T"])
        for name, key in {
            "sigma": "sigma",
            "a": "a",
            "a_bar": "a_cum",
            "sigma_bar": "sigma_cum",
            "a_prev": "a_prev",
        }.items():
            close(getattr(schedule, name), case[key])


def test_reverse_chain(
    golden: dict[str, Any], golden_net: TimeConditionedWeights, close: Callable[..., None]
) -> None:
    case = golden["langevin_conditional"]
    z = reverse_chain(
        golden_net,
        NoiseSchedule(golden["energy_net"]["steps"]),
        torch.tensor(case["z_next"]),
        torch.tensor(case["t"]),
        torch.tensor(case["noise"]),
        case["step_size"],
    )
    close(z, case["z"])


def test_generation(
    golden: dict[str, Any], golden_net: TimeConditionedWeights, close: Callable[..., None]
) -> None:
    case = golden["ldebm_generation"]
    noise, state = torch.tensor(case["noise"]), torch.tensor(case["z_T"])
    levels, steps, _, dim = noise.shape
    network = SimpleNamespace(weights=lambda: golden_net, latent_dim=dim)
    prior = LatentDiffusionPrior(network, levels, steps, case["step_size"])
    for index in range(levels):
        state = prior.stage(index + 1, state, noise[index])
    close(state, case["z_0"])


def test_steps_compose_to_the_direct_diffusion(generator: torch.Generator) -> None:
    """z_2 drawn step by step has the mean ā_2 z and the standard deviation σ̄_2."""
    schedule, count = NoiseSchedule(6), 200_000
    z = torch.full((count, 1), 1.5)
    noise = torch.randn(3, count, 1, generator=generator)
    level = torch.zeros(count, dtype=torch.long)
    stepped = schedule.step(
        schedule.step(schedule.diffuse(z, level, noise[0]), level + 1, noise[1]),
        level + 2,
        noise[2],
    )
    assert stepped.mean().item() == pytest.approx(1.5 * schedule.a_bar[2].item(), abs=0.01)
    assert stepped.std().item() == pytest.approx(schedule.sigma_bar[2].item(), abs=0.01)


class QuadraticEnergy(SymbolEnergy):
    """f(z, t) = [-½ c ‖z‖²], so every conditional is Gaussian."""

    def __init__(self, c: float) -> None:
        self.c = c

    def logits(self, z: Tensor, t: Tensor | None) -> Tensor:
        return -0.5 * self.c * (z**2).sum(-1, keepdim=True)


@pytest.mark.parametrize("t", [1, 5])
def test_reverse_chain_has_the_moments_of_its_gaussian_target(
    t: int, generator: torch.Generator
) -> None:
    """With F = -½ c ‖z̃‖² the precision is c/b² + 1/σ² and the mean [t<T-1] z_{t+1}/σ² over it.

    Step_size and c put c/b² near 1/σ².
    """
    schedule, count, step_size = NoiseSchedule(6), 20_000, 0.02
    variance = schedule.sigma[t + 1].item() ** 2
    b2 = step_size * variance * (schedule.sigma_bar[t] / schedule.sigma_bar[0]).item()
    c = b2 / variance
    z_next = torch.full((count, 1), 0.8)
    steps = max(60, int(20 * variance / b2))
    noise = (torch.randn(count, 1, generator=generator) for _ in range(steps))
    z = reverse_chain(
        QuadraticEnergy(c), schedule, z_next, torch.full((count,), t), noise, step_size
    )
    tilde = z * schedule.a_prev[t + 1]
    drift = (
        b2 / 2 * (2 / variance)
    )  # of the discretised chain, whose stationary variance is b²/(1 - (1 - drift)²)
    expected_variance = b2 / (1 - (1 - drift) ** 2)
    expected_mean = 0.4 if t < 5 else 0.0
    assert tilde.mean().item() == pytest.approx(expected_mean, abs=0.02)
    assert tilde.var().item() == pytest.approx(expected_variance, rel=0.05)
