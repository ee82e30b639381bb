"""The sentence model of every row: encode, decode, loss -> terms, sample, reconstruct."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ldebm.data.batches import Batch
from ldebm.models.decoder import Decoder
from ldebm.models.encoder import Encoder
from ldebm.models.heads import Head
from ldebm.models.plans import EpochPlanner, shuffled
from ldebm.models.posteriors import Posterior
from ldebm.models.priors import Prior
from ldebm.models.regularisers import Draw, Regulariser
from ldebm.streams import derived_seed


@dataclass(frozen=True)
class Loss:
    """The objective (a scalar) and its unweighted named terms, batch means."""

    total: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


class SentenceModel(nn.Module):
    """A posterior, a prior and regularisers around one encoder and decoder.

    Args:
        encoder: None for a model without latent variables.
        posterior: from the encoder's state to q(z|x).
        regularisers: those of factor 0 are left out.
        posterior_samples: draws for each sentence of a training step.
        plan_epoch: chooses the sentences of an epoch and their pseudo-labels.
        greedy: decode samples by the likeliest token, else by drawing one.
    """

    def __init__(
        self,
        encoder: Encoder | None,
        decoder: Decoder,
        *,
        posterior: Head,
        prior: Prior,
        regularisers: Sequence[Regulariser] = (),
        posterior_samples: int = 1,
        plan_epoch: EpochPlanner = shuffled,
        greedy: bool = True,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.posterior, self.prior = encoder, decoder, posterior, prior
        self.regularisers = [one for one in regularisers if one.factor]
        self.posterior_samples, self.plan_epoch, self.greedy = posterior_samples, plan_epoch, greedy

    def encode(self, batch: Batch) -> Posterior:
        """q(z|x) of every sentence of the batch."""
        q: Posterior = self.posterior(self._state(batch))
        return q

    def _state(self, batch: Batch) -> Tensor:
        if self.encoder is None:
            return torch.zeros(len(batch.tokens), 0, device=batch.tokens.device)
        h: Tensor = self.encoder(batch.tokens, batch.lengths)
        return h

    def reconstruction(self, batch: Batch, z: Tensor) -> Tensor:
        """R = -log p(x|z) in nats for samples `z` (S, B, D): (S, B)."""
        count = len(z)
        nll: Tensor = self.decoder(
            batch.tokens.repeat(count, 1), batch.lengths.repeat(count), z.flatten(0, 1)
        )
        return nll.view(count, -1)

    def loss(self, batch: Batch, step: int, total_steps: int, generator: torch.Generator) -> Loss:
        """The objective at training step `step` of `total_steps`.

        R averaged over posterior samples and sentences, plus the weighted regularisers; a term
        whose weight is 0 is not computed.
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
        """The negative ELBO with the true KL where there is one, else R; (B,) nats.

        Draws depend on the sentence and the seed alone.
        """
        q = self.encode(batch)
        z = q.validation_draw([sentence_generator(seed, int(index)) for index in batch.indices])
        reconstruction = self.reconstruction(batch, z[None])[0]
        divergence = self.prior.divergence(q)
        return reconstruction if divergence is None else reconstruction + divergence

    @torch.no_grad()
    def reconstruct(self, batch: Batch, max_tokens: int) -> Tensor:
        """Decode the mode of q(z|x): (B, max_tokens) ids."""
        return self.decoder.decode(self.encode(batch).mode(), max_tokens)

    @torch.no_grad()
    def sample(
        self, count: int, max_tokens: int, generator: torch.Generator, prior: Prior | None = None
    ) -> Tensor:
        """Sentences from the model's prior, or from another: (count, max_tokens) ids.

        Raises:
            ModelError: the prior's sampler diverges.
        """
        z = (prior or self.prior).sample(count, generator)
        return self.decoder.decode(z, max_tokens, None if self.greedy else generator)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by optimiser group: "energy" as the prior says, "sentence" all others."""
        energy = self.prior.energy_parameters()
        inside = {id(parameter) for parameter in energy}
        sentence = [one for one in self.parameters() if id(one) not in inside]
        return {"sentence": sentence} | ({"energy": energy} if energy else {})


def sentence_generator(seed: int, index: int) -> torch.Generator:
    """A CPU generator of sentence number `index`.

    Draws depend neither on batches nor on the device.
    """
    return torch.Generator().manual_seed(derived_seed(seed, index))


def _repeat(labels: Tensor | None, count: int) -> Tensor | None:
    return None if labels is None else labels.repeat(count)
