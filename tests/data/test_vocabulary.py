"""Order, limits and coding of the vocabulary, by hand-worked examples."""

from pathlib import Path

import numpy as np
import pytest

from ldebm.data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from ldebm.errors import UserError

SENTENCES = [["b", "a", "c"], ["a", "b", "d"], ["a", "e", "e"]]  # a 3, b 2, e 2, c 1, d 1
SPECIALS = ("<pad>", "<s>", "</s>")


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.build(SENTENCES)


def test_specials_then_falling_frequency_then_the_alphabet(vocabulary: Vocabulary) -> None:
    assert vocabulary.words == (*SPECIALS, "a", "b", "e", "c", "d")
    assert [vocabulary.words[number] for number in (PAD, BOS, EOS)] == list(SPECIALS)
    assert len(vocabulary) == 8


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (6, ("a", "b", "e", "c", "d")),
        (5, ("a", "b", "e", "c", "d")),
        (4, ("a", UNK, "b", "e")),  # c and d: 2 together, and < sorts before letters
        (3, (UNK, "a", "b")),  # c, d and e: 4 together
        (1, (UNK,)),
    ],
)
def test_beyond_the_limit_the_rarest_become_unk(limit: int, words: tuple[str, ...]) -> None:
    assert Vocabulary.build(SENTENCES, limit).words == (*SPECIALS, *words)


def test_an_unk_of_the_text_is_one_of_the_types_and_is_never_cut() -> None:
    sentences = [["a", "a", "a", "b", "b", UNK, "c"]]
    assert Vocabulary.build(sentences).words == (*SPECIALS, "a", "b", UNK, "c")
    assert Vocabulary.build(sentences, 3).words == (
        *SPECIALS,
        "a",
        UNK,
        "b",
    )  # <unk> and c: 2 together
    assert Vocabulary.build(sentences, 2).words == (*SPECIALS, UNK, "a")


def test_unk_on_request_counts_against_the_limit() -> None:
    assert Vocabulary.from_counts({"a": 2, "b": 1}, unk=True).words == (*SPECIALS, "a", "b", UNK)
    assert Vocabulary.from_counts({"a": 2, "b": 1}, limit=2, unk=True).words == (
        *SPECIALS,
        "a",
        UNK,
    )


def test_a_senseless_limit_is_refused() -> None:
    with pytest.raises(UserError, match="vocabulary limit is 0"):
        Vocabulary.build(SENTENCES, 0)


def test_encode(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode(["c", "a", "e"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [6, 3, 5]
    assert vocabulary.encode([]).shape == (0,)


def test_an_unknown_word_is_unk_or_an_error(vocabulary: Vocabulary) -> None:
    with pytest.raises(UserError, match="'zebra' is not in the vocabulary"):
        vocabulary.encode(["a", "zebra"])
    limited = Vocabulary.build(SENTENCES, 3)
    assert limited.encode(["a", "zebra", "e"]).tolist() == [4, 3, 3]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([3, 4], ["a", "b"]),
        ([BOS, 3, 4, EOS, 5], ["a", "b"]),
        ([3, PAD, 4], ["a"]),
        ([BOS, EOS], []),
        ([], []),
        ([3, BOS, 4], ["a", "<s>", "b"]),  # out of place, so not hidden
    ],
)
def test_decode(vocabulary: Vocabulary, ids: list[int], words: list[str]) -> None:
    assert vocabulary.decode(ids) == words
    assert vocabulary.decode(np.array(ids, dtype=np.uint16)) == words


def test_save_and_load(vocabulary: Vocabulary, tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.txt"
    vocabulary.save(path)
    assert path.read_text().splitlines() == [*SPECIALS, "a", "b", "e", "c", "d"]
    assert Vocabulary.load(path) == vocabulary
    assert [file.name for file in tmp_path.iterdir()] == ["vocabulary.txt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "begins with <pad> <s> </s>"),
        ("<pad>\n</s>\n<s>\na\n", "begins with <pad> <s> </s>"),
        ("<pad>\n<s>\n</s>\na\na\n", "the word a stands twice"),
        ("<pad>\n<s>\n</s>\na\n\nb\n", "every line must hold one word"),
        ("<pad>\n<s>\n</s>\na b\n", "every line must hold one word"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "vocabulary.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"vocabulary\.txt is damaged: .*{message}"):
        Vocabulary.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*vocabulary\.txt"):
        Vocabulary.load(tmp_path / "vocabulary.txt")


def test_what_is_cut_counts_by_its_words() -> None:
    """b and c: two types, 4 words, which is more than the 3 of a."""
    found = Vocabulary.from_counts({"a": 3, "b": 2, "c": 2}, limit=2)
    assert found.words == (*SPECIALS, UNK, "a")
