"""Posteriors q(z|x): each module maps the encoder's state h (B, 2H) to a distribution over the latent vector the decoder sees.

A distribution has `rsample` (differentiable draws for training), `sample` (exact draws for the likelihood), `mode` (for reconstruction),
`validation_draw` (the mode of discrete codes, one sample of Gaussians) and `log_prob`. z is always one flat vector.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

LOG_2PI = math.log(2 * math.pi)


class Posterior(Protocol):
    """What every distribution over z offers; `count` draws come first: (S, B, D)."""

    def rsample(self, count: int, generator: torch.Generator) -> Tensor: ...
    def sample(self, count: int, generator: torch.Generator) -> Tensor: ...
    def mode(self) -> Tensor: ...
    def validation_draw(self, generators: Sequence[torch.Generator]) -> Tensor: ...
    def log_prob(self, z: Tensor) -> Tensor: ...


def gaussian_log_density(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """log N(z; mean, e^logvar) for each dimension."""
    return -0.5 * (LOG_2PI + logvar + (z - mean) ** 2 / logvar.exp())


def standard_log_density(z: Tensor) -> Tensor:
    """log N(z; 0, I), summed over the last axis."""
    return -0.5 * (LOG_2PI + z**2).sum(-1)


@dataclass(frozen=True)
class Gaussian:
    """A diagonal Gaussian; `mean`, `logvar` (B, D)."""

    mean: Tensor
    logvar: Tensor

    def rsample(self, count: int, generator: torch.Generator) -> Tensor:
        """mean + exp(logvar/2) ε: (count, B, D)."""
        epsilon = torch.randn(count, *self.mean.shape, generator=generator, device=generator.device).to(self.mean)
        return self.mean + (0.5 * self.logvar).exp() * epsilon

    sample = rsample

    def validation_draw(self, generators: Sequence[torch.Generator]) -> Tensor:
        """One sample, (B, D), each sentence's from its own generator."""
        epsilon = torch.stack([torch.randn(self.mean.shape[1], generator=generator) for generator in generators])
        return self.mean + (0.5 * self.logvar).exp() * epsilon.to(self.mean)

    def mode(self) -> Tensor:
        """The mean, (B, D)."""
        return self.mean

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z), nats, summed over dimensions: (…, B, D) -> (…, B)."""
        return gaussian_log_density(z, self.mean, self.logvar).sum(-1)

    def kl_standard(self) -> Tensor:
        """KL(q ‖ N(0, I)) for each dimension: ½(μ² + e^logvar - 1 - logvar), (B, D)."""
        return 0.5 * (self.mean**2 + self.logvar.exp() - 1 - self.logvar)


@dataclass(frozen=True)
class Point:
    """A single value, of no density; `value` (B, D)."""

    value: Tensor

    def rsample(self, count: int, generator: torch.Generator) -> Tensor:
        """The value, repeated."""
        return self.value.expand(count, -1, -1)

    sample = rsample

    def validation_draw(self, generators: Sequence[torch.Generator]) -> Tensor:
        """The value."""
        return self.value

    def mode(self) -> Tensor:
        """The value."""
        return self.value

    def log_prob(self, z: Tensor) -> Tensor:
        """Not defined unless there is nothing to be drawn (the empty vector of a model without latent variables)."""
        if self.value.shape[-1]:
            raise TypeError("a point posterior has no density")
        return z.sum(-1)


@dataclass(frozen=True)
class Categorical:
    """M independent variables of K values; `logits` (B, M, K), M outer. z is the concatenation of the one-hot (or relaxed) values, (B, M K)."""

    logits: Tensor

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

    def validation_draw(self, generators: Sequence[torch.Generator]) -> Tensor:
        """The mode: validation does not depend on chance."""
        return self.mode()

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
        """Σ_m KL(q̄_m ‖ uniform) with q̄_m the batch mean of q(c_m|x) (Zhao et al. 2018); a scalar."""
        return (math.log(self.logits.shape[-1]) - entropy(self.probs.mean(0))).sum()

    def information(self) -> Tensor:
        """I = Σ_m [H(q̄_m) - mean_x H(q(c_m|x))], the mutual information of c and x in the batch; a scalar."""
        return mutual_information(self.probs).sum()

    def _gumbel(self, count: int, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(count, *self.logits.shape, generator=generator, device=generator.device).to(self.logits)
        tiny = torch.finfo(uniform.dtype).tiny
        return -(-uniform.clamp_min(tiny).log()).clamp_min(tiny).log()

    def _one_hot(self, scores: Tensor) -> Tensor:
        return functional.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores).flatten(-2)


@dataclass(frozen=True)
class Joint:
    """An independent categorical code and Gaussian vector: z = [c ; y]."""

    code: Categorical
    gaussian: Gaussian

    def rsample(self, count: int, generator: torch.Generator) -> Tensor:
        """Relaxed code and reparametrised Gaussian."""
        return torch.cat([self.code.rsample(count, generator), self.gaussian.rsample(count, generator)], -1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """One-hot code and Gaussian."""
        return torch.cat([self.code.sample(count, generator), self.gaussian.sample(count, generator)], -1)

    def validation_draw(self, generators: Sequence[torch.Generator]) -> Tensor:
        """The code's mode and one Gaussian sample."""
        return torch.cat([self.code.mode(), self.gaussian.validation_draw(generators)], -1)

    def mode(self) -> Tensor:
        """[mode of the code ; mean]."""
        return torch.cat([self.code.mode(), self.gaussian.mode()], -1)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(c|x) + log q(y|x)."""
        code, gaussian = z.split([self.code.logits[0].numel(), self.gaussian.mean.shape[1]], -1)
        return self.code.log_prob(code) + self.gaussian.log_prob(gaussian)


@dataclass(frozen=True)
class Mixture(Gaussian):
    """q(z|x) as Gaussian, beside q(c|x) over the components of each group; the decoder sees z only."""

    code: Categorical


def code(q: object) -> Categorical:
    """The categorical part of a posterior that has one: itself, or its `code`."""
    return q if isinstance(q, Categorical) else q.code  # type: ignore[attr-defined]


def entropy(probs: Tensor) -> Tensor:
    """H(p) = -Σ p log p over the last axis, nats; 0 log 0 = 0."""
    tiny = torch.finfo(probs.dtype).tiny  # the gradient of p log p at an underflowed p is not a number
    return -torch.special.xlogy(probs, probs.clamp_min(tiny)).sum(-1)


def mutual_information(probs: Tensor) -> Tensor:
    """H(mean_x p(y|x)) - mean_x H(p(y|x)): (B, …, K) -> (…)."""
    return entropy(probs.mean(0)) - entropy(probs).mean(0)


class PointPosterior(nn.Module):
    """z = W_m h + b."""

    def __init__(self, width: int, latent_dim: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, latent_dim)

    def forward(self, h: Tensor) -> Point:
        """`h` (B, width)."""
        return Point(self.value(h))


class NoPosterior(nn.Module):
    """The empty vector, for a model without latent variables."""

    def forward(self, h: Tensor) -> Point:
        """`h` (B, anything)."""
        return Point(h.new_zeros(len(h), 0))


class GaussianPosterior(nn.Module):
    """Mean and log-variance linear in h, or in LeakyReLU(0.01)(h)."""

    def __init__(self, width: int, latent_dim: int, *, activate: bool = False) -> None:
        super().__init__()
        self.mean = nn.Linear(width, latent_dim)
        self.logvar = nn.Linear(width, latent_dim)
        self.activate = activate

    def forward(self, h: Tensor) -> Gaussian:
        """`h` (B, width)."""
        h = functional.leaky_relu(h) if self.activate else h
        return Gaussian(self.mean(h), self.logvar(h))


class CategoricalPosterior(nn.Module):
    """Logits of M variables of K values, linear in h."""

    def __init__(self, width: int, variables: int, values: int) -> None:
        super().__init__()
        self.logits = nn.Linear(width, variables * values)
        self.shape = (variables, values)

    def forward(self, h: Tensor) -> Categorical:
        """`h` (B, width)."""
        return Categorical(self.logits(h).unflatten(1, self.shape))


class JointPosterior(nn.Module):
    """A categorical code and a Gaussian vector, independent given x."""

    def __init__(self, code: CategoricalPosterior, gaussian: GaussianPosterior) -> None:
        super().__init__()
        self.code, self.gaussian = code, gaussian

    def forward(self, h: Tensor) -> Joint:
        """`h` (B, width)."""
        return Joint(self.code(h), self.gaussian(h))


class MixturePosterior(nn.Module):
    """q(z|x) Gaussian; q(c|x) = softmax of Linear, ReLU, Linear on h, for `groups` indicators of `components` values."""

    def __init__(self, width: int, groups: int, components: int, group_dim: int) -> None:
        super().__init__()
        self.gaussian = GaussianPosterior(width, groups * group_dim)
        self.code = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, groups * components))
        self.shape = (groups, components)

    def forward(self, h: Tensor) -> Mixture:
        """`h` (B, width)."""
        gaussian = self.gaussian(h)
        return Mixture(gaussian.mean, gaussian.logvar, Categorical(self.code(h).unflatten(1, self.shape)))
