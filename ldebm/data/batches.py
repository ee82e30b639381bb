"""Batches of sentences, cut and padded, and the orders they come in."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ldebm.data.corpus import Split, cut
from ldebm.data.vocabulary import BOS, EOS, PAD

Order = np.ndarray  # of sentence numbers


@dataclass(frozen=True)
class Batch:
    """`tokens` (B, 1 + L): <s> x_1 … x_n <pad> …, x_n = </s>; `lengths` (B,) n, always on the CPU.

    `indices` the sentences' numbers; `labels` (B,) or None.
    """

    tokens: Tensor
    lengths: Tensor
    indices: Order
    labels: Tensor | None = None


def collate(
    split: Split,
    indices: Order,
    max_tokens: int,
    device: torch.device,
    labels: np.ndarray | None = None,
) -> Batch:
    """Cut, frame and pad the sentences `indices` of a split."""
    sentences = [cut(split[int(i)], max_tokens) for i in indices]
    lengths = np.array([len(words) + 1 for words in sentences])
    tokens = np.full((len(sentences), lengths.max() + 1), PAD, dtype=np.int64)
    tokens[:, 0] = BOS
    for row, words in enumerate(sentences):
        tokens[row, 1 : len(words) + 1] = words
        tokens[row, len(words) + 1] = EOS
    return Batch(
        moved(torch.from_numpy(tokens), device),
        torch.from_numpy(lengths),
        indices,
        None if labels is None else moved(torch.from_numpy(labels), device),
    )


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on `device`; neither waits for the other.

    From pageable memory a copy to CUDA would wait until the device has done all it was given.
    """
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def by_length(split: Split, batch: int, max_tokens: int, device: torch.device) -> Iterator[Batch]:
    """Every sentence once, similar lengths together.

    For evaluation, whose results do not depend on the batches.
    """
    order = np.argsort(split.lengths, kind="stable")
    for start in range(0, len(order), batch):
        yield collate(split, order[start : start + batch], max_tokens, device)
