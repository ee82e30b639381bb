"""The sentence encoder: a one-layer bidirectional GRU."""

import torch
from torch import Tensor, nn

from ldebm.data.batches import moved
from ldebm.runtime.device import recurrent


class Encoder(nn.Module):
    """h(x) = [last forward state ; last backward state] of a GRU over <s> x_1 … x_n.

    Each sentence is read to its own ends, so h(x) depends neither on padding nor on the other
    sentences of the batch (the published encoders run over padding). Two one-way GRUs, the second
    over the reversed sentence, are 1.6 times as fast on a CPU as one that is given packed
    sequences.
    """

    def __init__(self, embedding: nn.Embedding, hidden: int, *, bfloat16: bool = False) -> None:
        super().__init__()
        self.embedding = embedding
        self.forwards = nn.GRU(embedding.embedding_dim, hidden, batch_first=True)
        self.backwards = nn.GRU(embedding.embedding_dim, hidden, batch_first=True)
        self.autocast = bfloat16

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Encode `tokens` (B, 1 + L), of which sentence i uses <s> and its first lengths[i] tokens.

        `lengths` (B,) lies on the CPU. Returns (B, 2H).
        """
        last = moved(lengths, tokens.device)[:, None]  # (B, 1)
        position = torch.arange(tokens.shape[1], device=tokens.device)
        reverse = (last - position).clamp_min(0)  # (B, 1 + L)
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.autocast):
            ahead = recurrent(self.forwards, self.embedding(tokens))[0]  # (B, 1 + L, H)
            back = recurrent(self.backwards, self.embedding(tokens.gather(1, reverse)))[0]
        sentence = torch.arange(len(tokens), device=tokens.device)
        return torch.cat([ahead[sentence, last[:, 0]], back[sentence, last[:, 0]]], dim=1).float()
