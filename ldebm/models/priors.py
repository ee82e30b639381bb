"""Priors p(z), one interface: `sample`, and where they have one a `log_prob` and a `divergence` from a posterior; energy-based ones have `draw`.

`divergence` is the true KL of the negative ELBO, for each sentence. What a training objective uses instead is in `ldebm.models.regularisers`.
"""

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldebm.models.diffusion import NoiseSchedule, generate, reverse_chain
from ldebm.models.energy import (
    SymbolVectorNet,
    SymbolVectorWeights,
    TimeConditionedNet,
    TimeConditionedWeights,
    free_energy,
)
from ldebm.models.langevin import gaussian_noise, langevin
from ldebm.models.posteriors import Categorical, Gaussian, Joint, Mixture, gaussian_log_density, standard_log_density


class Prior(Protocol):
    """What every prior offers."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor: ...


def normal(count: int, dim: int, generator: torch.Generator) -> Tensor:
    """(count, dim) standard normal draws on the generator's device."""
    return torch.randn(count, dim, generator=generator, device=generator.device)


class StandardNormal(nn.Module):
    """N(0, I)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, dim)."""
        return normal(count, self.dim, generator)

    def log_prob(self, z: Tensor) -> Tensor:
        """(…, dim) -> (…), nats."""
        return standard_log_density(z)

    def divergence(self, q: Gaussian) -> Tensor:
        """KL(q ‖ N(0, I)), (B,)."""
        return q.kl_standard().sum(-1)


class UniformCode(nn.Module):
    """M independent variables, uniform over K values; z is the concatenation of their one-hot values."""

    def __init__(self, variables: int, values: int) -> None:
        super().__init__()
        self.variables, self.values = variables, values

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, M K)."""
        shape = (count, self.variables)
        drawn = torch.randint(self.values, shape, generator=generator, device=generator.device)
        return functional.one_hot(drawn, self.values).flatten(1).float()

    def log_prob(self, z: Tensor) -> Tensor:
        """-M log K for every code: (…, M K) -> (…)."""
        return z.new_full(z.shape[:-1], -self.variables * math.log(self.values))

    def divergence(self, q: Categorical) -> Tensor:
        """Σ_m KL(q(c_m|x) ‖ uniform), (B,)."""
        return q.kl_uniform()


class JointPrior(nn.Module):
    """A uniform code and a standard normal vector, independent: z = [c ; y]."""

    def __init__(self, code: UniformCode, gaussian: StandardNormal) -> None:
        super().__init__()
        self.code, self.gaussian = code, gaussian

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, M K + dim)."""
        return torch.cat([self.code.sample(count, generator), self.gaussian.sample(count, generator)], 1)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(c) + log p(y)."""
        code, gaussian = z.split([z.shape[-1] - self.gaussian.dim, self.gaussian.dim], -1)
        return self.code.log_prob(code) + self.gaussian.log_prob(gaussian)

    def divergence(self, q: Joint) -> Tensor:
        """The sum of both divergences, (B,)."""
        return self.code.divergence(q.code) + self.gaussian.divergence(q.gaussian)


class SamplingOnly(nn.Module):
    """What an autoencoder is sampled from: no part of its objective, and no density."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.sample = prior.sample


class NoPrior(nn.Module):
    """The empty vector, for a model without latent variables."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, 0)."""
        return torch.zeros(count, 0, device=generator.device)


