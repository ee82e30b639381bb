"""Tokenised splits as flat memory-mapped arrays.

Made once by `tokenize`, opened by every later step.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ldebm.data import SPLITS
from ldebm.data.files import read_sentences, staged
from ldebm.data.vocabulary import SPECIALS, UNK, Vocabulary
from ldebm.errors import UserError

REMEDY = "run `ldebm data tokenize` again"
CHUNK = 4096  # sentences encoded and written at a time


@dataclass(frozen=True, eq=False)
class Split:
    """Sentences one after the other.

    Sentence i is tokens[offsets[i]:offsets[i + 1]], uncut, no specials.
    """

    tokens: NDArray[Any]  # (words,), uint16 or int32
    offsets: NDArray[np.int64]  # (sentences + 1,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sentence {index} of {len(self)}")
        index %= len(self)
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[index] for index in range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Words in each sentence (sentences,)."""
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False)
class Corpus:
    """The vocabulary and the three tokenised splits."""

    vocabulary: Vocabulary
    train: Split
    valid: Split
    test: Split

    @classmethod
    def open(cls, folder: Path) -> "Corpus":
        """Memory-map what `tokenize` wrote.

        Raises UserError naming the file that is missing or damaged.
        """
        splits = {split: _open_split(folder, split) for split in SPLITS}
        return cls(Vocabulary.load(folder / "vocabulary.txt"), **splits)

    def texts(self, split: Split, max_tokens: int | None = None) -> Iterator[str]:
        """The sentences of a split as lines: whole, or cut as a model of `max_tokens` sees them."""
        for words in split:
            kept = words if max_tokens is None else cut(words, max_tokens)
            yield " ".join(self.vocabulary.words[i] for i in kept)


def cut(words: NDArray[Any], max_tokens: int) -> NDArray[Any]:
    """The words kept of a sentence of at most `max_tokens` tokens, <s> and </s> included."""
    return words[: max_tokens - 2]


def _open_split(folder: Path, split: str) -> Split:
    tokens = _open_array(folder / f"{split}.tokens.npy")
    offsets = _open_array(folder / f"{split}.offsets.npy")
    if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != len(tokens):
        raise UserError(f"{folder / split}.offsets.npy does not fit {split}.tokens.npy; {REMEDY}")
    return Split(tokens, offsets)


def _open_array(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        problem = "is missing" if isinstance(error, FileNotFoundError) else "is damaged"
        raise UserError(f"{path} {problem}; {REMEDY}") from error
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
        raise UserError(f"{path} is damaged: not a flat array of whole numbers; {REMEDY}")
    return array


def tokenize(raw: Path, out: Path, vocabulary_limit: int | None) -> None:
    """Encode raw/{train,valid,test}.txt with the training vocabulary into `out`.

    Arrays, offsets and vocabulary.txt. A line says how many words become <unk>.

    Reads every text twice, to count and to write, so memory grows with the number of word types and
    not with the text. <unk> joins the vocabulary if the limit cuts a type or if valid or test holds
    a word that train does not. Raises UserError for a text that is missing, empty, not UTF-8 or
    holds <pad>, <s> or </s>, or of which all words become <unk>.
    """
    texts = {split: raw / f"{split}.txt" for split in SPLITS}
    counts = {split: _count(path) for split, path in texts.items()}
    unseen = any(counts[split][0].keys() - counts["train"][0].keys() for split in ("valid", "test"))
    vocabulary = Vocabulary.from_counts(counts["train"][0], vocabulary_limit, unk=unseen)
    shares = {split: _unknown(texts[split], counts[split][0], vocabulary) for split in SPLITS}
    listed = ", ".join(f"{share:.1%} of {split}" for split, share in shares.items())
    print(f"{len(vocabulary) - len(SPECIALS):,} word types; read as <unk>: {listed}", flush=True)
    with staged(out) as folder:
        vocabulary.save(folder / "vocabulary.txt")
        for split, path in texts.items():
            words, sentences = counts[split]
            _write_split(path, folder / split, vocabulary, words.total(), sentences)


def _count(path: Path) -> tuple[Counter[str], int]:
    """How often each word stands in a text, and how many sentences it has."""
    words: Counter[str] = Counter()
    sentences = 0
    for sentence in read_sentences(path):
        words.update(sentence)
        sentences += 1
    if not sentences:
        raise UserError(f"{path} holds no sentence; one sentence a line is expected")
    if reserved := words.keys() & set(SPECIALS):
        raise UserError(f"{path}: {min(reserved)} is reserved for the models; remove or rename it")
    return words, sentences


def _unknown(path: Path, words: Counter[str], vocabulary: Vocabulary) -> float:
    """The share of a text's words that become <unk>."""
    known = words.keys() & (vocabulary.ids.keys() - {UNK})
    if not known:
        raise UserError(
            f"{path}: none of its words is in the vocabulary, the most frequent words of the "
            "training text; raise data.vocabulary_limit, or give a text in the same words"
        )
    kept = sum(words[word] for word in known) + words[UNK]
    return 1 - kept / words.total()


def _write_split(
    path: Path, target: Path, vocabulary: Vocabulary, words: int, sentences: int
) -> None:
    """Write {target}.tokens.npy (words,) and {target}.offsets.npy (sentences + 1,), in chunks."""
    dtype = np.dtype(np.uint16 if len(vocabulary) <= 1 << 16 else np.int32)
    end = 0
    with (
        open(f"{target}.tokens.npy", "wb") as tokens,
        open(f"{target}.offsets.npy", "wb") as offsets,
    ):
        _write_header(tokens, dtype, words)
        _write_header(offsets, np.dtype(np.int64), sentences + 1)
        offsets.write(np.zeros(1, np.int64).tobytes())
        for chunk in _chunks(read_sentences(path)):
            tokens.write(vocabulary.encode(chain.from_iterable(chunk)).astype(dtype).tobytes())
            ends = end + np.cumsum([len(sentence) for sentence in chunk], dtype=np.int64)
            offsets.write(ends.tobytes())
            end = int(ends[-1])
    if end != words:
        raise UserError(f"{path} changed while it was read; {REMEDY}")


def _write_header(file: BinaryIO, dtype: np.dtype[Any], length: int) -> None:
    """Begin a .npy file of `length` entries that are then appended as raw bytes."""
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (length,),
    }
    np.lib.format.write_array_header_1_0(file, header)


def _chunks(sentences: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    """Lists of up to CHUNK sentences."""
    chunk: list[list[str]] = []
    for sentence in sentences:
        chunk.append(sentence)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def subset(count: int, sentences: int, seed: int) -> NDArray[np.int64]:
    """Up to `sentences` of `count` sentence numbers, drawn at random: the same for every row."""
    return np.random.default_rng(seed).permutation(count)[:sentences]
