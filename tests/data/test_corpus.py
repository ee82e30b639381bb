"""Tokenising and opening a corpus, against text kept in memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ldebm.data import corpus as corpus_module
from ldebm.data.corpus import Corpus, subset, tokenize
from ldebm.data.vocabulary import UNK
from ldebm.errors import UserError

TEXTS = {
    "train": " the cat sat \n\n the dog ran away\n a cat\n",
    "valid": "the cat ran\n",
    "test": "a dog\nthe cat sat\n",
}


# cat and the twice each, the rest once
WORDS = ("<pad>", "<s>", "</s>", "cat", "the", "a", "away", "dog", "ran", "sat")


def write(raw: Path, **texts: str) -> Path:
    """The three texts, some of them replaced."""
    raw.mkdir(exist_ok=True)
    for split, text in (TEXTS | texts).items():
        (raw / f"{split}.txt").write_text(text, encoding="utf-8")
    return raw


def read(corpus: Corpus, split: str) -> list[str]:
    return [" ".join(corpus.vocabulary.decode(ids)) for ids in getattr(corpus, split)]


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    tokenize(write(tmp_path / "raw"), tmp_path / "tokens", None)
    return tmp_path / "tokens"


@pytest.mark.parametrize("chunk", [1, 2, 4096])
def test_the_text_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(corpus_module, "CHUNK", chunk)
    tokenize(write(tmp_path / "raw"), tmp_path / "tokens", None)
    corpus = Corpus.open(tmp_path / "tokens")
    for split, text in TEXTS.items():
        assert read(corpus, split) == [line.strip() for line in text.splitlines() if line.strip()]


def test_arrays_on_disk(tokens: Path) -> None:
    assert (tokens / "vocabulary.txt").read_text().splitlines() == list(WORDS)
    ids = np.load(tokens / "train.tokens.npy")
    assert ids.dtype == np.uint16
    assert ids.tolist() == [4, 3, 9, 4, 7, 8, 6, 5, 3]
    offsets = np.load(tokens / "train.offsets.npy")
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [0, 3, 7, 9]


def test_outputs_are_complete_and_alone(tokens: Path) -> None:
    arrays = {f"{split}.{kind}.npy" for split in TEXTS for kind in ("tokens", "offsets")}
    assert {path.name for path in tokens.iterdir()} == {"vocabulary.txt"} | arrays


def test_split(tokens: Path) -> None:
    train = Corpus.open(tokens).train
    assert isinstance(train.tokens, np.memmap)
    assert len(train) == 3
    assert train.lengths.tolist() == [3, 4, 2]
    assert train[-1].tolist() == train[2].tolist() == [5, 3]
    with pytest.raises(IndexError):
        train[3]


def test_a_word_that_train_lacks_is_unk(tmp_path: Path) -> None:
    tokenize(write(tmp_path / "raw", test="the zebra sat\n"), tmp_path / "tokens", None)
    corpus = Corpus.open(tmp_path / "tokens")
    assert corpus.vocabulary.words[-1] == UNK
    assert read(corpus, "test") == ["the <unk> sat"]
    assert read(corpus, "valid") == ["the cat ran"]


def test_vocabulary_limit(tmp_path: Path) -> None:
    tokenize(write(tmp_path / "raw"), tmp_path / "tokens", 3)
    corpus = Corpus.open(tmp_path / "tokens")
    assert corpus.vocabulary.words[3:] == (UNK, "cat", "the")
    assert read(corpus, "train") == ["the cat <unk>", "the <unk> <unk> <unk>", "<unk> cat"]


def test_many_types_need_wider_ids(tmp_path: Path) -> None:
    words = [f"w{number:05}" for number in range(70_000)]
    texts = {"train": " ".join(words) + "\n", "valid": "w00001\n", "test": "w69999\n"}
    tokenize(write(tmp_path / "raw", **texts), tmp_path / "tokens", None)
    corpus = Corpus.open(tmp_path / "tokens")
    assert corpus.train.tokens.dtype == np.int32
    assert corpus.vocabulary.decode(corpus.train[0]) == words


def test_memory_does_not_grow_with_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_module, "CHUNK", 100)

    def peak(sentences: int) -> int:
        raw = write(
            tmp_path / f"raw{sentences}", train="the cat sat on the mat again\n" * sentences
        )
        tracemalloc.start()
        tokenize(raw, tmp_path / f"tokens{sentences}", None)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(8000) < 1.2 * peak(1000)


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_text_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"valid\.txt holds no sentence"):
        tokenize(write(tmp_path / "raw", valid=text), tmp_path / "tokens", None)


@pytest.mark.parametrize(
    ("texts", "limit", "named"),
    [
        ({"test": "ein hund\n"}, None, "test"),
        ({"valid": "<unk>\n"}, None, "valid"),
        ({}, 1, "train"),
    ],
)
def test_a_text_of_unknown_words_only_is_refused(
    tmp_path: Path, texts: dict[str, str], limit: int | None, named: str
) -> None:
    with pytest.raises(UserError, match=rf"{named}\.txt: none of its words is in the vocabulary"):
        tokenize(write(tmp_path / "raw", **texts), tmp_path / "tokens", limit)
    assert not any((tmp_path / "tokens").glob("*"))


def test_the_share_of_unknown_words_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the words `cat` and `the` are kept; an <unk> of the text itself is what it was."""
    texts = {"test": "the zebra <unk> ran\n"}
    tokenize(write(tmp_path / "raw", **texts), tmp_path / "tokens", 3)
    assert capsys.readouterr().out == (
        "3 word types; read as <unk>: 55.6% of train, 33.3% of valid, 50.0% of test\n"
    )


