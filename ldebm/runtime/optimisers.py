"""PyTorch's optimisers, without their compiler."""

from inspect import unwrap
from typing import TypeVar

import torch

T = TypeVar("T", bound=torch.optim.Optimizer)


def uncompiled(kind: type[T]) -> type[T]:
    """`kind`, whose methods do not load torch.compile's machinery at their first call.

    PyTorch wraps five of them to keep its compiler out, and imports it for that: more than a second
    of every process that trains, where nothing is compiled. Below the wrappers are the methods
    themselves; of those of `step` one says that its own arithmetic needs no gradient.
    """
    wrapped = ("add_param_group", "zero_grad", "step", "state_dict", "load_state_dict")
    plain = {name: unwrap(getattr(kind, name)) for name in wrapped}
    return type(kind.__name__, (kind,), plain | {"step": torch.no_grad()(plain["step"])})


Adam = uncompiled(torch.optim.Adam)
SGD = uncompiled(torch.optim.SGD)
