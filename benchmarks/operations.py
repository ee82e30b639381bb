"""Multiply-adds of the models' parts by formula.

What recurrent layers, logits and energy networks must do, at real tokens only.
"""

import numpy as np
import torch
from torch import nn

from ldebm.models.sentence import SentenceModel


def matrix_size(*modules: nn.Module) -> int:
    """Entries of the weight matrices of recurrent layers: their multiply-adds a token."""
    return sum(
        w.numel() for module in modules for w in module.parameters(recurse=False) if w.dim() == 2
    )


def encoder_macs(model: SentenceModel) -> int:
    """Multiply-adds a token read, forward."""
    return matrix_size(
        *(module for module in model.encoder.modules() if isinstance(module, nn.GRU))
    )


def logits_macs(model: SentenceModel) -> int:
    """Multiply-adds of one token's logits, forward."""
    return output_layer(model)[0].numel()


def decoder_macs(model: SentenceModel) -> int:
    """Multiply-adds a token written, forward, logits included."""
    return matrix_size(model.decoder.gru) + logits_macs(model)


def energy_macs(model: SentenceModel) -> int:
    """Multiply-adds of f(z, t), forward, without the level embedding (a few rows a batch).

    0 for a prior without a network.
    """
    network = getattr(model.prior, "network", None)
    layers = [] if network is None else list(network.named_modules())
    linear = [
        layer
        for name, layer in layers
        if isinstance(layer, nn.Linear) and not name.startswith("time_in")
    ]
    return sum(layer.in_features * layer.out_features for layer in linear)


def chain_macs(model: SentenceModel) -> int:
    """Multiply-adds of one Langevin chain of one latent vector.

    Each step is f and its gradient by z.
    """
    return 2 * model.prior.steps * energy_macs(model) if energy_macs(model) else 0


def terms_macs(model: SentenceModel) -> int:
    """Multiply-adds of what a step of LDEBM does with f for one latent vector beside its two
    chains, backward included.

    Contrast: 4 evaluations, trained; prior cross-entropy: 2, differentiated by z alone; symbols: 1,
    trained.
    """
    return (4 * 3 + 2 * 2 + 3) * energy_macs(model)


def training_macs(model: SentenceModel, lengths: np.ndarray, samples: int) -> int:
    """Multiply-adds of a training step on sentences of `lengths` tokens.

    Three times the forward ones, at real tokens only.
    """
    read, written, latents = (
        int((lengths + 1).sum()),
        samples * int(lengths.sum()),
        samples * len(lengths),
    )
    sentence = 3 * (read * encoder_macs(model) + written * decoder_macs(model))
    return sentence + latents * (2 * chain_macs(model) + terms_macs(model))


def output_layer(model: SentenceModel) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias of the logits."""
    output = model.decoder.output
    return (
        (model.decoder.embedding.weight, None) if output is None else (output.weight, output.bias)
    )
