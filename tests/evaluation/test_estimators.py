"""Each estimator against its formula written out, on the same draws, sentence by sentence."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Normal

from ldebm import build
from ldebm.context import Context
from ldebm.data.batches import Batch
from ldebm.data.vocabulary import BOS, EOS
from ldebm.evaluation import likelihood
from ldebm.models.latent_diffusion import published_levels, published_log_prior
from ldebm.models.sentence import SentenceModel, sentence_generator
from ldebm.runtime import checkpoint

SAMPLES, CHUNK = 7, 3


@pytest.fixture
def context(context: Context) -> Context:
    """Seven samples in chunks of three; the first four test sentences."""
    changes = {
        "likelihood_samples": SAMPLES,
        "likelihood_chunk": CHUNK,
        "likelihood_sentences": 4,
        "seed": 11,
    }
    evaluation = context.params.evaluation.model_copy(update=changes)
    return replace(context, params=context.params.model_copy(update={"evaluation": evaluation}))


def built(context: Context, key: str) -> tuple[Context, SentenceModel]:
    torch.manual_seed(5)
    of_row = replace(context, key=key)
    model = build.build(of_row).eval()
    with torch.no_grad():  # so that q is not p
        for parameter in model.posterior.parameters():
            parameter.mul_(3)
    return of_row, model


def one(context: Context, line: str) -> Batch:
    """A batch of one sentence, cut to four words and framed by hand."""
    ids = [context.corpus.vocabulary.ids[word] for word in line.split()[:4]]
    tokens = torch.tensor([[BOS, *ids, EOS]])
    return Batch(tokens, torch.tensor([len(ids) + 1]), np.array([0]))


def gaussian(q: Any, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws (count, D) and their log q, by torch.distributions."""
    spread = (0.5 * q.logvar[0]).exp()
    z = q.mean[0] + spread * torch.randn(count, *q.mean.shape, generator=generator)[:, 0]
    return z, Normal(q.mean[0], spread).log_prob(z).sum(-1)


def one_hot(q: Any, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One-hot draws (count, M K) by the Gumbel-max rule, and their log q."""
    uniform = torch.rand(count, *q.logits.shape, generator=generator)[:, 0]
    value = (q.logits[0] - (-uniform.log()).log()).argmax(-1)  # (count, M)
    z = torch.zeros(count, *q.logits.shape[1:]).scatter_(-1, value[..., None], 1.0)
    return z.flatten(1), Categorical(logits=q.logits[0]).log_prob(value).sum(-1)


def standard(z: Tensor) -> Tensor:
    return Normal(0.0, 1.0).log_prob(z).sum(-1)


def uniform(q: Any) -> float:
    _, variables, values = q.logits.shape
    return float(-variables * math.log(values))


def drawn(key: str, model: Any, q: Any, count: int, generator: torch.Generator) -> Any:
    """Exact draws (count, D), their log p and their log q."""
    if key == "dvae":
        z, log_q = one_hot(q, count, generator)
        return z, torch.full((count,), uniform(q)), log_q
    if key == "semi_vae":
        code, log_q_code = one_hot(q.code, count, generator)
        y, log_q_y = gaussian(q.gaussian, count, generator)
        log_p = uniform(q.code) + standard(y)
        return torch.cat([code, y], 1), log_p, log_q_code + log_q_y
    z, log_q = gaussian(q, count, generator)
    if key == "vae":
        return z, standard(z), log_q
    mean, spread = model.prior.mean, (0.5 * model.prior.logvar).exp()  # (groups, K, dim)
    density = Normal(mean, spread).log_prob(z.view(count, len(mean), 1, -1)).sum(-1)
    return z, (density.exp().mean(-1)).log().sum(-1), log_q


@torch.no_grad()
def sound(context: Context, key: str, model: SentenceModel, line: str, index: int) -> float:
    """-log (1/S) Σ_s p(x|z_s) p(z_s)/q(z_s|x), in float64 and plainly."""
    batch, generator = one(context, line), sentence_generator(11, index)
    if key == "rnn_lm":
        z = torch.zeros(1, 0)
        return float(model.decoder(batch.tokens, batch.lengths, z))
    q = model.encode(batch)
    pieces = [drawn(key, model, q, count, generator) for count in (5, 2)]
    z, log_p, log_q = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    costs = [model.decoder(batch.tokens, batch.lengths, each[None])[0] for each in z]
    ratio = log_p.double() - log_q.double() - torch.stack(costs).double()
    return -math.log(ratio.exp().mean())


@torch.no_grad()
def published(context: Context, key: str, model: Any, line: str, index: int) -> float:
    """In chunks of 3, 3 and 1 samples, normalised within a chunk."""
    batch, generator = one(context, line), sentence_generator(11, index)
    q, weights = model.encode(batch), model.prior.network.weights()
    found: list[Any] = []
    for count in (3, 3, 1):
        z, log_q = gaussian(q, count, generator)
        costs = torch.stack([model.decoder(batch.tokens, batch.lengths, one[None])[0] for one in z])
        if key == "svebm":
            d = (weights.logits(z).logsumexp(-1) + standard(z) - log_q).double().exp()
            found.append([((-costs).exp() * d).sum() / d.sum()])
        else:
            levels = published_levels(model.prior.schedule, z, generator)
            log_p = published_log_prior(weights, model.prior.schedule, z, *levels)
            found.append((log_p - log_q - costs).double().exp())
    every = torch.cat([torch.stack(list(values)) for values in found])
    return -math.log(every.mean())


CASES = [
    ("rnn_lm", "nll", sound),
    ("vae", "nll_importance", sound),
    ("dvae", "nll_importance", sound),
    ("semi_vae", "nll_importance", sound),
    ("gm_vae", "nll_importance", sound),
    ("svebm", "nll_published", published),
    ("ldebm", "nll_published", published),
]


@pytest.mark.parametrize(("key", "name", "by_hand"), CASES, ids=[case[0] for case in CASES])
def test_the_verb_averages_the_formula_over_the_cut_test_sentences(
    context: Context,
    splits: dict[str, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    name: str,
    by_hand: Any,
) -> None:
    monkeypatch.setattr(likelihood, "AT_ONCE", 5)  # seven samples are decoded as 5 and 2
    context, model = built(context, key)
    checkpoint.save(tmp_path / "model.safetensors", checkpoint.model_tensors(model), {})
    likelihood.likelihood(context, tmp_path / "model.safetensors")
    # four of the five sentences: those that every row is scored on, or the first ones
    chosen = np.random.default_rng(11).permutation(5)[:4].tolist()
    numbers = chosen if by_hand is sound else [0, 1, 2, 3]
    numbers = [0, 1, 2, 3, 4] if key == "rnn_lm" else numbers  # exact: all of them
    lines = [(splits["test"][number], number) for number in numbers]
    expected = [by_hand(context, key, model, *line) for line in lines]
    lines = (context.checkpoints / f"{name}.txt").read_text().splitlines()
    values = [float(line.split()[0]) for line in lines]
    assert values == pytest.approx(expected, rel=1e-4)
    scores = json.loads((context.out / "scores.json").read_text())
    assert scores[name] == pytest.approx(np.mean(expected), rel=1e-4)
    error = np.std(expected, ddof=1) / math.sqrt(len(numbers))
    assert scores[f"{name}_standard_error"] == pytest.approx(error, rel=1e-3)
    if by_hand is sound:
        with (context.out / "sentences.csv").open(newline="") as file:
            kept = {int(row["sentence"]): float(row[name]) for row in csv.DictReader(file)}
        assert kept == pytest.approx(dict(zip(numbers, expected, strict=True)), rel=1e-4)
