"""`ldebm likelihood`: log p(x) of test sentences in nats, in log space and in bounded memory.

Estimators of different kinds are kept apart by name: `nll` is the one that all rows share, of what
a model generates (exact without latent variables), `nll_importance` is importance sampling over the
posterior, `nll_published` the published estimate for energy-based priors, which is no bound.
"""

import csv
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ldebm import build
from ldebm.context import Context
from ldebm.data.batches import Batch, collate
from ldebm.data.corpus import subset
from ldebm.data.files import write_json
from ldebm.errors import ModelError
from ldebm.evaluation import nll
from ldebm.evaluation.prior_fit import (
    DRAWS,
    draw_vectors,
    figures,
    frechet_distance,
    with_longer_chains,
)
from ldebm.models.sentence import SentenceModel, sentence_generator
from ldebm.runtime.console import Console

LONGER = 5  # times as long chains, to see whether more sampling helps
AT_ONCE = 250  # samples decoded together; bounds memory
Estimator = Callable[[SentenceModel, Batch, int, int, torch.Generator], Tensor | None]


def likelihood(context: Context, weights: Path) -> None:
    """Estimate the mean NLL of the trained model of `weights` by each of its estimators.

    scores.json has them with their standard errors over sentences, and the diagnostics of
    `ldebm.evaluation.nll` and `prior_fit`; vectors.npz generated and posterior vectors in one
    plane; sentences.csv each sentence's values, by which rows are compared in pairs.
    `nll_published` is of the first `evaluation.likelihood_sentences` test sentences, all others of
    the subset of `evaluation.annealed`; but what is exact is of all test sentences, so that it can
    carry the others over to them. What is done is kept among the checkpoints.

    Raises:
        ModelError: an estimate is not finite.
    """
    model, settings = build.load(context, weights), context.params.evaluation
    count = len(context.corpus.test)
    chosen: Sequence[int] = range(count)
    if model.encoder is not None:
        chosen = subset(count, settings.annealed.sentences, settings.seed).tolist()
    columns, diagnostics = _annealed(context, model, chosen)
    for name, estimate in estimators(model).items():
        published = name == "nll_published"
        numbers = range(min(count, settings.likelihood_sentences or count)) if published else chosen
        columns[name] = _values(context, model, name, estimate, numbers)
    _check_finite(columns)
    scores: dict[str, float] = {}
    for name, values in columns.items():
        scores |= nll.mean_with_error(name, values)
    write_json(context.out / "scores.json", scores | diagnostics)
    of_each = {key: values for key, values in columns.items() if values and key != "nll_published"}
    with (context.out / "sentences.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["sentence", *of_each])
        rows.writerows(zip(chosen, *of_each.values(), strict=True))
    context.tracker.log_metrics(scores | diagnostics, step=0)


def _check_finite(columns: Mapping[str, Sequence[float]]) -> None:
    for name, values in columns.items():
        if wrong := sum(not math.isfinite(value) for value in values):
            raise ModelError(f"{name} is not finite for {wrong} of {len(values)} test sentences")


def _annealed(
    context: Context, model: SentenceModel, chosen: Sequence[int]
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """`nll` of the sentences where it is not exact, and the diagnostics of the prior's sampler."""
    if model.encoder is None:
        return {}, {}
    settings, test = context.params.evaluation, context.corpus.test
    generator = torch.Generator(context.device).manual_seed(settings.seed)
    vectors = draw_vectors(model, test, context.max_tokens, generator, DRAWS)
    fit = figures(model.prior, vectors)
    if len(model.prior.noise) > 1:
        with suppress(ModelError):  # where these diverge, the row's own chains may still not
            longer = with_longer_chains(model.prior, LONGER).sample(DRAWS, generator)
            fit["prior_fit_longer"] = frechet_distance(longer, vectors.posterior)
    generated, posterior = vectors.plane()
    np.savez_compressed(context.out / "vectors.npz", generated=generated, posterior=posterior)
    if not model.prior.generative:
        return {}, fit
    found = nll.estimate(
        model, test, np.array(chosen), context.max_tokens, settings.annealed, settings.seed,
        context.checkpoints, _console(context),
    )  # fmt: skip
    return {"nll": [found.nll[number] for number in chosen]}, found.diagnostics | fit


def _console(context: Context) -> nll.Report:
    """Tells how far the chains are, each run of them under its name."""
    said = f"likelihood {context.key} seed {context.seed}"
    console = Console(said, 0, "temperature")

    def report(name: str, done: int, total: int) -> None:
        if console.name != (part := f"{said}, {name}"):
            console.part(part, total)
        console.show(done)
        if done == total:
            console.close()

    return report


@torch.no_grad()
def _values(
    context: Context,
    model: SentenceModel,
    name: str,
    estimate: Estimator,
    numbers: Sequence[int],
) -> list[float]:
    """-log p(x) of the numbered test sentences; none where the estimator does not apply.

    Each is kept among the checkpoints, one a line; a later call goes on after the last line that is
    whole.
    """
    settings, test = context.params.evaluation, context.corpus.test
    path = context.checkpoints / f"{name}.txt"
    whole = _whole(path.read_text("ascii", "replace")) if path.exists() else ""
    values = [float(line.split()[0]) for line in whole.splitlines()]
    with path.open("a", buffering=1) as file:
        file.truncate(len(whole))
        console = Console(f"{name} {context.key} seed {context.seed}", len(numbers), "sentence")
        for index in numbers[len(values) :]:
            batch = collate(test, np.array([index]), context.max_tokens, context.device)
            generator = sentence_generator(settings.seed, index)
            samples, chunk = settings.likelihood_samples, settings.likelihood_chunk
            log_p = estimate(model, batch, samples, chunk, generator)
            if log_p is None:
                break
            values.append(-float(log_p))
            line = _line(repr(values[-1]), whole)
            file.write(line)
            whole += line
            console.show(len(values))
        console.close()
    return values


def _whole(text: str) -> str:
    """The lines of a checkpoint up to the first that is damaged."""
    whole = ""
    for line in text.splitlines(keepends=True):
        if line != _line(line.partition(" ")[0], whole):
            break
        whole += line
    return whole


def _line(value: str, before: str) -> str:
    """A value, and the checksum of it and of all lines before."""
    return f"{value} {zlib.crc32((before + value).encode()):08x}\n"


def estimators(model: SentenceModel) -> dict[str, Estimator]:
    """The estimators of a model by name; one that does not apply to it returns None.

    Each maps (model, one-sentence batch, samples, chunk, generator) to log p(x), nats.
    """
    if model.encoder is None:
        return {"nll": exact}
    return {"nll_importance": importance_sampled, "nll_published": published}


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
