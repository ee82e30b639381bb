"""Cross-entropy of a linear layer over a large vocabulary, in few passes over the logits and in
bounded memory.

PyTorch 2.13 has a `linear_cross_entropy` of its own; docs/performance.md says why it is not used.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

# Rows whose probabilities are kept for the backward pass; more are done in pieces, and anew.
KEPT = 4096
AT_ONCE = 512  # rows at a time where nothing is kept: their logits stay in the cache
# In bfloat16 the number of rows is rounded up to a multiple: for every new shape oneDNN prepares a
# product anew, and of what it then takes it gives 0.3 MB never back.
MULTIPLE = 64
RARE = 80.0  # nats; probabilities soon below are denormal numbers, of few digits, or flushed to 0


def rounded(rows: int, *, bfloat16: bool) -> int:
    """How many rows a product is to have for the sake of `rows`."""
    return -(-rows // MULTIPLE) * MULTIPLE if bfloat16 else rows


def linear_cross_entropy(
    states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
) -> Tensor:
    """-log softmax(states weight^T + bias)[targets], exact however unlikely the target is.

    Memory does not grow with N V.

    Args:
        states: (N, H).
        weight: (V, H).
        bias: (V,) or None.
        targets: (N,) column numbers.

    Returns:
        (N,) nats, float32; the logits are computed in autocast's type where it is enabled.
    """
    kind = states.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
    with torch.autocast(kind, enabled=False):
        states, weight, bias = (
            states.to(dtype),
            weight.to(dtype),
            None if bias is None else bias.to(dtype),
        )
        rows = len(states)
        if more := rounded(rows, bfloat16=dtype is torch.bfloat16) - rows:
            states = functional.pad(states, (0, 0, 0, more))
            targets = functional.pad(targets, (0, more))
        return _costs(states, weight, bias, targets)[:rows]


def _costs(states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        pieces = zip(states.split(AT_ONCE), targets.split(AT_ONCE), strict=True)
        return torch.cat([_forward(piece, weight, bias, target)[0] for piece, target in pieces])
    if len(states) <= KEPT:
        return _apply(states, weight, bias, targets)
    pieces = zip(states.split(KEPT), targets.split(KEPT), strict=True)
    return torch.cat(
        [
            checkpoint(_apply, piece, weight, bias, target, use_reentrant=False)
            for piece, target in pieces
        ]
    )


def _apply(states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    nll: Tensor = _LinearCrossEntropy.apply(states, weight, bias, targets)
    return nll


def _forward(
    states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """The cost of each target (N,) and all probabilities (N, V)."""
    logits = functional.linear(states, weight, bias)
    probs = logits.softmax(1)
    nll = -probs.gather(1, targets[:, None])[:, 0].float().log()
    # on CUDA the question itself would make the host wait
    if nll.is_cuda or (nll > RARE).any():
        chosen = logits.gather(1, targets[:, None])[:, 0].float()
        exact = logits.amax(1).float() - probs.amax(1).float().log() - chosen
        nll = torch.where(nll > RARE, exact, nll)
    return nll, probs


class _LinearCrossEntropy(torch.autograd.Function):
    """One fused softmax serves both passes.

    PyTorch's own composition upcasts and rewrites the logits several times.
    """

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
    ) -> Tensor:
        nll, probs = _forward(states, weight, bias, targets)
        ctx.save_for_backward(states, weight, targets, probs)  # `checkpoint` forgets what is here
        ctx.has_bias = bias is not None
        return nll

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states, weight, targets, residual = ctx.saved_tensors  # becomes softmax - one-hot in place
        residual[torch.arange(len(residual), device=residual.device), targets] -= 1
        scale = grad[:, None].to(residual.dtype)
        to_bias = (grad.to(residual.dtype) @ residual) if ctx.has_bias else None
        return (residual @ weight) * scale, residual.t() @ (states * scale), to_bias, None
