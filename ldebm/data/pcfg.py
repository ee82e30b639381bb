"""Probabilistic context-free grammars without recursion.

Notation, sampling, exact string probabilities.

Notation: `Left[feature,value] = Symbol word 3 | word 1`. A name with a capital is a nonterminal,
all else is a word; the number closing an alternative is its weight (1 if absent). A feature's name
in brackets stands for each of its values in turn, the same one on both sides. Indented lines
continue a rule; # begins a comment.
"""

import re
from bisect import bisect
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate, product
from typing import NamedTuple

import numpy as np


class Rule(NamedTuple):
    """One alternative of a nonterminal."""

    probability: float
    symbols: tuple[str, ...]


class Pcfg:
    """Rules by nonterminal; a symbol without rules is a word.

    None can reach itself, so the language is finite.
    """

    def __init__(self, rules: Mapping[str, Sequence[Rule]]) -> None:
        self.rules = rules
        self._cumulative = {
            left: list(accumulate(rule.probability for rule in rules[left])) for left in rules
        }

    def sample(self, symbol: str, rng: np.random.Generator) -> list[str]:
        """The words of a random derivation from the symbol."""
        if symbol not in self.rules:
            return [symbol]
        cumulative = self._cumulative[symbol]
        rule = self.rules[symbol][bisect(cumulative, rng.random() * cumulative[-1])]
        return [word for part in rule.symbols for word in self.sample(part, rng)]

    def probability(self, symbol: str, words: Sequence[str]) -> float:
        """Probability that the symbol derives exactly these words, summed over derivations.

        0 outside the language.
        """
        return Inside(self, words).probability(symbol)

    @cached_property
    def starts(self) -> dict[str, dict[str, list[Rule]]]:
        """For each nonterminal and each word: the alternatives that can begin with that word."""
        starts: dict[str, dict[str, list[Rule]]] = {}
        for left in self.bottom_up:
            starts[left] = {}
            for rule in self.rules[left]:
                for word in starts.get(rule.symbols[0], (rule.symbols[0],)):
                    starts[left].setdefault(word, []).append(rule)
        return starts

    @cached_property
    def words(self) -> dict[str, frozenset[str]]:
        """For each nonterminal: every word it can derive."""
        words: dict[str, frozenset[str]] = {}
        for left in self.bottom_up:
            parts = {part for rule in self.rules[left] for part in rule.symbols}
            words[left] = frozenset().union(*(words.get(part, {part}) for part in parts))
        return words

    @cached_property
    def lengths(self) -> dict[str, tuple[int, int]]:
        """For each nonterminal: the fewest and the most words it can derive."""
        lengths: dict[str, tuple[int, int]] = {}
        for left in self.bottom_up:
            parts = [
                [lengths.get(part, (1, 1)) for part in rule.symbols] for rule in self.rules[left]
            ]
            lengths[left] = (
                min(sum(fewest for fewest, _ in rule) for rule in parts),
                max(sum(most for _, most in rule) for rule in parts),
            )
        return lengths

    @cached_property
    def bottom_up(self) -> tuple[str, ...]:
        """The nonterminals, each after those in its rules.

        Raises ValueError if one can reach itself.
        """
        order: dict[str, None] = {}

        def visit(symbol: str, path: tuple[str, ...]) -> None:
            if symbol in path:
                raise ValueError(f"the grammar is recursive: {' > '.join((*path, symbol))}")
            if symbol in self.rules and symbol not in order:
                for part in {part: None for rule in self.rules[symbol] for part in rule.symbols}:
                    visit(part, (*path, symbol))
                order[symbol] = None

        for left in self.rules:
            visit(left, ())
        return tuple(order)


