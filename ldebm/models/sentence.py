"""The sentence model of every row: encode, decode, loss -> terms, sample, reconstruct. A row is a composition, see `ldebm.zoo`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ldebm.data.batches import Batch
from ldebm.models.decoder import Decoder
from ldebm.models.encoder import Encoder
from ldebm.models.plans import EpochPlanner, shuffled
from ldebm.models.posteriors import CategoricalPosterior, JointPosterior, MixturePosterior
from ldebm.models.regularisers import Draw, Regulariser


@dataclass(frozen=True)
class Loss:
    """The objective (a scalar) and its unweighted named terms, batch means."""

    total: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


class SentenceModel(nn.Module):
    """A posterior, a prior and regularisers around one encoder and decoder.

    `posterior_samples` are drawn for each sentence of a training step; `likelihoods` names the estimators that apply (see `ldebm.evaluation.likelihood`);
    `plan_epoch` chooses the sentences of an epoch and their pseudo-labels; `greedy` decodes by the likeliest token, else by sampling.
    """

    def __init__(
        self,
        encoder: Encoder | None,
        decoder: Decoder,
        *,
        posterior: nn.Module,
        prior: Any,
        regularisers: Sequence[Regulariser] = (),
        posterior_samples: int = 1,
        likelihoods: Mapping[str, Callable[..., Tensor]] | None = None,
        plan_epoch: EpochPlanner = shuffled,
        greedy: bool = True,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.posterior, self.prior = encoder, decoder, posterior, prior
        self.regularisers, self.posterior_samples = list(regularisers), posterior_samples
        self.likelihoods, self.plan_epoch, self.greedy = dict(likelihoods or {}), plan_epoch, greedy

    @property
    def has_code(self) -> bool:
        """Whether the posterior has a categorical part."""
        return isinstance(self.posterior, CategoricalPosterior | JointPosterior | MixturePosterior)

    def encode(self, batch: Batch) -> Any:
        """q(z|x) of every sentence of the batch."""
        if self.encoder is None:
            return self.posterior(torch.zeros(len(batch.tokens), 0, device=batch.tokens.device))
        return self.posterior(self.encoder(batch.tokens, batch.lengths))

    def reconstruction(self, batch: Batch, z: Tensor) -> Tensor:
        """R = -log p(x|z) in nats for samples `z` (S, B, D): (S, B)."""
        count = len(z)
        nll: Tensor = self.decoder(batch.tokens.repeat(count, 1), batch.lengths.repeat(count), z.flatten(0, 1))
        return nll.view(count, -1)

    def loss(self, batch: Batch, step: int, total_steps: int, generator: torch.Generator) -> Loss:
        """The objective at training step `step` of `total_steps`: R averaged over posterior samples, plus the weighted regularisers.

        A term whose weight is 0 is not computed.
        """
        q = self.encode(batch)
        z = q.rsample(self.posterior_samples, generator)  # (S, B, D)
        terms = {"reconstruction": self.reconstruction(batch, z).mean()}
        total = terms["reconstruction"]
        draw = Draw(q, z.flatten(0, 1), self.prior, generator, _repeat(batch.labels, len(z)))
        for regulariser in self.regularisers:
            weight = regulariser.weight(step, total_steps)
            if weight:
                terms[regulariser.name] = regulariser.term(draw).mean()
                total = total + weight * terms[regulariser.name]
        return Loss(total, {name: term.detach() for name, term in terms.items()})

    @torch.no_grad()
    def validation_loss(self, batch: Batch, seed: int) -> Tensor:
        """The negative ELBO with the true KL where the prior has one, else R; (B,) nats. Draws depend on the sentence and the seed alone."""
        q = self.encode(batch)
        z = q.validation_draw([sentence_generator(seed, int(index)) for index in batch.indices])
        divergence = getattr(self.prior, "divergence", None)
        reconstruction = self.reconstruction(batch, z[None])[0]
        return reconstruction if divergence is None else reconstruction + divergence(q)

    @torch.no_grad()
    def reconstruct(self, batch: Batch, max_tokens: int) -> Tensor:
        """Decode the mode of q(z|x): (B, max_tokens) ids."""
        return self.decoder.decode(self.encode(batch).mode(), max_tokens)

    @torch.no_grad()
    def sample(self, count: int, max_tokens: int, generator: torch.Generator) -> Tensor:
        """Sentences from the prior: (count, max_tokens) ids."""
        z = self.prior.sample(count, generator)
        return self.decoder.decode(z, max_tokens, None if self.greedy else generator)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by optimiser group: "energy" those of an energy-based prior's network, "sentence" all others."""
        network = getattr(self.prior, "network", None)
        energy = [] if network is None else list(network.parameters())
        inside = {id(parameter) for parameter in energy}
        groups = {"sentence": [p for p in self.parameters() if id(p) not in inside], "energy": energy}
        return {name: group for name, group in groups.items() if group}


def sentence_generator(seed: int, index: int) -> torch.Generator:
    """A CPU generator for sentence number `index`, so that evaluation draws depend neither on batches nor on the device."""
    return torch.Generator().manual_seed(
        int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    )


def _repeat(labels: Tensor | None, count: int) -> Tensor | None:
    return None if labels is None else labels.repeat(count)
