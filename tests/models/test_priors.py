from collections.abc import Callable
from typing import Any

import pytest
import torch

from ldebm.models.diffusion import NoiseSchedule
from ldebm.models.energy import (
    SymbolVectorNet,
    TimeConditionedNet,
    TimeConditionedWeights,
    free_energy,
)
from ldebm.models.latent_diffusion import (
    GIVEN_STEPS,
    DiffusionDraw,
    LatentDiffusionPrior,
    prior_energy,
    recovery_contrast,
)
from ldebm.models.mixture import GaussianMixturePrior
from ldebm.models.posteriors import Categorical, Gaussian, Mixture
from ldebm.models.priors import JointPrior, SamplingOnly, StandardNormal, UniformCode
from ldebm.models.symbol_vector import SymbolVectorPrior, pieces

MixtureCase = tuple[GaussianMixturePrior, Mixture, dict[str, Any]]


@pytest.fixture
def mixture(golden: dict[str, Any]) -> MixtureCase:
    case = golden["gaussian_mixture"]
    prior = GaussianMixturePrior(case["groups"], case["components"], case["latent_dim"])
    with torch.no_grad():
        prior.mean.copy_(torch.tensor(case["mu"]))
        prior.logvar.copy_(torch.tensor(case["logvar"]))
    q_mean, q_logvar, logits = (
        torch.tensor(case[key]) for key in ("q_mean", "q_logvar", "qc_logits")
    )
    return prior, Mixture(q_mean.flatten(1), q_logvar.flatten(1), Categorical(logits)), case


def test_mixture_terms(mixture: MixtureCase, close: Callable[..., None]) -> None:
    prior, q, case = mixture
    close(prior.averaged_kl(q, q.code).mean(), case["zkl_averaged_prior"])
    close(prior.dispersion(q.code).mean(), case["dispersion"])
    close((prior.averaged_kl(q, q.code) + prior.dispersion(q.code)).mean(), case["zkl"])
    close(q.code.aggregate_kl(), case["aggregate_ckl"])
    close(q.code.kl_uniform().mean(), case["ckl"])
    close(q.code.information(), case["mi"])
    close(prior.divergence(q).mean(), case["zkl"] + case["ckl"])


def test_mixture_densities(mixture: MixtureCase, close: Callable[..., None]) -> None:
    prior, q, case = mixture
    z = torch.tensor(case["z"]).flatten(1)
    close(prior.log_prob(z), case["log_p_z"])
    close(q.log_prob(z), case["log_q_z"])


def test_expected_kl_is_the_sum_over_components(mixture: MixtureCase) -> None:
    """Z + D = Σ_c q(c|x) KL(q(z|x) ‖ p(z|c)), component by component from torch.distributions."""
    prior, q, case = mixture
    normal = torch.distributions.Normal
    shape = (len(q.mean), case["groups"], 1, case["latent_dim"])
    posterior = normal(q.mean.view(shape), (0.5 * q.logvar).exp().view(shape))
    kl = torch.distributions.kl_divergence(
        posterior, normal(prior.mean, (0.5 * prior.logvar).exp())
    ).sum(-1)
    torch.testing.assert_close(
        prior.averaged_kl(q, q.code) + prior.dispersion(q.code), (q.code.probs * kl).sum((-1, -2))
    )


def test_mixture_samples_have_its_moments(mixture: MixtureCase, generator: torch.Generator) -> None:
    prior = mixture[0]
    z = prior.sample(200_000, generator).detach()
    mean = prior.mean.mean(1).flatten()
    second = (prior.logvar.exp() + prior.mean**2).mean(1).flatten()
    spread = second.sqrt()
    assert ((z.mean(0) - mean).abs() < 0.02 * spread).all()
    assert (((z**2).mean(0) - second).abs() < 0.05 * second).all()


