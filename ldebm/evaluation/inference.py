"""What a trained model says of whole splits: posterior modes, reconstructions, samples."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ldebm.data.batches import by_length, cut
from ldebm.data.corpus import Split
from ldebm.data.vocabulary import Vocabulary
from ldebm.metrics.bleu import corpus_bleu
from ldebm.models.posteriors import Posterior
from ldebm.models.sentence import SentenceModel

EVALUATION_BATCH = 256


def symbol_probs(
    model: SentenceModel, split: Split, max_tokens: int, device: torch.device
) -> np.ndarray[Any, Any] | None:
    """What every sentence of a split says of the model's symbols or code, (N, M, K); None for a model that has neither.

    p(y|z) at the posterior mode where the prior has symbols (M = 1), q(c_m|x) where the posterior has a code.
    """

    def read(q: Posterior) -> Tensor | None:
        symbols = model.prior.symbols(q.mode())
        if symbols is not None:
            return symbols[:, None]
        return None if q.code is None else q.code.probs

    return _of_every_sentence(model, split, max_tokens, device, read)


def posterior_modes(
    model: SentenceModel, split: Split, max_tokens: int, device: torch.device
) -> np.ndarray[Any, Any]:
    """The mode of q(z|x) of every sentence of a split, in evaluation mode: (N, D)."""
    modes = _of_every_sentence(model, split, max_tokens, device, lambda q: q.mode())
    assert modes is not None
    return modes


@torch.no_grad()
def _of_every_sentence(
    model: SentenceModel,
    split: Split,
    max_tokens: int,
    device: torch.device,
    read: Callable[[Posterior], Tensor | None],
) -> np.ndarray[Any, Any] | None:
    """A reading of every sentence's posterior, in the order of the split, or None where that is none."""
    model.eval()
    values: np.ndarray[Any, Any] | None = None
    for batch in by_length(split, EVALUATION_BATCH, max_tokens, device):
        read_off = read(model.encode(batch))
        if read_off is None:
            return None
        found = read_off.cpu().numpy()
        if values is None:
            values = np.empty((len(split), *found.shape[1:]), found.dtype)
        values[batch.indices] = found
    return values


def reconstructions(
    model: SentenceModel,
    split: Split,
    vocabulary: Vocabulary,
    max_tokens: int,
    device: torch.device,
) -> list[str]:
    """Every sentence decoded greedily from the mode of its posterior, in the order of the split."""
    model.eval()
    texts = [""] * len(split)
    for batch in by_length(split, EVALUATION_BATCH, max_tokens, device):
        for index, ids in zip(
            batch.indices, model.reconstruct(batch, max_tokens).tolist(), strict=True
        ):
            texts[index] = " ".join(vocabulary.decode(ids))
    return texts


def cut_texts(split: Split, vocabulary: Vocabulary, max_tokens: int) -> Iterator[str]:
    """The sentences of a split as the models see them."""
    for index in range(len(split)):
        yield " ".join(vocabulary.words[i] for i in cut(split[index], max_tokens))


def reconstruction_bleu(
    model: SentenceModel,
    split: Split,
    vocabulary: Vocabulary,
    max_tokens: int,
    device: torch.device,
) -> float:
    """Corpus BLEU of the reconstructions against the cut sentences, percent."""
    texts = reconstructions(model, split, vocabulary, max_tokens, device)
    return corpus_bleu(texts, list(cut_texts(split, vocabulary, max_tokens))).score


def samples(
    model: SentenceModel,
    vocabulary: Vocabulary,
    count: int,
    batch: int,
    max_tokens: int,
    generator: torch.Generator,
) -> Iterator[str]:
    """`count` sentences drawn from the model, `batch` at a time."""
    model.eval()
    for start in range(0, count, batch):
        for ids in model.sample(min(batch, count - start), max_tokens, generator).tolist():
            yield " ".join(vocabulary.decode(ids))
