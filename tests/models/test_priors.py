import pytest
import torch

from ldebm.models.diffusion import NoiseSchedule
from ldebm.models.energy import SymbolVectorNet, TimeConditionedNet, free_energy
from ldebm.models.posteriors import Categorical, Mixture
from ldebm.models.priors import (
    DiffusionDraw,
    GaussianMixturePrior,
    LatentDiffusionPrior,
    StandardNormal,
    SymbolVectorPrior,
    prior_energy,
    recovery_contrast,
)


@pytest.fixture
def mixture(golden):
    case = golden["gaussian_mixture"]
    prior = GaussianMixturePrior(case["groups"], case["components"], case["latent_dim"])
    with torch.no_grad():
        prior.mean.copy_(torch.tensor(case["mu"]))
        prior.logvar.copy_(torch.tensor(case["logvar"]))
    q_mean, q_logvar, logits = (torch.tensor(case[key]) for key in ("q_mean", "q_logvar", "qc_logits"))
    return prior, Mixture(q_mean.flatten(1), q_logvar.flatten(1), Categorical(logits)), case


def test_mixture_terms(mixture, close):
    prior, q, case = mixture
    close(prior.averaged_kl(q).mean(), case["zkl_averaged_prior"])
    close(prior.dispersion(q).mean(), case["dispersion"])
    close((prior.averaged_kl(q) + prior.dispersion(q)).mean(), case["zkl"])
    close(q.code.aggregate_kl(), case["aggregate_ckl"])
    close(q.code.kl_uniform().mean(), case["ckl"])
    close(q.code.information(), case["mi"])
    close(prior.divergence(q).mean(), case["zkl"] + case["ckl"])


def test_mixture_densities(mixture, close):
    prior, q, case = mixture
    z = torch.tensor(case["z"]).flatten(1)
    close(prior.log_prob(z), case["log_p_z"])
    close(q.log_prob(z), case["log_q_z"])


def test_expected_kl_is_the_sum_over_components(mixture):
    """Z + D = Σ_c q(c|x) KL(q(z|x) ‖ p(z|c)), component by component from torch.distributions."""
    prior, q, case = mixture
    normal = torch.distributions.Normal
    shape = (len(q.mean), case["groups"], 1, case["latent_dim"])
    posterior = normal(q.mean.view(shape), (0.5 * q.logvar).exp().view(shape))
    kl = torch.distributions.kl_divergence(posterior, normal(prior.mean, (0.5 * prior.logvar).exp())).sum(-1)
    torch.testing.assert_close(prior.averaged_kl(q) + prior.dispersion(q), (q.code.probs * kl).sum((-1, -2)))


def test_mixture_samples_have_its_moments(mixture, generator):
    prior = mixture[0]
    z = prior.sample(200_000, generator).detach()
    mean = prior.mean.mean(1).flatten()
    second = (prior.logvar.exp() + prior.mean**2).mean(1).flatten()
    spread = second.sqrt()
    assert ((z.mean(0) - mean).abs() < 0.02 * spread).all()
    assert (((z**2).mean(0) - second).abs() < 0.05 * second).all()


def test_mixture_density_integrates_to_one():
    """By the identity E_q[p/q] = 1 with a wide q."""
    torch.manual_seed(0)
    prior, wide = GaussianMixturePrior(1, 3, 2), torch.distributions.Normal(0.0, 4.0)
    z = wide.sample((400_000, 2))
    ratio = (prior.log_prob(z) - wide.log_prob(z).sum(-1)).exp()
    assert ratio.mean().item() == pytest.approx(1, abs=0.02)


def test_standard_normal(generator):
    prior, z = StandardNormal(3), torch.randn(5, 3, generator=generator)
    torch.testing.assert_close(prior.log_prob(z), torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1))
    assert prior.sample(100_000, generator).var().item() == pytest.approx(1, abs=0.02)


def test_contrast(golden, golden_net, close):
    case = golden["ebm_contrast"]
    schedule, t = NoiseSchedule(golden["energy_net"]["steps"]), torch.tensor(case["t"])
    loss = recovery_contrast(golden_net, schedule, t, torch.tensor(case["z_pos"]), torch.tensor(case["z_neg"]))
    close(loss.mean(), case["loss"], scale=case["z_pos"])


