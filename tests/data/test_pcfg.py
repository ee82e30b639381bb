"""Toy grammars small enough to enumerate every derivation."""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from ldebm.data.pcfg import Pcfg, read_rules

# "the dog saw the cat in the park" has two readings by two rules, "ho ho ho" two by one rule
AMBIGUOUS = """
S = Np Vp 5 | Np Vp Pp 2 | Laugh Laugh
Laugh = ho 3 | ho ho
Np = Det Noun 4 | Det Noun Pp 1   # the phrase attaches to the noun here
Vp = saw Np 2
    | ran
Pp = in the Noun
Det = the 3 | a
Noun = dog 2 | cat | park 1 | Old men | Old Men
Men = men 3 | women 1
Old = old
"""


@pytest.fixture
def grammar() -> Pcfg:
    return Pcfg(read_rules(AMBIGUOUS, {}))


def derivations(grammar: Pcfg, symbol: str) -> Iterator[tuple[float, tuple[str, ...]]]:
    """Every derivation from the symbol: its probability and its words."""
    if symbol not in grammar.rules:
        yield 1.0, (symbol,)
    for rule in grammar.rules.get(symbol, ()):
        for parts in product(*(list(derivations(grammar, part)) for part in rule.symbols)):
            yield (
                rule.probability * math.prod(p for p, _ in parts),
                tuple(word for _, words in parts for word in words),
            )


def language(grammar: Pcfg, symbol: str) -> dict[tuple[str, ...], float]:
    """Every string of the symbol and its probability, summed over its derivations."""
    total: dict[tuple[str, ...], float] = {}
    for probability, words in derivations(grammar, symbol):
        total[words] = total.get(words, 0.0) + probability
    return total


def test_inside_equals_the_sum_over_all_derivations(grammar: Pcfg) -> None:
    strings = language(grammar, "S")
    assert len(strings) < sum(1 for _ in derivations(grammar, "S"))  # some strings are ambiguous
    assert sum(strings.values()) == pytest.approx(1, rel=1e-12)
    for words, probability in strings.items():
        assert grammar.probability("S", words) == pytest.approx(probability, rel=1e-12)


def test_probabilities_by_hand(grammar: Pcfg) -> None:
    # Det the 3/4; Noun dog 1/3, cat 1/6, park 1/6; Vp saw 2/3;
    # the phrase belongs to the noun, 5/8 · 4/5 · 1/5, or to the clause, 2/8 · 4/5 · 4/5
    words = ["the", "dog", "saw", "the", "cat", "in", "the", "park"]
    common = (3 / 4 * 1 / 3) * 2 / 3 * (3 / 4 * 1 / 6) * 1 / 6
    assert grammar.probability("S", ["ho", "ho", "ho"]) == pytest.approx(
        1 / 8 * 2 * (3 / 4 * 1 / 4), rel=1e-12
    )
    assert grammar.probability("S", words) == pytest.approx(
        common * (5 / 8 * 4 / 25 + 2 / 8 * 16 / 25), rel=1e-12
    )


@pytest.mark.parametrize(
    "text", ["", "the", "the dog saw", "the dog ran ran", "dog ran", "the zebra ran", "S"]
)
def test_outside_the_language(grammar: Pcfg, text: str) -> None:
    assert grammar.probability("S", text.split()) == 0


def test_samples_have_their_probabilities(grammar: Pcfg) -> None:
    rng = np.random.default_rng(3)
    draws = 20_000
    counts = Counter(tuple(grammar.sample("S", rng)) for _ in range(draws))
    frequent = {words: p for words, p in language(grammar, "S").items() if p > 0.005}
    assert len(frequent) > 5
    for words, probability in frequent.items():
        deviation = math.sqrt(draws * probability * (1 - probability))
        assert abs(counts[words] - draws * probability) < 4.5 * deviation


def test_words_lengths_and_starts(grammar: Pcfg) -> None:
    strings = language(grammar, "S")
    assert grammar.words["S"] == {word for words in strings for word in words}
    assert grammar.lengths["S"] == (min(map(len, strings)), max(map(len, strings)))
    assert grammar.starts["S"].keys() == {words[0] for words in strings}


def test_features_are_expanded_alike_on_both_sides() -> None:
    features = {"number": ("one", "many"), "tense": ("past", "present")}
    rules = read_rules(
        "S[number,tense] = N[number] V[number,tense] 2\nN[number] = x\n"
        "V[number,past] = y\nV[number,present] = z",
        features,
    )
    assert {
        left: [rule.symbols for rule in alternatives]
        for left, alternatives in rules.items()
        if left[0] == "S"
    } == {
        "S[one,past]": [("N[one]", "V[one,past]")],
        "S[one,present]": [("N[one]", "V[one,present]")],
        "S[many,past]": [("N[many]", "V[many,past]")],
        "S[many,present]": [("N[many]", "V[many,present]")],
    }


def test_weights_are_normalised() -> None:
    rules = read_rules("S = a 3 | b | c 0.5", {})
    assert [rule.probability for rule in rules["S"]] == pytest.approx([3 / 4.5, 1 / 4.5, 0.5 / 4.5])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("S = a\nS = b", "S has two rules"),
        ("S[f] = a\nS[x] = b", r"S\[x\] has two rules"),
        ("S = A b", "no rule for A"),
        ("S = A[f]\nA[f] = a", "f is not bound"),
        ("S a b", "not a rule"),
        ("S = a | 3", "without a symbol"),
    ],
)
def test_faulty_rules_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_rules(text, {"f": ("x", "y")})


def test_recursion_is_refused() -> None:
    with pytest.raises(ValueError, match="recursive: S > A > S"):
        Pcfg(read_rules("S = a A\nA = b | S", {})).bottom_up  # noqa: B018
