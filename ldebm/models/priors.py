"""Priors p(z), one interface: a sampler as a function of noise, and what else a prior may have.

`divergence` is the true KL of the negative ELBO, for each sentence; what a training objective uses
instead is in `ldebm.models.regularisers`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldebm.errors import ModelError
from ldebm.models.posteriors import Posterior, standard_log_density


class EnergyDraw(Protocol):
    """What one training step draws from an energy-based prior for posterior samples z (N, D)."""

    @property
    def symbol_logits(self) -> Tensor:
        """f of the posterior samples, (N, K)."""

    def contrast(self) -> Tensor:
        """The energy of prior samples against that of posterior samples, (N,)."""

    def cross_entropy(self) -> Tensor | None:
        """What the prior charges the encoder beside the contrast, (N,), if anything."""


class Prior(nn.Module, ABC):
    """p(z), z (B, D); what a prior may lack is None.

    Its sampler is a function of standard normal noise in stages: stage k turns the state before it,
    and `noise[k]` vectors of `noise_width` entries for each sample, into the next state; the last
    state is z.
    """

    label: ClassVar[str]  # in tables
    generative = True  # whether p(z) is part of the model, so that p(x) is defined
    noise: tuple[int, ...] = (1,)
    noise_width: int

    @abstractmethod
    def stage(self, index: int, state: Tensor | None, noise: Tensor) -> Tensor:
        """The state (B, D) after stage `index`: `state` the one before it, None before the first.

        Args:
            noise: (noise[index], B, noise_width) standard normal numbers.
        """

    def draw_noise(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """What `count` samples are a function of: for each stage, (vectors, count, noise_width)."""
        return [
            torch.randn(
                (vectors, count, self.noise_width), generator=generator, device=generator.device
            )
            for vectors in self.noise
        ]

    def states(
        self, noise: Sequence[Tensor], first: int = 0, state: Tensor | None = None
    ) -> list[Tensor]:
        """The states (B, D) after stage `first` and each later one, the last of which is z.

        Args:
            noise: of all stages.
            state: the one before stage `first`.
        """
        found: list[Tensor] = []
        for index in range(first, len(noise)):
            state = self.stage(index, state, noise[index])
            found.append(state)
        return found

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, D), on the generator's device.

        Raises:
            ModelError: the sampler diverges.
        """
        z = self.states(self.draw_noise(count, generator))[-1]
        if not z.isfinite().all():
            raise ModelError(
                "the prior's sampler diverged: what it generates is not finite; lower "
                "learning_rate or, of an energy, langevin_step_size"
            )
        return z

    def log_prob(self, z: Tensor) -> Tensor | None:
        """log p(z) in nats, (…, D) -> (…)."""
        return None

    def divergence(self, q: Posterior) -> Tensor | None:
        """KL(q(z|x) ‖ p(z)) of each sentence, (B,)."""
        return None

    def symbols(self, z: Tensor) -> Tensor | None:
        """p(y|z), (N, D) -> (N, K)."""
        return None

    def given(self, variable: int, value: int) -> "Prior | None":
        """A sampler of p(z|y), y the `value` of one variable of the code.

        An energy-based prior has one variable, 0: its symbol.
        """
        return None

    def correction(self, z: Tensor) -> Tensor | None:
        """F(z), the log of an energy-based prior's factor on its base density, (N, D) -> (N,)."""
        return None

    def draw(self, z: Tensor, generator: torch.Generator) -> EnergyDraw | None:
        """What a training step needs of posterior samples `z` (N, D)."""
        return None

    def energy_parameters(self) -> list[nn.Parameter]:
        """Weights that the optimiser treats as the group "energy"."""
        return []

    def published_log_likelihood(
        self,
        q: Posterior,
        reconstruction: Callable[[Tensor], Tensor],
        samples: int,
        chunk: int,
        generator: torch.Generator,
    ) -> Tensor | None:
        """The estimate of log p(x) that was published for this prior, of one sentence.

        Args:
            q: its posterior, of a batch of one.
            reconstruction: -log p(x|z) of draws (S, 1, D), (S,).
            chunk: posterior samples that are normalised together.
        """
        return None


