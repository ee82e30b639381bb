"""The grammar corpus: exact probabilities against independent sums, and samples that agree with
them.
"""

import csv
import math
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from ldebm.data.grammar import Grammar, Sentence, write_corpus
from ldebm.errors import UserError

GRAMMAR = Grammar.default()


def start(setting: tuple[str, ...]) -> str:
    return f"Sentence[{','.join(setting)}]"


def draw(seed: int, number: int) -> list[Sentence]:
    rng = np.random.default_rng(seed)
    return [GRAMMAR.sample(rng) for _ in range(number)]


@pytest.fixture(scope="module")
def samples() -> list[Sentence]:
    return draw(1, 2000)


def derivations(symbols: tuple[str, ...], words: tuple[str, ...]) -> Iterator[float]:
    """The probability of each leftmost derivation of the words.

    Expand the first symbol by every rule in turn.
    """
    if not symbols or not words:
        yield from [1.0] if not symbols and not words else []
    elif symbols[0] not in GRAMMAR.rules.rules:
        yield from derivations(symbols[1:], words[1:]) if symbols[0] == words[0] else ()
    else:
        for rule in GRAMMAR.rules.rules[symbols[0]]:
            yield from (
                rule.probability * p for p in derivations(rule.symbols + symbols[1:], words)
            )


@cache
def length_distribution(symbol: str) -> np.ndarray:
    """Probability of each number of words that the symbol derives: products of polynomials."""
    if symbol not in GRAMMAR.rules.rules:
        return np.array([0.0, 1.0] + [0.0] * 29)
    total = np.zeros(31)
    for rule in GRAMMAR.rules.rules[symbol]:
        product_ = np.array([1.0])
        for part in rule.symbols:
            product_ = np.convolve(product_, length_distribution(part))[:31]
        total += rule.probability * product_
    return total


@cache
def strings(symbol: str, length: int) -> frozenset[tuple[str, ...]]:
    """Every string of exactly `length` words that the symbol derives."""
    if symbol not in GRAMMAR.rules.rules:
        return frozenset([(symbol,)] if length == 1 else [])
    return frozenset().union(
        *(sequences(rule.symbols, length) for rule in GRAMMAR.rules.rules[symbol])
    )


@cache
def sequences(symbols: tuple[str, ...], length: int) -> frozenset[tuple[str, ...]]:
    if not symbols:
        return frozenset([()] if length == 0 else [])
    return frozenset(
        head + tail
        for first in range(1, length + 1)
        for head, tail in product(
            strings(symbols[0], first), sequences(symbols[1:], length - first)
        )
    )


def test_the_attributes_are_a_distribution() -> None:
    assert GRAMMAR.attribute_names == ("topic", "sentiment", "tense", "form")
    assert [len(values) for values in GRAMMAR.attributes.values()] == [5, 3, 3, 3]
    for values in GRAMMAR.attributes.values():
        assert sum(values.values()) == pytest.approx(1, rel=1e-12)
    assert sum(GRAMMAR.prior.values()) == pytest.approx(1, rel=1e-12)


def test_about_200_words() -> None:
    assert 180 <= len(GRAMMAR.words) <= 220


def test_the_rules_allow_4_to_20_words_only() -> None:
    mean = np.zeros(31)
    for setting, probability in GRAMMAR.prior.items():
        distribution = length_distribution(start(setting))
        shortest, longest = GRAMMAR.rules.lengths[start(setting)]
        assert np.flatnonzero(distribution)[[0, -1]].tolist() == [shortest, longest]
        mean += probability * distribution
    assert np.flatnonzero(mean)[[0, -1]].tolist() == [4, 20]
    assert mean.sum() == pytest.approx(1, rel=1e-12)


def test_log_prob_equals_the_sum_over_attributes_and_derivations(samples: list[Sentence]) -> None:
    ambiguous = 0
    for sentence in samples[:60]:
        terms = [
            probability * derivation
            for setting, probability in GRAMMAR.prior.items()
            for derivation in derivations((start(setting),), sentence.words)
        ]
        ambiguous += len(terms) > 1
        assert GRAMMAR.log_prob(sentence.words) == pytest.approx(
            math.log(math.fsum(terms)), rel=1e-12
        )
    assert ambiguous > 10


@pytest.mark.parametrize("length", [4, 5])
def test_all_sentences_of_a_length_carry_exactly_its_mass(length: int) -> None:
    """An identity without chance.

    The lengths' distribution never looks at words, log_prob never at other sentences.
    """
    language = frozenset().union(*(strings(start(setting), length) for setting in GRAMMAR.prior))
    mass = sum(
        p * length_distribution(start(setting))[length] for setting, p in GRAMMAR.prior.items()
    )
    assert len(language) > 100
    assert math.fsum(math.exp(GRAMMAR.log_prob(words)) for words in language) == pytest.approx(
        mass, rel=1e-10
    )


def test_two_attachments_of_one_phrase_are_both_counted() -> None:
    words = ("she", "cooked", "the", "soup", "in", "the", "bar", ".")
    setting = ("food", "neutral", "past", "active")
    readings = list(derivations((start(setting),), words))
    assert len(readings) == 2
    assert GRAMMAR.joint(words)[setting] == pytest.approx(
        GRAMMAR.prior[setting] * sum(readings), rel=1e-12
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "the waiter",
        "the waiter served the soup",
        "the waiter served the soup . .",
        "soup the served waiter the .",
    ],
)
def test_outside_the_language(text: str) -> None:
    assert GRAMMAR.log_prob(text.split()) == -math.inf