class GaussianMixturePrior(nn.Module):
    """`groups` independent latent vectors of `group_dim` entries, each a mixture of K Gaussians with learned means and variances (Shi et al. 2020)."""

    def __init__(self, groups: int, components: int, group_dim: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(groups, components, group_dim))
        self.logvar = nn.Parameter(torch.randn(groups, components, group_dim))

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """A uniform component for each group, then its Gaussian: (count, groups · group_dim)."""
        groups, components, dim = self.mean.shape
        component = torch.randint(components, (count, groups), generator=generator, device=generator.device)
        epsilon = normal(count, groups * dim, generator).view(count, groups, dim)
        group = torch.arange(groups, device=generator.device)
        mean, logvar = self.mean[group, component], self.logvar[group, component]  # (count, groups, dim)
        return (mean + (0.5 * logvar).exp() * epsilon).flatten(1)

    def log_prob(self, z: Tensor) -> Tensor:
        """log Π_groups (1/K) Σ_c N(z_g; μ_gc, σ²_gc): (…, groups · group_dim) -> (…)."""
        groups, components, dim = self.mean.shape
        z = z.unflatten(-1, (groups, 1, dim))
        density = gaussian_log_density(z, self.mean, self.logvar).sum(-1)  # (…, groups, K)
        return (density.logsumexp(-1) - math.log(components)).sum(-1)

    def divergence(self, q: Mixture) -> Tensor:
        """KL of q(z|x) q(c|x) from p(z|c) p(c): Z + D + Σ KL(q(c|x) ‖ uniform), (B,)."""
        return self.averaged_kl(q) + self.dispersion(q) + q.code.kl_uniform()

    def averaged_kl(self, q: Mixture) -> Tensor:
        """Z: KL of q(z|x) from the Gaussian with natural parameters Σ_c q(c|x) η(c), summed over groups, (B,)."""
        first, second = self._averaged(q)
        variance = -0.5 / second
        mean = first * variance
        q_mean, q_logvar = (value.unflatten(-1, mean.shape[1:]) for value in (q.mean, q.logvar))
        kl = 0.5 * (variance.log() - q_logvar + (q_logvar.exp() + (q_mean - mean) ** 2) / variance - 1)
        return kl.sum((-1, -2))

    def dispersion(self, q: Mixture) -> Tensor:
        """D = Σ_c q(c|x) A(η(c)) - A(Σ_c q(c|x) η(c)) ≥ 0, summed over groups, (B,)."""
        expected = torch.einsum("bgk,gk->b", q.code.probs, _log_normaliser(*self._natural()))
        return expected - _log_normaliser(*self._averaged(q)).sum(-1)

    def _natural(self) -> tuple[Tensor, Tensor]:
        """η(c) = (μ/σ², -1/(2σ²)), each (groups, K, dim)."""
        precision = (-self.logvar).exp()
        return self.mean * precision, -0.5 * precision

    def _averaged(self, q: Mixture) -> tuple[Tensor, Tensor]:
        """Σ_c q(c|x) η(c), each (B, groups, dim)."""
        first, second = self._natural()
        return torch.einsum("bgk,gkd->bgd", q.code.probs, first), torch.einsum("bgk,gkd->bgd", q.code.probs, second)


def _log_normaliser(first: Tensor, second: Tensor) -> Tensor:
    """A(η) = Σ_d [-η₁²/(4η₂) - ½ log(-2η₂)]: (…, dim) -> (…)."""
    return (-(first**2) / (4 * second) - 0.5 * (-2 * second).log()).sum(-1)


class SymbolVectorPrior(nn.Module):
    """p(z) ∝ exp(F(z)) N(z; 0, I), F = logsumexp of f over the symbols; sampled by short-run Langevin dynamics (Pang & Wu 2021)."""

    def __init__(self, network: SymbolVectorNet, steps: int, step_size: float) -> None:
        super().__init__()
        self.network, self.steps, self.step_size = network, steps, step_size

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, dim): fresh chains from N(0, I)."""
        return self.chain(self.network.weights(), normal(count, self.network.latent_dim, generator), generator)

    def chain(self, weights: SymbolVectorWeights, z: Tensor, generator: torch.Generator) -> Tensor:
        """z ← z + (s²/2)(∇F(z) - z) + s ε."""
        weights = weights.detach()
        energy_gradient = weights.gradient_at(None)
        noise = gaussian_noise(z, self.steps, generator)
        return langevin(z, lambda z: energy_gradient(z) - z, self.step_size, noise)

    def draw(self, z: Tensor, generator: torch.Generator) -> "SymbolVectorDraw":
        """The energies a training step needs of posterior samples `z` (N, dim)."""
        weights = self.network.weights()
        negative = self.chain(weights, normal(len(z), z.shape[1], generator), generator)
        return SymbolVectorDraw(weights.logits(z), weights.logits(negative))

    def symbols(self, z: Tensor) -> Tensor:
        """p(y|z), (N, K)."""
        return self.network.weights().logits(z).softmax(-1)


class SymbolVectorDraw:
    """f of posterior samples z⁺ and of prior samples z⁻, each (N, K)."""

    def __init__(self, positive: Tensor, negative: Tensor) -> None:
        self.symbol_logits, self._negative = positive, negative

    def contrast(self) -> Tensor:
        """-F(z⁺) + F(z⁻), (N,): trains encoder and energy network by F(z⁺)."""
        return free_energy(self._negative) - free_energy(self.symbol_logits)


class LatentDiffusionPrior(nn.Module):
    """Energy-based conditionals p(z_t | z_{t+1}) along a diffusion of z, learned by recovery likelihood (Yu et al. 2022; Gao et al. 2021)."""

    def __init__(self, network: TimeConditionedNet, levels: int, steps: int, step_size: float) -> None:
        super().__init__()
        self.network, self.steps, self.step_size = network, steps, step_size
        self.schedule = NoiseSchedule(levels)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, dim): z_T ~ N(0, I), then the reverse chain through every level; level 0 stands for z."""
        z = normal(count, self.network.latent_dim, generator)
        noise = (gaussian_noise(z, self.steps, generator) for _ in range(self.schedule.levels))
        return generate(self.network.weights().detach(), self.schedule, z, noise, self.step_size)

    def draw(self, z: Tensor, generator: torch.Generator) -> "DiffusionDraw":
        """Draw the noise levels of a training step for posterior samples `z` (N, dim) and run both chains, as one batch."""
        weights, last = self.network.weights(), self.schedule.levels - 1
        t = torch.randint(last, (len(z),), generator=generator, device=z.device)
        levels = torch.cat([t, torch.full_like(t, last)])
        noise = torch.randn(3, 2 * len(z), z.shape[1], generator=generator, device=z.device)
        z_t = self.schedule.diffuse(z.repeat(2, 1), levels, noise[0])
        z_next = self.schedule.step(z_t, levels + 1, noise[1]).detach()
        chain_noise = gaussian_noise(z_next, self.steps, generator)
        negative = reverse_chain(weights.detach(), self.schedule, z_next, levels, chain_noise, self.step_size)
        level_0 = self.schedule.diffuse(z, torch.zeros_like(t), noise[2, : len(z)])
        return DiffusionDraw(weights, self.schedule, levels, z_t, negative, self.schedule.a[1] * level_0)

    def symbols(self, z: Tensor) -> Tensor:
        """p(y|z) at level 0, (N, K)."""
        level = torch.zeros(len(z), dtype=torch.long, device=z.device)
        scaled = self.schedule.a[1] * self.schedule.a_bar[0] * z
        return self.network.weights().logits(scaled, level).softmax(-1)


