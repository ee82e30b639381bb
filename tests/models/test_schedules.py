import pytest

from ldebm.models.regularisers import Regulariser
from ldebm.models.schedules import constant, cyclic, logistic, while_positive


def test_logistic(golden):
    case = golden["kl_weight"]["logistic"]
    weight = logistic(case["k"], case["x0"])
    assert [weight(step, 0) for step in case["step"]] == pytest.approx(case["weight"])


def test_cyclic(golden):
    for case in golden["kl_weight"]["cyclic"]:
        weight = cyclic(case["n_cycle"], case["stop"], case["ratio_zero"], case["ratio_increase"])
        assert [weight(step, case["n_iter"]) for step in range(case["n_iter"])] == pytest.approx(case["weight"])


def test_cyclic_ends_at_its_maximum():
    assert cyclic(10, 0.5)(84_179, 84_180) == 0.5


def test_combinations():
    assert constant(0.3)(7, 100) == 0.3
    assert Regulariser("x", None, constant(0.5), 0.2).weight(0, 1) == pytest.approx(0.1)
    gated = while_positive(cyclic(4, 0.5))
    assert [gated(step, 100) for step in (0, 13, 14, 24, 25)] == [0, 0, 1, 1, 0]