def test_every_sample_is_in_the_language_with_its_attributes(samples: list[Sentence]) -> None:
    for sentence in samples:
        joint = GRAMMAR.joint(sentence.words)
        assert tuple(sentence.attributes.values()) in joint
        assert GRAMMAR.log_prob(sentence.words) == pytest.approx(
            math.log(sum(joint.values())), rel=1e-12
        )
        assert 4 <= len(sentence.words) <= 20


def test_sample_lengths_follow_their_distribution(samples: list[Sentence]) -> None:
    counts = Counter(len(sentence.words) for sentence in samples)
    expected = np.sum(
        [p * length_distribution(start(setting)) for setting, p in GRAMMAR.prior.items()], axis=0
    )
    for length in range(4, 15):
        deviation = math.sqrt(len(samples) * expected[length] * (1 - expected[length]))
        assert abs(counts[length] - len(samples) * expected[length]) < 4.5 * deviation


@pytest.mark.parametrize(
    ("attribute", "accuracy"), [("topic", 0.95), ("sentiment", 0.8), ("tense", 1), ("form", 1)]
)
def test_attributes_can_be_read_off_the_sentence(
    samples: list[Sentence], attribute: str, accuracy: float
) -> None:
    """The posterior p(a | x) is right as often as it says (so the sampler draws from p) and mostly
    sure.
    """
    position = GRAMMAR.attribute_names.index(attribute)
    said = right = 0.0
    for sentence in samples:
        posterior: Counter[str] = Counter()
        for setting, probability in GRAMMAR.joint(sentence.words).items():
            posterior[setting[position]] += probability  # type: ignore[assignment]
        value, most = posterior.most_common(1)[0]
        said += most / posterior.total()
        right += value == sentence.attributes[attribute]
    assert right / len(samples) >= accuracy
    assert abs(right - said) <= 4.5 * math.sqrt(len(samples) / 4)


def test_the_entropy_is_moderate_and_the_same_from_every_seed() -> None:
    costs = np.array(
        [[-GRAMMAR.log_prob(sentence.words) for sentence in draw(seed, 1000)] for seed in (2, 3, 4)]
    )
    means = costs.mean(axis=1)
    error = costs.std() / math.sqrt(1000)
    assert np.ptp(means) < 6 * error
    assert 15 < costs.mean() < 30
    assert costs.mean() < derivation_entropy() + 6 * error


def derivation_entropy() -> float:
    """Entropy of attributes and derivation together, in closed form.

    At least that of the sentence.
    """

    @cache
    def entropy(symbol: str) -> float:
        rules = GRAMMAR.rules.rules.get(symbol, ())
        return sum(p * (sum(map(entropy, symbols)) - math.log(p)) for p, symbols in rules)

    return sum(p * (entropy(start(setting)) - math.log(p)) for setting, p in GRAMMAR.prior.items())


SIZES = {"train": 40, "valid": 20, "test": 10}


def test_write_corpus(tmp_path: Path) -> None:
    write_corpus(tmp_path, 7, SIZES)
    assert len(list(tmp_path.iterdir())) == 6
    for split, size in SIZES.items():
        sentences = (tmp_path / f"{split}.txt").read_text().splitlines()
        with (tmp_path / f"{split}.attributes.csv").open() as table:
            rows = list(csv.DictReader(table))
        assert len(sentences) == len(rows) == size
        for sentence, row in zip(sentences, rows, strict=True):
            log_prob = row.pop("log_prob")
            assert float(log_prob) == GRAMMAR.log_prob(sentence.split())  # every digit is kept
            assert tuple(row) == GRAMMAR.attribute_names
            assert tuple(row.values()) in GRAMMAR.joint(sentence.split())


def test_the_seed_decides_the_corpus(tmp_path: Path) -> None:
    for name, seed in (("first", 7), ("again", 7), ("other", 8)):
        write_corpus(tmp_path / name, seed, SIZES)
    first, again, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("first", "again", "other")
    )
    assert first == again
    assert all(first[name] != other[name] for name in first)
    assert first["train.txt"].splitlines()[:10] != first["test.txt"].splitlines()


def test_the_size_of_one_split_leaves_the_others_alone(tmp_path: Path) -> None:
    write_corpus(tmp_path / "small", 7, SIZES)
    write_corpus(tmp_path / "large", 7, SIZES | {"train": 60})
    for name in ("valid.txt", "test.txt", "test.attributes.csv"):
        assert (tmp_path / "small" / name).read_bytes() == (tmp_path / "large" / name).read_bytes()
    small, large = (
        (tmp_path / name / "train.txt").read_text().splitlines() for name in ("small", "large")
    )
    assert small == large[:40]


@pytest.mark.parametrize("sizes", [SIZES | {"valid": 0}, {"train": 5, "test": 5}])
def test_a_split_without_sentences_is_refused(tmp_path: Path, sizes: dict[str, int]) -> None:
    with pytest.raises(UserError, match="at least one valid sentence"):
        write_corpus(tmp_path, 7, sizes)
