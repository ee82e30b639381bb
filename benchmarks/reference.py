"""A plain reference to time against: the same models, written the straightforward way.

Energy networks go through spectral normalisation, with a power iteration, at every evaluation, and
chains through autograd; the encoder is one bidirectional GRU that reads the padding too; logits and
their log-softmax are taken at every place of a batch; decoding goes on until the last token for
all.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ldebm.data.vocabulary import BOS
from ldebm.models.decoder import Decoder, _choose
from ldebm.models.encoder import Encoder
from ldebm.models.energy import SymbolEnergy, TimeConditionedNet
from ldebm.models.sentence import SentenceModel


class PlainEncoder(nn.Module):
    """Last states of a bidirectional GRU over the padded batch."""

    def __init__(self, ours: Encoder) -> None:
        super().__init__()
        self.embedding, self.autocast = ours.embedding, ours.autocast
        sizes = ours.forwards.input_size, ours.forwards.hidden_size
        self.gru = nn.GRU(*sizes, batch_first=True, bidirectional=True)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """`tokens` (B, 1 + L) -> (B, 2H)."""
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.autocast):
            last: Tensor = self.gru(self.embedding(tokens))[1]  # (2, B, H)
        return last.transpose(0, 1).flatten(1).float()


class PlainDecoder(Decoder):
    """Logits and log-softmax at every place, padding included; no sentence leaves a batch."""

    def forward(self, tokens: Tensor, lengths: Tensor, z: Tensor) -> Tensor:
        """-log p(x|z), (B,)."""
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=self.autocast):
            states = self.gru(self._inputs(tokens[:, :-1], z), self._initial_state(z))[0]
            states = functional.dropout(states, self.dropout, self.training)  # (B, L, H)
            log_p = functional.linear(states, *self._output_layer()).float().log_softmax(-1)
        each = -log_p.gather(-1, tokens[:, 1:, None])[..., 0]  # (B, L)
        place = torch.arange(each.shape[1], device=each.device)
        return each.masked_fill(place >= lengths.to(each.device)[:, None], 0.0).sum(1)

    @torch.no_grad()
    def decode(
        self, z: Tensor, max_tokens: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """(B, max_tokens) ids, whatever follows the end of a sentence included; in float32."""
        decoded, state = [torch.full((len(z),), BOS, device=z.device)], self._initial_state(z)
        for _ in range(max_tokens):
            logits, state = self._next_logits(decoded[-1], z, state)
            decoded.append(_choose(logits, generator))
        return torch.stack(decoded[1:], 1)


class PlainWeights(SymbolEnergy):
    """f by the layers themselves: in training mode each evaluation iterates and normalises anew."""

    def __init__(self, network: TimeConditionedNet, fixed: bool = False) -> None:
        self.network, self.fixed = network, fixed

    def logits(self, z: Tensor, t: Tensor | None) -> Tensor:
        """f(z, t), (B, K)."""
        weights = TimeConditionedNet.weights(self.network)
        return (weights.detach() if self.fixed else weights).logits(z, t)

    def detach(self) -> "PlainWeights":
        """The same, without gradient to the network."""
        return PlainWeights(self.network, fixed=True)


class PlainNet(TimeConditionedNet):
    """LDEBM's f without weights computed once a step."""

    def weights(self) -> PlainWeights:
        """What evaluates the layers."""
        return PlainWeights(self)


def plain(model: SentenceModel) -> SentenceModel:
    """`model` with its parts replaced by plain ones, of the same weights but for the encoder's."""
    if model.encoder is not None:
        model.encoder = PlainEncoder(model.encoder)
    model.decoder.__class__ = PlainDecoder
    if isinstance(getattr(model.prior, "network", None), TimeConditionedNet):
        model.prior.network.__class__ = PlainNet
    return model
