"""Langevin dynamics, written once."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def langevin(
    z: Tensor,
    gradient: Callable[[Tensor], Tensor],
    step_size: float | Tensor,
    noise: Iterable[Tensor],
) -> Tensor:
    """Unadjusted Langevin dynamics, one step for every ε of `noise`.

    z ← z + (s²/2) ∇log p(z) + s ε

    `z` (B, D); `gradient` maps (B, D) to ∇log p, (B, D); `step_size` s is a standard deviation, a
    number or (B, 1). Returns (B, D), detached.
    """
    z = z.detach()
    drift = 0.5 * step_size * step_size
    for epsilon in noise:
        z = z + drift * gradient(z) + step_size * epsilon
    return z


def gaussian_noise(like: Tensor, steps: int, generator: torch.Generator) -> Iterable[Tensor]:
    """Standard normal draws shaped as `like`, `steps` times."""
    for _ in range(steps):
        yield torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
