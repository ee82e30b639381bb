"""`ldebm evaluate`: the scores of a trained model that take seconds, and what its latents say."""

from pathlib import Path
from typing import Any

import numpy as np

from ldebm import build
from ldebm.context import Context
from ldebm.data.files import write_json
from ldebm.evaluation.inference import posterior_modes, reconstructions, symbol_probs
from ldebm.metrics.bleu import corpus_bleu
from ldebm.metrics.word_kl import word_kl
from ldebm.models.sentence import SentenceModel


def evaluate(context: Context, weights: Path, samples: Path) -> None:
    """Score the trained model in `weights` and its samples.txt: scores.json.

    Of a model with an encoder also reconstructions.txt and latents.npz.
    """
    corpus, count = context.corpus, context.params.judge.train_sentences
    lines = samples.read_text(encoding="utf-8").splitlines()[:count]
    scores = {"wkl": word_kl(lines, corpus.texts(corpus.train)).score}
    model = build.load(context, weights)
    if model.encoder is not None:
        texts = reconstructions(context, model, corpus.test)
        (context.out / "reconstructions.txt").write_text(
            "".join(f"{text}\n" for text in texts), encoding="utf-8"
        )
        references = list(corpus.texts(corpus.test, context.max_tokens))
        scores["bleu"] = corpus_bleu(texts, references).score
        np.savez_compressed(context.out / "latents.npz", **_latents(context, model))
    write_json(context.out / "scores.json", scores)
    context.tracker.log_metrics(scores, step=0)


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
