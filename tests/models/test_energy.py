from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ldebm.models.energy import (
    Affine,
    SymbolEnergy,
    SymbolVectorWeights,
    TimeConditionedNet,
    TimeConditionedWeights,
    free_energy,
    time_table,
)

PARTS = ("latent_in", "time_in", "join", "blocks", "out")


def test_time_table_is_the_published_one(
    golden: dict[str, Any], close: Callable[..., None]
) -> None:
    table = golden["energy_net"]["weights"]["time_table"]
    close(time_table(len(table), len(table[0])), table)


def test_time_conditioned_logits(
    golden: dict[str, Any], golden_net: TimeConditionedWeights, close: Callable[..., None]
) -> None:
    case = golden["energy_net"]
    logits = golden_net.logits(torch.tensor(case["z"]), torch.tensor(case["t"]))
    close(logits, case["logits"])
    close(free_energy(logits), case["F"])


def test_symbol_vector_energy(golden: dict[str, Any], close: Callable[..., None]) -> None:
    case = golden["svebm"]
    weights = SymbolVectorWeights(
        [(torch.tensor(layer["weight"]), torch.tensor(layer["bias"])) for layer in case["weights"]]
    )
    close(free_energy(weights.logits(torch.tensor(case["z0"]))), case["F0"])


def double(net: TimeConditionedWeights) -> TimeConditionedWeights:
    def layers(values: list[Affine]) -> list[Affine]:
        return [(weight.double(), bias.double()) for weight, bias in values]

    return type(net)(net.table.double(), *(layers(getattr(net, name)) for name in PARTS))


@pytest.mark.parametrize(
    "gradient_at", [SymbolEnergy.gradient_at, TimeConditionedWeights.gradient_at]
)
def test_energy_gradient_is_the_finite_difference(
    golden: dict[str, Any],
    golden_net: TimeConditionedWeights,
    gradient_at: Callable[[TimeConditionedWeights, Tensor], Callable[[Tensor], Tensor]],
) -> None:
    z, t = (
        torch.tensor(golden["energy_net"]["z"], dtype=torch.float64),
        torch.tensor(golden["energy_net"]["t"]),
    )
    net, step = double(golden_net), 1e-6
    gradient = gradient_at(net, t)(z)
    for dimension in range(z.shape[1]):
        moved = torch.zeros_like(z)
        moved[:, dimension] = step
        difference = (
            free_energy(net.logits(z + moved, t)) - free_energy(net.logits(z - moved, t))
        ) / (2 * step)
        torch.testing.assert_close(gradient[:, dimension], difference, rtol=1e-5, atol=1e-7)


def test_symbol_vector_gradient_is_that_of_autograd() -> None:
    torch.manual_seed(0)
    layers = [
        (torch.randn(n, m).double(), torch.randn(n).double()) for m, n in ((6, 9), (9, 9), (9, 4))
    ]
    weights, z = SymbolVectorWeights(layers), torch.randn(7, 6, dtype=torch.float64)
    kept = z.clone()
    gradient = weights.gradient_at(None)(z)
    torch.testing.assert_close(gradient, SymbolEnergy.gradient_at(weights, None)(z))
    torch.testing.assert_close(z, kept, rtol=0, atol=0)


@pytest.fixture
def net() -> TimeConditionedNet:
    torch.manual_seed(0)
    net = TimeConditionedNet(latent_dim=6, hidden=20, symbols=5, blocks=3, levels=6)
    net.settle()
    return net


def _largest_singular_values(net: TimeConditionedNet) -> Tensor:
    weights = net.weights()
    return torch.stack(
        [
            torch.linalg.matrix_norm(w.detach(), 2)
            for name in PARTS
            for w, _ in getattr(weights, name)
        ]
    )


def test_settled_weights_have_unit_spectral_norm(net: TimeConditionedNet) -> None:
    values = _largest_singular_values(net.eval())
    torch.testing.assert_close(values, torch.ones_like(values), rtol=0.03, atol=0)


def test_power_iteration_is_frozen_in_evaluation_and_moves_in_training(
    net: TimeConditionedNet,
) -> None:
    net.eval()
    before = net.weights().out[0][0].clone()
    assert torch.equal(net.weights().out[0][0], before)
    net.train()
    with torch.no_grad():
        net.out[0].parametrizations.weight.original.normal_()
    first = net.weights().out[0][0].clone()
    assert not torch.equal(net.weights().out[0][0], first)


def test_gradient_flows_through_sigma(net: TimeConditionedNet) -> None:
    """The normalised weight does not change with the scale of the original, so the gradient is
    orthogonal to it.
    """
    net.eval()
    original = net.join[0].parametrizations.weight.original
    weights = net.weights()
    (weights.join[0][0] * torch.randn_like(original)).sum().backward()
    inner = (original.grad * original).sum()
    assert abs(inner) < 1e-4 * original.grad.norm() * original.norm()


def test_detached_weights_carry_no_gradient(net: TimeConditionedNet) -> None:
    z = torch.randn(4, 6, requires_grad=True)
    free_energy(net.weights().detach().logits(z, torch.tensor([0, 1, 2, 5]))).sum().backward()
    assert z.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in net.parameters())
