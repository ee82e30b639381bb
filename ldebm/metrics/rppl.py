"""Reverse perplexity as a column of the table; `ldebm.metrics.reverse_perplexity` computes it."""

from collections.abc import Iterator

from ldebm.config import Judge
from ldebm.metrics.base import Metric, Shown

# Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models", and its code,
# on Penn Treebank with batch 20; how much is judged is that of the published rows.
PUBLISHED = Judge(
    train_sentences=40000,
    valid_sentences=3000,
    embedding=400,
    hidden=1150,
    layers=3,
    dropouti=0.4,
    dropouth=0.25,
    dropout=0.4,
    dropoute=0.1,
    weight_drop=0.5,
    alpha=2.0,
    beta=1.0,
    weight_decay=1.2e-6,
    clip=0.25,
    batch=20,
    learning_rate=30.0,
    bptt=70,
    epochs=20,
    nonmono=5,
    seed=141,
)


class ReversePerplexity(Metric):
    """exp of the judge's cross-entropy on the real test set, after training on samples."""

    key = published = "rppl"
    heading, title, logarithmic = "rPPL", "Reverse perplexity", True
    limit = ("rppl_real_text", "real text")

    def notes(self, shown: Shown) -> Iterator[str]:
        """The judge, and what it reaches on real text."""
        judge, samples = shown.params.judge, shown.params.evaluation.samples
        yield (
            "**rPPL**, reverse perplexity: a language model (AWD-LSTM, the judge) is trained on "
            f"{judge.train_sentences:,} of {samples:,} sampled sentences and scored by its "
            "perplexity on the real, uncut test set. Its dictionary is the corpus vocabulary, so "
            "words that are never sampled count too: a model that knows few words is punished "
            "more than in the published numbers."
        )
        yield (
            "† The judge's own score when it is trained on real sentences, as many as it is given "
            "samples, or all there are."
        )
