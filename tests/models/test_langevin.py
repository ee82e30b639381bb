from collections.abc import Callable
from typing import Any

import pytest
import torch

from ldebm.models.langevin import gaussian_noise, langevin


def test_stationary_moments_on_a_gaussian(generator: torch.Generator) -> None:
    """On N(μ, σ²) the discretised chain is an AR(1) process whose stationary variance is known
    exactly.
    """
    mean, variance, step = 2.0, 0.25, 0.3
    z = langevin(
        torch.zeros(50_000, 1),
        lambda z: -(z - mean) / variance,
        step,
        gaussian_noise(torch.zeros(50_000, 1), 100, generator),
    )
    contraction = 1 - step**2 / (2 * variance)
    assert z.mean().item() == pytest.approx(mean, abs=0.01)
    assert z.var().item() == pytest.approx(step**2 / (1 - contraction**2), rel=0.03)


def test_two_steps_by_hand() -> None:
    """z = 1, log p = -½ z², s = 0.5.

    1 - 0.125 + 0.5·2 = 1.875, then 1.875·0.875 - 0.5 = 1.140625.
    """
    z = langevin(torch.ones(1, 1), lambda z: -z, 0.5, torch.tensor([[[2.0]], [[-1.0]]]))
    assert z.item() == pytest.approx(1.140625)


def test_the_symbol_vector_chain(golden: dict[str, Any], close: Callable[..., None]) -> None:
    from ldebm.models.energy import SymbolVectorWeights

    case = golden["svebm"]
    weights = SymbolVectorWeights(
        [(torch.tensor(layer["weight"]), torch.tensor(layer["bias"])) for layer in case["weights"]]
    )
    z = langevin(
        torch.tensor(case["z0"]),
        lambda z: weights.gradient_at(None)(z) - z,
        case["step_size"],
        torch.tensor(case["noise"]),
    )
    close(z, case["z"])