def test_prior_cross_entropy(golden, golden_net, close):
    case = golden["prior_cross_entropy"]
    schedule, t = NoiseSchedule(golden["energy_net"]["steps"]), torch.tensor(case["t"])
    levels = torch.cat([t, torch.full_like(t, schedule.levels - 1)])
    z_t = torch.cat([torch.tensor(case["z_t"]), torch.tensor(case["z_T_minus_1"])])
    energy = prior_energy(golden_net, schedule, levels, z_t).view(2, -1).sum(0)
    close(energy.mean(), case["energy_term"])
    draw = DiffusionDraw(golden_net, schedule, levels, z_t, z_t, z_t[: len(t)])
    close(draw.cross_entropy().mean(), case["energy_term"] + case["gaussian_term"])


@pytest.fixture
def diffusion_prior():
    torch.manual_seed(0)
    net = TimeConditionedNet(latent_dim=4, hidden=16, symbols=3, blocks=2, levels=6)
    net.settle()
    return LatentDiffusionPrior(net, levels=6, steps=3, step_size=0.002)


def test_who_is_trained_by_what(diffusion_prior, generator):
    """Contrast: the energy network only. Cross-entropy: the latent vector only. Symbols: both."""
    z = torch.randn(8, 4, requires_grad=True)

    def gradients(term):
        diffusion_prior.zero_grad()
        z.grad = None
        getattr(diffusion_prior.draw(z, generator), term)().sum().backward()
        network = sum(p.grad.abs().sum().item() for p in diffusion_prior.parameters() if p.grad is not None)
        return network > 0, z.grad is not None and z.grad.abs().sum().item() > 0

    assert gradients("contrast") == (True, False)
    assert gradients("cross_entropy") == (False, True)
    (diffusion_prior.draw(z, generator).symbol_logits ** 2).sum().backward()
    assert z.grad.abs().sum() > 0
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in diffusion_prior.parameters())


def test_training_draws_one_power_iteration(diffusion_prior, generator, monkeypatch):
    calls = []
    weights = diffusion_prior.network.weights
    monkeypatch.setattr(diffusion_prior.network, "weights", lambda: calls.append(1) or weights())
    diffusion_prior.train()
    draw = diffusion_prior.draw(torch.randn(8, 4), generator)
    draw.contrast(), draw.cross_entropy()
    assert len(calls) == 1


def test_diffusion_draw_levels(diffusion_prior, generator):
    """Levels are uniform on 0 … T-2 and then all T-1; z_t has the forward process's spread."""
    z = torch.zeros(20_000, 4)
    draw = diffusion_prior.draw(z, generator)
    low, high = draw._levels.view(2, -1)
    assert torch.bincount(low, minlength=5)[:5].float().div(20_000).sub(0.2).abs().max() < 0.02
    assert (high == 5).all()
    assert low.max() == 4
    spread = torch.stack([draw._z_t[: len(z)][low == t].std() for t in range(5)])
    torch.testing.assert_close(spread, diffusion_prior.schedule.sigma_bar[:5], rtol=0.03, atol=0)


def test_symbol_vector_samples_follow_the_tilted_normal(generator):
    """A network with one layer's worth of linear energy, F(z) = ⟨w, z⟩ + const, tilts N(0, I) to N(w, I)."""
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


def test_symbol_vector_contrast(generator):
    torch.manual_seed(0)
    prior = SymbolVectorPrior(SymbolVectorNet(4, 8, 3), steps=5, step_size=0.5)
    z = torch.randn(6, 4, requires_grad=True)
    draw = prior.draw(z, generator)
    torch.testing.assert_close(draw.symbol_logits, prior.network.weights().logits(z))
    draw.contrast().sum().backward()
    expected = z.detach().clone().requires_grad_()
    (-free_energy(prior.network.weights().logits(expected))).sum().backward()
    torch.testing.assert_close(z.grad, expected.grad)
