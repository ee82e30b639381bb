"""Reverse perplexity: a language model trained on samples, the judge, is scored on real text.

Sources: Zhao et al. 2018, "Adversarially Regularized Autoencoders", for the score; the judge and
its training are those of Merity et al. 2018, "Regularizing and Optimizing LSTM Language Models",
and of the code published with it.
"""

import copy
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ldebm.config import Judge
from ldebm.errors import ModelError, UserError
from ldebm.metrics.judge_training import Epoch, load, mean_nll, one_epoch, save, start
from ldebm.runtime import device as devices

Sentences = Sequence[NDArray[Any]]


@dataclass(frozen=True)
class Judgement:
    """Perplexities of test and validation text, the latter's best epoch, history and settings."""

    perplexity: float
    valid_perplexity: float
    best_epoch: int
    history: list[Epoch]
    signature: str


def reverse_perplexity(
    train: Sentences,
    valid: Sentences,
    test: Sentences,
    vocabulary_size: int,
    eos: int,
    settings: Judge,
    seed: int,
    device: str | torch.device = "cpu",
    work: Path | None = None,
    report: Callable[[Epoch], None] | None = None,
) -> Judgement:
    """Perplexity, </s> counted, of `test` under a judge trained on `train` and chosen by `valid`.

    The three texts are sentences of word ids without specials (an empty one is a lone </s>) in one
    vocabulary. With `work` there is a checkpoint after every epoch and a later call goes on from
    it, on a CPU to the same bits. `report` gets a dictionary an epoch.

    Raises:
        ModelError: a text is too short for its batch, or the judge diverges.
        UserError: an id is no word.
    """
    # saturated softmaxes make denormal gradients, which are many times slower
    torch.set_flush_denormal(True)
    device = torch.device(device)
    precision = devices.precision(settings.precision, device.type)
    settings = settings.model_copy(update={"precision": precision})
    texts = {
        "training": (train, settings.batch),
        "validation": (valid, settings.valid_batch),
        "test": (test, settings.test_batch),
    }
    columns = {
        name: _columns(name, text, vocabulary_size, eos, batch).to(device)
        for name, (text, batch) in texts.items()
    }
    signature = _signature(settings, seed, vocabulary_size, [len(train), len(valid), len(test)])
    identity = f"{signature}|text:{_checksum(columns)}"
    saved = work / "judge.safetensors" if work is not None else None

    training = start(vocabulary_size, settings, seed, device)
    if saved is not None:
        load(saved, training, identity)
    scored = copy.deepcopy(training.model)  # holds the weights that are being scored
    while len(training.history) < settings.epochs:
        epoch = one_epoch(training, scored, columns["training"], columns["validation"], settings)
        if saved is not None:
            save(saved, training, identity)
        if report is not None:
            report(epoch)

    scored.load_state_dict(training.best)
    best = min(training.history, key=lambda epoch: epoch["valid_loss"])
    perplexity = math.exp(mean_nll(scored, columns["test"]))
    return Judgement(perplexity, best["valid_ppl"], best["epoch"], training.history, signature)


def stream(sentences: Sentences, eos: int) -> NDArray[np.int64]:
    """The sentences one after the other, each closed by one </s>."""
    pieces = [np.append(sentence, eos) for sentence in sentences]
    return np.concatenate(pieces).astype(np.int64) if pieces else np.empty(0, np.int64)


def batchify(text: NDArray[np.int64], columns: int) -> Tensor:
    """Cuts the stream into `columns` equal runs side by side: (T, columns); a rest is dropped."""
    rows = len(text) // columns
    return torch.from_numpy(text[: rows * columns].reshape(columns, rows).T.copy())


def _columns(name: str, sentences: Sentences, vocabulary_size: int, eos: int, batch: int) -> Tensor:
    """The text of `sentences` as (T, batch), checked."""
    text = stream(sentences, eos)
    needed = 3 * batch  # a word read, two predicted: see `learn`
    if len(text) < needed:
        sentences_needed = math.ceil(needed * max(1, len(sentences)) / max(1, len(text)))
        raise ModelError(
            f"the judge's {name} text has {len(sentences)} sentences with {len(text)} words, </s> "
            f"counted; a batch of {batch} needs {needed} words, about {sentences_needed} "
            "sentences: give it more or set a smaller batch"
        )
    if text.min() < 0 or text.max() >= vocabulary_size:
        raise UserError(
            f"the judge's {name} text has word ids {text.min()} to {text.max()}, "
            f"the vocabulary holds {vocabulary_size}"
        )
    return batchify(text, batch)


def _signature(settings: Judge, seed: int, vocabulary_size: int, sentences: list[int]) -> str:
    values = {
        "judge": "awd-lstm-2",  # 1: averaged by PyTorch's ASGD
        **settings.model_dump(exclude={"train_sentences", "valid_sentences", "seed"}),
        "vocabulary": vocabulary_size,
        "sentences": "/".join(map(str, sentences)),
    }
    return "rppl|" + "|".join(f"{key}:{value}" for key, value in {**values, "seed": seed}.items())


def _checksum(columns: dict[str, Tensor]) -> str:
    """Tells one text from another: a checkpoint must not go on with other sentences."""
    return format(zlib.crc32(b"".join(c.cpu().numpy().tobytes() for c in columns.values())), "08x")