class StandardNormal(Prior):
    """N(0, I)."""

    label = "N(0, I)"

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.noise_width = dim

    def stage(self, index: int, state: Tensor | None, noise: Tensor) -> Tensor:
        """z = ε."""
        return noise[0]

    def log_prob(self, z: Tensor) -> Tensor:
        """log N(z; 0, I)."""
        return standard_log_density(z)

    def divergence(self, q: Posterior) -> Tensor | None:
        """KL of the Gaussian part from N(0, I)."""
        return None if q.gaussian is None else q.gaussian.kl_standard().sum(-1)


class GivenCode(Prior):
    """A prior that chooses its code by quantiles of its noise, with one variable's choice fixed."""

    label = "-"

    def __init__(self, prior: Prior, variable: int, value: int, values: int) -> None:
        super().__init__()
        self.prior, self.variable = prior, variable
        self.noise, self.noise_width = prior.noise, prior.noise_width
        self.quantile = torch.special.ndtri(torch.tensor((value + 0.5) / values))

    def stage(self, index: int, state: Tensor | None, noise: Tensor) -> Tensor:
        """As the prior, with the noise that falls on the value."""
        noise = noise.clone()
        noise[0, :, self.variable] = self.quantile
        return self.prior.stage(index, state, noise)


class UniformCode(Prior):
    """M independent variables, uniform over K values; z concatenates their one-hot values."""

    label = "uniform"

    def __init__(self, variables: int, values: int) -> None:
        super().__init__()
        self.noise_width, self.values = variables, values

    def stage(self, index: int, state: Tensor | None, noise: Tensor) -> Tensor:
        """Each variable is the K-quantile its noise falls into."""
        return (
            functional.one_hot(uniform_choice(noise[0], self.values), self.values)
            .flatten(1)
            .float()
        )

    def given(self, variable: int, value: int) -> Prior:
        """One variable fixed, the others uniform."""
        return GivenCode(self, variable, value, self.values)

    def log_prob(self, z: Tensor) -> Tensor:
        """-M log K for every code."""
        return z.new_full(z.shape[:-1], -self.noise_width * math.log(self.values))

    def divergence(self, q: Posterior) -> Tensor | None:
        """Σ_m KL(q(c_m|x) ‖ uniform)."""
        return None if q.code is None else q.code.kl_uniform()


class JointPrior(Prior):
    """A uniform code and a standard normal vector, independent: z = [c ; y]."""

    label = "uniform × N(0, I)"

    def __init__(self, code: UniformCode, gaussian: StandardNormal) -> None:
        super().__init__()
        self.code, self.gaussian = code, gaussian
        self.noise_width = code.noise_width + gaussian.noise_width

    def stage(self, index: int, state: Tensor | None, noise: Tensor) -> Tensor:
        """Both parts, from a part of the noise each."""
        code, gaussian = noise.split([self.code.noise_width, self.gaussian.noise_width], -1)
        return torch.cat(
            [self.code.stage(0, None, code), self.gaussian.stage(0, None, gaussian)], 1
        )

    def given(self, variable: int, value: int) -> Prior:
        """One variable of the code fixed."""
        return GivenCode(self, variable, value, self.code.values)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(c) + log p(y)."""
        width = self.gaussian.noise_width
        code, gaussian = z.split([z.shape[-1] - width, width], -1)
        return self.code.log_prob(code) + self.gaussian.log_prob(gaussian)

    def divergence(self, q: Posterior) -> Tensor | None:
        """The sum of both divergences."""
        parts = self.code.divergence(q), self.gaussian.divergence(q)
        return None if parts[0] is None or parts[1] is None else parts[0] + parts[1]


class SamplingOnly(Prior):
    """What an autoencoder is sampled from for the table.

    No part of its objective, and no density.
    """

    label = "-"
    generative = False

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior
        self.noise, self.noise_width = prior.noise, prior.noise_width

    def stage(self, index: int, state: Tensor | None, noise: Tensor) -> Tensor:
        """As the prior it stands for."""
        return self.prior.stage(index, state, noise)

    def given(self, variable: int, value: int) -> Prior | None:
        """That of the prior it stands for."""
        return self.prior.given(variable, value)


class EmptyPrior(Prior):
    """The empty vector, for a model without latent variables."""

    label = "-"
    noise_width = 0

    def stage(self, index: int, state: Tensor | None, noise: Tensor) -> Tensor:
        """(B, 0)."""
        return noise[0]


def uniform_choice(noise: Tensor, values: int) -> Tensor:
    """⌊K Φ(ε)⌋: standard normal numbers as uniform choices among 0 … K-1."""
    return (torch.special.ndtr(noise) * values).long().clamp_max(values - 1)