def test_mixture_density_integrates_to_one() -> None:
    """By the identity E_q[p/q] = 1 with a wide q."""
    torch.manual_seed(0)
    prior, wide = GaussianMixturePrior(1, 3, 2), torch.distributions.Normal(0.0, 4.0)
    z = wide.sample((400_000, 2))
    ratio = (prior.log_prob(z) - wide.log_prob(z).sum(-1)).exp()
    assert ratio.mean().item() == pytest.approx(1, abs=0.02)


def test_standard_normal(generator: torch.Generator) -> None:
    prior, z = StandardNormal(3), torch.randn(5, 3, generator=generator)
    torch.testing.assert_close(
        prior.log_prob(z), torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    )
    assert prior.sample(100_000, generator).var().item() == pytest.approx(1, abs=0.02)


def test_contrast(
    golden: dict[str, Any], golden_net: TimeConditionedWeights, close: Callable[..., None]
) -> None:
    case = golden["ebm_contrast"]
    schedule, t = NoiseSchedule(golden["energy_net"]["steps"]), torch.tensor(case["t"])
    loss = recovery_contrast(
        golden_net, schedule, t, torch.tensor(case["z_pos"]), torch.tensor(case["z_neg"])
    )
    close(loss.mean(), case["loss"], scale=case["z_pos"])


def test_prior_cross_entropy(
    golden: dict[str, Any], golden_net: TimeConditionedWeights, close: Callable[..., None]
) -> None:
    case = golden["prior_cross_entropy"]
    schedule, t = NoiseSchedule(golden["energy_net"]["steps"]), torch.tensor(case["t"])
    levels = torch.cat([t, torch.full_like(t, schedule.levels - 1)])
    z_t = torch.cat([torch.tensor(case["z_t"]), torch.tensor(case["z_T_minus_1"])])
    energy = prior_energy(golden_net, schedule, levels, z_t).view(2, -1).sum(0)
    close(energy.mean(), case["energy_term"])
    draw = DiffusionDraw(golden_net, schedule, levels, z_t, z_t, z_t[: len(t)])
    close(draw.cross_entropy().mean(), case["energy_term"] + case["gaussian_term"])


@pytest.fixture
def diffusion_prior() -> LatentDiffusionPrior:
    torch.manual_seed(0)
    net = TimeConditionedNet(latent_dim=4, hidden=16, symbols=3, blocks=2, levels=6)
    net.settle()
    return LatentDiffusionPrior(net, levels=6, steps=3, step_size=0.002)


def test_chains_may_be_longer_in_sampling_than_in_training(generator: torch.Generator) -> None:
    """The steps of training see `steps` draws of noise a chain, whatever sampling is given."""
    torch.manual_seed(0)
    net = TimeConditionedNet(latent_dim=4, hidden=8, symbols=3, blocks=1, levels=2)
    short = LatentDiffusionPrior(net, 2, 3, 0.002)
    longer = LatentDiffusionPrior(net, 2, 3, 0.002, sampling_steps=7)
    assert (short.noise, longer.noise) == ((1, 3, 3), (1, 7, 7))
    z, seeds = torch.randn(8, 4), (torch.Generator().manual_seed(5) for _ in range(2))
    pairs = zip((short, longer), seeds, strict=True)
    drawn = [prior.draw(z, seed).negative for prior, seed in pairs]
    torch.testing.assert_close(*drawn)
    assert longer.given(0, 1).noise == (1, 7, 7 * GIVEN_STEPS)


def test_who_is_trained_by_what(
    diffusion_prior: LatentDiffusionPrior, generator: torch.Generator
) -> None:
    """Contrast: the energy network only. Cross-entropy: the latent vector only. Symbols: both."""
    z = torch.randn(8, 4, requires_grad=True)

    def gradients(term: str) -> tuple[bool, bool]:
        diffusion_prior.zero_grad()
        z.grad = None
        getattr(diffusion_prior.draw(z, generator), term)().sum().backward()
        network = sum(
            p.grad.abs().sum().item() for p in diffusion_prior.parameters() if p.grad is not None
        )
        return network > 0, z.grad is not None and z.grad.abs().sum().item() > 0

    assert gradients("contrast") == (True, False)
    assert gradients("cross_entropy") == (False, True)
    (diffusion_prior.draw(z, generator).symbol_logits ** 2).sum().backward()
    assert z.grad.abs().sum() > 0
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in diffusion_prior.parameters())


