"""The latent diffusion energy-based prior of LDEBM (Yu et al. 2022)."""

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ldebm.models.diffusion import NoiseSchedule, reverse_chain
from ldebm.models.energy import (
    SymbolEnergy,
    SymbolGiven,
    TimeConditionedNet,
    TimeConditionedWeights,
    free_energy,
)
from ldebm.models.langevin import gaussian_noise
from ldebm.models.posteriors import Posterior, gaussian_log_density, standard_log_density
from ldebm.models.priors import Prior

GIVEN_STEPS = 4  # times the steps at level 0 where the symbol is given; 1 reaches it half as often


class LatentDiffusionPrior(Prior):
    """Energy-based conditionals p(z_t | z_{t+1}) along a diffusion of z, by recovery likelihood.

    Sources: Yu et al. 2022; Gao et al. 2021.
    """

    label = "latent diffusion energy"

    def __init__(
        self,
        network: TimeConditionedNet,
        levels: int,
        steps: int,
        step_size: float,
        sampling_steps: int | None = None,
    ) -> None:
        """Chains of `steps` a level in training, and of `sampling_steps` (None: as many) after."""
        super().__init__()
        self.network, self.steps, self.step_size = network, steps, step_size
        self.schedule = NoiseSchedule(levels)
        self.noise = (1, *(sampling_steps or steps for _ in range(levels)))
        self.noise_width = network.latent_dim
        self.symbol: int | None = None  # of p(z|y)

    def stage(self, index: int, state: Tensor | None, noise: Tensor) -> Tensor:
        """z_T ~ N(0, I), then the reverse chain of one level a stage; level 0 stands for z."""
        if state is None:
            return noise[0]
        level = self.schedule.levels - index
        t = torch.full((len(state),), level, device=state.device)
        energy: SymbolEnergy = self.network.weights().detach()
        if self.symbol is not None and level == 0:
            energy = SymbolGiven(energy, self.symbol)
        return reverse_chain(energy, self.schedule, state, t, noise, self.step_size)

    def given(self, variable: int, value: int) -> "LatentDiffusionPrior":
        """The same chain with f_y for F at level 0, where the symbol is coupled: p(y, z_0|z_1).

        It runs longer there: z_1 was drawn for any symbol, and the way to y's may be far.
        """
        one = copy(self)
        one.symbol, one.noise = value, (*self.noise[:-1], GIVEN_STEPS * self.noise[-1])
        return one

    def draw(self, z: Tensor, generator: torch.Generator) -> "DiffusionDraw":
        """The noise levels of a training step for posterior samples `z` (N, dim), and both chains.

        The chains at t and at T-1 run as one batch.
        """
        weights, last = self.network.weights(), self.schedule.levels - 1
        t = torch.randint(last, (len(z),), generator=generator, device=z.device)
        levels = torch.cat([t, torch.full_like(t, last)])
        noise = torch.randn(3, 2 * len(z), z.shape[1], generator=generator, device=z.device)
        z_t = self.schedule.diffuse(z.repeat(2, 1), levels, noise[0])
        z_next = self.schedule.step(z_t, levels + 1, noise[1]).detach()
        chain_noise = gaussian_noise(z_next, self.steps, generator)
        negative = reverse_chain(
            weights.detach(), self.schedule, z_next, levels, chain_noise, self.step_size
        )
        level_0 = self.schedule.diffuse(z, torch.zeros_like(t), noise[2, : len(z)])
        return DiffusionDraw(
            weights, self.schedule, levels, z_t, negative, self.schedule.a[1] * level_0
        )

    def symbols(self, z: Tensor) -> Tensor:
        """p(y|z) at level 0, (N, K)."""
        return self._level_0(z).softmax(-1)

    def correction(self, z: Tensor) -> Tensor:
        """F at level 0, (N,)."""
        return free_energy(self._level_0(z))

    def _level_0(self, z: Tensor) -> Tensor:
        level = torch.zeros(len(z), dtype=torch.long, device=z.device)
        scaled = self.schedule.a[1] * self.schedule.a_bar[0] * z
        return self.network.weights().logits(scaled, level)

    def energy_parameters(self) -> list[nn.Parameter]:
        """The weights of f."""
        return list(self.network.parameters())

    def published_log_likelihood(
        self,
        q: Posterior,
        reconstruction: Callable[[Tensor], Tensor],
        samples: int,
        chunk: int,
        generator: torch.Generator,
    ) -> Tensor:
        """log (1/S) Σ_s p(x|z_s) p̂(z_s)/q(z_s|x), p̂ the product of noisily normalised conditionals.

        It exponentiates a noisy estimate of log p̂, so it can come out below the reconstruction cost
        itself (Yu et al. 2022).
        """
        weights, scores = self.network.weights(), []
        for z in q.chunks(samples, chunk, generator):
            log_q = q.log_prob(z)
            assert log_q is not None
            direct, step = published_levels(self.schedule, z[:, 0], generator)
            log_prior = published_log_prior(weights, self.schedule, z[:, 0], direct, step)
            scores.append(log_prior - log_q[:, 0] - reconstruction(z))
        return torch.cat(scores).logsumexp(0) - math.log(samples)


