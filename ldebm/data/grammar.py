"""The grammar corpus: sentences with known attributes and exactly known probabilities."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ldebm.data import SPLITS
from ldebm.data.files import staged
from ldebm.data.grammar_rules import ATTRIBUTES, FEATURES, RULES
from ldebm.data.pcfg import Inside, Pcfg, read_rules
from ldebm.errors import UserError


class Sentence(NamedTuple):
    """A drawn sentence and the value that each attribute had when it was drawn."""

    words: tuple[str, ...]
    attributes: dict[str, str]


@dataclass(frozen=True)
class Grammar:
    """p(x) = Σ_a p(a) p(x | a): independent attributes a, and a context-free grammar that starts at
    Sentence[a].
    """

    attributes: Mapping[str, Mapping[str, float]]  # value → probability, by attribute
    rules: Pcfg

    @classmethod
    def default(cls) -> "Grammar":
        """About 200 words, sentences of 4 to 20 words; the rules are in `grammar_rules`."""
        return cls(ATTRIBUTES, Pcfg(read_rules(RULES, FEATURES)))

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes, in the order in which settings list their values."""
        return tuple(self.attributes)

    @property
    def words(self) -> frozenset[str]:
        """Every word of the language."""
        return frozenset().union(*(self.rules.words[_start(setting)] for setting in self.prior))

    @cached_property
    def prior(self) -> dict[tuple[str, ...], float]:
        """The probability of every setting of the attributes."""
        settings = product(*(values.items() for values in self.attributes.values()))
        return {
            tuple(value for value, _ in pairs): math.prod(p for _, p in pairs) for pairs in settings
        }

    def sample(self, rng: np.random.Generator) -> Sentence:
        """Draw the attributes, then a sentence."""
        drawn = [_draw(values, rng) for values in self.attributes.values()]
        return Sentence(
            tuple(self.rules.sample(_start(drawn), rng)),
            dict(zip(self.attributes, drawn, strict=True)),
        )

    def joint(self, words: Sequence[str]) -> dict[tuple[str, ...], float]:
        """p(a, x) for every setting a under which the sentence can be derived."""
        inside = Inside(self.rules, words)  # one for all settings: they share most of their phrases
        present = frozenset(words)
        joint: dict[tuple[str, ...], float] = {}
        for setting, prior in self.prior.items():
            start = _start(setting)
            if present <= self.rules.words[start]:  # rules out most settings at little cost
                joint[setting] = prior * inside.probability(start)
        return {setting: probability for setting, probability in joint.items() if probability > 0}

    def log_prob(self, words: Sequence[str]) -> float:
        """log p(x) in nats of a whole sentence, summed over attributes and derivations.

        -inf outside the language.
        """
        probability = sum(self.joint(words).values())
        return math.log(probability) if probability > 0 else -math.inf


def write_corpus(out: Path, seed: int, sizes: Mapping[str, int]) -> None:
    """Draw train, valid and test into out/{split}.txt, one sentence a line, and
    out/{split}.attributes.csv.

    The table has a row a sentence: its attributes and its exact log-probability in nats
    (`log_prob`). Each split has a random stream of its own: its size does not change the others,
    and a larger one begins with the smaller one.
    """
    for split in SPLITS:
        if sizes.get(split, 0) < 1:
            raise UserError(
                f"the grammar corpus needs at least one {split} sentence, not {sizes.get(split, 0)}"
            )
    grammar = Grammar.default()
    with staged(out) as folder:
        for stream, split in enumerate(SPLITS):
            rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream,)))
            sentences = (grammar.sample(rng) for _ in range(sizes[split]))
            _write_split(folder / split, grammar, sentences)


def _write_split(target: Path, grammar: Grammar, sentences: Iterable[Sentence]) -> None:
    with (
        open(f"{target}.txt", "w", encoding="utf-8", newline="\n") as text,
        open(f"{target}.attributes.csv", "w", encoding="utf-8", newline="") as table,
    ):
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow([*grammar.attribute_names, "log_prob"])
        for words, attributes in sentences:
            text.write(" ".join(words) + "\n")
            rows.writerow([*attributes.values(), repr(grammar.log_prob(words))])


def _start(setting: Sequence[str]) -> str:
    """The start symbol of a setting of the attributes."""
    return f"Sentence[{','.join(setting)}]"


def _draw(probabilities: Mapping[str, float], rng: np.random.Generator) -> str:
    uniform = rng.random()
    for value, probability in probabilities.items():
        uniform -= probability
        if uniform < 0:
            return value
    return value  # the probabilities may sum to a little less than one
