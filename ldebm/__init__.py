"""Interpretable text models with learned latent priors, and the pipeline that compares them."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ldebm.trained import TrainedModel

__version__ = "0.1.0"


def load(folder: str | Path, *, device: str = "auto", row: str | None = None) -> "TrainedModel":
    """A trained model from its folder, `models/KEY/seedN`, or from MLflow, `runs:/ID`.

    `TrainedModel.from_pretrained` says more.
    """
    from ldebm.trained import TrainedModel

    return TrainedModel.from_pretrained(folder, device=device, row=row)