@dataclass(frozen=True)
class DiffusionDraw:
    """The draws that one training step shares, for N posterior samples.

    `levels` (2N,) are t, then T-1; `z_t` and its negatives are (2N, dim), and `z_prime` is
    z' = a_1 · a fresh level 0 of z, (N, dim).
    """

    weights: TimeConditionedWeights
    schedule: NoiseSchedule
    levels: Tensor
    z_t: Tensor
    negative: Tensor
    z_prime: Tensor

    @cached_property
    def symbol_logits(self) -> Tensor:
        """f(z', 0), (N, K)."""
        return self.weights.logits(self.z_prime, torch.zeros_like(self.levels[: len(self.z_prime)]))

    def contrast(self) -> Tensor:
        """s_t [F(a⁻_{t+1} z_t⁻, t) - F(a⁻_{t+1} z_t, t)] + the same at T-1, (N,).

        It trains the energy network only.
        """
        positive = self.z_t.detach()
        each = recovery_contrast(self.weights, self.schedule, self.levels, positive, self.negative)
        return each.view(2, -1).sum(0)

    def cross_entropy(self) -> Tensor:
        """-s_t F(a_{t+1} z_t, t) - s_{T-1} F(z_{T-1}, T-1) + s_{T-1} ½ ‖z_{T-1}‖², (N,).

        It trains the encoder only.
        """
        each = prior_energy(self.weights.detach(), self.schedule, self.levels, self.z_t)
        last, scale = self.z_t.chunk(2)[1], level_scale(self.schedule, self.levels[-1:])
        return each.view(2, -1).sum(0) + scale * 0.5 * (last**2).sum(-1)


def level_scale(schedule: NoiseSchedule, t: Tensor) -> Tensor:
    """s_t = σ_1/σ_{t+1}."""
    return schedule.sigma[1] / schedule.sigma[t + 1]


def recovery_contrast(
    weights: SymbolEnergy, schedule: NoiseSchedule, t: Tensor, positive: Tensor, negative: Tensor
) -> Tensor:
    """s_t [F(a⁻_{t+1} z_t⁻, t) - F(a⁻_{t+1} z_t, t)], (N,).

    Args:
        t: levels, (N,).
        positive: z_t, (N, dim).
        negative: z_t⁻, (N, dim), from a chain that was started at z_{t+1}.
    """
    scaled = torch.cat([negative, positive]) * schedule.a_prev[t + 1, None].repeat(2, 1)
    energy = free_energy(weights.logits(scaled, t.repeat(2))).view(2, -1)
    return level_scale(schedule, t) * (energy[0] - energy[1])


def prior_energy(weights: SymbolEnergy, schedule: NoiseSchedule, t: Tensor, z: Tensor) -> Tensor:
    """-s_t F(a⁻_{t+1} z_t, t), (N,); at t = T-1 the factor a⁻_T is 1."""
    energy = free_energy(weights.logits(z * schedule.a_prev[t + 1, None], t))
    return -level_scale(schedule, t) * energy


def published_log_prior(
    network: SymbolEnergy, schedule: NoiseSchedule, z: Tensor, direct: Tensor, step: Tensor
) -> Tensor:
    """log p̂(z) of one chunk of posterior samples of one sentence, (S,).

    log p̂(z) = Σ_{t=1..T} { g(z_t) - log mean_s exp[g(z'_t) - log N(z_{t-1}; ā_{t-1} z, σ̄²_{t-1})]
               - log N(z'_t; a_t z_{t-1}, σ_t²) } + log N(z_T; 0, I),
    g(c) = F(a⁻_t z_{t-1}, t-1) - ‖a⁻_t z_{t-1} - [t<T] c‖²/(2σ_t²).

    Args:
        z: posterior samples, (S, D).
        direct: the levels z_t drawn at once from z, (T+1, S, D).
        step: the levels z'_t one step from z_{t-1}, (T+1, S, D).
    """
    total = standard_log_density(direct[-1])
    for t in range(1, schedule.levels + 1):
        before, level = direct[t - 1], torch.full((len(z),), t - 1, device=z.device)
        scaled = schedule.a_prev[t] * before
        energy = free_energy(network.logits(scaled, level))
        centres = torch.stack([direct[t], step[t]]) * float(t < schedule.levels)
        distance = ((scaled - centres) ** 2).sum(-1)
        g, g_step = energy - distance / (2 * schedule.sigma[t] ** 2)
        drawn = _log_normal(before, schedule.a_bar[t - 1] * z, schedule.sigma_bar[t - 1])
        normaliser = (g_step - drawn).logsumexp(0) - math.log(len(z))
        forward = _log_normal(step[t], schedule.a[t] * before, schedule.sigma[t])
        total = total + g - normaliser - forward
    return total


def published_levels(
    schedule: NoiseSchedule, z: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The levels z_t drawn at once from `z` (S, D), and z'_t one step from z_{t-1}.

    Both (T+1, S, D), t = 0 … T; z'_0 = z_0.
    """
    shape = (2, schedule.levels + 1, *z.shape)
    noise = torch.randn(shape, generator=generator, device=generator.device).to(z)
    a, sigma, a_bar, sigma_bar = (
        values[:, None, None]
        for values in (schedule.a, schedule.sigma, schedule.a_bar, schedule.sigma_bar)
    )
    direct = a_bar * z + sigma_bar * noise[0]
    return direct, torch.cat([direct[:1], a[1:] * direct[:-1] + sigma[1:] * noise[1, 1:]])


def _log_normal(z: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return gaussian_log_density(z, mean, 2 * std.log()).sum(-1)