def test_a_reserved_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"test\.txt: </s> is reserved"):
        tokenize(write(tmp_path / "raw", test="a dog </s>\n"), tmp_path / "tokens", None)


def test_a_failure_leaves_the_old_outputs_alone(
    tokens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in tokens.iterdir()}
    raw = write(tokens.parent / "raw", train="the cat sat elsewhere\n")

    def break_off(*arguments: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(corpus_module, "_write_split", break_off)
    with pytest.raises(RuntimeError):
        tokenize(raw, tokens, None)
    assert {path.name: path.read_bytes() for path in tokens.iterdir()} == before


@pytest.mark.parametrize("name", ["train.tokens.npy", "test.offsets.npy"])
@pytest.mark.parametrize("size", [None, 0, 40, -1])
def test_a_missing_or_damaged_array_is_named(tokens: Path, name: str, size: int | None) -> None:
    path = tokens / name
    whole = path.read_bytes()
    path.unlink()
    if size is not None:
        path.write_bytes(whole[:size])
    with pytest.raises(UserError, match=rf"{name} is {'missing' if size is None else 'damaged'}"):
        Corpus.open(tokens)


def test_arrays_of_two_runs_are_not_mixed(tokens: Path) -> None:
    np.save(tokens / "valid.offsets.npy", np.array([0, 2]))
    with pytest.raises(UserError, match=r"valid\.offsets\.npy does not fit"):
        Corpus.open(tokens)


def test_an_array_of_another_kind_is_named(tokens: Path) -> None:
    np.save(tokens / "valid.tokens.npy", np.array([0.5, 1.5, 2.5]))
    with pytest.raises(UserError, match=r"valid\.tokens\.npy is damaged"):
        Corpus.open(tokens)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_word_of_one_split_alone_is_unk(tmp_path: Path, split: str) -> None:
    tokenize(write(tmp_path / "raw", **{split: "the zebra\n"}), tmp_path / "tokens", None)
    assert read(Corpus.open(tmp_path / "tokens"), split) == ["the <unk>"]


def test_ids_are_wider_as_soon_as_one_needs_it(tmp_path: Path) -> None:
    """65,534 words and three specials: the last id is 65,536."""
    words = [f"w{number:05}" for number in range((1 << 16) - 2)]
    texts = {"train": " ".join(words) + "\n", "valid": "w00001\n", "test": "w00001\n"}
    tokenize(write(tmp_path / "raw", **texts), tmp_path / "tokens", None)
    corpus = Corpus.open(tmp_path / "tokens")
    assert corpus.vocabulary.decode(corpus.train[0]) == words


def test_fewer_sentences_are_the_first_of_more_in_random_order() -> None:
    """So that the first 32 of those of a likelihood are a random part of them, too."""
    many = subset(1000, 100, 5)
    assert subset(1000, 10, 5).tolist() == many[:10].tolist() != sorted(many[:10].tolist())
    assert len(set(many.tolist())) == 100
    assert subset(1000, 100, 6).tolist() != many.tolist()
