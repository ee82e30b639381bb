"""What a metric is: its name, how it is shown and explained, and how it is computed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from ldebm.config import Params
from ldebm.data.corpus import Corpus


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts that a model is scored by, a tokenised sentence a line.

    `samples` are the first `judge.train_sentences` ones. `reconstructions` answer `references`, the
    cut test sentences; a model without an encoder has none.
    """

    corpus: Corpus
    max_tokens: int
    samples: Sequence[str]
    reconstructions: Sequence[str] | None

    @classmethod
    def of_test_set(cls, corpus: Corpus, max_tokens: int) -> "Texts":
        """The test set in place of samples, uncut, and of reconstructions, cut."""
        cut = list(corpus.texts(corpus.test, max_tokens))
        return cls(corpus, max_tokens, list(corpus.texts(corpus.test)), cut)

    @cached_property
    def references(self) -> Sequence[str]:
        """The test sentences as the models see them, cut."""
        return list(self.corpus.texts(self.corpus.test, self.max_tokens))

    @property
    def train(self) -> Iterator[str]:
        """The training sentences, uncut."""
        return self.corpus.texts(self.corpus.train)


@dataclass(frozen=True)
class Shown:
    """What a table shows, as far as its notes depend on it.

    `rows` are names; `scored` has the keys of metrics of which any model has a value; `printed`
    says whether published numbers stand beside ours; `reference` is the row whose exact NLL carries
    that of the others over to the whole test split, if there is one.
    """

    params: Params
    test_sentences: int
    rows: Sequence[str]
    scored: frozenset[str]
    printed: bool
    test_set: Mapping[str, float]
    reference: str | None = None


class Metric:
    """A column of the table; docs/adding-a-metric.md has an example.

    Attributes:
        key: its name in scores.json, table.csv, metrics.json and MLflow.
        heading: over its column in table.md; None: the key.
        title: over its panel in the figure; None: the heading.
        decimals: that table.md shows.
        better: which values are; None: not to be compared.
        explanation: its note below the table.
        published: its column in published.csv. Metrics of one such column share a panel, and the
            printed number stands beside the last of them that a model has a value of.
        limit: what a model can be measured by in the TEST SET row, as name there and in the figure.
        logarithmic: whether values far apart get a logarithmic axis.
        error: its standard error over sentences in scores.json, for a row of one seed.
        bound: a score that is 1 where the value is only known to be no larger: ≤.
    """

    key: ClassVar[str]
    heading: ClassVar[str | None] = None
    title: ClassVar[str | None] = None
    decimals: ClassVar[int] = 2
    better: ClassVar[Literal["lower", "higher"] | None] = "lower"
    explanation: ClassVar[str] = ""
    published: ClassVar[str | None] = None
    limit: ClassVar[tuple[str, str] | None] = None
    logarithmic: ClassVar[bool] = False
    error: ClassVar[str | None] = None
    bound: ClassVar[str | None] = None

    def compute(self, texts: Texts) -> float | None:
        """The score of a model; None where it has none, or where a step of its own computes it."""
        return None

    def of_test_set(self, texts: Texts) -> float | None:
        """The score of the test set in a model's place."""
        return self.compute(texts)

    def notes(self, shown: Shown) -> Iterator[str]:
        """What a reader of the table has to know."""
        if self.explanation:
            yield self.explanation
