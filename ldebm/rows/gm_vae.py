"""GM-VAE, DGM-VAE and their "+ I": a learned mixture of Gaussians."""

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from ldebm.config import NonNegative, RowConfig
from ldebm.rows.weights import LogisticWeight

if TYPE_CHECKING:
    from ldebm.models.networks import SentenceSize
    from ldebm.models.sentence import SentenceModel


class GmVaeRow(RowConfig, LogisticWeight):
    """R + w [Σ_m KL(q̄_m ‖ uniform) + λ I + Z + β D]; λ = 0 frees the information.

    Z and D are those of `ldebm.models.mixture.GaussianMixturePrior`; β < 1 lets components
    disperse.
    """

    names = ("GM-VAE", "GM-VAE + I", "DGM-VAE", "DGM-VAE + I")
    source = "Shi et al. 2020"
    tied = True

    groups: PositiveInt  # 20 [DEM-VAE]
    components: PositiveInt  # of a group; 5 [DEM-VAE]
    group_dim: PositiveInt  # 2 [DEM-VAE]
    beta: NonNegative  # β: 1, and 0.2 of DGM-VAE [DEM-VAE]
    information_weight: NonNegative  # λ: 1, and 0 of "+ I" [DEM-VAE]
    posterior_samples: PositiveInt  # 20 [DEM-VAE]

    def build(self, size: "SentenceSize") -> "SentenceModel":
        """A Gaussian and the component of each group for every sentence."""
        from ldebm.models import regularisers as terms
        from ldebm.models.heads import MixtureHead
        from ldebm.models.mixture import GaussianMixturePrior
        from ldebm.models.networks import two_embeddings
        from ldebm.models.sentence import SentenceModel

        weight, shape = self.weight(), (self.groups, self.components, self.group_dim)
        networks = two_embeddings(size, self.groups * self.group_dim)
        posterior, prior = MixtureHead(2 * size.hidden, *shape), GaussianMixturePrior(*shape)
        return SentenceModel(
            *networks,
            posterior=posterior,
            prior=prior,
            regularisers=[
                terms.Regulariser("aggregate_kl", terms.aggregate_kl, weight),
                terms.Regulariser(
                    "information", terms.information, weight, self.information_weight
                ),
                terms.Regulariser("averaged_kl", terms.averaged_kl(prior), weight),
                terms.Regulariser("dispersion", terms.dispersion(prior), weight, self.beta),
            ],
            posterior_samples=self.posterior_samples,
        )