class DiffusionDraw:
    """The draws one training step shares: `levels` (2N,) = t then T-1, `z_t` and its negatives (2N, dim), and z' = a_1 · level 0 of z (N, dim)."""

    def __init__(
        self,
        weights: TimeConditionedWeights,
        schedule: NoiseSchedule,
        levels: Tensor,
        z_t: Tensor,
        negative: Tensor,
        z_prime: Tensor,
    ) -> None:
        self._weights, self._schedule, self._levels, self._z_t, self._negative = (
            weights,
            schedule,
            levels,
            z_t,
            negative,
        )
        self.symbol_logits = weights.logits(z_prime, torch.zeros_like(levels[: len(z_prime)]))

    def contrast(self) -> Tensor:
        """s_t [F(a⁻_{t+1} z_t⁻, t) - F(a⁻_{t+1} z_t, t)] + the same at T-1, (N,); trains the energy network only."""
        return (
            recovery_contrast(self._weights, self._schedule, self._levels, self._z_t.detach(), self._negative)
            .view(2, -1)
            .sum(0)
        )

    def cross_entropy(self) -> Tensor:
        """-s_t F(a_{t+1} z_t, t) - s_{T-1} F(z_{T-1}, T-1) + s_{T-1} ½ ‖z_{T-1}‖², (N,); trains the encoder only."""
        energy = prior_energy(self._weights.detach(), self._schedule, self._levels, self._z_t).view(2, -1).sum(0)
        last = self._z_t[len(self._z_t) // 2 :]
        scale = level_scale(self._schedule, self._levels[-1])
        return energy + scale * 0.5 * (last**2).sum(-1)


def level_scale(schedule: NoiseSchedule, t: Tensor) -> Tensor:
    """s_t = σ_1/σ_{t+1}."""
    return schedule.sigma[1] / schedule.sigma[t + 1]


def recovery_contrast(weights: Any, schedule: NoiseSchedule, t: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """s_t [F(a⁻_{t+1} z_t⁻, t) - F(a⁻_{t+1} z_t, t)] for `positive` z_t and `negative` z_t⁻ (N, dim) at levels `t` (N,). Returns (N,)."""
    scaled = torch.cat([negative, positive]) * schedule.a_prev[t + 1, None].repeat(2, 1)
    energy = free_energy(weights.logits(scaled, t.repeat(2))).view(2, -1)
    return level_scale(schedule, t) * (energy[0] - energy[1])


def prior_energy(weights: Any, schedule: NoiseSchedule, t: Tensor, z: Tensor) -> Tensor:
    """-s_t F(a⁻_{t+1} z_t, t), (N,); at t = T-1 the factor a⁻_T is 1."""
    return -level_scale(schedule, t) * free_energy(weights.logits(z * schedule.a_prev[t + 1, None], t))
