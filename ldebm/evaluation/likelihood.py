"""log p(x) by importance sampling, one sentence at a time, in log space and in chunks of bounded memory.

An estimator maps (model, one-sentence batch, samples, chunk, generator) to log p(x) in nats. Estimators of different kinds are kept apart by
name: `nll` is sound (exact, or an upper bound in expectation), `nll_published` is the published estimate for energy-based priors, which is not.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ldebm.data.batches import Batch
from ldebm.models.diffusion import NoiseSchedule
from ldebm.models.energy import SymbolEnergy, free_energy
from ldebm.models.posteriors import gaussian_log_density, standard_log_density

AT_ONCE = 250  # samples decoded together; bounds memory
Estimator = Callable[[Any, Batch, int, int, torch.Generator], Tensor]


def importance_sampled(model: Any, batch: Batch, samples: int, chunk: int, generator: torch.Generator) -> Tensor:
    """log (1/S) Σ_s p(x|z_s) p(z_s)/q(z_s|x) with z_s ~ q(z|x): its negative is an upper bound of the NLL in expectation (Burda et al. 2016)."""
    q = model.encode(batch)
    weights = [
        model.prior.log_prob(z).flatten() - q.log_prob(z).flatten() - model.reconstruction(batch, z).flatten()
        for z in _posterior_chunks(q, samples, AT_ONCE, generator)
    ]
    return torch.cat(weights).logsumexp(0) - math.log(samples)


def exact(model: Any, batch: Batch, samples: int, chunk: int, generator: torch.Generator) -> Tensor:
    """log p(x) of a model without latent variables."""
    return -model.reconstruction(batch, model.encode(batch).mode()[None])[0, 0]


def symbol_vector_published(model: Any, batch: Batch, samples: int, chunk: int, generator: torch.Generator) -> Tensor:
    """SVEBM's published estimator, with the right Gaussian densities.

    log of the mean over chunks of Σ p(x|z_s) D_s / Σ D_s, D_s = exp(F(z_s)) N(z_s; 0, I)/q(z_s|x). The normaliser of the prior is estimated from the
    posterior of the very sentence that is scored, so this is no bound (Pang & Wu 2021).
    """
    q, weights = model.encode(batch), model.prior.network.weights()
    chunks = []
    for z in _posterior_chunks(q, samples, chunk, generator):
        flat = z.flatten(0, 1)
        log_d = free_energy(weights.logits(flat)) + standard_log_density(flat) - q.log_prob(z).flatten()
        chunks.append(self_normalised(log_d, model.reconstruction(batch, z).flatten()))
    return torch.stack(chunks).logsumexp(0) - math.log(len(chunks))


def self_normalised(log_d: Tensor, nll: Tensor) -> Tensor:
    """log [Σ_s exp(-nll_s) D_s / Σ_s D_s], (S,) and (S,) -> a scalar."""
    return (log_d - nll).logsumexp(0) - log_d.logsumexp(0)


def latent_diffusion_published(
    model: Any, batch: Batch, samples: int, chunk: int, generator: torch.Generator
) -> Tensor:
    """LDEBM's published estimator: log (1/S) Σ_s p(x|z_s) p̂(z_s)/q(z_s|x), p̂ the product of noisily normalised conditionals (Yu et al. 2022).

    It exponentiates a noisy estimate of log p̂, so it can come out below the reconstruction cost itself.
    """
    q, prior = model.encode(batch), model.prior
    weights, schedule = prior.network.weights(), prior.schedule
    scores = []
    for z in _posterior_chunks(q, samples, chunk, generator):
        flat = z.flatten(0, 1)
        direct, step = _published_levels(schedule, flat, generator)
        log_prior = published_log_prior(weights, schedule, flat, direct, step)
        scores.append(log_prior - q.log_prob(z).flatten() - model.reconstruction(batch, z).flatten())
    return torch.cat(scores).logsumexp(0) - math.log(samples)


def published_log_prior(
    network: SymbolEnergy, schedule: NoiseSchedule, z: Tensor, direct: Tensor, step: Tensor
) -> Tensor:
    """log p̂(z) of one chunk of posterior samples of one sentence.

    log p̂(z) = Σ_{t=1..T} { g(z_t) - log mean_s exp[g(z'_t) - log N(z_{t-1}; ā_{t-1} z, σ̄²_{t-1})] - log N(z'_t; a_t z_{t-1}, σ_t²) } + log N(z_T; 0, I),
    g(c) = F(a⁻_t z_{t-1}, t-1) - ‖a⁻_t z_{t-1} - [t<T] c‖²/(2σ_t²). `z` (S, D); `direct` (T+1, S, D) levels z_t drawn at once from z; `step` (T+1, S, D)
    levels z'_t one step from z_{t-1}. Returns (S,).
    """
    total = standard_log_density(direct[-1])
    for t in range(1, schedule.levels + 1):
        before, level = direct[t - 1], torch.full((len(z),), t - 1, device=z.device)
        scaled = schedule.a_prev[t] * before
        energy, centred = free_energy(network.logits(scaled, level)), float(t < schedule.levels)

        def g(
            c: Tensor, scaled: Tensor = scaled, energy: Tensor = energy, centred: float = centred, t: int = t
        ) -> Tensor:
            return energy - ((scaled - centred * c) ** 2).sum(-1) / (2 * schedule.sigma[t] ** 2)

        drawn = _log_normal(before, schedule.a_bar[t - 1] * z, schedule.sigma_bar[t - 1])
        normaliser = (g(step[t]) - drawn).logsumexp(0) - math.log(len(z))
        total = total + g(direct[t]) - normaliser - _log_normal(step[t], schedule.a[t] * before, schedule.sigma[t])
    return total


def _published_levels(schedule: NoiseSchedule, z: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """z_t for t = 0 … T drawn at once from z, and z'_t one step from z_{t-1} (z'_0 = z_0): (T+1, S, D) each."""
    noise = torch.randn(2, schedule.levels + 1, *z.shape, generator=generator, device=generator.device).to(z)
    direct = schedule.a_bar[:, None, None] * z + schedule.sigma_bar[:, None, None] * noise[0]
    one_step = schedule.a[1:, None, None] * direct[:-1] + schedule.sigma[1:, None, None] * noise[1, 1:]
    return direct, torch.cat([direct[:1], one_step])


def _posterior_chunks(q: Any, samples: int, chunk: int, generator: torch.Generator) -> Iterator[Tensor]:
    """`samples` draws of q in pieces of `chunk`: (≤ chunk, 1, D)."""
    for start in range(0, samples, chunk):
        yield q.sample(min(chunk, samples - start), generator)


def _log_normal(z: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return gaussian_log_density(z, mean, 2 * std.log()).sum(-1)
