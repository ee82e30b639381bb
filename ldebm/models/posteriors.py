"""Posteriors q(z|x) of a batch.

z is always one flat vector (B, D), the one the decoder sees; where there are several draws of each
sentence they come first: (S, B, D).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LOG_2PI = math.log(2 * math.pi)


class Posterior(ABC):
    """A distribution over z for every sentence of a batch; what it may lack is None."""

    @property
    def gaussian(self) -> "Gaussian | None":
        """Its Gaussian part."""
        return None

    @property
    def code(self) -> "Categorical | None":
        """Its categorical part."""
        return None

    @abstractmethod
    def rsample(self, count: int, generator: torch.Generator) -> Tensor:
        """Differentiable draws, for training: (count, B, D)."""

    @abstractmethod
    def mode(self) -> Tensor:
        """The mode (B, D), for reconstruction."""

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Exact draws, for the likelihood: (count, B, D)."""
        return self.rsample(count, generator)

    def validation_draw(self, generators: Sequence[torch.Generator]) -> Tensor:
        """What validation scores (B, D): the mode, or one draw by each sentence's own generator."""
        return self.mode()

    def log_prob(self, z: Tensor) -> Tensor | None:
        """log q(z|x) in nats, (…, B, D) -> (…, B); None where there is no density."""
        return None

    def chunks(self, count: int, chunk: int, generator: torch.Generator) -> Iterator[Tensor]:
        """`count` exact draws in pieces of at most `chunk`."""
        for start in range(0, count, chunk):
            yield self.sample(min(chunk, count - start), generator)


