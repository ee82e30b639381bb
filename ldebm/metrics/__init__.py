"""The metrics, in the order of the table's columns; every reader of scores goes through `find`."""

import math
import re
from collections.abc import Sequence
from numbers import Real

from ldebm.errors import ModelError, UserError
from ldebm.metrics.base import Metric
from ldebm.metrics.bleu import Bleu
from ldebm.metrics.nll import ImportanceNll, Nll, PublishedNll
from ldebm.metrics.rppl import ReversePerplexity
from ldebm.metrics.word_kl import WordKl
from ldebm.outside import load_object

METRICS: tuple[Metric, ...] = (
    ReversePerplexity(), Bleu(), WordKl(), Nll(), ImportanceNll(), PublishedNll(),
)  # fmt: skip


def scored(metric: Metric, value: object) -> float | None:
    """What a metric has computed, as a plain number; None where it has no value.

    Raises:
        ModelError: it is not finite.
        UserError: it is no number.
    """
    if value is None:
        return None
    if not isinstance(value, Real):
        raise UserError(f"metric {metric.key}: computed {value!r}, which is no number")
    if not math.isfinite(value):
        raise ModelError(f"metric {metric.key} is {value}")
    return float(value)


def find(outside: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics, and after them those of a user's own, each named `FILE.py:CLASS`.

    Raises:
        UserError: one is no metric, or its key cannot be used.
    """
    found = list(METRICS)
    for name in outside:
        one = load_object(name)
        if not (isinstance(one, type) and issubclass(one, Metric)):
            raise UserError(f"{name!r} is no subclass of ldebm.metrics.base.Metric")
        key = getattr(one, "key", "")
        if not re.fullmatch("[a-z][a-z0-9_]*", key) or key in {other.key for other in found}:
            raise UserError(f"{name!r} has the key {key!r}; use a new one, of a-z, 0-9, _")
        found.append(one())
    return tuple(found)
