"""NLL of single sentences: rows compared in pairs, and carried over to the whole test split."""

import csv
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ldebm.errors import UserError

Values = Mapping[str, float]  # nats by the number of a test sentence


def read_sentences(path: Path) -> dict[str, Values]:
    """What sentences.csv has, by its columns; nothing where there is no file.

    Raises:
        UserError: it is damaged.
    """
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in (rows[0] if rows else ()) if name != "sentence"]
    try:
        return {name: {row["sentence"]: float(row[name]) for row in rows} for name in names}
    except (KeyError, TypeError, ValueError):
        problem = "no table of numbers by sentence; run the step that makes it again"
        raise UserError(f"{path} is damaged: {problem}") from None


class Paired(NamedTuple):
    """A mean difference, its standard error, and over how many sentences."""

    mean: float
    error: float
    sentences: int


def paired(first: Values, second: Values) -> Paired | None:
    """`first` minus `second` over the sentences of both; None of fewer than two."""
    differences = [first[number] - second[number] for number in first if number in second]
    if (count := len(differences)) < 2:
        return None
    error = statistics.stdev(differences) / math.sqrt(count)
    return Paired(statistics.fmean(differences), error, count)


def mean_of_each(seeds: Sequence[Values]) -> Values:
    """The mean over seeds of every sentence that all of them have."""
    common = set.intersection(*map(set, seeds)) if seeds else set()
    return {number: statistics.fmean(one[number] for one in seeds) for number in common}


def carried_over(own: Values, reference: Values) -> tuple[float, float] | None:
    """The mean of `own`, known of a part of the sentences, over all of `reference`; its error.

    mean_part(y - x) + mean_all(x), y its own values and x the reference's

    It is unbiased for a random part, whatever x; its standard error is that of y - x over
    sentences, which differ far less in it than in y (the difference estimator; Cochran 1977, 7.2).
    Without his factor for a finite number of sentences, it is on the large side.
    """
    found = paired(own, reference)
    return (
        None if found is None else (found.mean + statistics.fmean(reference.values()), found.error)
    )