def gaussian_log_density(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """log N(z; mean, e^logvar) for each dimension."""
    return -0.5 * (LOG_2PI + logvar + (z - mean) ** 2 / logvar.exp())


def standard_log_density(z: Tensor) -> Tensor:
    """log N(z; 0, I), summed over the last axis."""
    return -0.5 * (LOG_2PI + z**2).sum(-1)


@dataclass(frozen=True)
class Gaussian(Posterior):
    """A diagonal Gaussian; `mean`, `logvar` (B, D)."""

    mean: Tensor
    logvar: Tensor

    @property
    def gaussian(self) -> "Gaussian":
        """Itself."""
        return self

    def rsample(self, count: int, generator: torch.Generator) -> Tensor:
        """mean + exp(logvar/2) ε: (count, B, D)."""
        shape = (count, *self.mean.shape)
        epsilon = torch.randn(shape, generator=generator, device=generator.device).to(self.mean)
        return self.mean + (0.5 * self.logvar).exp() * epsilon

    def validation_draw(self, generators: Sequence[torch.Generator]) -> Tensor:
        """One sample, (B, D), each sentence's from its own generator."""
        width = self.mean.shape[1]
        epsilon = torch.stack([torch.randn(width, generator=one) for one in generators])
        return self.mean + (0.5 * self.logvar).exp() * epsilon.to(self.mean)

    def mode(self) -> Tensor:
        """The mean, (B, D)."""
        return self.mean

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z), summed over dimensions."""
        return gaussian_log_density(z, self.mean, self.logvar).sum(-1)

    def kl_standard(self) -> Tensor:
        """KL(q ‖ N(0, I)) for each dimension: ½(μ² + e^logvar - 1 - logvar), (B, D)."""
        return 0.5 * (self.mean**2 + self.logvar.exp() - 1 - self.logvar)


@dataclass(frozen=True)
class Point(Posterior):
    """A single value, of no density; `value` (B, D).

    With D = 0 it stands for a model without latent variables.
    """

    value: Tensor

    def rsample(self, count: int, generator: torch.Generator) -> Tensor:
        """The value, repeated."""
        return self.value.expand(count, -1, -1)

    def mode(self) -> Tensor:
        """The value."""
        return self.value


@dataclass(frozen=True)
class Categorical(Posterior):
    """M independent variables of K values; `logits` (B, M, K), M outer.

    z is the concatenation of the one-hot (or relaxed) values, (B, M K).
    """

    logits: Tensor

    @property
    def code(self) -> "Categorical":
        """Itself."""
        return self

    @property
    def probs(self) -> Tensor:
        """q(c|x), (B, M, K)."""
        return self.logits.softmax(-1)

    def rsample(self, count: int, generator: torch.Generator) -> Tensor:
        """Gumbel-softmax at temperature 1, not straight-through (Jang et al. 2017)."""
        return (self.logits + self._gumbel(count, generator)).softmax(-1).flatten(2)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Exact one-hot draws."""
        return self._one_hot(self.logits + self._gumbel(count, generator))

    def mode(self) -> Tensor:
        """One-hot argmax, (B, M K)."""
        return self._one_hot(self.logits)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q of one-hot values, summed over the variables."""
        return (z.unflatten(-1, self.logits.shape[1:]) * self.logits.log_softmax(-1)).sum((-1, -2))

    def kl_uniform(self) -> Tensor:
        """Σ_m KL(q(c_m|x) ‖ uniform), (B,)."""
        return (math.log(self.logits.shape[-1]) - entropy(self.probs)).sum(-1)

    def aggregate_kl(self) -> Tensor:
        """Σ_m KL(q̄_m ‖ uniform), a scalar, with q̄_m the batch mean of q(c_m|x).

        Source: Zhao et al. 2018.
        """
        return (math.log(self.logits.shape[-1]) - entropy(self.probs.mean(0))).sum()

    def information(self) -> Tensor:
        """I = Σ_m [H(q̄_m) - mean_x H(q(c_m|x))], the mutual information of c and x in the batch.

        A scalar.
        """
        return mutual_information(self.probs).sum()

    def _gumbel(self, count: int, generator: torch.Generator) -> Tensor:
        shape = (count, *self.logits.shape)
        uniform = torch.rand(shape, generator=generator, device=generator.device).to(self.logits)
        tiny = torch.finfo(uniform.dtype).tiny
        return -(-uniform.clamp_min(tiny).log()).clamp_min(tiny).log()

    def _one_hot(self, scores: Tensor) -> Tensor:
        return functional.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores).flatten(-2)


@dataclass(frozen=True)
class Joint(Posterior):
    """An independent categorical code and Gaussian vector: z = [c ; y]."""

    discrete: Categorical
    continuous: Gaussian

    @property
    def code(self) -> Categorical:
        """q(c|x)."""
        return self.discrete

    @property
    def gaussian(self) -> Gaussian:
        """q(y|x)."""
        return self.continuous

    def rsample(self, count: int, generator: torch.Generator) -> Tensor:
        """Relaxed code and reparametrised Gaussian."""
        parts = [part.rsample(count, generator) for part in (self.discrete, self.continuous)]
        return torch.cat(parts, -1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """One-hot code and Gaussian."""
        parts = [part.sample(count, generator) for part in (self.discrete, self.continuous)]
        return torch.cat(parts, -1)

    def validation_draw(self, generators: Sequence[torch.Generator]) -> Tensor:
        """The code's mode and one Gaussian sample."""
        return torch.cat([self.discrete.mode(), self.continuous.validation_draw(generators)], -1)

    def mode(self) -> Tensor:
        """[mode of the code ; mean]."""
        return torch.cat([self.discrete.mode(), self.continuous.mode()], -1)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(c|x) + log q(y|x)."""
        sizes = [self.discrete.logits[0].numel(), self.continuous.mean.shape[1]]
        code, gaussian = z.split(sizes, -1)
        return self.discrete.log_prob(code) + self.continuous.log_prob(gaussian)


@dataclass(frozen=True)
class Mixture(Gaussian):
    """q(z|x) as Gaussian, beside q(c|x) over the components of each group; z alone is decoded."""

    components: Categorical

    @property
    def code(self) -> Categorical:
        """q(c|x)."""
        return self.components


def entropy(probs: Tensor) -> Tensor:
    """H(p) = -Σ p log p over the last axis, nats; 0 log 0 = 0."""
    # the gradient of p log p at an underflowed p is not a number
    tiny = torch.finfo(probs.dtype).tiny
    return -torch.special.xlogy(probs, probs.clamp_min(tiny)).sum(-1)


def mutual_information(probs: Tensor) -> Tensor:
    """H(mean_x p(y|x)) - mean_x H(p(y|x)): (B, …, K) -> (…)."""
    return entropy(probs.mean(0)) - entropy(probs).mean(0)
