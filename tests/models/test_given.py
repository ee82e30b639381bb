"""Sampling by symbol: p(z|y) of energies and mixtures whose conditionals are known."""

import pytest
import torch
from torch import Tensor

from ldebm.models.energy import SymbolEnergy, SymbolVectorNet, TimeConditionedNet
from ldebm.models.latent_diffusion import GIVEN_STEPS, LatentDiffusionPrior
from ldebm.models.mixture import GaussianMixturePrior
from ldebm.models.priors import JointPrior, SamplingOnly, StandardNormal, UniformCode
from ldebm.models.symbol_vector import SymbolVectorPrior

DIRECTIONS = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])


class Linear(SymbolEnergy):
    """f_y(z) = a_y · z."""

    def logits(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """(B, 2) -> (B, 3)."""
        return z @ DIRECTIONS.T

    def detach(self) -> "Linear":
        """No weights."""
        return self


def test_a_linear_energy_moves_the_standard_normal(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exp(a·z) N(z; 0, I) ∝ N(z; a, I), and the chain's mean is exact at any step."""
    prior = SymbolVectorPrior(SymbolVectorNet(2, 4, 3), 60, 0.5)
    monkeypatch.setattr(prior.network, "weights", Linear)
    for symbol, direction in enumerate(DIRECTIONS):
        given = prior.given(0, symbol).sample(20_000, generator)
        torch.testing.assert_close(given.mean(0), direction, atol=0.05, rtol=0)
        share = prior.symbols(given)[:, symbol].mean()
        assert share > 2 * prior.symbols(prior.sample(20_000, generator))[:, symbol].mean()
    assert prior.symbol is None  # the prior itself stays as it was


def test_the_diffusion_is_conditioned_at_level_0(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From z_1, n steps with a constant ∇f_y = a move the mean by (σ²/b²)(1 - (1 - b²/2σ²)^n) a."""
    prior = LatentDiffusionPrior(TimeConditionedNet(2, 4, 3, 1, 6), 6, 30, 0.002)
    monkeypatch.setattr(prior.network, "weights", Linear)
    z_1 = torch.randn(20_000, 2, generator=generator)
    given = prior.given(0, 1)
    assert given.noise == (1, 30, 30, 30, 30, 30, 30 * GIVEN_STEPS)
    noise = torch.randn(given.noise[-1], *z_1.shape, generator=generator)
    z_0 = given.stage(6, z_1, noise)
    moved = 500 * (1 - (1 - 0.001) ** given.noise[-1]) * DIRECTIONS[1]  # b²/σ² = 0.002
    expected = (z_1.mean(0) + moved) / prior.schedule.a[1]
    torch.testing.assert_close(z_0.mean(0), expected, atol=0.5, rtol=0)
    first = torch.randn(30, *z_1.shape, generator=generator)
    torch.testing.assert_close(
        given.stage(1, z_1, first), prior.stage(1, z_1, first)
    )  # above, as ever
    assert prior.symbol is None


def test_a_component_has_its_own_moments(generator: torch.Generator) -> None:
    prior = GaussianMixturePrior(3, 4, 2)
    z = prior.given(1, 2).sample(100_000, generator).detach().unflatten(1, (3, 2))
    mean, std = prior.mean.detach()[1, 2], (0.5 * prior.logvar.detach()[1, 2]).exp()
    assert ((z[:, 1].mean(0) - mean).abs() < 0.02 * std).all()
    torch.testing.assert_close(z[:, 1].std(0), std, rtol=0.02, atol=0)
    others = prior.mean.detach().mean(1)[[0, 2]]  # of all components, equally likely
    assert ((z[:, [0, 2]].mean(0) - others).abs() < 0.03 * z[:, [0, 2]].std(0)).all()


def test_a_variable_of_a_code_is_fixed_and_the_others_are_uniform(
    generator: torch.Generator,
) -> None:
    code = UniformCode(3, 5)
    for prior in (code, SamplingOnly(code), JointPrior(code, StandardNormal(2))):
        for value in range(5):
            given = prior.given(2, value)
            assert given is not None
            z = given.sample(20_000, generator)[:, :15].unflatten(1, (3, 5))
            assert (z[:, 2, value] == 1).all()
            torch.testing.assert_close(z[:, :2].mean(0), torch.full((2, 5), 0.2), atol=0.02, rtol=0)
    assert StandardNormal(2).given(0, 0) is None


def test_symbols_are_read_off_the_first_levels_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    """p(y|z) = softmax f(a_1 ā_0 z, 0), both factors a little below 1: z is large here."""
    prior = LatentDiffusionPrior(TimeConditionedNet(2, 4, 3, 1, 3), 3, 2, 0.01)
    monkeypatch.setattr(prior.network, "weights", Linear)
    z = torch.tensor([[300.0, 299.0]])
    scaled = prior.schedule.a[1] * prior.schedule.a_bar[0] * z
    torch.testing.assert_close(prior.symbols(z), (scaled @ DIRECTIONS.T).softmax(-1))
    assert prior.correction(z).item() == pytest.approx((scaled @ DIRECTIONS.T).logsumexp(-1).item())
