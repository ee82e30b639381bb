"""The sentence decoder: a one-layer GRU that sees the latent vector at every step."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldebm.data.batches import moved
from ldebm.data.vocabulary import BOS, EOS, PAD
from ldebm.errors import UserError
from ldebm.models.cross_entropy import linear_cross_entropy
from ldebm.models.initial import uniform_
from ldebm.runtime.device import recurrent

LOOKS_EVERY = {"cpu": 1, "cuda": 8}  # tokens, for ended sentences; a look at CUDA waits for it


class Decoder(nn.Module):
    """p(x|z): s_0 = W_0 z; the input of step i is [dropout(E(x_{i-1})) ; z].

    Logits from dropout(s_i), over the whole vocabulary.

    Of z (B, latent_dim) the per-step input sees the last `step_dim` entries. A tied output layer is
    the embedding, without a bias. With latent_dim = 0 this is an ordinary language model with a
    zero initial state.
    """

    def __init__(
        self,
        embedding: nn.Embedding,
        hidden: int,
        latent_dim: int,
        step_dim: int,
        dropout: float,
        *,
        tied: bool,
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        vocabulary, width = embedding.weight.shape
        if tied and width != hidden:
            raise UserError(
                f"sentence_model: embedding {width}, hidden {hidden}: the output layer is the "
                "embedding, so both have one width; set them equal"
            )
        self.embedding = embedding
        self.gru = nn.GRU(width + step_dim, hidden, batch_first=True)
        self.output = None if tied else nn.Linear(hidden, vocabulary)
        self.initial = nn.Linear(latent_dim, hidden, bias=False) if latent_dim else None
        self.step_dim, self.dropout, self.autocast = step_dim, dropout, bfloat16
        for drawn in (self.embedding, self.gru, self.output):
            if drawn is not None:
                uniform_(drawn)

    def forward(self, tokens: Tensor, lengths: Tensor, z: Tensor) -> Tensor:
        """-log p(x|z) in nats, summed over x_1 … x_n, for `tokens` (B, 1 + L) = <s> x_1 … x_n <pad>
        …, `lengths` n (B,) and `z` (B, D). Returns (B,).
        """
        nll = self.token_nll(tokens, lengths, z)
        counts = moved(lengths, nll.device)
        # the sum of index_add, but in a fixed order on CUDA too; `unsafe`: its checks would wait
        return torch.segment_reduce(nll, "sum", lengths=counts, unsafe=True)

    def token_nll(self, tokens: Tensor, lengths: Tensor, z: Tensor) -> Tensor:
        """-log p(x_i|x_<i, z) of every real token, sentence after sentence: (Σ n,)."""
        rows = moved(_real_positions(lengths, tokens.shape[1] - 1), tokens.device)
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.autocast):
            inputs = self._inputs(tokens[:, :-1], z)
            states, _ = recurrent(self.gru, inputs, self._initial_state(z))  # (B, L, H)
            real = states.flatten(0, 1)[rows]  # (Σ n, H)
            real = functional.dropout(real, self.dropout, self.training)
            return linear_cross_entropy(real, *self._output_layer(), tokens[:, 1:].flatten()[rows])

    @torch.no_grad()
    def decode(
        self, z: Tensor, max_tokens: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Continue <s> by the likeliest token, or by a sampled one where a `generator` is given,
        until </s> or <pad>.

        In float32: in bfloat16 the likeliest tokens are often equal, of which the first, the most
        frequent, would be taken.

        Returns (B, max_tokens) ids, filled up with <pad>. Finished sentences leave the batch.
        """
        every = LOOKS_EVERY[z.device.type]
        decoded = torch.full((len(z), max_tokens), PAD, device=z.device)
        active = torch.arange(len(z), device=z.device)
        last = torch.full((len(z),), BOS, device=z.device)
        going = torch.ones(len(z), dtype=torch.bool, device=z.device)
        state = self._initial_state(z)
        for step in range(max_tokens):
            logits, state = self._next_logits(last, z, state)
            last = _choose(logits, generator)
            decoded[active, step] = last.masked_fill(~going, PAD)
            going = going & (last != EOS) & (last != PAD)
            if (step + 1) % every:
                continue
            kept = going.nonzero().flatten()  # the host waits for the device here only
            if not len(kept):
                break
            if len(kept) < len(active):
                active, last, z, state = active[kept], last[kept], z[kept], state[:, kept]
                going = going[kept]
        return decoded

    def _inputs(self, tokens: Tensor, z: Tensor) -> Tensor:
        embedded = self.embedding(tokens)  # (B, L, E)
        embedded = functional.dropout(embedded, self.dropout, self.training)
        step_z = z[:, z.shape[1] - self.step_dim :]
        return torch.cat([embedded, step_z[:, None].expand(-1, tokens.shape[1], -1)], dim=2)

    def _initial_state(self, z: Tensor) -> Tensor:
        state = (
            z.new_zeros(len(z), self.gru.hidden_size) if self.initial is None else self.initial(z)
        )
        return state[None]  # (1, B, H)

    def _output_layer(self) -> tuple[Tensor, Tensor | None]:
        return (
            (self.embedding.weight, None)
            if self.output is None
            else (self.output.weight, self.output.bias)
        )

    def _next_logits(self, last: Tensor, z: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        output, state = self.gru(self._inputs(last[:, None], z), state)
        return functional.linear(output[:, 0], *self._output_layer()), state


def _real_positions(lengths: Tensor, width: int) -> Tensor:
    """Row numbers of the real tokens in a flattened (B, width) batch.

    `lengths` on the CPU, so that no device is waited for.
    """
    return (torch.arange(width) < lengths[:, None]).flatten().nonzero().flatten()


def _choose(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        return logits.argmax(dim=1)
    return torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
