"""DAE, DVAE and DI-VAE: a code of M variables of K values."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import PositiveInt

from ldebm.config import RowConfig
from ldebm.rows.weights import LogisticWeight

if TYPE_CHECKING:
    from ldebm.models.networks import SentenceSize
    from ldebm.models.priors import Prior, UniformCode
    from ldebm.models.regularisers import Regulariser
    from ldebm.models.sentence import SentenceModel


class CodeRow(RowConfig):
    """What the three share."""

    source = "Zhao et al. 2018"
    tied = True

    variables: PositiveInt  # 20 [DEM-VAE]
    values: PositiveInt  # 5 [DEM-VAE]

    def compose(
        self, size: "SentenceSize", prior: "Prior", regularisers: "Sequence[Regulariser]" = ()
    ) -> "SentenceModel":
        """A categorical code for every sentence."""
        from ldebm.models.heads import CategoricalHead
        from ldebm.models.networks import one_embedding
        from ldebm.models.sentence import SentenceModel

        return SentenceModel(
            *one_embedding(size, self.variables * self.values, tied=self.tied),
            posterior=CategoricalHead(2 * size.hidden, self.variables, self.values),
            prior=prior,
            regularisers=regularisers,
        )

    def uniform(self) -> "UniformCode":
        """The prior of the codes."""
        from ldebm.models.priors import UniformCode

        return UniformCode(self.variables, self.values)


class DaeRow(CodeRow):
    """R with a discrete code; sampled as if the code were uniform."""

    names = ("DAE",)

    def build(self, size: "SentenceSize") -> "SentenceModel":
        """No prior in the objective."""
        from ldebm.models.priors import SamplingOnly

        return self.compose(size, SamplingOnly(self.uniform()))


class DvaeRow(CodeRow, LogisticWeight):
    """R + w Σ_m KL(q(c_m|x) ‖ uniform)."""

    names = ("DVAE",)

    def build(self, size: "SentenceSize") -> "SentenceModel":
        """The KL of each sentence."""
        from ldebm.models import regularisers as terms

        kl = terms.Regulariser("kl", terms.divergence, self.weight())
        return self.compose(size, self.uniform(), [kl])


class DiVaeRow(CodeRow):
    """R + Σ_m KL(q̄_m ‖ uniform), of weight 1 from the start."""

    names = ("DI-VAE",)

    def build(self, size: "SentenceSize") -> "SentenceModel":
        """The KL of the batch's mean code."""
        from ldebm.models import regularisers as terms

        aggregate = terms.Regulariser("aggregate_kl", terms.aggregate_kl)
        return self.compose(size, self.uniform(), [aggregate])
