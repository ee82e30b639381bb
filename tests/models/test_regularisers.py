from collections.abc import Callable
from typing import Any

import torch

from ldebm.models.posteriors import Gaussian
from ldebm.models.regularisers import Draw, entropy_floor, free_bits_kl


def _draw(case: dict[str, Any]) -> Draw:
    q = Gaussian(
        torch.tensor(case["mean"], requires_grad=True),
        torch.tensor(case["logvar"], requires_grad=True),
    )
    return Draw(q, q.mean, None, torch.Generator())


def test_free_bits(golden: dict[str, Any], close: Callable[..., None]) -> None:
    case = golden["svebm"]["free_bits"]
    close(free_bits_kl(case["threshold"])(_draw(case)).mean(), case["svebm_kl"])


def test_entropy_floor(golden: dict[str, Any], close: Callable[..., None]) -> None:
    case = golden["svebm"]["free_bits"]
    close(entropy_floor(case["threshold"])(_draw(case)).mean(), case["ldebm_neg_entropy"])


def test_below_the_threshold_there_is_neither_value_nor_gradient() -> None:
    """KL of the two dimensions: ½·9 = 4.5, and ½·0.01 = 0.005."""
    draw = _draw({"mean": [[3.0, 0.1]], "logvar": [[0.0, 0.0]]})
    term = free_bits_kl(1.0)(draw)
    torch.testing.assert_close(term, torch.tensor([4.5]))
    term.sum().backward()
    torch.testing.assert_close(draw.q.mean.grad, torch.tensor([[3.0, 0.0]]))
