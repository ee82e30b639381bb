"""`ldebm sample`, `judge` and `evaluate`: what a trained model is scored by. Each writes its results into `out`; long work goes on from `work`."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ldebm.build import load_model
from ldebm.config import Evaluation, Params
from ldebm.data.batches import collate
from ldebm.data.corpus import Corpus, Split
from ldebm.data.vocabulary import EOS
from ldebm.errors import UserError
from ldebm.evaluation.inference import (
    cut_texts,
    posterior_modes,
    reconstructions,
    samples,
    symbol_probs,
)
from ldebm.evaluation.likelihood import estimators
from ldebm.metrics import JudgeSettings
from ldebm.metrics.bleu import corpus_bleu
from ldebm.metrics.reverse_perplexity import reverse_perplexity
from ldebm.metrics.word_kl import word_kl
from ldebm.models.sentence import SentenceModel, sentence_generator
from ldebm.runtime import device as devices


def sample_model(
    params: Params, model: str, seed: int, tokens: Path, model_dir: Path, work: Path, out: Path
) -> None:
    """Draw `evaluation.samples` sentences into out/samples.txt, one a line."""
    corpus, device = _open(params, tokens)
    trained = load_model(params, model, corpus, model_dir, device)
    generator = torch.Generator(device).manual_seed(params.evaluation.seed + seed)
    settings = params.evaluation
    drawn = samples(
        trained,
        corpus.vocabulary,
        settings.samples,
        settings.sample_batch,
        params.sentence_model.max_tokens,
        generator,
    )
    with (out / "samples.txt").open("w", encoding="utf-8") as file:
        file.writelines(f"{sentence}\n" for sentence in drawn)


def judge_samples(
    params: Params, samples: Path | None, tokens: Path, work: Path, out: Path, tracker: Any
) -> None:
    """Reverse perplexity of sampled sentences, or of real training text where `samples` is None: scores.json and history.csv."""
    corpus, device = _open(params, tokens)
    settings = params.judge.model_dump()
    seed, train_count, valid_count = (
        settings.pop(key) for key in ("seed", "train_sentences", "valid_sentences")
    )
    train, valid = _judged_text(corpus, samples, train_count, valid_count)
    judged = reverse_perplexity(
        train, valid, [np.asarray(words) for words in _all(corpus.test)], len(corpus.vocabulary), EOS, JudgeSettings(**settings), seed, device, work,
        lambda row: tracker.log_metrics({f"judge_{name}": value for name, value in row.items() if isinstance(value, float)}, step=int(row["epoch"])),
    )  # fmt: skip
    scores = {
        "rppl": judged.perplexity,
        "rppl_valid": judged.valid_perplexity,
        "best_epoch": judged.best_epoch,
        "signature": judged.signature,
    }
    _write_json(out / "scores.json", scores)
    with (out / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(judged.history[0]))
        writer.writeheader()
        writer.writerows(judged.history)
    tracker.log_metrics({"rppl": judged.perplexity}, step=0)


def evaluate_model(
    params: Params,
    model: str,
    seed: int,
    tokens: Path,
    model_dir: Path,
    samples: Path,
    work: Path,
    out: Path,
    tracker: Any,
) -> None:
    """BLEU, wKL and likelihoods of a trained model: scores.json, reconstructions.txt and latents.npz."""
    corpus, device = _open(params, tokens)
    trained = load_model(params, model, corpus, model_dir, device)
    max_tokens = params.sentence_model.max_tokens
    scores: dict[str, Any] = _word_scores(corpus, samples, params.judge.train_sentences)
    if trained.encoder is not None:
        texts = reconstructions(trained, corpus.test, corpus.vocabulary, max_tokens, device)
        (out / "reconstructions.txt").write_text(
            "".join(f"{text}\n" for text in texts), encoding="utf-8"
        )
        scores |= {
            "bleu": corpus_bleu(
                texts, list(cut_texts(corpus.test, corpus.vocabulary, max_tokens))
            ).score
        }
        _write_latents(out / "latents.npz", trained, corpus, max_tokens, device)
    scores |= likelihoods(trained, corpus.test, params.evaluation, max_tokens, device, work)
    _write_json(out / "scores.json", scores)
    tracker.log_metrics(
        {name: value for name, value in scores.items() if isinstance(value, float)}, step=0
    )


def _open(params: Params, tokens: Path) -> tuple[Corpus, torch.device]:
    device = devices.choose(params.run.device)
    devices.prepare(device)
    return Corpus.open(tokens), device


def _all(split: Split) -> list[Any]:
    return [split[index] for index in range(len(split))]


def _judged_text(
    corpus: Corpus, samples: Path | None, train_count: int, valid_count: int
) -> tuple[list[Any], list[Any]]:
    """What the judge is trained and validated on: the first samples and the next ones, or real text."""
    if samples is None:
        return _all(corpus.train)[:train_count], _all(corpus.valid)[:valid_count]
    sentences = [
        corpus.vocabulary.encode(line.split())
        for line in samples.read_text(encoding="utf-8").splitlines()
    ]
    if len(sentences) < train_count + valid_count:
        raise UserError(
            f"{samples}: holds {len(sentences)} sentences, and the judge needs judge.train_sentences + judge.valid_sentences = {train_count + valid_count}; "
            "raise evaluation.samples or lower those"
        )
    return sentences[:train_count], sentences[train_count : train_count + valid_count]


def _word_scores(corpus: Corpus, samples: Path, count: int) -> dict[str, Any]:
    lines = samples.read_text(encoding="utf-8").splitlines()[:count]
    reference = (" ".join(corpus.vocabulary.decode(words)) for words in _all(corpus.train))
    return {"wkl": word_kl(lines, reference).score}


def _write_latents(
    path: Path, model: SentenceModel, corpus: Corpus, max_tokens: int, device: torch.device
) -> None:
    """`modes` (N, D) of the test sentences and, of a model with symbols or a code, `probs` (N, M, K) and `codes` (N, M), the likeliest values.

    `valid_probs` are those of the validation split, on which the report chooses.
    """
    arrays: dict[str, Any] = {"modes": posterior_modes(model, corpus.test, max_tokens, device)}
    probs = symbol_probs(model, corpus.test, max_tokens, device)
    if probs is not None:
        valid = symbol_probs(model, corpus.valid, max_tokens, device)
        arrays |= {"probs": probs, "valid_probs": valid, "codes": probs.argmax(2)}
    np.savez_compressed(path, **arrays)


@torch.no_grad()
def likelihoods(
    model: SentenceModel,
    split: Split,
    settings: Evaluation,
    max_tokens: int,
    device: torch.device,
    work: Path,
) -> dict[str, float]:
    """Each estimator's mean negative log-likelihood in nats a sentence, and its standard error over sentences.

    Every sentence's value is kept in `work`, one a line; a later call goes on after the last whole line.
    """
    count = min(len(split), settings.likelihood_sentences or len(split))
    scores: dict[str, float] = {}
    for name, estimate in estimators(model).items():
        path = work / f"{name}.txt"
        whole = path.read_text().split("\n")[:-1] if path.exists() else []
        done = [float(line) for line in whole]
        with path.open("w", buffering=1) as file:
            file.writelines(f"{line}\n" for line in whole)
            for index in range(len(done), count):
                batch = collate(split, np.array([index]), max_tokens, device)
                generator = sentence_generator(settings.seed, index)
                log_p = estimate(
                    model, batch, settings.likelihood_samples, settings.likelihood_chunk, generator
                )
                if log_p is None:
                    break
                done.append(-float(log_p))
                file.write(f"{done[-1]!r}\n")
        if not done:
            continue
        scores[name] = float(np.mean(done))
        scores[f"{name}_standard_error"] = (
            float(np.std(done, ddof=1) / math.sqrt(count)) if count > 1 else math.nan
        )
    return scores


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
