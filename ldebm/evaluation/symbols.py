"""What the values of a symbol or a code stand for: the words and sentences that tell."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS = 8  # that are shown of a symbol


@dataclass(frozen=True)
class Symbol:
    """What a value of a variable stands for; of symbols there is one variable, 0.

    `share` of the sentences have it for their likeliest value; `words` are those that tell most for
    it, by p(w|value) log p(w|value)/p(w), and `sentences` those that are surest of it.
    """

    variable: int
    value: int
    share: float
    words: list[str]
    sentences: list[str]


def describe_symbols(
    probs: NDArray[Any],
    texts: Sequence[str],
    examples: int,
    words: Sequence[list[str]] | None = None,
) -> list[Symbol]:
    """Every value of every variable, described by `texts` (N).

    Args:
        probs: (N, M, K).
        examples: sentences of each value.
        words: of each text, those that count; None: what stands between spaces.
    """
    words = [text.split() for text in texts] if words is None else words
    every = Counter(chain.from_iterable(words))
    return [
        _symbol(variable, value, probs[:, variable], texts, words, every, examples)
        for variable in range(probs.shape[1])
        for value in range(probs.shape[2])
    ]


def _symbol(
    variable: int,
    value: int,
    probs: NDArray[Any],
    texts: Sequence[str],
    words: Sequence[list[str]],
    every: Counter[str],
    examples: int,
) -> Symbol:
    """The symbol's words and sentences; `probs` (N, K) of its variable."""
    own = np.flatnonzero(probs.argmax(1) == value).tolist()
    counts = Counter(chain.from_iterable(words[index] for index in own))
    total, of_all = counts.total(), every.total()
    telling = {w: n / total * math.log(n / total * of_all / every[w]) for w, n in counts.items()}
    return Symbol(
        variable,
        value,
        len(own) / len(texts),
        sorted(telling, key=lambda word: (-telling[word], word))[:WORDS],
        [texts[i] for i in sorted(own, key=lambda i: -probs[i, value])[:examples]],
    )
