"""Energy networks: f(z) or f(z, t) ∈ R^K, one value a symbol.

F = logsumexp_y f_y is the log of the prior's correction to its base density.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

# 15 are enough for σ within a few percent; the start is not where time is spent.
POWER_ITERATIONS_AT_START = 30
Affine = tuple[Tensor, Tensor]


class SymbolEnergy:
    """f(z, t) with its weights fixed; `t` (B,) is ignored where there are no levels."""

    def logits(self, z: Tensor, t: Tensor | None) -> Tensor:
        """f(z, t): (B, D) -> (B, K)."""
        raise NotImplementedError

    def gradient_at(self, t: Tensor | None) -> Callable[[Tensor], Tensor]:
        """∇_z F(·, t), (B, D) -> (B, D), without gradient of its own."""

        def gradient(z: Tensor) -> Tensor:
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                return torch.autograd.grad(free_energy(self.logits(z, t)).sum(), z)[0]

        return gradient


def free_energy(logits: Tensor) -> Tensor:
    """F = logsumexp_y f_y, (…, K) -> (…).

    Of p(z) ∝ exp(F(z)), so that it has the opposite sign of a free energy in physics.
    """
    return logits.logsumexp(dim=-1)


@dataclass(frozen=True)
class SymbolGiven(SymbolEnergy):
    """f_y of one symbol alone: F of p(z|y), so that p(z|y) ∝ exp(f_y(z)) where p(z) ∝ exp(F(z))."""

    energy: SymbolEnergy
    symbol: int

    def logits(self, z: Tensor, t: Tensor | None) -> Tensor:
        """(B, D) -> (B, 1)."""
        return self.energy.logits(z, t)[:, self.symbol, None]


class SymbolVectorNet(nn.Module):
    """SVEBM's f: latent_dim → hidden → hidden → symbols with exact GELU (Pang & Wu 2021)."""

    def __init__(self, latent_dim: int, hidden: int, symbols: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.layers = nn.ModuleList(
            [nn.Linear(latent_dim, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, symbols)]
        )

    def weights(self) -> "SymbolVectorWeights":
        """The weights as they are used, differentiable."""
        return SymbolVectorWeights(_affines(self.layers))


@dataclass(frozen=True)
class SymbolVectorWeights(SymbolEnergy):
    """Weights of a `SymbolVectorNet`, [out, in], each with its bias."""

    layers: list[Affine]

    def logits(self, z: Tensor, t: Tensor | None = None) -> Tensor:
        """f(z): (B, D) -> (B, K)."""
        for weight, bias in self.layers[:-1]:
            z = functional.gelu(functional.linear(z, weight, bias))
        return functional.linear(z, *self.layers[-1])

    def gradient_at(self, t: Tensor | None = None) -> Callable[[Tensor], Tensor]:
        """∇_z F written out, a third to a half faster than autograd in a chain."""
        (first, first_bias), (second, second_bias), out = self.layers

        def gradient(z: Tensor) -> Tensor:
            u = functional.linear(z, first, first_bias)
            v = functional.linear(functional.gelu(u), second, second_bias)
            probs = _affine(functional.gelu(v), out).softmax(1)  # ∂F/∂f
            grad = torch.ops.aten.gelu_backward(probs @ out[0], v)
            return torch.ops.aten.gelu_backward(grad @ second, u) @ first

        return torch.no_grad()(gradient)

    def detach(self) -> "SymbolVectorWeights":
        """The same weights without gradient."""
        return SymbolVectorWeights(
            [(weight.detach(), bias.detach()) for weight, bias in self.layers]
        )


class TimeConditionedNet(nn.Module):
    """LDEBM's f(z, t): a residual network on z and a sinusoidal embedding of the level, every
    weight spectrally normalised (Yu et al. 2022).

    One call of `weights` in training mode makes one power iteration; a chain then runs on plain
    weights. The published code iterates inside each of the > 100 evaluations of a step.
    """

    def __init__(
        self, latent_dim: int, hidden: int, symbols: int, blocks: int, levels: int
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.latent_in = _normalised(nn.Linear(latent_dim, hidden), nn.Linear(hidden, hidden))
        self.time_in = _normalised(nn.Linear(hidden, hidden), nn.Linear(hidden, hidden))
        self.join = _normalised(nn.Linear(2 * hidden, hidden))
        self.blocks = _normalised(*(nn.Linear(hidden, hidden) for _ in range(blocks)))
        self.out = _normalised(nn.Linear(hidden, symbols))
        self.table: Tensor
        self.register_buffer("table", time_table(levels, hidden), persistent=False)

    def weights(self) -> "TimeConditionedWeights":
        """The normalised weights, differentiable through σ."""
        parts = (self.latent_in, self.time_in, self.join, self.blocks, self.out)
        return TimeConditionedWeights(self.table, *(_affines(layers) for layers in parts))

    @torch.no_grad()
    def settle(self, iterations: int = POWER_ITERATIONS_AT_START) -> None:
        """Run power iterations on weights that were just drawn: one alone leaves σ far off."""
        was_training = self.training
        self.train()
        for _ in range(iterations):
            self.weights()
        self.train(was_training)


@dataclass(frozen=True)
class TimeConditionedWeights(SymbolEnergy):
    """Weights of a `TimeConditionedNet` as they are used, [out, in], each with its bias, and the
    table of level embeddings (T, hidden).
    """

    table: Tensor
    latent_in: list[Affine]
    time_in: list[Affine]
    join: list[Affine]
    blocks: list[Affine]
    out: list[Affine]

    def logits(self, z: Tensor, t: Tensor | None) -> Tensor:
        """f(z, t): `z` (B, D), `t` (B,) levels 0 … T-1 -> (B, K)."""
        latent = _two_layers(z, self.latent_in)
        h = _affine(_activate(torch.cat([latent, self._time_features()[t]], dim=1)), self.join[0])
        for block in self.blocks:
            h = h + _affine(_activate(h), block)
        return _affine(_activate(h), self.out[0])

    def gradient_at(self, t: Tensor | None) -> Callable[[Tensor], Tensor]:
        """∇_z F(·, t) written out, a quarter faster than autograd in a chain.

        What depends on t alone is computed once.
        """
        first, second = self.latent_in
        weight, bias = self.join[0]
        from_latent, from_time = weight.split(second[0].shape[0], dim=1)
        offsets = functional.linear(_activate(self._time_features()), from_time, bias)
        offset = offsets[t]  # (B, hidden)

        def gradient(z: Tensor) -> Tensor:
            u = _affine(z, first)
            v = _affine(_activate(u), second)
            states = [torch.addmm(offset, _activate(v), from_latent.t())]
            for block_weight, block_bias in self.blocks:
                h = states[-1]
                states.append(torch.addmm(h, _activate(h), block_weight.t()).add_(block_bias))
            probs = _affine(_activate(states[-1]), self.out[0]).softmax(1)  # ∂F/∂f
            grad = _activation_gradient(probs @ self.out[0][0], states.pop())
            for block_weight, _ in reversed(self.blocks):
                grad = grad.add_(_activation_gradient(grad @ block_weight, states.pop()))
            grad = _activation_gradient(grad @ from_latent, v)
            return _activation_gradient(grad @ second[0], u) @ first[0]

        return torch.no_grad()(gradient)

    def detach(self) -> "TimeConditionedWeights":
        """The same weights without gradient."""
        parts = (self.latent_in, self.time_in, self.join, self.blocks, self.out)
        return TimeConditionedWeights(
            self.table, *([(w.detach(), b.detach()) for w, b in layers] for layers in parts)
        )

    def _time_features(self) -> Tensor:
        """The t-branch of every level, (T, hidden): so few rows go through the network, not B."""
        return _two_layers(self.table, self.time_in)


def time_table(levels: int, width: int) -> Tensor:
    """Sinusoidal embedding of t = 0 … levels-1.

    Entry [t, 2i] = sin(t · 10000^(-2i/width)), [t, 2i+1] = cos of the same. (levels, width).
    """
    angle = torch.arange(levels)[:, None] * torch.exp(
        torch.arange(0, width, 2) * (-math.log(10000.0) / width)
    )
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]


def _affines(layers: nn.ModuleList) -> list[Affine]:
    return [cast(Affine, (layer.weight, layer.bias)) for layer in layers]


def _normalised(*layers: nn.Linear) -> nn.ModuleList:
    return nn.ModuleList([spectral_norm(layer) for layer in layers])


def _activate(h: Tensor) -> Tensor:
    return functional.leaky_relu(h, 0.2)


def _activation_gradient(grad: Tensor, h: Tensor) -> Tensor:
    return torch.ops.aten.leaky_relu_backward(grad, h, 0.2, False)


def _affine(h: Tensor, layer: Affine) -> Tensor:
    return functional.linear(h, *layer)


def _two_layers(h: Tensor, layers: list[Affine]) -> Tensor:
    return _affine(_activate(_affine(h, layers[0])), layers[1])
