"""BLEU as a column of the table; `ldebm.metrics.corpus_bleu` computes it."""

from ldebm.metrics.base import Metric, Texts
from ldebm.metrics.corpus_bleu import corpus_bleu


class Bleu(Metric):
    """BLEU-4 of reconstructions."""

    key = published = "bleu"
    heading, title, better = "BLEU", "BLEU (%)", "higher"
    explanation = (
        "**BLEU**: corpus BLEU-4 in percent of greedy reconstructions from the posterior mode, "
        "against the cut test sentences."
    )

    def compute(self, texts: Texts) -> float | None:
        """In percent."""
        if texts.reconstructions is None:
            return None
        return corpus_bleu(texts.reconstructions, texts.references).score

    def of_test_set(self, texts: Texts) -> float:
        """Every text matches itself, also one without a four-gram."""
        return 100.0
