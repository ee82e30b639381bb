"""RNN-LM."""

from typing import TYPE_CHECKING

from ldebm.config import RowConfig

if TYPE_CHECKING:
    from ldebm.models.networks import SentenceSize
    from ldebm.models.sentence import SentenceModel


class RnnLmRow(RowConfig):
    """R: the decoder alone, without a latent vector; samples are drawn word by word."""

    names = ("RNN-LM",)
    source = "Mikolov et al. 2010"

    def build(self, size: "SentenceSize") -> "SentenceModel":
        """A decoder of zero initial state."""
        from ldebm.models.heads import EmptyHead
        from ldebm.models.initial import uniform_
        from ldebm.models.networks import decoder
        from ldebm.models.priors import EmptyPrior
        from ldebm.models.sentence import SentenceModel

        reader = decoder(size, 0, tied=False)
        model = SentenceModel(None, reader, posterior=EmptyHead(), prior=EmptyPrior(), greedy=False)
        uniform_(model)
        return model
