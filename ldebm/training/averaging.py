"""An average of the energy network's weights, to sample by in place of the last ones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class MovingAverage:
    """a ← d a + (1 - d) w after every step, from the first weights on.

    The sampler of an energy that is learned from its own samples swings from step to step, that of
    the average less (docs/likelihood.md). Of no weights it does nothing.
    """

    def __init__(self, weights: Sequence[Tensor], decay: float) -> None:
        self.weights, self.decay = list(weights), decay
        self.average = [weight.detach().clone() for weight in weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of a step in."""
        for average, weight in zip(self.average, self.weights, strict=True):
            average.lerp_(weight, 1 - self.decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the average for weights; after it what it had."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for weight, average in zip(self.weights, self.average, strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)