def test_symbols_are_read_at_the_scale_of_the_first_level(
    diffusion_prior: LatentDiffusionPrior,
) -> None:
    """p(y|z) = softmax f(a_1 ā_0 z, 0), as the contrast and the bottleneck see z' (β by hand)."""
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    a_bar_0, a_1 = (1 - beta[0]).sqrt(), (1 - beta[1:101]).sqrt().prod()
    z = 5 * torch.randn(7, 4, generator=torch.Generator().manual_seed(2))
    prior = diffusion_prior.eval()
    logits = prior.network.weights().logits((a_1 * a_bar_0).float() * z, torch.zeros(7).long())
    torch.testing.assert_close(prior.symbols(z), logits.softmax(-1))
    plain = prior.network.weights().logits(z, torch.zeros(7).long()).softmax(-1)
    assert (prior.symbols(z) - plain).abs().max() > 1e-3  # so that the scale does show


def test_training_draws_one_power_iteration(
    diffusion_prior: LatentDiffusionPrior,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    weights = diffusion_prior.network.weights
    monkeypatch.setattr(diffusion_prior.network, "weights", lambda: calls.append(1) or weights())
    diffusion_prior.train()
    draw = diffusion_prior.draw(torch.randn(8, 4), generator)
    draw.contrast(), draw.cross_entropy()
    assert len(calls) == 1


def test_diffusion_draw_levels(
    diffusion_prior: LatentDiffusionPrior, generator: torch.Generator
) -> None:
    """Levels are uniform on 0 … T-2 and then all T-1; z_t has the forward process's spread."""
    z = torch.zeros(20_000, 4)
    draw = diffusion_prior.draw(z, generator)
    low, high = draw.levels.view(2, -1)
    assert torch.bincount(low, minlength=5)[:5].float().div(20_000).sub(0.2).abs().max() < 0.02
    assert (high == 5).all()
    assert low.max() == 4
    spread = torch.stack([draw.z_t[: len(z)][low == t].std() for t in range(5)])
    torch.testing.assert_close(spread, diffusion_prior.schedule.sigma_bar[:5], rtol=0.03, atol=0)


def test_symbol_vector_samples_follow_the_tilted_normal(generator: torch.Generator) -> None:
    """A network with one layer's worth of linear energy, F(z) = ⟨w, z⟩ + const, tilts N(0, I) to
    N(w, I).
    """
    net = SymbolVectorNet(2, 4, 1)
    w = torch.tensor([0.7, -0.4])
    with torch.no_grad():
        for layer in net.layers:
            layer.weight.zero_()
            layer.bias.zero_()
        # far on the positive side GELU is the identity, so the network is linear there
        net.layers[0].weight[:2] = torch.eye(2)
        net.layers[0].bias[:2] = 50.0
        net.layers[1].weight[:2, :2] = torch.eye(2)
        net.layers[2].weight[0, :2] = w
    prior = SymbolVectorPrior(net, steps=200, step_size=0.3)
    z = prior.sample(40_000, generator).detach()
    torch.testing.assert_close(z.mean(0), w, atol=0.03, rtol=0)
    contraction = 1 - 0.3**2 / 2
    assert z.var(0).mean().item() == pytest.approx(0.3**2 / (1 - contraction**2), rel=0.03)


def test_symbol_vector_contrast(generator: torch.Generator) -> None:
    torch.manual_seed(0)
    prior = SymbolVectorPrior(SymbolVectorNet(4, 8, 3), steps=5, step_size=0.5)
    z = torch.randn(6, 4, requires_grad=True)
    draw = prior.draw(z, generator)
    torch.testing.assert_close(draw.symbol_logits, prior.network.weights().logits(z))
    draw.contrast().sum().backward()
    expected = z.detach().clone().requires_grad_()
    (-free_energy(prior.network.weights().logits(expected))).sum().backward()
    torch.testing.assert_close(z.grad, expected.grad)


def test_codes_are_uniform_and_one_hot(generator: torch.Generator) -> None:
    z = UniformCode(3, 5).sample(100_000, generator)
    assert z.shape == (100_000, 15)
    assert (z.unflatten(1, (3, 5)).sum(-1) == 1).all()
    torch.testing.assert_close(z.mean(0), torch.full((15,), 0.2), atol=0.01, rtol=0)
    pairs = z[:, 0] * z[:, 5]  # variables are independent
    assert pairs.mean().item() == pytest.approx(0.04, abs=0.005)


def test_extreme_noise_is_a_code_too() -> None:
    codes = UniformCode(2, 4).stage(0, None, torch.tensor([[[-60.0, 60.0]]]))
    assert codes.tolist() == [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]]


