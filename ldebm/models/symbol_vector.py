"""The symbol-vector energy-based prior of SVEBM (Pang & Wu 2021)."""

import math
from collections.abc import Callable, Iterable
from copy import copy

import torch
from torch import Tensor, nn

from ldebm.models.energy import SymbolEnergy, SymbolGiven, SymbolVectorNet, free_energy
from ldebm.models.langevin import gaussian_noise, langevin
from ldebm.models.posteriors import Posterior, standard_log_density
from ldebm.models.priors import Prior

STAGE = 10  # Langevin steps of a stage of the sampler


class SymbolVectorPrior(Prior):
    """p(z) ∝ exp(F(z)) N(z; 0, I), F = logsumexp of f over the symbols.

    Sampled by short-run Langevin dynamics from N(0, I). Source: Pang & Wu 2021.
    """

    label = "symbol-vector energy"

    def __init__(self, network: SymbolVectorNet, steps: int, step_size: float) -> None:
        super().__init__()
        self.network, self.step_size = network, step_size
        self.symbol: int | None = None  # of p(z|y)
        self.noise, self.noise_width = (1, *pieces(steps, STAGE)), network.latent_dim

    def stage(self, index: int, state: Tensor | None, noise: Tensor) -> Tensor:
        """z ~ N(0, I), then steps of the chain."""
        if state is None:
            return noise[0]
        weights = self.network.weights().detach()
        one = weights if self.symbol is None else SymbolGiven(weights, self.symbol)
        return self.chain(one, state, noise)

    def given(self, variable: int, value: int) -> "SymbolVectorPrior":
        """p(z|y) ∝ exp(f_y(z)) N(z; 0, I), by the same chain."""
        one = copy(self)
        one.symbol = value
        return one

    def chain(self, energy: SymbolEnergy, z: Tensor, noise: Iterable[Tensor]) -> Tensor:
        """z ← z + (s²/2)(∇F(z) - z) + s ε, one step for every ε of `noise`."""
        energy_gradient = energy.gradient_at(None)
        return langevin(z, lambda z: energy_gradient(z) - z, self.step_size, noise)

    def draw(self, z: Tensor, generator: torch.Generator) -> "SymbolVectorDraw":
        """f of posterior samples `z` (N, D) and of fresh chains, as many."""
        weights = self.network.weights()
        start, *noise = gaussian_noise(z, sum(self.noise), generator)
        return SymbolVectorDraw(
            weights.logits(z), weights.logits(self.chain(weights.detach(), start, noise))
        )

    def correction(self, z: Tensor) -> Tensor:
        """F(z), (N,)."""
        return free_energy(self.network.weights().logits(z))

    def symbols(self, z: Tensor) -> Tensor:
        """p(y|z), (N, K)."""
        return self.network.weights().logits(z).softmax(-1)

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
        """log of the mean over chunks of Σ p(x|z_s) D_s / Σ D_s, with the right Gaussian densities.

        D_s = exp(F(z_s)) N(z_s; 0, I)/q(z_s|x). The normaliser of the prior is estimated from the
        posterior of the very sentence that is scored, so this is no bound (Pang & Wu 2021).
        """
        weights, found = self.network.weights(), []
        for z in q.chunks(samples, chunk, generator):
            log_q = q.log_prob(z)
            assert log_q is not None
            log_p = free_energy(weights.logits(z[:, 0])) + standard_log_density(z[:, 0])
            log_d = log_p - log_q[:, 0]
            found.append(self_normalised(log_d, reconstruction(z)))
        return torch.stack(found).logsumexp(0) - math.log(len(found))


def self_normalised(log_d: Tensor, nll: Tensor) -> Tensor:
    """log [Σ_s exp(-nll_s) D_s / Σ_s D_s], (S,) and (S,) -> a scalar."""
    return (log_d - nll).logsumexp(0) - log_d.logsumexp(0)


class SymbolVectorDraw:
    """f of posterior samples z⁺ and of prior samples z⁻, each (N, K)."""

    def __init__(self, positive: Tensor, negative: Tensor) -> None:
        self.symbol_logits, self._negative = positive, negative

    def contrast(self) -> Tensor:
        """-F(z⁺) + F(z⁻), (N,): trains encoder and energy network by F(z⁺)."""
        return free_energy(self._negative) - free_energy(self.symbol_logits)

    def cross_entropy(self) -> None:
        """Nothing beside the contrast, which trains the encoder too."""


def pieces(steps: int, most: int) -> tuple[int, ...]:
    """`steps` in pieces of at most `most`: 40 steps of 10 are (10, 10, 10, 10)."""
    return tuple(min(most, steps - start) for start in range(0, steps, most))
