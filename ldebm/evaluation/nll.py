"""Annealed importance sampling of sentences by a trained model, and how far to trust it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ldebm.config import AnnealedSettings
from ldebm.data.batches import Batch, Order, collate
from ldebm.data.corpus import Split
from ldebm.data.vocabulary import BOS, EOS, PAD
from ldebm.evaluation import annealed as ais
from ldebm.models.sentence import SentenceModel
from ldebm.streams import derived_seed

TOGETHER = 16  # sentences of similar length that are decoded in one piece
CHAINS_AT_ONCE = 1024  # bounds memory
Report = Callable[[str, int, int], None]
COMPARED = 32  # sentences that are estimated with fewer temperatures too
FALL = 0.2  # nats from half to all of the temperatures that an estimate may have left


@dataclass(frozen=True)
class Estimates:
    """-log p(x) in nats and effective chains by sentence number, and diagnostics of them all."""

    nll: dict[int, float]
    effective: dict[int, float]
    diagnostics: dict[str, float]


def estimate(
    model: SentenceModel,
    split: Split,
    chosen: Order,
    max_tokens: int,
    settings: AnnealedSettings,
    seed: int,
    work: Path,
    report: Report | None = None,
) -> Estimates:
    """-log p(x) of the sentences `chosen` of a split, by what the model generates.

    Every run of chains keeps its state in `work`, and goes on from it to the same bits. `report`
    gets its name, the temperatures that are done, and how many there are.
    """
    runs = Runs(model, settings, seed, work, report)
    nll: dict[int, float] = {}
    chains: dict[int, float] = {}
    accepted = []
    some = _batches(split, chosen[:COMPARED], max_tokens, runs.device)
    deltas = runs.run("pilot", some, 1).deltas
    for start in range(0, len(chosen), per_group := max(1, CHAINS_AT_ONCE // settings.chains)):
        batches = _batches(split, chosen[start : start + per_group], max_tokens, runs.device)
        run = runs.run(f"sentences-{start}", batches, settings.chains, deltas)
        log_w = run.log_w.view(-1, settings.chains)
        numbers = np.concatenate([batch.indices for batch in batches]).tolist()
        nll |= dict(zip(numbers, (-ais.log_mean_exp(log_w)).tolist(), strict=True))
        chains |= dict(zip(numbers, ais.effective(log_w).tolist(), strict=True))
        accepted.append(run.accepted.mean().item())
    diagnostics = {
        "effective_chains": float(np.mean(list(chains.values()))),
        "acceptance": float(np.mean(accepted)),
        **_convergence(runs, some, deltas, nll),
        **_gap(runs, deltas, max_tokens),
    }
    return Estimates(nll, chains, diagnostics)


class Runs:
    """Runs of chains for one model, each with a name of its own: its random stream and its file."""

    def __init__(
        self,
        model: SentenceModel,
        settings: AnnealedSettings,
        seed: int,
        work: Path,
        report: Report | None = None,
    ) -> None:
        self.model, self.settings, self.seed, self.work = model, settings, seed, work
        self.report = report
        self.device = next(model.parameters()).device

    def generator(self, name: str) -> torch.Generator:
        """The random stream of a run."""
        return torch.Generator(self.device).manual_seed(derived_seed(self.seed, name))

    @torch.no_grad()
    def run(
        self,
        name: str,
        batches: list[Batch],
        chains: int,
        deltas: Tensor | None = None,
        *,
        stride: int = 1,
        posterior: list[Tensor] | None = None,
    ) -> ais.Annealing:
        """Chains for every sentence of `batches`, in their order, to the end.

        Args:
            deltas: of all temperatures; None for a pilot run.
            stride: use each `stride`-th temperature only.
            posterior: the noise that made the sentences, (vectors, S, width) a stage: backwards.
        """
        prior, generator = self.model.prior, self.generator(name)
        log_p = decoded(self.model, batches, chains)
        if posterior is None:
            count = sum(len(batch.lengths) for batch in batches) * chains
            start = ais.Chains.drawn(prior, log_p, count, generator)
        else:
            noise = [vectors.repeat_interleave(chains, 1) for vectors in posterior]
            start = ais.Chains(prior, log_p, noise)
        betas = ais.sigmoid_schedule(self.settings.temperatures)[::stride]
        deltas = None if deltas is None else deltas[stride - 1 :: stride]
        run = ais.Annealing(start, betas, deltas, generator, backwards=posterior is not None)
        report = partial(self.report, name) if self.report is not None else None
        run.run(self.work / f"{name}.safetensors", report=report)
        return run


def decoded(model: SentenceModel, batches: list[Batch], chains: int) -> ais.LogLikelihood:
    """log p(x|z) for z (S · chains, D), the chains of a sentence in succession."""
    repeated = [
        (batch.tokens.repeat_interleave(chains, 0), batch.lengths.repeat_interleave(chains))
        for batch in batches
    ]
    sizes = [len(lengths) for _, lengths in repeated]

    def log_p(z: Tensor) -> Tensor:
        pieces = zip(repeated, z.split(sizes), strict=True)
        return -torch.cat([model.decoder(*sentences, piece) for sentences, piece in pieces])

    return log_p


def simulate(
    model: SentenceModel, count: int, max_tokens: int, generator: torch.Generator
) -> tuple[list[Batch], list[Tensor]]:
    """Sentences drawn from p(x), and the noise that made each: an exact draw from p(ε|x)."""
    noise = model.prior.draw_noise(count, generator)
    words = model.decoder.decode(model.prior.states(noise)[-1], max_tokens - 1, generator)
    ended = (words == EOS) | (words == PAD)
    lengths = torch.where(ended.any(1), ended.int().argmax(1) + 1, words.shape[1])
    order = lengths.argsort(stable=True)
    tokens = torch.cat([torch.full_like(words[:, :1], BOS), words], 1)[order]
    batches = [
        Batch(part[:, : int(own.max()) + 1], own.cpu(), numbers.cpu().numpy())
        for part, own, numbers in zip(
            tokens.split(TOGETHER), lengths[order].split(TOGETHER), order.split(TOGETHER),
            strict=True,
        )
    ]  # fmt: skip
    return batches, [vectors[:, order] for vectors in noise]


def mean_with_error(name: str, values: Sequence[float] | NDArray[Any]) -> dict[str, float]:
    """The mean and its standard error over sentences by name; the error needs two values."""
    found = {name: float(np.mean(values))} if len(values) else {}
    if len(values) > 1:
        found[f"{name}_standard_error"] = float(np.std(values, ddof=1) / math.sqrt(len(values)))
    return found


def _convergence(
    runs: Runs, batches: list[Batch], deltas: Tensor, nll: dict[int, float]
) -> dict[str, float]:
    """By how many nats all temperatures are below fewer of them, on some of the sentences.

    It counts as still falling unless the mean fall from half of them is two standard errors below
    FALL: the mean alone does not tell, since its error is often larger than FALL.
    """
    full = np.array([nll[int(number)] for batch in batches for number in batch.indices])
    found: dict[str, float] = {}
    chains = runs.settings.chains
    for stride, part in ((4, "quarter"), (2, "half")):
        run = runs.run(part, batches, chains, deltas, stride=stride)
        log_p = ais.log_mean_exp(run.log_w.view(-1, chains))
        found |= mean_with_error(f"fall_from_{part}", -log_p.cpu().numpy() - full)
    most = found["fall_from_half"] + 2 * found.get("fall_from_half_standard_error", 0.0)
    return found | {"still_falling": float(most > FALL)}


@torch.no_grad()
def _gap(runs: Runs, deltas: Tensor, max_tokens: int) -> dict[str, float]:
    """Nats between the bounds of log p(x) from above and from below, on simulated sentences."""
    count, chains = runs.settings.simulated, runs.settings.chains
    batches, noise = simulate(runs.model, count, max_tokens, runs.generator("simulate"))
    below = runs.run("simulated", batches, chains, deltas)
    above = runs.run("backwards", batches, chains, deltas, posterior=noise)
    gap = -ais.log_mean_exp(-above.log_w.view(-1, chains)) - ais.log_mean_exp(
        below.log_w.view(-1, chains)
    )
    return {"gap": gap.mean().item()}


def _batches(split: Split, chosen: Order, max_tokens: int, device: torch.device) -> list[Batch]:
    """The sentences in pieces of similar length, the shortest first."""
    order = chosen[np.argsort(split.lengths[chosen], kind="stable")]
    pieces = np.split(order, range(TOGETHER, len(order), TOGETHER))
    return [collate(split, piece, max_tokens, device) for piece in pieces]