class Inside:
    """Inside probabilities of one word string, top-down and memoised (Baker 1979;
    Lari and Young 1990).

    ends(A, i)[j] = p(A derives words i to j - 1)
                  = Σ over rules A → B_1 … B_n of p(rule)
                    Σ over i = i_0 < … < i_n = j of Π_k ends(B_k, i_{k-1})[i_k].
    """

    def __init__(self, grammar: Pcfg, words: Sequence[str]) -> None:
        self._starts = grammar.starts
        self._words = words
        self._memo: dict[tuple[str, int], dict[int, float]] = {}

    def probability(self, symbol: str) -> float:
        """Probability that the symbol derives the whole string."""
        return self.ends(symbol, 0).get(len(self._words), 0.0)

    def ends(self, symbol: str, start: int) -> dict[int, float]:
        """The positions where a derivation of the symbol from `start` can end, and the probability
        of each.
        """
        if start == len(self._words):
            return {}
        if symbol not in self._starts:  # a word
            return {start + 1: 1.0} if self._words[start] == symbol else {}
        key = (symbol, start)
        if (found := self._memo.get(key)) is None:
            found = self._memo[key] = self._sum_rules(symbol, start)
        return found

    def _sum_rules(self, symbol: str, start: int) -> dict[int, float]:
        total: dict[int, float] = {}
        for probability, symbols in self._starts[symbol].get(self._words[start], ()):
            reached = {start: probability}
            for part in symbols:
                reached = self._advance(reached, part)
            for end, value in reached.items():
                total[end] = total.get(end, 0.0) + value
        return total

    def _advance(self, reached: dict[int, float], part: str) -> dict[int, float]:
        after: dict[int, float] = {}
        for middle, before in reached.items():
            for end, value in self.ends(part, middle).items():
                after[end] = after.get(end, 0.0) + before * value
        return after


def read_rules(text: str, features: Mapping[str, Sequence[str]]) -> dict[str, list[Rule]]:
    """Rules in the notation above, expanded over the values of the features and normalised.

    Raises ValueError for a rule given twice, a nonterminal without rules or a feature that the left
    side does not bind.
    """
    rules: dict[str, list[Rule]] = {}
    continued = re.sub(r"\n[ \t]+", " ", re.sub(r"#.*", "", text))
    for line in filter(str.strip, continued.splitlines()):
        left, separator, right = (part.strip() for part in line.partition(" = "))
        if not (separator and right):
            raise ValueError(f"not a rule: {line}")
        for values in _assignments(left, features):
            name = _bind(left, values, features)
            if name in rules:
                raise ValueError(f"{name} has two rules")
            rules[name] = _normalised(
                [_alternative(part, values, features) for part in right.split(" | ")]
            )
    used = {
        part for alternatives in rules.values() for rule in alternatives for part in rule.symbols
    }
    if undefined := sorted(part for part in used - rules.keys() if part[0].isupper()):
        raise ValueError(f"no rule for {', '.join(undefined)}")
    return rules


def _assignments(left: str, features: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Every way to give values to the features in the brackets of a left side."""
    names = [name for name in re.findall(r"[\w]+", left.partition("[")[2]) if name in features]
    return [
        dict(zip(names, values, strict=True))
        for values in product(*(features[name] for name in names))
    ]


def _bind(symbol: str, values: Mapping[str, str], features: Mapping[str, Sequence[str]]) -> str:
    """The symbol with the features in its brackets replaced by their values."""
    name, bracket, arguments = symbol.partition("[")
    bound = [values.get(argument, argument) for argument in arguments.rstrip("]").split(",")]
    if unbound := set(bound) & features.keys():
        raise ValueError(f"{symbol}: {min(unbound)} is not bound by the left side")
    return f"{name}[{','.join(bound)}]" if bracket else name


def _alternative(
    text: str, values: Mapping[str, str], features: Mapping[str, Sequence[str]]
) -> Rule:
    """`Symbol word 3` as a rule of weight 3, not yet normalised."""
    *symbols, last = text.split()
    if not re.fullmatch(r"\d+(\.\d+)?", last):
        symbols, last = [*symbols, last], "1"
    if not symbols:
        raise ValueError(f"an alternative without a symbol: {text}")
    return Rule(float(last), tuple(_bind(symbol, values, features) for symbol in symbols))


def _normalised(rules: list[Rule]) -> list[Rule]:
    total = sum(rule.probability for rule in rules)
    return [Rule(rule.probability / total, rule.symbols) for rule in rules]
