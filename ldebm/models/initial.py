"""Initial weights."""

import torch
from torch import nn


@torch.no_grad()
def uniform_(module: nn.Module, bound: float = 0.1) -> None:
    """Draw every parameter of `module`, biases and the <pad> row included, from U(-bound, bound)
    (the published initialisation).
    """
    for parameter in module.parameters():
        parameter.uniform_(-bound, bound)
