"""Divergence of the word frequencies of samples from those of the training text."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ldebm.errors import ModelError
from ldebm.metrics.base import Metric, Texts


class WordKl(Metric):
    """Word KL of samples from the training text."""

    key = published = "wkl"
    heading, title, decimals = "wKL", "Word KL (nats)", 3
    limit = ("wkl", "test set")
    explanation = (
        "**wKL**: divergence in nats of the word frequencies of samples from those of the training "
        "set, both uncut; in the TEST SET row the test set stands for the samples."
    )

    def compute(self, texts: Texts) -> float:
        """In nats."""
        return word_kl(texts.samples, texts.train).score


@dataclass(frozen=True)
class Divergence:
    """KL(p ‖ q) in nats, the share of p's mass on words unknown to q, and how it was computed."""

    score: float
    unknown_words: float
    signature: str


def word_kl(samples: Iterable[str], reference: Iterable[str]) -> Divergence:
    """wKL = Σ_w p(w) log(p(w) / q(w)), p the word frequencies of `samples`, q those of `reference`.

    Both are tokenised lines without </s>. A word unknown to q loses its term but stays in p's
    denominator, so the score can be negative when many words are unknown.

    Raises:
        ModelError: one of the texts has no words.
    """
    p, q = _word_counts(samples), _word_counts(reference)
    p_total, q_total = p.total(), q.total()
    if not p_total or not q_total:
        raise ModelError(
            f"word KL needs words in both texts: got {p_total} in the samples and {q_total} in "
            "the reference"
        )
    score = math.fsum(
        n / p_total * math.log(n / p_total * q_total / q[word])
        for word, n in p.items()
        if word in q
    )
    unknown = sum(n for word, n in p.items() if word not in q) / p_total
    return Divergence(
        score, unknown, f"wkl|split:'s|unknown:no-term|words:{p_total}/{q_total}|unit:nats"
    )


def _word_counts(sentences: Iterable[str]) -> Counter[str]:
    """Counts of words, every 's split off first (x's -> x 's)."""
    counts: Counter[str] = Counter()
    for sentence in sentences:
        counts.update(sentence.replace("'s", " 's").split())
    return counts
