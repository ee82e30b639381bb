"""The latent diffusion of LDEBM.

Noise levels, the forward process and the reverse chain through the energy network (Yu et al. 2022).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ldebm.models.energy import SymbolEnergy
from ldebm.models.langevin import langevin

DIFFUSION_STEPS, FIRST_BETA, LAST_BETA = 1000, 1e-4, 0.02


class NoiseSchedule(nn.Module):
    """Levels t = 0 … T of the diffusion, as buffers of length T + 1.

    β rises linearly from 1e-4 to 0.02 over 1000 fine steps; level t stands at fine step 0, 100,
    200, … (⌊1000/(2(T-1))⌋ apart), the last at 999. `a_bar` ā_t = Π √(1-β_i), `a` a_t = ā_t/ā_{t-1}
    (a_0 = ā_0), `sigma` √(1-a_t²), `sigma_bar` √(1-ā_t²), and `a_prev`, a_t with the last one
    replaced by 1.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        for name, values in _schedule(levels).items():
            self.register_buffer(name, values.float(), persistent=False)

    a: Tensor
    a_bar: Tensor
    a_prev: Tensor
    sigma: Tensor
    sigma_bar: Tensor

    def diffuse(self, z: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """z_t = ā_t z + σ̄_t ε at once: `z`, `epsilon` (B, D), `t` (B,)."""
        return self.a_bar[t, None] * z + self.sigma_bar[t, None] * epsilon

    def step(self, z: Tensor, t: Tensor, epsilon: Tensor) -> Tensor:
        """z_t from z_{t-1} = `z`: a_t z_{t-1} + σ_t ε."""
        return self.a[t, None] * z + self.sigma[t, None] * epsilon


def _schedule(levels: int) -> dict[str, Tensor]:
    beta = torch.linspace(FIRST_BETA, LAST_BETA, DIFFUSION_STEPS, dtype=torch.float64)
    cumulative = (1 - beta).sqrt().cumprod(0)
    apart = DIFFUSION_STEPS // (2 * (levels - 1))
    index = torch.tensor([apart * t for t in range(levels)] + [DIFFUSION_STEPS - 1])
    a_bar = cumulative[index]
    a = torch.cat([a_bar[:1], a_bar[1:] / a_bar[:-1]])
    a_prev = torch.cat([a[:-1], torch.ones(1, dtype=torch.float64)])
    return {
        "a": a,
        "a_bar": a_bar,
        "a_prev": a_prev,
        "sigma": (1 - a**2).sqrt(),
        "sigma_bar": (1 - a_bar**2).sqrt(),
    }


def reverse_chain(
    network: SymbolEnergy,
    schedule: NoiseSchedule,
    z_next: Tensor,
    t: Tensor,
    noise: Iterable[Tensor],
    step_size: float,
) -> Tensor:
    """Sample z_t given z_{t+1} by Langevin dynamics on z̃ = a⁻_{t+1} z_t, started at z_{t+1}.

    The target is exp(F(z̃, t)/b_t² - ‖z̃ - [t<T-1] z_{t+1}‖²/(2σ²_{t+1})) with b_t² = step_size ·
    σ²_{t+1} · σ̄_t/σ̄_0, at once the squared step and the temperature of F. `z_next` (B, D), `t`
    (B,) levels 0 … T-1, `noise` one (B, D) a step. Returns z_t (B, D), detached.
    """
    variance = schedule.sigma[t + 1, None] ** 2
    b = (step_size * variance * schedule.sigma_bar[t, None] / schedule.sigma_bar[0]).sqrt()
    energy_gradient = network.gradient_at(t)
    centre = z_next * (t < schedule.levels - 1)[:, None]

    def gradient(z: Tensor) -> Tensor:
        return energy_gradient(z) / b**2 - (z - centre) / variance

    return langevin(z_next, gradient, b, noise) / schedule.a_prev[t + 1, None]
