"""LDEBM, with and without geometric clustering: a latent diffusion energy-based prior."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from ldebm.config import NonNegative, RowConfig, Several

if TYPE_CHECKING:
    from ldebm.models.networks import SentenceSize
    from ldebm.models.sentence import SentenceModel


class LdebmRow(RowConfig):
    """R + γ [negative entropy + prior cross-entropy + contrast] - λ MI + λ_c pseudo-labels.

    With λ_c > 0 an epoch draws its sentences evenly from geometric clusters.
    """

    names = ("LDEBM w/o GC", "LDEBM")
    source = "Yu et al. 2022"
    tied = True
    optimised = ("sentence", "energy")

    latent_dim: Several  # 40 [LDEBM]
    symbols: PositiveInt  # 20 [LDEBM]
    energy_hidden: PositiveInt  # 200 [LDEBM]
    energy_blocks: PositiveInt  # 12 [LDEBM]
    levels: Annotated[int, Field(ge=2, le=501)]  # T: 6 [LDEBM]; above 501 two of them coincide
    langevin_steps: PositiveInt  # of a level; 50 [LDEBM]
    sampling_steps: PositiveInt | None = None  # of a level in sampling; None: langevin_steps
    langevin_step_size: PositiveFloat  # 2e-3 in b_t² [LDEBM]
    entropy_floor: NonNegative  # nats a dimension; 1 [LDEBM]
    prior_weight: PositiveFloat  # γ: 0.1 [LDEBM]
    information_weight: NonNegative  # λ: 0.05 [LDEBM]
    label_weight: NonNegative  # λ_c: 0.05, and 0 without clustering [LDEBM]
    cluster_dims: PositiveInt  # 3 [LDEBM]
    cluster_iterations: PositiveInt  # 20 [LDEBM]

    def build(self, size: "SentenceSize") -> "SentenceModel":
        """A Gaussian for every sentence, and an energy network that is conditioned on the level."""
        from ldebm.models import regularisers as terms
        from ldebm.models.energy import TimeConditionedNet
        from ldebm.models.heads import GaussianHead
        from ldebm.models.initial import uniform_
        from ldebm.models.latent_diffusion import LatentDiffusionPrior
        from ldebm.models.networks import two_embeddings
        from ldebm.models.plans import geometric_clusters, shuffled
        from ldebm.models.sentence import SentenceModel

        network = TimeConditionedNet(
            self.latent_dim, self.energy_hidden, self.symbols, self.energy_blocks, self.levels
        )
        clustered = geometric_clusters(self.symbols, self.cluster_dims, self.cluster_iterations)
        floor, gamma = terms.entropy_floor(self.entropy_floor), self.prior_weight
        model = SentenceModel(
            *two_embeddings(size, self.latent_dim),
            posterior=GaussianHead(2 * size.hidden, self.latent_dim, activate=True),
            prior=LatentDiffusionPrior(
                network,
                self.levels,
                self.langevin_steps,
                self.langevin_step_size,
                self.sampling_steps,
            ),
            regularisers=[
                terms.Regulariser("negative_entropy", floor, factor=gamma),
                terms.Regulariser("prior_cross_entropy", terms.prior_cross_entropy, factor=gamma),
                terms.Regulariser("contrast", terms.contrast, factor=gamma),
                terms.Regulariser(
                    "symbol_information", terms.symbol_information, factor=-self.information_weight
                ),
                terms.Regulariser("pseudo_label", terms.pseudo_label, factor=self.label_weight),
            ],
            plan_epoch=clustered if self.label_weight else shuffled,
        )
        uniform_(model)
        network.settle()
        return model
