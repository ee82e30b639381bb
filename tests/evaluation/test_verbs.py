"""Sampling and scoring on sentences written out, their numbers recomputed one by one."""

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sacrebleu import corpus_bleu

from ldebm import build
from ldebm.context import Context
from ldebm.data.batches import Batch
from ldebm.data.corpus import Split
from ldebm.data.vocabulary import BOS, EOS
from ldebm.evaluation import inference, scoring
from ldebm.evaluation.sampling import sample
from ldebm.runtime import checkpoint

Trained = Callable[[str], tuple[Context, Any, Path]]
CUT = 4  # words that a model sees


@pytest.fixture
def trained(context: Context, tmp_path: Path) -> Trained:
    """A row's context, its model in evaluation mode, and the file of its weights."""

    def make(key: str) -> tuple[Context, Any, Path]:
        of_row = replace(context, key=key)
        torch.manual_seed(5)
        model = build.build(of_row).eval()
        with torch.no_grad():  # so that sentences and draws differ from one another
            for parameter in model.parameters():
                parameter.mul_(3)
        tensors = checkpoint.model_tensors(model)
        weights = tmp_path / "model.safetensors"
        checkpoint.save(weights, tensors, {})
        return of_row, model, weights

    return make


def one(context: Context, line: str) -> Batch:
    """A batch of one sentence, cut and framed by hand."""
    ids = [context.corpus.vocabulary.ids[word] for word in line.split()[:CUT]]
    tokens = torch.tensor([[BOS, *ids, EOS]])
    return Batch(tokens, torch.tensor([len(ids) + 1]), np.array([0]))


def words(context: Context, ids: list[int]) -> str:
    """What stands before the first </s> or <pad>, without a leading <s>."""
    ids = ids[1:] if ids[0] == BOS else ids
    ends = [place for place, number in enumerate(ids) if number in (0, EOS)]
    return " ".join(context.corpus.vocabulary.words[i] for i in ids[: min(ends, default=len(ids))])


@pytest.mark.parametrize("key", ["vae", "rnn_lm"])
def test_samples_are_the_priors_draws_under_the_models_own_seed(trained: Trained, key: str) -> None:
    """Nine sentences in batches of 4, 4 and 1.

    The seed is the sum of the settings' and the model's.
    """
    context, model, weights = trained(key)
    sample(context, weights)
    generator = torch.Generator().manual_seed(context.params.evaluation.seed + 3)
    expected = []
    for count in (4, 4, 1):
        z = model.prior.sample(count, generator)
        drawn = generator if key == "rnn_lm" else None  # a latent model decodes the likeliest
        ids = model.decoder.decode(z, CUT + 2, drawn)
        expected += [words(context, line) for line in ids.tolist()]
    assert (context.out / "samples.txt").read_text() == "".join(f"{line}\n" for line in expected)
    assert len(set(expected)) > 2


def test_word_kl_is_of_the_first_uncut_samples_from_the_uncut_training_text(
    trained: Trained, splits: dict[str, list[str]]
) -> None:
    context, _, weights = trained("rnn_lm")
    drawn = ["a b c d e f f", "a", "b b", "d e e e e e", "c c c c", "f"]
    weights.with_name("samples.txt").write_text("".join(f"{line}\n" for line in drawn))
    scoring.evaluate(context, weights, weights.with_name("samples.txt"))
    p = Counter(" ".join(drawn[:4]).split())  # as many as the judge learns from
    q = Counter(" ".join(splits["train"]).split())
    by_hand = sum(
        n / p.total() * math.log(n / p.total() * q.total() / q[word]) for word, n in p.items()
    )
    scores = json.loads((context.out / "scores.json").read_text())
    assert scores == {"wkl": pytest.approx(by_hand)}  # nothing is rebuilt without an encoder


