import math

import pytest
import torch
from torch.nn import functional

from ldebm.models import cross_entropy
from ldebm.models.cross_entropy import linear_cross_entropy


@pytest.fixture
def inputs(generator):
    shapes = [(50, 7), (11, 7), (11,)]
    values = [torch.randn(*shape, generator=generator, requires_grad=True) for shape in shapes]
    return *values, torch.randint(11, (50,), generator=generator), torch.randn(50, generator=generator)


def gradients(nll, inputs):
    given = [value for value in inputs[:3] if value is not None]
    return torch.autograd.grad((nll * inputs[4]).sum(), given)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("rows", [4096, 16])
def test_value_and_gradients_are_those_of_the_plain_composition(inputs, biased, rows, monkeypatch):
    monkeypatch.setattr(cross_entropy, "KEPT", rows)
    monkeypatch.setattr(cross_entropy, "AT_ONCE", rows)
    inputs = inputs if biased else (inputs[0], inputs[1], None, *inputs[3:])
    states, weight, bias, targets, _ = inputs
    expected = functional.cross_entropy(functional.linear(states, weight, bias), targets, reduction="none")
    nll = linear_cross_entropy(states, weight, bias, targets)
    torch.testing.assert_close(nll, expected)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(states, weight, bias, targets), expected)
    for one, other in zip(gradients(nll, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(one, other)


def test_bfloat16_stays_near(inputs):
    states, weight, bias, targets, _ = inputs
    expected = functional.cross_entropy(functional.linear(states, weight, bias), targets, reduction="none")
    with torch.autocast("cpu", torch.bfloat16):
        nll = linear_cross_entropy(states, weight, bias, targets)
    assert nll.dtype == torch.float32
    torch.testing.assert_close(nll, expected, atol=0.05, rtol=0.01)
    for one, other in zip(gradients(nll, inputs), gradients(expected, inputs), strict=True):
        assert (one - other).norm() < 0.02 * other.norm()


def test_a_hopeless_target_costs_what_it_should():
    """Logits 0, 0 and -500: the probability underflows, its logarithm must not."""
    nll = linear_cross_entropy(torch.tensor([[1.0]]), torch.tensor([[0.0], [0.0], [-500.0]]), None, torch.tensor([2]))
    assert nll.item() == pytest.approx(500 + math.log(2))
