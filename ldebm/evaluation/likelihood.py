"""log p(x) by importance sampling, one sentence at a time, in log space and in bounded memory.

Estimators of different kinds are kept apart by name: `nll` is sound (exact, or an upper bound in
expectation), `nll_published` is the published estimate for energy-based priors, which is not.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ldebm.data.batches import Batch
from ldebm.models.sentence import SentenceModel

AT_ONCE = 250  # samples decoded together; bounds memory
Estimator = Callable[[SentenceModel, Batch, int, int, torch.Generator], Tensor | None]


def estimators(model: SentenceModel) -> dict[str, Estimator]:
    """The estimators of a model by name; one that does not apply to it returns None.

    Each maps (model, one-sentence batch, samples, chunk, generator) to log p(x), nats.
    """
    if model.encoder is None:
        return {"nll": exact}
    return {"nll": importance_sampled, "nll_published": published}


def importance_sampled(
    model: SentenceModel, batch: Batch, samples: int, chunk: int, generator: torch.Generator
) -> Tensor | None:
    """log (1/S) Σ_s p(x|z_s) p(z_s)/q(z_s|x) with z_s ~ q(z|x).

    Its negative is an upper bound of the NLL in expectation (Burda et al. 2016).
    """
    q, weights = model.encode(batch), []
    for z in q.chunks(samples, AT_ONCE, generator):
        log_p, log_q = model.prior.log_prob(z), q.log_prob(z)
        if log_p is None or log_q is None:
            return None
        weights.append(log_p.flatten() - log_q.flatten() - model.reconstruction(batch, z).flatten())
    return torch.cat(weights).logsumexp(0) - math.log(samples)


def exact(
    model: SentenceModel, batch: Batch, samples: int, chunk: int, generator: torch.Generator
) -> Tensor:
    """log p(x) of a model without latent variables."""
    return -model.reconstruction(batch, model.encode(batch).mode()[None])[0, 0]


def published(
    model: SentenceModel, batch: Batch, samples: int, chunk: int, generator: torch.Generator
) -> Tensor | None:
    """The estimate that was published for the model's prior."""

    def reconstruction(z: Tensor) -> Tensor:
        return model.reconstruction(batch, z).flatten()

    q = model.encode(batch)
    return model.prior.published_log_likelihood(q, reconstruction, samples, chunk, generator)
