"""SVEBM and SVEBM-IB: a symbol-vector energy-based prior."""

from typing import TYPE_CHECKING

from pydantic import PositiveFloat, PositiveInt

from ldebm.config import NonNegative, RowConfig, Several

if TYPE_CHECKING:
    from ldebm.models.networks import SentenceSize
    from ldebm.models.sentence import SentenceModel


class SvebmRow(RowConfig):
    """R + w [free-bits KL - F(z⁺) + F(z⁻)] - λ MI; R alone while w = 0."""

    names = ("SVEBM", "SVEBM-IB")
    source = "Pang & Wu 2021"
    tied = True
    optimised = ("sentence", "energy")

    latent_dim: Several  # 40 [SVEBM]
    symbols: PositiveInt  # 20 [SVEBM]
    energy_hidden: PositiveInt  # 200 [SVEBM]
    langevin_steps: PositiveInt  # 40 [SVEBM]
    langevin_step_size: PositiveFloat  # a standard deviation; 0.5 [SVEBM]
    free_bits: NonNegative  # nats a dimension; 1 [SVEBM]
    information_weight: NonNegative  # λ: 50 of "-IB" [SVEBM], else 0
    kl_cycles: PositiveInt  # 10 [SVEBM]
    kl_maximum: PositiveFloat  # 0.5 [SVEBM]

    def build(self, size: "SentenceSize") -> "SentenceModel":
        """A Gaussian for every sentence, and an energy network of its own optimiser group."""
        from ldebm.models import regularisers as terms
        from ldebm.models.energy import SymbolVectorNet
        from ldebm.models.heads import GaussianHead
        from ldebm.models.initial import uniform_
        from ldebm.models.networks import two_embeddings
        from ldebm.models.schedules import cyclic, while_positive
        from ldebm.models.sentence import SentenceModel
        from ldebm.models.symbol_vector import SymbolVectorPrior

        weight = cyclic(self.kl_cycles, self.kl_maximum)
        network = SymbolVectorNet(self.latent_dim, self.energy_hidden, self.symbols)
        model = SentenceModel(
            *two_embeddings(size, self.latent_dim),
            posterior=GaussianHead(2 * size.hidden, self.latent_dim),
            prior=SymbolVectorPrior(network, self.langevin_steps, self.langevin_step_size),
            regularisers=[
                terms.Regulariser("free_bits_kl", terms.free_bits_kl(self.free_bits), weight),
                terms.Regulariser("contrast", terms.contrast, weight),
                terms.Regulariser(
                    "symbol_information",
                    terms.symbol_information,
                    while_positive(weight),
                    -self.information_weight,
                ),
            ],
        )
        uniform_(model)
        return model
