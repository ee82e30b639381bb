import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ldebm.data.batches import Batch
from ldebm.evaluation import likelihood
from ldebm.evaluation.likelihood import importance_sampled
from ldebm.models.diffusion import NoiseSchedule
from ldebm.models.energy import TimeConditionedWeights
from ldebm.models.latent_diffusion import published_log_prior
from ldebm.models.posteriors import Gaussian
from ldebm.models.priors import StandardNormal
from ldebm.models.symbol_vector import self_normalised


def test_self_normalised_likelihood(golden: dict[str, Any], close: Callable[..., None]) -> None:
    case = golden["svebm"]["paper_likelihood"]
    close(
        self_normalised(torch.tensor(case["log_D"]), torch.tensor(case["nll"])),
        case["log_likelihood"],
    )


def test_published_log_prior(
    golden: dict[str, Any], golden_net: TimeConditionedWeights, close: Callable[..., None]
) -> None:
    case = golden["ldebm_paper_log_prior"]
    schedule = NoiseSchedule(golden["energy_net"]["steps"])
    levels = (torch.tensor(case[key]) for key in ("z0", "z_direct", "z_step"))
    close(published_log_prior(golden_net, schedule, *levels), case["log_prior"])


class LinearGaussian(nn.Module):
    """x ~ N(w z, s²), z ~ N(0, 1): log p(x) is known, and so is the exact posterior."""

    def __init__(self, w: float, s: float, x: float, shift: float = 0.0) -> None:
        super().__init__()
        self.w, self.s, self.x, self.shift = w, s, x, shift
        self.prior = StandardNormal(1)

    def encode(self, batch: Batch) -> Gaussian:
        precision = 1 + self.w**2 / self.s**2
        mean = self.w * self.x / self.s**2 / precision + self.shift
        return Gaussian(torch.tensor([[mean]]), torch.tensor([[-math.log(precision)]]))

    def reconstruction(self, batch: Batch, z: Tensor) -> Tensor:
        density = torch.distributions.Normal(self.w * z[..., 0], self.s).log_prob(
            torch.tensor(self.x)
        )
        return -density

    @property
    def log_likelihood(self) -> float:
        return (
            torch.distributions.Normal(0.0, math.sqrt(self.w**2 + self.s**2))
            .log_prob(torch.tensor(self.x))
            .item()
        )


BATCH = Batch(torch.zeros(1, 2, dtype=torch.long), torch.ones(1, dtype=torch.long), np.array([0]))


@pytest.mark.parametrize("at_once", [500, 64])
def test_importance_sampling_is_exact_under_the_exact_posterior(
    at_once: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "AT_ONCE", at_once)
    model = LinearGaussian(w=1.5, s=0.5, x=0.8)
    assert importance_sampled(model, BATCH, 500, 500, generator).item() == pytest.approx(
        model.log_likelihood, abs=1e-4
    )


def test_importance_sampling_converges_under_a_wrong_posterior(generator: torch.Generator) -> None:
    model = LinearGaussian(w=1.5, s=0.5, x=0.8, shift=0.3)
    assert importance_sampled(model, BATCH, 200_000, 50_000, generator).item() == pytest.approx(
        model.log_likelihood, abs=0.02
    )


def test_it_is_a_lower_bound_in_expectation(generator: torch.Generator) -> None:
    model = LinearGaussian(w=1.5, s=0.5, x=0.8, shift=0.6)
    estimates = [importance_sampled(model, BATCH, 3, 3, generator).item() for _ in range(2000)]
    assert np.mean(estimates) < model.log_likelihood - 0.1


def test_no_underflow(generator: torch.Generator) -> None:
    """log p(x) near -20,000, far below what float32 can exponentiate."""
    model = LinearGaussian(w=1.0, s=0.01, x=200.0)
    assert model.log_likelihood < -19_000
    assert importance_sampled(model, BATCH, 500, 100, generator).item() == pytest.approx(
        model.log_likelihood, rel=1e-4
    )
    log_d, nll = torch.tensor([-900.0, -901.0]), torch.tensor([800.0, 801.0])
    by_hand = -800 + math.log((1 + math.exp(-2)) / (1 + math.exp(-1)))
    assert self_normalised(log_d, nll).item() == pytest.approx(by_hand, rel=1e-5)
