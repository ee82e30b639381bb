"""The distance of generated and posterior vectors against closed forms."""

import copy

import pytest
import torch
from torch import Tensor

from ldebm.build import build
from ldebm.config import RowConfig
from ldebm.context import Context
from ldebm.evaluation.prior_fit import (
    Vectors,
    draw_vectors,
    frechet_distance,
    prior_fit,
    with_longer_chains,
)
from ldebm.models.energy import SymbolVectorNet
from ldebm.models.heads import GaussianHead
from ldebm.models.networks import SentenceSize
from ldebm.models.priors import SamplingOnly, StandardNormal
from ldebm.models.symbol_vector import SymbolVectorPrior


def standardised(generator: torch.Generator) -> Tensor:
    """200 vectors of three entries whose sample mean is 0 and covariance the identity."""
    z = torch.randn(200, 3, generator=generator, dtype=torch.float64)
    z = z - z.mean(0)
    root = torch.linalg.cholesky(z.T.cov())
    return torch.linalg.solve_triangular(root, z.T, upper=False).T


def test_diagonal_gaussians(generator: torch.Generator) -> None:
    """Σ_d (m_1 - m_2)² + (s_1 - s_2)²."""
    z = standardised(generator)
    first = z * torch.tensor([1.0, 2.0, 0.5]) + torch.tensor([0.0, 1.0, 0.0])
    second = z.flip(0) * torch.tensor([3.0, 2.0, 0.0]) + torch.tensor([2.0, 1.0, -1.0])
    assert frechet_distance(first, second) == pytest.approx((4 + 1) + (4 + 0 + 0.25))
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6)


def test_gaussians_that_do_not_commute(generator: torch.Generator) -> None:
    """tr (C_1 C_2)^½ by the eigenvalues of the product itself."""
    z = standardised(generator)
    roots = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
    first, second = z @ roots[0].T, z @ roots[1].T
    covariances = [root @ root.T for root in roots]
    product = torch.linalg.eigvals(covariances[0] @ covariances[1]).real.sqrt().sum()
    expected = covariances[0].trace() + covariances[1].trace() - 2 * product
    assert frechet_distance(first, second) == pytest.approx(expected.item())


def test_a_single_dimension(generator: torch.Generator) -> None:
    z = standardised(generator)[:, :1]
    assert frechet_distance(z, 3 * z + 1) == pytest.approx(1 + 4)


def test_the_plane_is_that_of_the_largest_spread(generator: torch.Generator) -> None:
    posterior = standardised(generator) * torch.tensor([1.0, 5.0, 3.0]) + 7
    generated, own = Vectors(posterior[:10] + 1, posterior).plane()
    assert own.shape == (200, 2)
    torch.testing.assert_close(
        torch.from_numpy(own).abs(), (posterior - 7)[:, [1, 2]].abs(), atol=1e-6, rtol=0
    )
    assert abs(generated - own[:10]).mean(0) == pytest.approx([1, 1])  # the same origin for both


def test_the_plane_of_a_single_dimension(generator: torch.Generator) -> None:
    posterior = standardised(generator)[:, :1] + 7
    _, own = Vectors(posterior[:10], posterior).plane()
    assert own.shape == (200, 2)
    torch.testing.assert_close(torch.from_numpy(own[:, 0]).abs(), (posterior - 7)[:, 0].abs())
    assert not own[:, 1].any()


def test_figures_of_a_model(context: Context, generator: torch.Generator) -> None:
    model, split = build(context), context.corpus.valid
    state = generator.get_state()
    found = prior_fit(model, split, 6, generator, draws=50)
    generator.set_state(state)
    vectors = draw_vectors(model, split, 6, generator, 50)
    assert vectors.generated.shape == vectors.posterior.shape == (50, 6)
    assert found == {
        "prior_fit": pytest.approx(frechet_distance(vectors.generated, vectors.posterior)),
        "posterior_variance": pytest.approx(vectors.posterior.var(0).sum().item()),
        "generated_norm": pytest.approx(vectors.generated.square().sum(1).sqrt().mean().item()),
        "posterior_norm": pytest.approx(vectors.posterior.square().sum(1).sqrt().mean().item()),
    }


@pytest.mark.parametrize("name", ["SVEBM", "LDEBM", "AE", "RNN-LM"])
def test_what_a_row_has(
    context: Context, small_rows: dict[str, RowConfig], name: str, generator: torch.Generator
) -> None:
    model = small_rows[name].build(SentenceSize(len(context.corpus.vocabulary), 6, 6, 0.3))
    found = prior_fit(model, context.corpus.valid, 6, generator, draws=20)
    assert ("prior_fit" in found) == (name != "RNN-LM")
    assert ("generated_energy" in found) == (name in ("SVEBM", "LDEBM"))


def test_posterior_draws_are_spread_over_the_sentences(
    context: Context, generator: torch.Generator
) -> None:
    """With a point for a posterior, each of the four sentences occurs as often as the others."""
    model = build(context)
    assert isinstance(model.posterior, GaussianHead)
    torch.nn.init.zeros_(model.posterior.logvar.weight)
    torch.nn.init.constant_(model.posterior.logvar.bias, -60)
    drawn = draw_vectors(model, context.corpus.valid, 6, generator, 8).posterior
    _, counts = (drawn * 1e4).round().unique(dim=0, return_counts=True)
    assert counts.tolist() == [2, 2, 2, 2]


def test_longer_chains_share_the_network_and_leave_the_prior(generator: torch.Generator) -> None:
    prior = SymbolVectorPrior(SymbolVectorNet(2, 4, 3), steps=7, step_size=0.5)
    longer = with_longer_chains(prior, 5)
    assert (prior.noise, longer.noise) == ((1, 7), (1, 35))
    state = generator.get_state()
    found = longer.sample(6, generator)
    z = torch.randn(6, 2, generator=generator.set_state(state))
    noise = torch.randn(35, 6, 2, generator=generator)
    torch.testing.assert_close(found, prior.chain(prior.network.weights(), z, noise))
    assert with_longer_chains(SamplingOnly(StandardNormal(2)), 5).noise == (1,)
    assert copy.copy(prior).noise == prior.noise
