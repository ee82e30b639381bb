"""Terms of the objectives beside the reconstruction.

Each maps a `Draw` to values for each sentence (B,) or to a batch statistic (a scalar); weights are
applied in one place, `ldebm.models.sentence.SentenceModel.loss`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from ldebm.models.mixture import GaussianMixturePrior
from ldebm.models.posteriors import Categorical, Gaussian, Posterior, mutual_information
from ldebm.models.priors import EnergyDraw, Prior
from ldebm.models.schedules import Schedule, constant


@dataclass
class Draw:
    """What a training step has drawn.

    The posterior `q`, its samples `z` (S B, D), the prior, and pseudo-labels (S B,) if there are
    any.
    """

    q: Posterior
    z: Tensor
    prior: Prior
    generator: torch.Generator
    labels: Tensor | None = None

    @cached_property
    def energy(self) -> EnergyDraw:
        """The energy-based prior's part: drawn once, when a term first asks for it."""
        return _needed(self.prior.draw(self.z, self.generator), "an energy-based prior")

    @property
    def gaussian(self) -> Gaussian:
        """The posterior's Gaussian part."""
        return _needed(self.q.gaussian, "a Gaussian posterior")

    @property
    def code(self) -> Categorical:
        """The posterior's categorical part."""
        return _needed(self.q.code, "a categorical posterior")


T = TypeVar("T")
Term = Callable[[Draw], Tensor]


@dataclass(frozen=True)
class Regulariser:
    """A named term; its weight at a step is `factor` times the schedule's."""

    name: str
    term: Term
    schedule: Schedule = field(default_factory=lambda: constant(1.0))
    factor: float = 1.0

    def weight(self, step: int, total_steps: int) -> float:
        """The weight at a training step."""
        return self.factor * self.schedule(step, total_steps)

    @property
    def label(self) -> str:
        """The name in tables, with its factor where that is not 1."""
        factor = "" if self.factor == 1 else f"{self.factor:g} "
        return factor + self.name.replace("_", " ").replace("kl", "KL")


def divergence(draw: Draw) -> Tensor:
    """The true KL of the posterior from the prior."""
    return _needed(draw.prior.divergence(draw.q), "a prior with a divergence from the posterior")


def gaussian_kl(draw: Draw) -> Tensor:
    """KL(q(y|x) ‖ N(0, I)) of the posterior's Gaussian part."""
    return draw.gaussian.kl_standard().sum(-1)


def averaged_kl(prior: GaussianMixturePrior) -> Term:
    """Z of the Gaussian mixture prior."""
    return lambda draw: prior.averaged_kl(draw.gaussian, draw.code)


def dispersion(prior: GaussianMixturePrior) -> Term:
    """D of the Gaussian mixture prior."""
    return lambda draw: prior.dispersion(draw.code)


def aggregate_kl(draw: Draw) -> Tensor:
    """Σ_m KL(q̄_m ‖ uniform) of the code."""
    return draw.code.aggregate_kl()


def information(draw: Draw) -> Tensor:
    """I, mutual information of code and sentence in the batch: "+ I" rows do not penalise it."""
    return draw.code.information()


def free_bits_kl(threshold: float) -> Term:
    """KL(q ‖ N(0, I)), kept whole for each sentence and dimension where above `threshold`, else 0.

    Value and gradient alike (Pang & Wu 2021).
    """
    return lambda draw: _above(draw.gaussian.kl_standard(), threshold)


def entropy_floor(threshold: float) -> Term:
    """-½(1 + logvar), kept whole for each sentence and dimension where above `threshold`, else 0.

    The negative entropy without its constant (Yu et al. 2022).
    """
    return lambda draw: _above(-0.5 * (1 + draw.gaussian.logvar), threshold)


def contrast(draw: Draw) -> Tensor:
    """The energy of prior samples against that of posterior samples."""
    return draw.energy.contrast()


def prior_cross_entropy(draw: Draw) -> Tensor:
    """What the diffusion prior charges the encoder."""
    return _needed(draw.energy.cross_entropy(), "a prior with a cross-entropy of its own")


def symbol_information(draw: Draw) -> Tensor:
    """The batch's mutual information of symbol and latent vector (the information bottleneck)."""
    return mutual_information(draw.energy.symbol_logits.softmax(-1))


def pseudo_label(draw: Draw) -> Tensor:
    """Cross-entropy of the symbol against the sentence's geometric cluster."""
    labels = _needed(draw.labels, "an epoch's plan that gives pseudo-labels")
    return functional.cross_entropy(draw.energy.symbol_logits, labels, reduction="none")


def _needed(value: T | None, what: str) -> T:
    if value is None:
        raise TypeError(f"this term needs {what}")
    return value


def _above(values: Tensor, threshold: float) -> Tensor:
    return torch.where(values > threshold, values, torch.zeros_like(values)).sum(-1)
