"""What becomes of sentences as people write them, against words set down by hand."""

import pytest

from ldebm.data.tokenizer import words_of

TREEBANK = [
    ("It's good.", "It 's good ."),
    ("They can't (or won't) pay $3.50, Mr. Smith said.",
     "They ca n't ( or wo n't ) pay $ 3.50 , Mr. Smith said ."),
    ('"Wait," he said, "it\'s the dogs\' bowl!"',
     "\" Wait , \" he said , \" it 's the dogs ' bowl ! \""),
    ("the soup was good .", "the soup was good ."),
    ("", ""),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "words"), TREEBANK)
def test_treebanks_words(sentence: str, words: str) -> None:
    split = words_of({"tokenizer": "treebank", "lowercase": False})
    assert split(sentence) == words.split()
    assert split(" ".join(split(sentence))) == split(sentence)  # tokenised already: left alone


def test_lower_case_goes_with_or_without() -> None:
    assert words_of({"tokenizer": "treebank", "lowercase": True})("DON'T") == ["do", "n't"]
    assert words_of({"tokenizer": None, "lowercase": True})("DON'T a") == ["don't", "a"]


@pytest.mark.parametrize("corpus", ["ptb", "grammar", {"train": "a.txt"}])
def test_else_words_stand_between_spaces(corpus: str | dict[str, str]) -> None:
    assert words_of(corpus)(" It's  good.\n") == ["It's", "good."]
