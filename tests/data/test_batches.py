"""Cutting, framing and padding, against sentences written out."""

import numpy as np
import pytest
import torch

from ldebm.data.batches import by_length, collate
from ldebm.data.corpus import cut
from ldebm.data.vocabulary import BOS, EOS, PAD

CPU = torch.device("cpu")


class Sentences(list[np.ndarray]):
    """A split in memory."""

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(words) for words in self])


@pytest.fixture
def split() -> Sentences:
    return Sentences(np.arange(3, 3 + length) for length in (2, 38, 39, 60, 0, 1))


def test_a_sentence_keeps_as_many_words_as_fit_between_the_marks(split: Sentences) -> None:
    """Of 40 tokens <s> and </s> are two: 38 words, the first ones."""
    assert [len(cut(words, 40)) for words in split] == [2, 38, 38, 38, 0, 1]
    assert cut(split[3], 40).tolist() == list(range(3, 41))


def test_a_batch_is_framed_and_padded(split: Sentences) -> None:
    batch = collate(split, np.array([5, 0, 4]), 40, CPU, np.array([7, 8, 9]))
    expected = [[BOS, 3, EOS, PAD], [BOS, 3, 4, EOS], [BOS, EOS, PAD, PAD]]
    assert batch.tokens.tolist() == expected
    assert batch.lengths.tolist() == [2, 3, 1]
    assert batch.indices.tolist() == [5, 0, 4]
    assert batch.labels.tolist() == [7, 8, 9]
    assert collate(split, np.array([5]), 40, CPU).labels is None


def test_a_cut_sentence_still_ends(split: Sentences) -> None:
    batch = collate(split, np.array([3]), 40, CPU)
    assert batch.tokens.shape == (1, 40)
    assert batch.tokens[0, -1] == EOS
    assert batch.lengths.tolist() == [39]


@pytest.mark.parametrize("count", [1, 256, 257, 600])
def test_by_length_gives_every_sentence_once(count: int) -> None:
    rng = np.random.default_rng(1)
    split = Sentences(np.full(length, 5) for length in rng.integers(0, 12, count))
    batches = list(by_length(split, 256, 10, CPU))
    assert sorted(np.concatenate([batch.indices for batch in batches])) == list(range(count))
    assert all(len(batch.indices) <= 256 for batch in batches)
    for batch in batches:
        expected = [min(len(split[i]), 8) + 1 for i in batch.indices]
        assert batch.lengths.tolist() == expected
    lengths = [int(batch.lengths.max()) for batch in batches]
    assert lengths == sorted(lengths)
