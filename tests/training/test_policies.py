import math
from typing import Any

import pytest

from ldebm.training.policies import EpochPolicy, PatiencePolicy


def policy(**changes: Any) -> PatiencePolicy:
    settings: dict[str, Any] = dict(
        validate_every=2000,
        max_validations=50,
        patience=10,
        patience_factor=2,
        improvement=0.996,
        decay=0.8,
        min_factor=0.001,
    )
    return PatiencePolicy(**settings | changes)


def test_learning_rate_falls_from_the_second_worse_validation_on() -> None:
    """Losses 10, 11, 11, 11, 9, 9.5, 9.5.

    Worse at 2, 3, 4 (one, two, three after the best), a new best at 5, worse at 6, 7.
    """
    rule = policy()
    factors, kept = [], []
    for loss in (10, 11, 11, 11, 9, 9.5, 9.5):
        kept.append(rule.observe(loss).keep)
        factors.append(rule.learning_rate_factor)
    assert kept == [True, False, False, False, True, False, False]
    assert factors == pytest.approx([1, 1, 0.8, 0.64, 0.64, 0.64, 0.512])


def test_patience_doubles_at_a_significant_improvement() -> None:
    """Patience stays 10 until validation 6 improves by more than 0.4 % on the last significant one.

    max(10, 12).
    """
    rule = policy()
    patience = []
    for loss in (100, 99.7, 99.61, 99.6, 99.5, 99.2):
        rule.observe(loss)
        patience.append(rule.patience)
    # 99.6 = 0.996 · 100 is significant at validation 4: max(10, 8); then 99.2 ≤ 0.996 · 99.6 =
    # 99.2016 at 6
    assert patience == [10, 10, 10, 10, 10, 12]
    assert rule.significant == 99.2


def test_a_new_best_that_is_not_significant_is_kept_but_lends_no_patience() -> None:
    rule = policy(patience=3)
    verdicts = [rule.observe(loss) for loss in (100, 99.9, 99.8)]
    assert [verdict.keep for verdict in verdicts] == [True, True, True]
    assert verdicts[-1].stop is not None


def test_the_three_ends() -> None:
    rule = policy(max_validations=2)
    assert [rule.observe(loss).stop for loss in (10, 1)] == [None, "2 validations done"]
    rule = policy()
    stops = [rule.observe(10.0).stop for _ in range(10)]
    assert stops[:9] == [None] * 9
    assert stops[9] == "no better after 10 validations"
    rule = policy(min_factor=0.5)
    stops = [rule.observe(loss).stop for loss in (1, 2, 2, 2, 2, 2)]
    assert stops == [None] * 5 + [
        "the learning rate reached its minimum"
    ]  # 0.8⁴ = 0.41 at the fifth after the best


def test_due_every_so_many_steps_whatever_the_epoch() -> None:
    assert [step for step in range(1, 6001) if policy().due(step, step % 100 == 0)] == [
        2000,
        4000,
        6000,
    ]


def test_epochs() -> None:
    rule = EpochPolicy(epochs=3, keep_last=True)
    assert rule.due(17, True)
    assert not rule.due(17, False)
    verdicts = [rule.observe(loss) for loss in (1, 2, 3)]
    assert [(verdict.keep, verdict.stop) for verdict in verdicts] == [
        (True, None),
        (True, None),
        (True, "3 epochs done"),
    ]
    rule = EpochPolicy(epochs=3, keep_last=False)
    assert [rule.observe(loss).keep for loss in (2, 1, 3)] == [True, True, False]


@pytest.mark.parametrize("rule", [policy(), EpochPolicy(5, True)])
def test_state_is_all_there_is(rule: PatiencePolicy | EpochPolicy) -> None:
    rule.observe(3.0)
    rule.observe(4.0)
    again = type(rule)(**rule.state())
    assert [again.observe(x) for x in (5.0, 2.0)] == [rule.observe(x) for x in (5.0, 2.0)]
    assert again.learning_rate_factor == rule.learning_rate_factor
    assert math.isfinite(again.best)
