"""Where the time of a training step goes.

Its parts, each run alone, forward and backward, on one batch.
"""

from collections.abc import Callable
from typing import Any

import torch
from common import PLANNED, Bench, Done
from operations import (
    chain_macs,
    encoder_macs,
    energy_macs,
    logits_macs,
    matrix_size,
    output_layer,
    terms_macs,
)
from torch import Tensor

from ldebm.models.cross_entropy import linear_cross_entropy
from ldebm.models.regularisers import Draw
from ldebm.training.trainer import Trainer

Part = dict[str, float]  # seconds, macs


class Step:
    """One batch of a trainer, its features and latent samples, and the parts of a step as
    functions.
    """

    def __init__(self, trainer: Trainer, generator: torch.Generator) -> None:
        self.trainer, self.model, self.generator = trainer, trainer.model, generator
        self.batch = trainer._batch()
        self.written, self.latents = int(self.batch.lengths.sum()), len(self.batch.lengths)
        with torch.no_grad():
            self.features = self.model.encoder(self.batch.tokens, self.batch.lengths)  # (B, 2H)
            self.z = self.model.posterior(self.features).rsample(1, generator)  # (1, B, D)

    def backward(self, total: Tensor) -> None:
        """Gradients of `total` alone."""
        self.model.zero_grad()
        total.backward()

    def encoder(self) -> None:
        """Both GRUs of the encoder."""
        self.backward(self.model.encoder(self.batch.tokens, self.batch.lengths).sum())

    def decoder(self) -> None:
        """The decoder with its logits."""
        self.backward(self.model.reconstruction(self.batch, self.z).mean())

    def cross_entropy(self) -> None:
        """The logits and the cross-entropy."""
        weight, bias = output_layer(self.model)
        states = torch.randn(
            self.written, weight.shape[1], device=weight.device, requires_grad=True
        )
        targets = torch.arange(self.written, device=weight.device) % len(weight)
        with torch.autocast(
            weight.device.type, torch.bfloat16, enabled=self.model.decoder.autocast
        ):
            nll = linear_cross_entropy(states, weight, bias, targets)
        self.backward(nll.sum())

    def terms(self) -> None:
        """Posterior, latent samples and all terms of the objective but the reconstruction."""
        q = self.model.posterior(self.features.detach().requires_grad_())
        z = q.rsample(1, self.generator)
        draw = Draw(q, z.flatten(0, 1), self.model.prior, self.generator, self.batch.labels)
        weighted = [(one.weight(1, 100), one) for one in self.model.regularisers]
        self.backward(
            z.sum() + sum(weight * one.term(draw).mean() for weight, one in weighted if weight)
        )

    @torch.no_grad()
    def chains(self) -> None:
        """Langevin chains and the draws they start from."""
        self.model.prior.draw(self.z.flatten(0, 1), self.generator)

    def update(self) -> None:
        """Clipping and Adam, on the gradients that are there."""
        self.trainer._clip()
        self.trainer._set_learning_rates()
        self.trainer.optimiser.step()

    def macs(self) -> dict[str, int]:
        """Multiply-adds of the parts that have many."""
        model = self.model
        return {
            "encoder": 3 * (self.written + self.latents) * encoder_macs(model),
            "decoder GRU": 3 * self.written * matrix_size(model.decoder.gru),
            "logits and cross-entropy": 3 * self.written * logits_macs(model),
            "chains": 2 * self.latents * chain_macs(model),
            "other terms": self.latents * terms_macs(model),
        }


def profile(bench: Bench, key: str) -> dict[str, Part]:
    """A training step of `models.<key>` and its parts, the longest first.

    `rest` is what the parts leave unexplained.
    """
    trainer = bench.trainer(key, bench.options["batch"], 1, PLANNED)
    whole = bench.measure(bench.steps(trainer, 1))
    trainer.progress.position -= 1  # back to the batch that was measured
    step = Step(trainer, bench.generator())
    seconds, macs = part_seconds(bench, step), step.macs()
    parts = {
        name: {"seconds": seconds[name], "macs": macs.get(name, 0)}
        for name in sorted(seconds, key=seconds.__getitem__, reverse=True)
    }
    rest = {"seconds": whole.seconds - sum(seconds.values()), "macs": 0}
    return parts | {"rest": rest, "step": {"seconds": whole.seconds, "macs": sum(macs.values())}}


def part_seconds(bench: Bench, step: Step) -> dict[str, float]:
    """Seconds of each part; what cannot run alone is the difference of two that can."""

    def seconds(run: Callable[[], Any]) -> float:
        return bench.measure(lambda: (run(), Done(1))[1]).seconds

    # first: it needs the gradients of a whole step
    found = {"clipping and Adam": seconds(step.update)}
    found["batch assembly"] = seconds(step.trainer._batch)
    logits = seconds(step.cross_entropy)
    found |= {"encoder": seconds(step.encoder), "logits and cross-entropy": logits}
    found |= {"decoder GRU": seconds(step.decoder) - logits, "other terms": seconds(step.terms)}
    if energy_macs(step.model):
        found["chains"] = seconds(step.chains)
        found["other terms"] -= found["chains"]
    return found
