"""`ldebm evaluate`: the scores of a trained model that take seconds, and what its latents say."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ldebm import build, metrics
from ldebm.context import Context
from ldebm.data.files import write_json
from ldebm.evaluation.inference import posterior_modes, reconstructions, symbol_probs
from ldebm.metrics.base import Texts
from ldebm.models.posteriors import mutual_information
from ldebm.models.sentence import SentenceModel


def evaluate(context: Context, weights: Path, samples: Path) -> None:
    """Score the trained model of `weights` and its samples.txt: scores.json.

    Of a model with an encoder also reconstructions.txt and latents.npz; of one with symbols or a
    code also `information`, what they say of the test sentences, nats, summed over the variables.
    """
    model, corpus, rebuilt = build.load(context, weights), context.corpus, None
    if model.encoder is not None:
        rebuilt = reconstructions(context, model, corpus.test)
        text = "".join(f"{line}\n" for line in rebuilt)
        (context.out / "reconstructions.txt").write_text(text, encoding="utf-8")
    latents = _latents(context, model) if model.encoder is not None else {}
    if latents:
        np.savez_compressed(context.out / "latents.npz", **latents)
    lines = samples.read_text(encoding="utf-8").splitlines()
    drawn = lines[: context.params.judge.train_sentences]
    texts = Texts(corpus, context.max_tokens, drawn, rebuilt)
    shown = metrics.find(context.params.metrics)
    scores = {one.key: metrics.scored(one, one.compute(texts)) for one in shown}
    known = {key: score for key, score in scores.items() if score is not None}
    if "probs" in latents:
        told = mutual_information(torch.from_numpy(latents["probs"]))
        known["information"] = float(told.sum())
    write_json(context.out / "scores.json", known)
    context.tracker.log_metrics(known, step=0)
    context.tracker.log_artifact(samples, "sample")


def _latents(context: Context, model: SentenceModel) -> dict[str, Any]:
    """`modes` (N, D) of the test sentences; of a model with symbols or a code also what they say.

    `probs` (N, M, K) and `codes` (N, M), the likeliest values; `valid_probs` are those of the
    validation split, on which the report chooses.
    """
    test, valid = context.corpus.test, context.corpus.valid
    modes, probs = posterior_modes(context, model, test), symbol_probs(context, model, test)
    if probs is None:
        return {"modes": modes}
    valid_probs = symbol_probs(context, model, valid)
    return {"modes": modes, "probs": probs, "valid_probs": valid_probs, "codes": probs.argmax(2)}
