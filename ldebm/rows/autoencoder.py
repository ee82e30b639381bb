"""AE and VAE: a continuous latent vector, an output layer of its own."""

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from ldebm.config import RowConfig, Several
from ldebm.rows.weights import LogisticWeight

if TYPE_CHECKING:
    from ldebm.models.networks import SentenceSize
    from ldebm.models.sentence import SentenceModel


class AeRow(RowConfig):
    """R; sampled as if the code were N(0, I)."""

    names = ("AE",)
    source = "Shi et al. 2020"

    latent_dim: Several  # 40 [DEM-VAE]

    def build(self, size: "SentenceSize") -> "SentenceModel":
        """A point for every sentence, and no prior in the objective."""
        from ldebm.models.heads import PointHead
        from ldebm.models.networks import one_embedding
        from ldebm.models.priors import SamplingOnly, StandardNormal
        from ldebm.models.sentence import SentenceModel

        return SentenceModel(
            *one_embedding(size, self.latent_dim, tied=False),
            posterior=PointHead(2 * size.hidden, self.latent_dim),
            prior=SamplingOnly(StandardNormal(self.latent_dim)),
        )


class VaeRow(RowConfig, LogisticWeight):
    """R + w KL(q(z|x) ‖ N(0, I))."""

    names = ("VAE",)
    source = "Bowman et al. 2016"

    latent_dim: Several  # 40 [DEM-VAE]
    posterior_samples: PositiveInt  # 20 [DEM-VAE]

    def build(self, size: "SentenceSize") -> "SentenceModel":
        """A Gaussian for every sentence."""
        from ldebm.models import regularisers as terms
        from ldebm.models.heads import GaussianHead
        from ldebm.models.networks import one_embedding
        from ldebm.models.priors import StandardNormal
        from ldebm.models.sentence import SentenceModel

        return SentenceModel(
            *one_embedding(size, self.latent_dim, tied=False),
            posterior=GaussianHead(2 * size.hidden, self.latent_dim),
            prior=StandardNormal(self.latent_dim),
            regularisers=[terms.Regulariser("kl", terms.divergence, self.weight())],
            posterior_samples=self.posterior_samples,
        )
