"""log p(x) of what a model generates, by annealed importance sampling over its sampler's noise.

With z = G(ε), ε ~ N(0, I), p(x) = E_ε p(x | G(ε)): no normaliser anywhere. The chains go from
N(ε; 0, I) to N(ε; 0, I) p(x | G(ε)) through N(ε; 0, I) p(x | G(ε))^β (Neal 2001; Wu et al. 2017).
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from ldebm.models.priors import Prior
from ldebm.runtime import checkpoint

ACCEPTED = 0.3  # the rate a pilot run steers for
GAIN = 1.0  # of log δ, for each unit of acceptance off the target
SHARE = 0.25  # of the entries of a single vector that a block move redraws
LogLikelihood = Callable[[Tensor], Tensor]  # log p(x|z) of the chains' sentences, (N, D) -> (N,)


def sigmoid_schedule(temperatures: int, radius: float = 4.0) -> Tensor:
    """β_0 = 0 … β_K = 1, dense at both ends (Wu et al. 2017)."""
    levels = torch.linspace(-radius, radius, temperatures + 1, dtype=torch.float64).sigmoid()
    return (levels - levels[0]) / (levels[-1] - levels[0])


def log_mean_exp(log_w: Tensor) -> Tensor:
    """log (1/C) Σ_c w_c over the last axis."""
    return log_w.logsumexp(-1) - math.log(log_w.shape[-1])


def effective(log_w: Tensor) -> Tensor:
    """Effective chains (Σ w)² / Σ w² over the last axis."""
    return (2 * log_w.logsumexp(-1) - (2 * log_w).logsumexp(-1)).exp()


class Chains:
    """N chains: their noise, the state of the sampler after each stage, and log p(x|z).

    Args:
        noise: for each stage of the prior, (vectors, N, width).
    """

    def __init__(self, prior: Prior, log_likelihood: LogLikelihood, noise: list[Tensor]) -> None:
        self.prior, self.log_likelihood, self.noise = prior, log_likelihood, noise
        self.states = prior.states(noise)
        self.log_p = log_likelihood(self.states[-1])

    @classmethod
    def drawn(
        cls, prior: Prior, log_likelihood: LogLikelihood, count: int, generator: torch.Generator
    ) -> "Chains":
        """`count` chains from N(ε; 0, I)."""
        return cls(prior, log_likelihood, prior.draw_noise(count, generator))

    def move(self, beta: float, kind: int, delta: float, generator: torch.Generator) -> float:
        """One preconditioned Crank-Nicolson step, ε' = √(1-δ²) ε + δ ξ.

        Accepted with min(1, (p(x|G(ε')) / p(x|G(ε)))^β), it keeps N(ε; 0, I) p(x|G(ε))^β whatever
        the number of entries.

        Args:
            kind: 0 moves all noise; k > 0 that of stage k - 1, and reruns that and later stages
                only. Of a stage of one vector a random part of the entries is moved.

        Returns:
            The share of chains that accepted.
        """
        first = max(kind - 1, 0)
        moved = range(len(self.noise)) if kind == 0 else (first,)
        noise = list(self.noise)
        for stage in moved:
            fresh = torch.randn(noise[stage].shape, generator=generator, device=generator.device)
            proposed = math.sqrt(1 - delta**2) * noise[stage] + delta * fresh
            if kind and len(fresh) == 1:
                chosen = torch.rand(fresh.shape, generator=generator, device=generator.device)
                proposed = torch.where(chosen < SHARE, proposed, noise[stage])
            noise[stage] = proposed
        states = self.prior.states(noise, first, self.states[first - 1] if first else None)
        log_p = self.log_likelihood(states[-1])
        uniform = torch.rand(log_p.shape, generator=generator, device=generator.device)
        taken = uniform.log() < beta * (log_p - self.log_p)
        for stage in moved:
            self.noise[stage] = torch.where(taken[:, None], noise[stage], self.noise[stage])
        for stage, state in enumerate(states, first):
            self.states[stage] = torch.where(taken[:, None], state, self.states[stage])
        self.log_p = torch.where(taken, log_p, self.log_p)
        return taken.double().mean().item()

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name."""
        parts = {f"noise.{stage}": one for stage, one in enumerate(self.noise)}
        # copies: a state that is its noise itself cannot be written twice
        parts |= {f"state.{stage}": one.clone() for stage, one in enumerate(self.states)}
        return parts | {"log_p": self.log_p}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        stages, device = range(len(self.noise)), self.log_p.device
        self.noise = [tensors[f"noise.{stage}"].to(device) for stage in stages]
        self.states = [tensors[f"state.{stage}"].to(device) for stage in stages]
        self.log_p = tensors["log_p"].to(device)


class Annealing:
    """Chains on their way from β = 0 to 1, or, backwards, from posterior draws at β = 1 to 0.

    log ŵ = Σ_k (β_k - β_{k-1}) log p(x | G(ε_{k-1})): forwards E ŵ = p(x), so that the logarithm
    of a mean of ŵ is below log p(x) in expectation; backwards E 1/ŵ = 1/p(x), and minus that of
    1/ŵ is above it (Grosse et al. 2015).

    Args:
        deltas: δ by transition and kind of move, (K - 1, 1 + stages). None: a pilot run, which
            finds them; its own chains are not to be counted, since they adapt.
    """

    def __init__(
        self,
        chains: Chains,
        betas: Tensor,
        deltas: Tensor | None,
        generator: torch.Generator,
        *,
        backwards: bool = False,
    ) -> None:
        self.chains, self.betas, self.generator = chains, betas, generator
        self.backwards, self.pilot = backwards, deltas is None
        transitions, kinds = len(betas) - 2, 1 + len(chains.noise)
        self.deltas = torch.ones(transitions, kinds) if deltas is None else deltas
        self.accepted = torch.zeros(transitions, dtype=torch.float64)
        self.log_w = torch.zeros_like(chains.log_p, dtype=torch.float64)
        self.done = 0

    @torch.no_grad()
    def run(
        self, path: Path, every: float = 60.0, report: Callable[[int, int], None] | None = None
    ) -> None:
        """Go on from the checkpoint `path` if there is one, to the end; one is kept in the end.

        `report` gets the temperatures that are done, and how many there are.
        """
        self._resume(path)
        saved = time.perf_counter()
        with parametrize.cached():  # a network's weights are normalised once, not at every move
            while self.done < len(self.betas) - 1:
                self._step()
                if report is not None:
                    report(self.done, len(self.betas) - 1)
                if time.perf_counter() - saved > every:
                    self._save(path)
                    saved = time.perf_counter()
        self._save(path)

    def _step(self) -> None:
        """Add the weight of one interval of β, then move at the temperature it ends at."""
        last = len(self.betas) - 1
        k = last - self.done if self.backwards else self.done + 1  # the interval β_{k-1} … β_k
        self.log_w += (self.betas[k] - self.betas[k - 1]).item() * self.chains.log_p.double()
        self.done += 1
        reached = k - 1 if self.backwards else k
        if 0 < reached < last:
            self._move(reached)

    def _move(self, k: int) -> None:
        """All noise in turn with one stage after another."""
        stages, index = len(self.chains.noise), k - 1
        kind = 0 if index % 2 == 0 else 1 + index // 2 % stages
        delta = self.deltas[index, kind].item()
        rate = self.chains.move(self.betas[k].item(), kind, delta, self.generator)
        self.accepted[index] = rate
        if self.pilot:
            self.deltas[index:, kind] = min(1.0, delta * math.exp(GAIN * (rate - ACCEPTED)))

    def _save(self, path: Path) -> None:
        own = {"deltas": self.deltas, "accepted": self.accepted, "log_w": self.log_w}
        states = {"generator": self.generator.get_state()} | self.chains.tensors()
        checkpoint.save(path, own | states, {"done": self.done}, keep_previous=True)

    def _resume(self, path: Path) -> None:
        found = checkpoint.newest(path)
        if found is None:
            return
        tensors, state = found
        self.done = state["done"]
        checkpoint.restore_generator(self.generator, tensors["generator"], self.done, path)
        self.chains.restore(tensors)
        for name in ("deltas", "accepted", "log_w"):
            getattr(self, name).copy_(tensors[name])
