"""AWD-LSTM language model.

Source: Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models".

Shapes: T time steps, B columns of the text, E embedding, H hidden, V words. Parameters live on
the device of the generator that draws their initial values.
"""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ldebm.runtime.device import recurrent

State = list[tuple[Tensor, Tensor]]  # (h, c) a layer, each (1, B, H of that layer)


class Output(NamedTuple):
    """Of one pass over (T, B) words: last layer before and after dropout (T, B, E), state."""

    raw: Tensor
    dropped: Tensor
    state: State


def dropout_mask(
    like: Tensor, shape: tuple[int, ...], p: float, generator: Generator | None
) -> Tensor:
    """0 with probability p, else 1 / (1 - p), so that the mean is 1."""
    # rand is almost three times as fast as bernoulli on a CPU, and there are millions to draw
    keep = torch.rand(shape, generator=generator, device=like.device) >= p
    return keep.to(like.dtype) / (1 - p)


def locked_dropout(x: Tensor, p: float, generator: Generator | None) -> Tensor:
    """Variational dropout: one mask a column for all time steps of x (T, B, H).

    Source: Gal and Ghahramani 2016.
    """
    if p == 0:
        return x
    return x * dropout_mask(x, (1, *x.shape[1:]), p, generator)


def embedding_dropout(weight: Tensor, p: float, generator: Generator | None) -> Tensor:
    """Drops whole words: rows of weight (V, E)."""
    if p == 0:
        return weight
    return weight * dropout_mask(weight, (len(weight), 1), p, generator)


class WeightDropLstm(nn.Module):
    """An LSTM layer with DropConnect on the hidden-to-hidden weights, one mask a pass.

    Gates are ordered as in nn.LSTM.
    """

    def __init__(self, inputs: int, hidden: int, weight_drop: float, generator: Generator) -> None:
        super().__init__()
        self.weight_drop = weight_drop
        bound = 1 / math.sqrt(hidden)  # nn.LSTM's own initial values

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(
                torch.empty(shape, device=generator.device).uniform_(
                    -bound, bound, generator=generator
                )
            )

        self.weight_ih = uniform(4 * hidden, inputs)
        self.weight_hh = uniform(4 * hidden, hidden)
        self.bias_ih = uniform(4 * hidden)
        self.bias_hh = uniform(4 * hidden)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor], generator: Generator | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x (T, B, inputs) -> (T, B, hidden) and the new state."""
        weight_hh: Tensor = self.weight_hh
        if self.training and self.weight_drop > 0:
            weight_hh = weight_hh * dropout_mask(
                weight_hh, tuple(weight_hh.shape), self.weight_drop, generator
            )
        weights: list[Tensor] = [self.weight_ih, weight_hh, self.bias_ih, self.bias_hh]
        if x.is_cuda:
            weights = _in_one_chunk(weights)

        # nn.LSTM's own kernel, as nn.LSTM holds on to the weights it was built with
        def layer(x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return torch.lstm(x, (h, c), weights, True, 1, 0.0, self.training, False, False)

        output, h, c = recurrent(layer, x, *state)
        return output, (h, c)


def _in_one_chunk(weights: list[Tensor]) -> list[Tensor]:
    """The same weights as views of one buffer in cuDNN's order, which cuDNN would else make."""
    buffer = torch.cat([w.flatten() for w in weights])
    parts = torch.split(buffer, [w.numel() for w in weights])
    return [part.view_as(w) for part, w in zip(parts, weights, strict=True)]


class AwdLstm(nn.Module):
    """Words in, a distribution over the next word out.

    The output layer is the embedding and a bias (Press, Wolf 2017).

    dropouti, dropouth and dropout are locked dropouts on the embedded words, between layers and on
    the last output; dropoute drops whole words; weight_drop acts on the hidden-to-hidden weights.
    Nothing is dropped in eval mode.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding: int = 400,
        hidden: int = 1150,
        layers: int = 3,
        dropouti: float = 0.4,
        dropouth: float = 0.25,
        dropout: float = 0.4,
        dropoute: float = 0.1,
        weight_drop: float = 0.5,
        *,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.dropouti, self.dropouth = dropouti, dropouth
        self.dropout, self.dropoute = dropout, dropoute
        weight = torch.empty(vocabulary_size, embedding, device=generator.device)
        self.embedding = nn.Parameter(weight.uniform_(-0.1, 0.1, generator=generator))
        self.bias = nn.Parameter(torch.zeros(vocabulary_size, device=generator.device))
        # the last layer meets the embedding again
        self.sizes = [hidden] * (layers - 1) + [embedding]
        inputs = [embedding, *self.sizes[:-1]]
        self.layers = nn.ModuleList(
            WeightDropLstm(i, h, weight_drop, generator)
            for i, h in zip(inputs, self.sizes, strict=True)
        )

    def initial_state(self, columns: int) -> State:
        """Zeros: nothing has been read."""
        zeros = [torch.zeros(1, columns, size, device=self.bias.device) for size in self.sizes]
        return [(zero, zero) for zero in zeros]

    def forward(self, words: Tensor, state: State, generator: Generator | None = None) -> Output:
        """words (T, B) after `state` -> Output; `generator` draws the masks in training mode."""

        def drop(x: Tensor, p: float) -> Tensor:
            return locked_dropout(x, p if self.training else 0.0, generator)

        weight = embedding_dropout(
            self.embedding, self.dropoute if self.training else 0.0, generator
        )
        x = raw = drop(F.embedding(words, weight), self.dropouti)  # (T, B, E)
        new_state = []
        for i, layer in enumerate(self.layers):
            raw, carried = layer(x, state[i], generator)  # (T, B, H)
            new_state.append(carried)
            x = drop(raw, self.dropout if i == len(self.layers) - 1 else self.dropouth)
        return Output(raw, x, new_state)

    def nll(self, dropped: Tensor, targets: Tensor) -> Tensor:
        """-log p(target), nats, of every word: dropped (T, B, E), targets (T, B) -> (T * B,)."""
        logits = F.linear(dropped.flatten(0, 1), self.embedding, self.bias)  # (T * B, V)
        return F.cross_entropy(logits.float(), targets.flatten(), reduction="none")


def activation_regularisation(output: Output, alpha: float, beta: float) -> Tensor:
    """alpha mean(dropped²) + beta mean((raw_t - raw_{t-1})²) (Merity et al. 2018, 4.6)."""
    raw, dropped = output.raw.float(), output.dropped.float()
    return alpha * dropped.pow(2).mean() + beta * (raw[1:] - raw[:-1]).pow(2).mean()
