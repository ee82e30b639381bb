"""Keys that several families share."""

from typing import TYPE_CHECKING

from pydantic import PositiveFloat

from ldebm.config import Block

if TYPE_CHECKING:
    from ldebm.models.schedules import Schedule


class LogisticWeight(Block):
    """The weight w of the KL terms, logistic in the training step."""

    kl_slope: PositiveFloat  # 0.0025 [DEM-VAE]
    kl_midpoint: float  # steps; 2500 [DEM-VAE]

    def weight(self) -> "Schedule":
        """w(step)."""
        from ldebm.models.schedules import logistic

        return logistic(self.kl_slope, self.kl_midpoint)
