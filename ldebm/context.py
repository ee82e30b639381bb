"""The context in which every verb works on one model."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from ldebm.config import Params
from ldebm.data.corpus import Corpus
from ldebm.runtime import device as devices
from ldebm.runtime.tracking import Tracker


@dataclass(frozen=True)
class Context:
    """What a verb needs beside its input files, opened once.

    `key` is the model's key in the parameters, `seed` the training's; long work keeps checkpoints
    in `checkpoints` and goes on from them; results are written into `out`.
    """

    params: Params
    key: str
    seed: int
    corpus: Corpus
    device: torch.device
    tracker: Tracker
    checkpoints: Path
    out: Path

    @classmethod
    def open(
        cls,
        params: Params,
        key: str,
        seed: int,
        tokens: Path,
        tracker: Tracker,
        checkpoints: Path,
        out: Path,
    ) -> "Context":
        """Choose and prepare the device, and open the corpus in `tokens`."""
        device = devices.choose(params.run.device)
        devices.prepare(device)
        return cls(params, key, seed, Corpus.open(tokens), device, tracker, checkpoints, out)

    @property
    def max_tokens(self) -> int:
        """The longest sentence a model sees, <s> and </s> included."""
        return self.params.sentence_model.max_tokens

    @cached_property
    def precision(self) -> str:
        """The arithmetic of encoder and decoder that the device really has."""
        return devices.precision(self.params.run.precision, self.device.type)
