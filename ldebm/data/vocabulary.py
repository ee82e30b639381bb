"""The word types of a corpus and their ids."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldebm.data.files import read_lines, staged
from ldebm.errors import UserError

PAD, BOS, EOS = 0, 1, 2
SPECIALS = ("<pad>", "<s>", "</s>")  # at the ids above
UNK = "<unk>"


@dataclass(frozen=True)
class Vocabulary:
    """Word types by id: the three specials, then falling frequency in the training text, ties in
    alphabetical order.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[:3] != SPECIALS:
            raise ValueError(
                f"a vocabulary begins with {' '.join(SPECIALS)}, not {' '.join(self.words[:3])}"
            )
        if len(self.ids) < len(self.words):
            repeated = next(word for word, count in Counter(self.words).items() if count > 1)
            raise ValueError(f"the word {repeated} stands twice")

    @classmethod
    def build(cls, sentences: Iterable[Iterable[str]], limit: int | None = None) -> "Vocabulary":
        """The types of the training sentences.

        Beyond `limit` types (specials not counted) the rarest become <unk>.
        """
        return cls.from_counts(Counter(chain.from_iterable(sentences)), limit)

    @classmethod
    def from_counts(
        cls, counts: Mapping[str, int], limit: int | None = None, unk: bool = False
    ) -> "Vocabulary":
        """The types in `counts`, at most `limit` of them.

        <unk> is one of them if asked for or if any type is cut.
        """
        if limit is not None and limit < 1:
            raise UserError(f"the vocabulary limit is {limit}; it must be at least 1")
        kept = dict(counts)
        if unk or (limit is not None and len(kept) > limit):
            kept.setdefault(UNK, 0)
        if limit is not None and len(kept) > limit:
            others = _by_frequency({word: count for word, count in kept.items() if word != UNK})
            kept[UNK] += sum(kept.pop(word) for word in others[limit - 1 :])
        return cls((*SPECIALS, *_by_frequency(kept)))

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read a file with one type a line; line number - 1 is the id.

        Raises UserError naming a file that is unfit.
        """
        lines = [words for _, words in read_lines(path)]
        if any(len(words) != 1 for words in lines):
            raise UserError(f"{path} is damaged: every line must hold one word")
        try:
            return cls(tuple(words[0] for words in lines))
        except ValueError as error:
            raise UserError(f"{path} is damaged: {error}") from error

    def save(self, path: Path) -> None:
        """Write one type a line, whole or not at all."""
        with staged(path.parent) as folder:
            text = "".join(f"{word}\n" for word in self.words)
            (folder / path.name).write_text(text, encoding="utf-8", newline="\n")

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each type."""
        return {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, words: Iterable[str]) -> NDArray[np.int64]:
        """The ids of the words (n,), no specials added.

        An unknown one is <unk>, or a UserError without <unk>.
        """
        unk = self.ids.get(UNK, -1)
        known = self.ids
        words = list(words)
        ids = [known.get(word, unk) for word in words]
        if -1 in ids:
            raise UserError(
                f"the word {words[ids.index(-1)]!r} is not in the vocabulary, which has no {UNK}; "
                "leave it out, or use a word of vocabulary.txt"
            )
        return np.array(ids, dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words of the ids up to the first </s> or <pad>; a leading <s> is skipped."""
        words: list[str] = []
        for position, number in enumerate(ids):
            if number in (EOS, PAD):
                break
            if not (position == 0 and number == BOS):
                words.append(self.words[number])
        return words


def _by_frequency(counts: Mapping[str, int]) -> list[str]:
    return sorted(counts, key=lambda word: (-counts[word], word))
