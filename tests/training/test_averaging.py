"""The moving average of weights, against its closed form."""

import pytest
import torch

from ldebm.training.averaging import MovingAverage

STEPS = 7
DECAY = 0.75


@pytest.fixture
def walked() -> MovingAverage:
    """Two weights that took k² and -k at step k."""
    weights = [torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)]
    average = MovingAverage(weights, DECAY)
    for k in range(1, STEPS + 1):
        with torch.no_grad():
            weights[0].fill_(k**2)
            weights[1].fill_(-k)
        average.update()
    return average


def values(of: list[torch.Tensor]) -> list[float]:
    return [one[0].item() for one in of]


def test_it_weighs_every_step_by_a_power_of_the_decay(walked: MovingAverage) -> None:
    shares = [(1 - DECAY) * DECAY ** (STEPS - k) for k in range(1, STEPS + 1)]
    squares, steps = (sum(share * k**n for k, share in enumerate(shares, 1)) for n in (2, 1))
    assert values(walked.average) == pytest.approx([squares, -steps])


def test_the_model_has_it_only_inside(walked: MovingAverage) -> None:
    average = values(walked.average)
    with walked.in_place():
        assert values(walked.weights) == average
    assert values(walked.weights) == [STEPS**2, -STEPS]
    assert values(walked.average) == average
