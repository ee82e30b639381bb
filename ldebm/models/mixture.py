"""The learned Gaussian mixture prior of GM-VAE and DGM-VAE."""

import math

import torch
from torch import Tensor, nn

from ldebm.models.posteriors import Categorical, Gaussian, Posterior, gaussian_log_density
from ldebm.models.priors import GivenCode, Prior, uniform_choice


class GaussianMixturePrior(Prior):
    """`groups` independent vectors of `group_dim` entries, each a mixture of K learned Gaussians.

    Source: Shi et al. 2020.
    """

    label = "learned Gaussian mixture"

    def __init__(self, groups: int, components: int, group_dim: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(groups, components, group_dim))
        self.logvar = nn.Parameter(torch.randn(groups, components, group_dim))
        self.noise_width = groups * (1 + group_dim)

    def stage(self, index: int, state: Tensor | None, noise: Tensor) -> Tensor:
        """A uniform component for each group from its first number, then its Gaussian."""
        groups, components, dim = self.mean.shape
        choice, epsilon = noise[0].split([groups, groups * dim], -1)
        component = uniform_choice(choice, components)
        group = torch.arange(groups, device=noise.device)
        mean, logvar = self.mean[group, component], self.logvar[group, component]  # (B, groups, d)
        return (mean + (0.5 * logvar).exp() * epsilon.unflatten(1, (groups, dim))).flatten(1)

    def given(self, variable: int, value: int) -> Prior:
        """The component of one group fixed."""
        return GivenCode(self, variable, value, self.mean.shape[1])

    def log_prob(self, z: Tensor) -> Tensor:
        """log Π_groups (1/K) Σ_c N(z_g; μ_gc, σ²_gc): (…, groups · group_dim) -> (…)."""
        groups, components, dim = self.mean.shape
        z = z.unflatten(-1, (groups, 1, dim))
        density = gaussian_log_density(z, self.mean, self.logvar).sum(-1)  # (…, groups, K)
        return (density.logsumexp(-1) - math.log(components)).sum(-1)

    def divergence(self, q: Posterior) -> Tensor | None:
        """KL of q(z|x) q(c|x) from p(z|c) p(c): Z + D + Σ KL(q(c|x) ‖ uniform), (B,)."""
        if q.gaussian is None or q.code is None:
            return None
        return self.averaged_kl(q.gaussian, q.code) + self.dispersion(q.code) + q.code.kl_uniform()

    def averaged_kl(self, q: Gaussian, code: Categorical) -> Tensor:
        """Z: KL of q(z|x) from the Gaussian with natural parameters Σ_c q(c|x) η(c), summed over
        groups, (B,).
        """
        first, second = self._averaged(code)
        variance = -0.5 / second
        mean = first * variance
        q_mean, q_logvar = (value.unflatten(-1, mean.shape[1:]) for value in (q.mean, q.logvar))
        kl = 0.5 * (
            variance.log() - q_logvar + (q_logvar.exp() + (q_mean - mean) ** 2) / variance - 1
        )
        return kl.sum((-1, -2))

    def dispersion(self, code: Categorical) -> Tensor:
        """D = Σ_c q(c|x) A(η(c)) - A(Σ_c q(c|x) η(c)) ≥ 0, summed over groups, (B,)."""
        expected = torch.einsum("bgk,gk->b", code.probs, _log_normaliser(*self._natural()))
        return expected - _log_normaliser(*self._averaged(code)).sum(-1)

    def _natural(self) -> tuple[Tensor, Tensor]:
        """η(c) = (μ/σ², -1/(2σ²)), each (groups, K, dim)."""
        precision = (-self.logvar).exp()
        return self.mean * precision, -0.5 * precision

    def _averaged(self, code: Categorical) -> tuple[Tensor, Tensor]:
        """Σ_c q(c|x) η(c), each (B, groups, dim)."""
        first, second = self._natural()
        probs = code.probs
        over = "bgk,gkd->bgd"
        return torch.einsum(over, probs, first), torch.einsum(over, probs, second)


def _log_normaliser(first: Tensor, second: Tensor) -> Tensor:
    """A(η) = Σ_d [-η₁²/(4η₂) - ½ log(-2η₂)]: (…, dim) -> (…)."""
    return (-(first**2) / (4 * second) - 0.5 * (-2 * second).log()).sum(-1)
