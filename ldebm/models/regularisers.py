"""Terms of the objectives beside the reconstruction: each maps a `Draw` to values for each sentence (B,) or to a batch statistic (a scalar).

Weights are applied in one place, `ldebm.models.sentence.SentenceModel.loss`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ldebm.models.posteriors import code, mutual_information
from ldebm.models.schedules import Schedule


@dataclass
class Draw:
    """What a training step has drawn: the posterior `q`, its samples `z` (S B, D), the prior, and pseudo-labels (S B,) where there are any."""

    q: Any
    z: Tensor
    prior: Any
    generator: torch.Generator
    labels: Tensor | None = None

    @cached_property
    def energy(self) -> Any:
        """The energy-based prior's part of the step: drawn once, when a term first asks for it."""
        return self.prior.draw(self.z, self.generator)


@dataclass(frozen=True)
class Regulariser:
    """A named term and its weight."""

    name: str
    term: Callable[[Draw], Tensor]
    weight: Schedule


def divergence(draw: Draw) -> Tensor:
    """The true KL of the posterior from the prior."""
    return draw.prior.divergence(draw.q)


def gaussian_kl(draw: Draw) -> Tensor:
    """KL(q(y|x) ‖ N(0, I)) of the Gaussian part of a joint posterior."""
    return draw.q.gaussian.kl_standard().sum(-1)


def averaged_kl(draw: Draw) -> Tensor:
    """Z of the Gaussian mixture prior."""
    return draw.prior.averaged_kl(draw.q)


def dispersion(draw: Draw) -> Tensor:
    """D of the Gaussian mixture prior."""
    return draw.prior.dispersion(draw.q)


def aggregate_kl(draw: Draw) -> Tensor:
    """Σ_m KL(q̄_m ‖ uniform) of the code."""
    return code(draw.q).aggregate_kl()


def information(draw: Draw) -> Tensor:
    """I, the mutual information of code and sentence in the batch: penalised unless a "+ I" row frees it."""
    return code(draw.q).information()


def free_bits_kl(threshold: float) -> Callable[[Draw], Tensor]:
    """KL(q ‖ N(0, I)), kept whole (value and gradient) for each sentence and dimension where it is above `threshold`, and 0 below (Pang & Wu 2021)."""
    return lambda draw: _above(draw.q.kl_standard(), threshold)


def entropy_floor(threshold: float) -> Callable[[Draw], Tensor]:
    """The negative entropy -½(1 + logvar) of each sentence and dimension, kept whole where it is above `threshold`, and 0 below (Yu et al. 2022)."""
    return lambda draw: _above(-0.5 * (1 + draw.q.logvar), threshold)


def contrast(draw: Draw) -> Tensor:
    """The energy of prior samples against that of posterior samples."""
    return draw.energy.contrast()


def prior_cross_entropy(draw: Draw) -> Tensor:
    """What the diffusion prior charges the encoder."""
    return draw.energy.cross_entropy()


def symbol_information(draw: Draw) -> Tensor:
    """The mutual information of symbol and latent vector in the batch (the information bottleneck; its weight is negative)."""
    return mutual_information(draw.energy.symbol_logits.softmax(-1))


def pseudo_label(draw: Draw) -> Tensor:
    """Cross-entropy of the symbol against the sentence's geometric cluster."""
    if draw.labels is None:
        raise ValueError("pseudo-labels are asked for, but the epoch's plan gave none")
    return functional.cross_entropy(draw.energy.symbol_logits, draw.labels, reduction="none")


def _above(values: Tensor, threshold: float) -> Tensor:
    return torch.where(values > threshold, values, torch.zeros_like(values)).sum(-1)
