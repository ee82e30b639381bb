"""`ldebm likelihood`: log p(x), one sentence at a time, in log space and in bounded memory.

Estimators of different kinds are kept apart by name: `nll` is sound (exact, or an upper bound in
expectation), `nll_published` is the published estimate for energy-based priors, which is not.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ldebm import build
from ldebm.context import Context
from ldebm.data.batches import Batch, collate
from ldebm.data.files import write_json
from ldebm.models.sentence import SentenceModel, sentence_generator

AT_ONCE = 250  # samples decoded together; bounds memory
Estimator = Callable[[SentenceModel, Batch, int, int, torch.Generator], Tensor | None]


def likelihood(context: Context, weights: Path) -> None:
    """Estimate the mean NLL of the trained model in `weights` by each of its estimators: scores.json.

    In nats a sentence, with its standard error over sentences, on the first
    `evaluation.likelihood_sentences` of the test split. Every sentence's value is kept among the
    checkpoints, one a line; a later call goes on after the last whole line.
    """
    model, scores = build.load(context, weights), dict[str, float]()
    for name, estimate in estimators(model).items():
        values = _values(context, model, name, estimate)
        if values:
            spread = np.std(values, ddof=1) if len(values) > 1 else math.nan
            scores[name] = float(np.mean(values))
            scores[f"{name}_standard_error"] = float(spread / math.sqrt(len(values)))
    write_json(context.out / "scores.json", scores)
    context.tracker.log_metrics(scores, step=0)


@torch.no_grad()
def _values(context: Context, model: SentenceModel, name: str, estimate: Estimator) -> list[float]:
    """-log p(x) of every sentence in nats; none where the estimator does not apply."""
    settings, test = context.params.evaluation, context.corpus.test
    path = context.checkpoints / f"{name}.txt"
    whole = path.read_text().split("\n")[:-1] if path.exists() else []
    values = [float(line) for line in whole]
    with path.open("w", buffering=1) as file:
        file.writelines(f"{line}\n" for line in whole)
        for index in range(len(values), min(len(test), settings.likelihood_sentences or len(test))):
            batch = collate(test, np.array([index]), context.max_tokens, context.device)
            generator = sentence_generator(settings.seed, index)
            samples, chunk = settings.likelihood_samples, settings.likelihood_chunk
            log_p = estimate(model, batch, samples, chunk, generator)
            if log_p is None:
                break
            values.append(-float(log_p))
            file.write(f"{values[-1]!r}\n")
    return values


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
