"""Optimisers without PyTorch's compiler step as PyTorch's own do, and do not load it."""

from typing import Any

import pytest
import torch

from ldebm.runtime import optimisers


def three_steps(kind: type[torch.optim.Optimizer], **options: Any) -> tuple[Any, Any]:
    """Weights and state after three steps of ½ ‖w - 1‖², saved and put back after the second."""
    weight = torch.nn.Parameter(torch.tensor([0.5, -2.0, 3.0]))
    optimiser = kind([{"params": [weight]}], **options)
    for step in range(3):
        if step == 2:
            state = optimiser.state_dict()
            optimiser = kind([{"params": [weight]}], **options)
            optimiser.load_state_dict(state)
        optimiser.zero_grad()
        (0.5 * (weight - 1) ** 2).sum().backward()
        optimiser.step()
    return weight.detach(), optimiser.state_dict()


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (optimisers.Adam, torch.optim.Adam, {"lr": 0.1, "fused": True}),
        (optimisers.SGD, torch.optim.SGD, {"lr": 0.3, "weight_decay": 0.1, "fused": True}),
    ],
)
def test_three_steps_are_those_of_pytorch(
    ours: type[torch.optim.Optimizer],
    theirs: type[torch.optim.Optimizer],
    options: dict[str, Any],
) -> None:
    weights, state = three_steps(ours, **options)
    wanted, its = three_steps(theirs, **options)
    torch.testing.assert_close(weights, wanted, rtol=0, atol=0)
    assert str(state) == str(its)


def test_adam_is_its_formula() -> None:
    """Kingma & Ba 2015, algorithm 1: the first step is the learning rate, whatever the gradient."""
    weight = torch.nn.Parameter(torch.tensor([0.5, -2.0]))
    optimiser = optimisers.Adam([{"params": [weight]}], lr=0.1)
    (torch.tensor([3.0, -0.01]) * weight).sum().backward()
    optimiser.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([0.4, -1.9]))
