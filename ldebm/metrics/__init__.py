"""Metrics on plain data, each with a signature of how it was computed.

The judge's settings are here, where reading them does not import torch.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class JudgeSettings:
    """Settings of the reverse-perplexity judge; the defaults are those of AWD-LSTM on Penn Treebank with batch 20.

    Source: Merity, Keskar and Socher 2018, "Regularizing and Optimizing LSTM Language Models", and its
    code.
    """

    embedding: int = 400
    hidden: int = 1150
    layers: int = 3
    dropouti: float = 0.4  # on the embedded words
    dropouth: float = 0.25  # between layers
    dropout: float = 0.4  # on the last layer's output
    dropoute: float = 0.1  # whole words of the embedding
    weight_drop: float = 0.5  # on the hidden-to-hidden weights
    alpha: float = 2.0  # activation regularisation
    beta: float = 1.0  # temporal activation regularisation
    weight_decay: float = 1.2e-6
    clip: float = 0.25
    batch: int = 20
    learning_rate: float = 30.0
    bptt: int = 70
    epochs: int = 20
    nonmono: int = 5
    valid_batch: int = 10
    test_batch: int = 1
    precision: Literal["float32", "bfloat16"] = (
        "float32"  # of training; scores are always computed in float32
    )
