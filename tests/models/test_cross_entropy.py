import math
from typing import Any
from weakref import ReferenceType, ref

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ldebm.models import cross_entropy
from ldebm.models.cross_entropy import linear_cross_entropy

Inputs = tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]


@pytest.fixture
def inputs(generator: torch.Generator) -> Inputs:
    shapes = [(50, 7), (11, 7), (11,)]
    values = [torch.randn(*shape, generator=generator, requires_grad=True) for shape in shapes]
    return (
        *values,
        torch.randint(11, (50,), generator=generator),
        torch.randn(50, generator=generator),
    )


def gradients(nll: Tensor, inputs: Inputs) -> tuple[Tensor, ...]:
    given = [value for value in inputs[:3] if value is not None]
    return torch.autograd.grad((nll * inputs[4]).sum(), given)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("rows", [4096, 16])
def test_value_and_gradients_are_those_of_the_plain_composition(
    inputs: Inputs, biased: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_entropy, "KEPT", rows)
    monkeypatch.setattr(cross_entropy, "AT_ONCE", rows)
    inputs = inputs if biased else (inputs[0], inputs[1], None, *inputs[3:])
    states, weight, bias, targets, _ = inputs
    expected = functional.cross_entropy(
        functional.linear(states, weight, bias), targets, reduction="none"
    )
    nll = linear_cross_entropy(states, weight, bias, targets)
    torch.testing.assert_close(nll, expected)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(states, weight, bias, targets), expected)
    for one, other in zip(gradients(nll, inputs), gradients(expected, inputs), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("kept", "calls"), [(64, 1), (50, 1), (16, 4)])
def test_probabilities_of_many_rows_are_computed_anew(
    inputs: Inputs, kept: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 rows: at most `kept` of them leave their probabilities for the backward pass."""
    seen, left, forward = list[int](), list[ReferenceType[Tensor]](), cross_entropy._forward

    def watched(*given: Any) -> tuple[Tensor, Tensor]:
        nll, probs = forward(*given)
        seen.append(len(probs))
        left.append(ref(probs))
        return nll, probs

    monkeypatch.setattr(cross_entropy, "KEPT", kept)
    monkeypatch.setattr(cross_entropy, "_forward", watched)
    nll = linear_cross_entropy(*inputs[:4])
    assert len(seen) == calls
    assert [one() is not None for one in left] == ([True] if calls == 1 else [False] * calls)
    gradients(nll, inputs)
    assert len(seen) == (calls if calls == 1 else 2 * calls)
    assert max(seen) <= kept


def test_bfloat16_stays_near(inputs: Inputs) -> None:
    states, weight, bias, targets, _ = inputs
    expected = functional.cross_entropy(
        functional.linear(states, weight, bias), targets, reduction="none"
    )
    with torch.autocast("cpu", torch.bfloat16):
        nll = linear_cross_entropy(states, weight, bias, targets)
    assert nll.dtype == torch.float32
    torch.testing.assert_close(nll, expected, atol=0.05, rtol=0.01)
    for one, other in zip(gradients(nll, inputs), gradients(expected, inputs), strict=True):
        assert (one - other).norm() < 0.02 * other.norm()


@pytest.mark.parametrize("bfloat16", [True, False])
@pytest.mark.parametrize(("rows", "multiplied"), [(1, 64), (64, 64), (65, 128)])
def test_bfloat16_has_few_shapes(
    rows: int,
    multiplied: int,
    bfloat16: bool,
    generator: torch.Generator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With gradients and without; what fills the rows up adds nothing to either."""
    weight = torch.randn(11, 8, generator=generator).bfloat16().float().requires_grad_()
    states = torch.randn(rows, 8, generator=generator).bfloat16().float().requires_grad_()
    targets = torch.randint(11, (rows,), generator=generator)
    shapes, multiply = [], functional.linear

    def seen(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        shapes.append(len(states))
        return multiply(states, weight, bias)

    monkeypatch.setattr(functional, "linear", seen)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        nll = linear_cross_entropy(states, weight, None, targets)
        with torch.no_grad():
            alone = linear_cross_entropy(states, weight, None, targets)
    assert shapes == 2 * [multiplied if bfloat16 else rows]
    expected = functional.cross_entropy(states @ weight.T, targets, reduction="none")
    torch.testing.assert_close(nll, expected, atol=0.05, rtol=0.01)
    torch.testing.assert_close(alone, nll, atol=0, rtol=1e-6)
    found, wanted = (torch.autograd.grad(one.sum(), (states, weight)) for one in (nll, expected))
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).norm() < 0.02 * other.norm()


@pytest.mark.parametrize(("precision", "error"), [(torch.float32, 2e-5), (torch.bfloat16, 8e-3)])
@pytest.mark.parametrize("bound", [4096, 16])
def test_an_unlikely_target_costs_what_it_should(
    denormals: None,
    precision: torch.dtype,
    error: float,
    bound: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Logits 0, 1, …, 1, -x and a target at -x.

    Any cost from 0 to 400 nats, in value and in gradient, is that of float64.
    """
    monkeypatch.setattr(cross_entropy, "KEPT", bound)
    monkeypatch.setattr(cross_entropy, "AT_ONCE", bound)
    low = torch.cat(
        [torch.arange(-8.0, 80, 8), torch.arange(80, 112, 0.5), torch.arange(112, 400, 16)]
    )
    logits = torch.ones(len(low), 300)
    logits[:, 0], logits[:, -1] = 0, -low
    targets, weights = torch.full((len(low),), 299), torch.linspace(-2, 2, len(low))

    reference = logits.double().requires_grad_()
    expected = -reference.log_softmax(1)[:, -1]
    (wanted,) = torch.autograd.grad((expected * weights).sum(), reference)
    states, identity = (
        logits.clone().requires_grad_(),
        torch.eye(300),
    )  # so the states are the logits
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        nll = linear_cross_entropy(states, identity, None, targets)
        (found,) = torch.autograd.grad((nll * weights).sum(), states)
        with torch.no_grad():
            alone = linear_cross_entropy(states, identity, None, targets)
    assert nll.dtype == torch.float32
    torch.testing.assert_close(nll.double(), expected.detach(), atol=error, rtol=1e-6)
    torch.testing.assert_close(alone, nll, atol=0, rtol=1e-6)
    torch.testing.assert_close(found.double(), wanted, atol=error, rtol=0)


def test_a_hopeless_target_costs_what_it_should() -> None:
    """Logits 0, 0 and -500: the probability underflows, its logarithm must not."""
    nll = linear_cross_entropy(
        torch.tensor([[1.0]]), torch.tensor([[0.0], [0.0], [-500.0]]), None, torch.tensor([2])
    )
    assert nll.item() == pytest.approx(500 + math.log(2))
