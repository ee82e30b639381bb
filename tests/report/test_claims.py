"""Verdicts on hand-made cells."""

import numpy as np
import pytest
from scipy import stats

from ldebm.report.claims import CLAIMS, Finding, compare
from ldebm.report.results import published_table


def test_the_interval_is_that_of_welchs_test() -> None:
    """The claim is decided just where Welch's test rejects equality at 5 %."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        one, other = rng.normal(0, 1, 3).tolist(), rng.normal(1.5, 0.3, 4).tolist()
        p = stats.ttest_ind(one, other, equal_var=False).pvalue
        assert (compare(one, other, False).verdict == "undecided") == (p >= 0.05)


def test_direction() -> None:
    low, high = [1.0, 1.1, 0.9], [5.0, 5.1, 4.9]
    assert compare(low, high, lower_is_better=True).verdict == "holds"
    assert compare(low, high, lower_is_better=False).verdict == "fails"
    assert compare(low, high, lower_is_better=True).difference == pytest.approx(4)


def test_one_seed_decides_nothing() -> None:
    assert compare([1.0], [9.0], True) == Finding(8.0, None)
    assert compare([1.0], [9.0], True).verdict == "undecided"
    assert compare([1.0, 1.0], [9.0, 9.0], True).verdict == "holds"


def test_every_row_of_a_claim_is_a_row_of_the_table() -> None:
    assert {row for _, *rows, _ in CLAIMS for row in rows} <= set(published_table())
