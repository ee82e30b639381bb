import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ldebm.models.posteriors import Categorical, Gaussian, Joint, Point, entropy, mutual_information


def test_gaussian_kl(golden: dict[str, Any], close: Callable[..., None]) -> None:
    case = golden["gaussian_kl"]
    q = Gaussian(torch.tensor(case["mean"]), torch.tensor(case["logvar"]))
    close(q.kl_standard().sum(-1).mean(), case["kl"])


def test_gaussian_samples_have_its_moments_and_its_density(generator: torch.Generator) -> None:
    q = Gaussian(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, math.log(0.25)]]))
    z = q.rsample(100_000, generator)
    torch.testing.assert_close(z.mean((0, 1)), torch.tensor([1.0, -2.0]), atol=0.02, rtol=0)
    torch.testing.assert_close(z.std((0, 1)), torch.tensor([1.0, 0.5]), atol=0.02, rtol=0)
    expected = torch.distributions.Normal(q.mean, torch.tensor([[1.0, 0.5]])).log_prob(z).sum(-1)
    torch.testing.assert_close(q.log_prob(z), expected)


@pytest.fixture
def code() -> Categorical:
    return Categorical(torch.tensor([[[0.0, 1.0, -1.0], [2.0, 0.0, 0.0]]]))


def test_categorical_samples_have_its_frequencies(
    code: Categorical, generator: torch.Generator
) -> None:
    z = code.sample(50_000, generator)
    assert set(z.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(z.mean((0, 1)), code.probs.flatten(), atol=0.01, rtol=0)


def test_relaxed_samples_lie_on_the_simplex_and_choose_with_its_frequencies(
    code: Categorical, generator: torch.Generator
) -> None:
    """The largest entry of a Gumbel-softmax sample is an exact categorical draw (Gumbel-max)."""
    z = code.rsample(50_000, generator).unflatten(-1, (2, 3))
    torch.testing.assert_close(z.sum(-1), torch.ones(z.shape[:-1]))
    chosen = torch.nn.functional.one_hot(z.argmax(-1), 3).float().mean((0, 1))
    torch.testing.assert_close(chosen, code.probs[0], atol=0.01, rtol=0)


def test_categorical_log_prob_sums_to_one_over_all_codes(code: Categorical) -> None:
    codes = [torch.cat([torch.eye(3)[i], torch.eye(3)[j]]) for i in range(3) for j in range(3)]
    total = code.log_prob(torch.stack(codes)[:, None]).exp().sum()
    assert total.item() == pytest.approx(1)


def test_categorical_divergences_against_sums_written_out(generator: torch.Generator) -> None:
    code = Categorical(torch.randn(4, 3, 5, generator=generator))
    uniform = torch.full((5,), 0.2)
    by_hand = sum(
        torch.sum(code.probs[:, m] * (code.probs[:, m] / uniform).log(), -1) for m in range(3)
    )
    torch.testing.assert_close(code.kl_uniform(), by_hand)
    aggregate = sum(
        torch.sum(code.probs[:, m].mean(0) * (code.probs[:, m].mean(0) / uniform).log())
        for m in range(3)
    )
    torch.testing.assert_close(code.aggregate_kl(), aggregate)
    torch.testing.assert_close(code.aggregate_kl() + code.information(), code.kl_uniform().mean())


def test_joint_is_the_product(code: Categorical, generator: torch.Generator) -> None:
    gaussian = Gaussian(
        torch.randn(1, 4, generator=generator), torch.randn(1, 4, generator=generator)
    )
    z = Joint(code, gaussian).sample(7, generator)
    assert z.shape == (7, 1, 10)
    torch.testing.assert_close(
        Joint(code, gaussian).log_prob(z), code.log_prob(z[..., :6]) + gaussian.log_prob(z[..., 6:])
    )
    torch.testing.assert_close(
        Joint(code, gaussian).mode(), torch.cat([code.mode(), gaussian.mean], -1)
    )


def test_a_point_has_no_density() -> None:
    assert Point(torch.ones(1, 2)).log_prob(torch.ones(1, 1, 2)) is None


def test_validation_draws_belong_to_the_sentence() -> None:
    mean, logvar = torch.zeros(3, 4), torch.zeros(3, 4)
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6, 7)]
    together = Gaussian(mean, logvar).validation_draw(generators)
    alone = Gaussian(mean[:1], logvar[:1]).validation_draw([torch.Generator().manual_seed(6)])
    torch.testing.assert_close(together[1:2], alone)


def test_mutual_information(golden: dict[str, Any], close: Callable[..., None]) -> None:
    case = golden["mutual_information"]
    close(mutual_information(torch.tensor(case["logits"]).softmax(-1)), case["mi"])


def test_mutual_information_of_a_perfect_code_is_its_entropy() -> None:
    assert mutual_information(torch.eye(4)).item() == pytest.approx(math.log(4))
    assert mutual_information(torch.full((6, 4), 0.25)).item() == pytest.approx(0, abs=1e-6)
    assert entropy(torch.tensor([0.5, 0.5, 0.0])).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    "term", [Categorical.information, Categorical.aggregate_kl, lambda q: q.kl_uniform().mean()]
)
@pytest.mark.parametrize("low", [-60.0, -88.0, -95.0, -100.0, -1000.0])
def test_information_and_kl_have_a_gradient_where_probabilities_underflow(
    denormals: None, term: Callable[[Categorical], Tensor], low: float
) -> None:
    """Against float64 and log-probabilities.

    H = -Σ e^l l, with the gradient that calculus gives.
    """
    logits = torch.tensor([[[0.0, low, low]], [[0.3, 0.0, low]]], requires_grad=True)
    (found,) = torch.autograd.grad(term(Categorical(logits)), logits)
    exact = logits.detach().double()
    p = exact.log_softmax(-1).exp()
    mean = p.mean(0)
    by_p = {  # d/dp_k of Σ p log p is log p_k + 1; the constant falls out through the softmax
        Categorical.information: (p.log() - mean.log()) / 2,
        Categorical.aggregate_kl: mean.log().expand_as(p) / 2,
    }.get(term, p.log() / 2)
    by_p = torch.where(p > 0, by_p, 0)  # e^-1000 is 0 in float64 too
    wanted = p * (by_p - (p * by_p).sum(-1, keepdim=True))
    torch.testing.assert_close(found.double(), wanted, atol=1e-7, rtol=1e-5)