def test_reconstructions_are_decoded_from_the_mode_and_scored_against_cut_sentences(
    trained: Trained, splits: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, model, weights = trained("vae")
    weights.with_name("samples.txt").write_text("a\n" * 4)
    scoring.evaluate(context, weights, weights.with_name("samples.txt"))
    expected = []
    for line in splits["test"]:
        q = model.posterior(model.encoder(one(context, line).tokens, one(context, line).lengths))
        expected.append(words(context, model.decoder.decode(q.mean, CUT + 2).tolist()[0]))
    assert (context.out / "reconstructions.txt").read_text().splitlines() == expected

    altered = [line.replace("a b c d e f", "a b c d d") for line in splits["test"]]
    monkeypatch.setattr(scoring, "reconstructions", lambda *given: altered)
    scoring.evaluate(context, weights, weights.with_name("samples.txt"))
    cut = [" ".join(line.split()[:CUT]) for line in splits["test"]]
    by_hand = corpus_bleu(altered, [cut], smooth_method="none", tokenize="none", force=True).score
    assert json.loads((context.out / "scores.json").read_text())["bleu"] == pytest.approx(by_hand)
    assert 0 < by_hand < 100


def test_bleu_in_training_is_against_the_cut_sentences_of_the_split_that_is_asked_for(
    context: Context, splits: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Split] = []
    rebuilt = [" ".join(line.split()[:CUT]) for line in splits["valid"]]

    def reconstructions(context: Context, model: Any, split: Split) -> list[str]:
        asked.append(split)
        return rebuilt

    monkeypatch.setattr(inference, "reconstructions", reconstructions)
    score = inference.reconstruction_bleu(context, Any, context.corpus.valid)  # type: ignore[arg-type]
    assert score == pytest.approx(100)
    assert asked == [context.corpus.valid]


@pytest.mark.parametrize("key", ["dvae", "gm_vae", "svebm"])
def test_what_is_kept_of_the_latents_are_modes_and_probabilities(
    trained: Trained, splits: dict[str, list[str]], key: str
) -> None:
    context, model, weights = trained(key)
    weights.with_name("samples.txt").write_text("a\n" * 4)
    scoring.evaluate(context, weights, weights.with_name("samples.txt"))
    kept = np.load(context.out / "latents.npz")
    for split, name in (("test", "probs"), ("valid", "valid_probs")):
        for index, line in enumerate(splits[split]):
            with torch.no_grad():
                q = model.encode(one(context, line))
                if key == "dvae":
                    logits = q.logits[0]
                    mode = torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1])
                    mode = mode.flatten().float()
                else:
                    mode = q.mean[0]
                    logits = (
                        q.code.logits[0]
                        if key == "gm_vae"
                        else model.prior.network.weights().logits(mode[None])
                    )
            probs = logits.exp() / logits.exp().sum(-1, keepdim=True)
            np.testing.assert_allclose(kept[name][index], probs, rtol=1e-4, atol=1e-6)
            if split == "test":
                np.testing.assert_allclose(kept["modes"][index], mode, rtol=1e-4, atol=1e-5)
                assert kept["codes"][index].tolist() == probs.argmax(-1).tolist()
    p = kept["probs"].astype(np.float64)  # (N, M, K) or (N, K)
    entropies = [-(q * np.log(q)).sum() for q in (p.mean(0), p)]
    told = json.loads((context.out / "scores.json").read_text())["information"]
    assert told == pytest.approx(entropies[0] - entropies[1] / len(p), abs=1e-5)


def test_every_sentence_of_a_split_larger_than_a_batch_is_read(trained: Trained) -> None:
    """300 sentences in two batches; the values of the last ones are theirs."""
    context, model, _ = trained("vae")
    lengths = np.arange(300) % 4
    tokens = np.random.default_rng(1).integers(3, len(context.corpus.vocabulary), lengths.sum())
    split = Split(tokens, np.concatenate([[0], np.cumsum(lengths)]))
    modes = inference.posterior_modes(context, model, split)
    texts = inference.reconstructions(context, model, split)
    assert len(modes) == len(texts) == 300
    assert sum(texts[index] != "" for index in range(3, 300, 4)) > 10
    for index in range(3, 300, 4):  # the longest come last
        line = " ".join(context.corpus.vocabulary.words[i] for i in split[index])
        with torch.no_grad():
            mean = model.encode(one(context, line)).mode()
        np.testing.assert_allclose(modes[index], mean[0], rtol=1e-4, atol=1e-5)
        assert texts[index] == words(context, model.decoder.decode(mean, CUT + 2).tolist()[0])
