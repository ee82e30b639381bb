"""SEMI-VAE and SEMI-VAE + I: a code beside a Gaussian vector."""

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from ldebm.config import NonNegative, RowConfig
from ldebm.rows.weights import LogisticWeight

if TYPE_CHECKING:
    from ldebm.models.networks import SentenceSize
    from ldebm.models.sentence import SentenceModel


class SemiVaeRow(RowConfig, LogisticWeight):
    """R + w [Σ_m KL(q̄_m ‖ uniform) + λ I + KL(q(z|x) ‖ N(0, I))]; λ = 0 frees the information.

    The decoder's steps see z, its initial state [c ; z].
    """

    names = ("SEMI-VAE", "SEMI-VAE + I")
    source = "Shi et al. 2020"
    tied = True

    latent_dim: PositiveInt  # 40 [DEM-VAE]
    variables: PositiveInt  # 20 [DEM-VAE]
    values: PositiveInt  # 5 [DEM-VAE]
    information_weight: NonNegative  # λ: 1, and 0 of "+ I" [DEM-VAE]
    posterior_samples: PositiveInt  # 20 [DEM-VAE]

    def build(self, size: "SentenceSize") -> "SentenceModel":
        """Both posteriors, independent given the sentence."""
        from ldebm.models import regularisers as terms
        from ldebm.models.heads import CategoricalHead, GaussianHead, JointHead
        from ldebm.models.networks import one_embedding
        from ldebm.models.priors import JointPrior, StandardNormal, UniformCode
        from ldebm.models.sentence import SentenceModel

        weight, free = self.weight(), self.information_weight
        width, code = 2 * size.hidden, self.variables * self.values
        return SentenceModel(
            *one_embedding(size, code + self.latent_dim, tied=self.tied, step_dim=self.latent_dim),
            posterior=JointHead(
                CategoricalHead(width, self.variables, self.values),
                GaussianHead(width, self.latent_dim),
            ),
            prior=JointPrior(
                UniformCode(self.variables, self.values), StandardNormal(self.latent_dim)
            ),
            regularisers=[
                terms.Regulariser("aggregate_kl", terms.aggregate_kl, weight),
                terms.Regulariser("information", terms.information, weight, free),
                terms.Regulariser("kl", terms.gaussian_kl, weight),
            ],
            posterior_samples=self.posterior_samples,
        )
