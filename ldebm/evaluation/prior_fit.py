"""Does a prior's sampler reach the posterior? Generated latent vectors beside posterior ones."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ldebm.data.batches import by_length
from ldebm.data.corpus import Split
from ldebm.models.priors import Prior
from ldebm.models.sentence import SentenceModel

DRAWS = 1000
ENCODED_TOGETHER = 256  # sentences
Plane = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Vectors:
    """z of the prior's sampler, and draws of q(z|x) for held-out sentences: (N, D) each."""

    generated: Tensor
    posterior: Tensor

    def plane(self) -> tuple[Plane, Plane]:
        """Both in the first two principal components of the posterior draws, (N, 2) each.

        Of a single dimension the second is 0.
        """
        mean = self.posterior.mean(0)
        directions = torch.linalg.eigh(torch.atleast_2d(self.posterior.T.cov()))[1][:, -2:].flip(1)
        directions = functional.pad(directions, (0, 2 - directions.shape[1]))
        generated, posterior = (
            ((z - mean) @ directions).cpu().numpy() for z in (self.generated, self.posterior)
        )
        return generated, posterior


def prior_fit(
    model: SentenceModel,
    split: Split,
    max_tokens: int,
    generator: torch.Generator,
    draws: int = DRAWS,
) -> dict[str, float]:
    """The `figures` of as many draws; empty for a model without latent variables."""
    if model.encoder is None:
        return {}
    return figures(model.prior, draw_vectors(model, split, max_tokens, generator, draws))


def figures(prior: Prior, vectors: Vectors) -> dict[str, float]:
    """`prior_fit`, the Fréchet distance of generated z and posterior samples, and what explains it.

    The posterior samples' total variance; both mean norms; of an energy-based prior both mean F.
    """
    found = {
        "prior_fit": frechet_distance(vectors.generated, vectors.posterior),
        "posterior_variance": vectors.posterior.double().var(0).sum().item(),
    }
    for name, z in (("generated", vectors.generated), ("posterior", vectors.posterior)):
        found[f"{name}_norm"] = z.norm(dim=1).mean().item()
        energy = prior.correction(z)
        if energy is not None:
            found[f"{name}_energy"] = energy.mean().item()
    return found


@torch.no_grad()
def draw_vectors(
    model: SentenceModel, split: Split, max_tokens: int, generator: torch.Generator, draws: int
) -> Vectors:
    """`draws` of each kind; every sentence of the split counts, as evenly as that allows."""
    model.eval()
    each = -(-draws // len(split))
    parts = [
        model.encode(batch).sample(each, generator).flatten(0, 1)
        for batch in by_length(split, ENCODED_TOGETHER, max_tokens, generator.device)
    ]
    posterior = torch.cat(parts)
    kept = torch.randperm(len(posterior), generator=generator, device=generator.device)[:draws]
    return Vectors(model.prior.sample(draws, generator), posterior[kept])


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """‖m_1 - m_2‖² + tr(C_1 + C_2 - 2 (C_1^½ C_2 C_1^½)^½) of samples, (N, D) each.

    Source: Heusel et al. 2017.
    """
    first, second = first.double(), second.double()
    covariances = [torch.atleast_2d(z.T.cov()) for z in (first, second)]
    values, directions = torch.linalg.eigh(covariances[0])
    root = directions * values.clamp_min(0).sqrt() @ directions.T
    cross = torch.linalg.eigvalsh(root @ covariances[1] @ root).clamp_min(0).sqrt().sum()
    spread = sum(c.trace() for c in covariances) - 2 * cross
    return float(((first.mean(0) - second.mean(0)) ** 2).sum() + spread)


def with_longer_chains(prior: Prior, factor: int) -> Prior:
    """The same prior, its chains `factor` times as long; its networks are shared."""
    longer = copy.copy(prior)
    longer.noise = (prior.noise[0], *(factor * steps for steps in prior.noise[1:]))
    return longer
