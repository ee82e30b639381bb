import math
from typing import Any

import pytest

from ldebm.models.regularisers import Regulariser
from ldebm.models.schedules import constant, cyclic, logistic, while_positive


def test_logistic(golden: dict[str, Any]) -> None:
    case = golden["kl_weight"]["logistic"]
    weight = logistic(case["k"], case["x0"])
    assert [weight(step, 0) for step in case["step"]] == pytest.approx(case["weight"])


@pytest.mark.parametrize(
    ("slope", "midpoint", "step", "weight"),
    [
        (1.0, 1000.0, 0, 0.0),  # by definition
        (1.0, 1000.0, 1, 0.0),  # e^-999 is no float
        (1.0, 1000.0, 299, math.exp(-701)),
        (1.0, 1000.0, 301, math.exp(-699)),
        (1.0, 1000.0, 999, 1 / (1 + math.e)),
        (1.0, 1000.0, 1000, 0.5),
        (1.0, 1000.0, 1002, math.e**2 / (1 + math.e**2)),
        (1.0, 1000.0, 100_000, 1.0),
        (-1.0, 1000.0, 1, 1.0),
        (-1.0, 1000.0, 100_000, 0.0),
        (0.0025, 2500.0, 0, 0.0),
        (0.0025, 2500.0, 2900, math.e / (1 + math.e)),
    ],
)
def test_logistic_by_hand(slope: float, midpoint: float, step: int, weight: float) -> None:
    assert logistic(slope, midpoint)(step, 0) == pytest.approx(weight, rel=1e-12, abs=0)


def test_cyclic(golden: dict[str, Any]) -> None:
    for case in golden["kl_weight"]["cyclic"]:
        weight = cyclic(case["n_cycle"], case["stop"], case["ratio_zero"], case["ratio_increase"])
        assert [weight(step, case["n_iter"]) for step in range(case["n_iter"])] == pytest.approx(
            case["weight"]
        )


def test_cyclic_ends_at_its_maximum() -> None:
    assert cyclic(10, 0.5)(84_179, 84_180) == 0.5


def test_combinations() -> None:
    assert constant(0.3)(7, 100) == 0.3
    assert Regulariser("x", None, constant(0.5), 0.2).weight(0, 1) == pytest.approx(0.1)
    gated = while_positive(cyclic(4, 0.5))
    assert [gated(step, 100) for step in (0, 13, 14, 24, 25)] == [0, 0, 1, 1, 0]
