"""What a trained model says of whole splits: posterior modes, symbols, reconstructions."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ldebm.context import Context
from ldebm.data.batches import by_length
from ldebm.data.corpus import Split
from ldebm.metrics.corpus_bleu import corpus_bleu
from ldebm.models.posteriors import Posterior
from ldebm.models.sentence import SentenceModel

EVALUATION_BATCH = 256


class Reader(Protocol):
    """What decides how sentences are read.

    A run's context, or a trained model that stands alone.
    """

    @property
    def max_tokens(self) -> int: ...
    @property
    def device(self) -> torch.device: ...


def symbol_probs(
    context: Reader, model: SentenceModel, split: Split
) -> np.ndarray[Any, Any] | None:
    """What every sentence of a split says of the model's symbols or code.

    Returns:
        (N, M, K): p(y|z) at the posterior mode where the prior has symbols (M = 1), q(c_m|x) where
        the posterior has a code; None for a model that has neither.
    """

    def read(q: Posterior) -> Tensor | None:
        symbols = model.prior.symbols(q.mode())
        if symbols is not None:
            return symbols[:, None]
        return None if q.code is None else q.code.probs

    return _of_every_sentence(context, model, split, read)


def posterior_modes(context: Reader, model: SentenceModel, split: Split) -> np.ndarray[Any, Any]:
    """The mode of q(z|x) of every sentence of a split, in evaluation mode: (N, D)."""
    modes = _of_every_sentence(context, model, split, lambda q: q.mode())
    assert modes is not None
    return modes


@torch.no_grad()
def _of_every_sentence(
    context: Reader,
    model: SentenceModel,
    split: Split,
    read: Callable[[Posterior], Tensor | None],
) -> np.ndarray[Any, Any] | None:
    """A reading of every sentence's posterior, in the order of the split; None where it is."""
    model.eval()
    values: np.ndarray[Any, Any] | None = None
    for batch in by_length(split, EVALUATION_BATCH, context.max_tokens, context.device):
        read_off = read(model.encode(batch))
        if read_off is None:
            return None
        found = read_off.cpu().numpy()
        if values is None:
            values = np.empty((len(split), *found.shape[1:]), found.dtype)
        values[batch.indices] = found
    return values


def reconstructions(context: Context, model: SentenceModel, split: Split) -> list[str]:
    """Every sentence decoded greedily from the mode of its posterior, in the order of the split."""
    model.eval()
    texts = [""] * len(split)
    for batch in by_length(split, EVALUATION_BATCH, context.max_tokens, context.device):
        decoded = model.reconstruct(batch, context.max_tokens).tolist()
        for index, ids in zip(batch.indices, decoded, strict=True):
            texts[index] = " ".join(context.corpus.vocabulary.decode(ids))
    return texts


def reconstruction_bleu(context: Context, model: SentenceModel, split: Split) -> float:
    """Corpus BLEU of the reconstructions against the cut sentences, percent."""
    references = list(context.corpus.texts(split, context.max_tokens))
    return corpus_bleu(reconstructions(context, model, split), references).score