def test_a_joint_prior_is_the_product(generator: torch.Generator) -> None:
    prior = JointPrior(UniformCode(2, 3), StandardNormal(4))
    z = prior.sample(50_000, generator)
    torch.testing.assert_close(z[:, :6].mean(0), torch.full((6,), 1 / 3), atol=0.01, rtol=0)
    torch.testing.assert_close(z[:, 6:].std(0), torch.ones(4), atol=0.02, rtol=0)
    expected = -2 * torch.tensor(3.0).log() + torch.distributions.Normal(0.0, 1.0).log_prob(
        z[:, 6:]
    ).sum(-1)
    torch.testing.assert_close(prior.log_prob(z), expected)


def test_an_autoencoders_prior_samples_and_says_no_more(generator: torch.Generator) -> None:
    prior, q = SamplingOnly(StandardNormal(3)), Gaussian(torch.zeros(2, 3), torch.zeros(2, 3))
    assert prior.sample(50_000, generator).std().item() == pytest.approx(1, abs=0.02)
    assert prior.log_prob(torch.zeros(2, 3)) is None
    assert prior.divergence(q) is None
    assert not prior.generative


def test_stages_make_the_sample_of_one_chain(diffusion_prior: LatentDiffusionPrior) -> None:
    """Run by hand with the same noise: z_T, then each level's Langevin steps."""
    noise = [torch.randn(vectors, 5, 4) for vectors in diffusion_prior.noise]
    assert [len(one) for one in noise] == [1, 3, 3, 3, 3, 3, 3]
    state, weights = None, diffusion_prior.eval().network.weights().detach()
    for index, one in enumerate(noise):
        state = diffusion_prior.stage(index, state, one)
    z, schedule = noise[0][0], diffusion_prior.schedule
    for level, one in zip(range(5, -1, -1), noise[1:], strict=True):
        t = torch.full((5,), level)
        b2 = (
            0.002
            * schedule.sigma[level + 1] ** 2
            * schedule.sigma_bar[level]
            / schedule.sigma_bar[0]
        )
        start, moved = z, z
        for epsilon in one:
            pull = (moved - (start if level < 5 else 0)) / schedule.sigma[level + 1] ** 2
            with torch.enable_grad():
                at = moved.detach().requires_grad_()
                (force,) = torch.autograd.grad(free_energy(weights.logits(at, t)).sum(), at)
            moved = moved + 0.5 * force - 0.5 * b2 * pull + b2.sqrt() * epsilon
        z = moved / schedule.a_prev[level + 1]
    torch.testing.assert_close(state, z)


def test_pieces() -> None:
    assert pieces(40, 10) == (10, 10, 10, 10)
    assert pieces(25, 10) == (10, 10, 5)
    assert pieces(3, 10) == (3,)
