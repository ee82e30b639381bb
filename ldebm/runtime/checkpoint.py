"""Checkpoints: one safetensors file, tensors beside JSON in its header, replaced as a whole.

Nothing is unpickled.

A checksum over all of it is in the header too, so that damage is noticed when the file is read.
"""

import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ldebm.errors import UserError
from ldebm.runtime import disk
from ldebm.streams import derived_seed

Content = tuple[dict[str, Tensor], dict[str, Any]]


class DamagedError(UserError):
    """A file that does not hold what was saved; `problem` says it in a few words."""

    def __init__(self, path: Path, problem: str = "damaged, it is not what was written") -> None:
        super().__init__(f"{path}: {problem}; delete it and run again")
        self.problem = problem


def save(
    path: Path, tensors: dict[str, Tensor], state: dict[str, Any], keep_previous: bool = False
) -> None:
    """Write tensors and plain data to `path`, whole.

    A stop, a power failure or a full disk leaves the old or the new.

    Args:
        keep_previous: whether what `path` held stays beside it, for `newest` to fall back on.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # one entry: safetensors writes several in an order that differs from process to process
    header = {"state": json.dumps({**state, "checksum": _checksum(tensors, state)})}
    try:
        _write(temporary, tensors, header)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if keep_previous and path.exists():
        path.replace(_previous(path))
    temporary.replace(path)


def _write(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    try:
        save_file(tensors, path, header)
    except SafetensorError as error:
        size = sum(tensor.nbytes for tensor in tensors.values()) + len(header["state"])
        raise disk.system_error(error, path, size) or error from None
    with path.open("rb") as file:
        os.fsync(file.fileno())


def load(path: Path) -> Content:
    """What `save` wrote.

    Raises:
        DamagedError: the file holds something else.
        UserError: it cannot be read at all.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            state = json.loads((file.metadata() or {})["state"])
        checksum = state.pop("checksum", None)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (SafetensorError, ValueError, KeyError, AttributeError):
        raise DamagedError(path) from None
    if checksum is None:
        raise DamagedError(path, "of an earlier version, which kept no checksum, or damaged")
    if checksum != _checksum(tensors, state):
        raise DamagedError(path)
    return tensors, state


def newest(path: Path) -> Content | None:
    """The last checkpoint saved at `path` that is whole, or None.

    A damaged one is named and set aside.
    """
    for candidate in (path, _previous(path)):
        try:
            if candidate.exists():
                return load(candidate)
        except DamagedError as error:
            aside = candidate.with_name(f"{candidate.name}.damaged")
            candidate.replace(aside)
            print(
                f"{candidate}: {error.problem}; set aside as {aside.name}, "
                "going on from the one before it, or else from the start",
                file=sys.stderr,
                flush=True,
            )
    return None


def _previous(path: Path) -> Path:
    return path.with_name(f"previous.{path.name}")


def _checksum(tensors: dict[str, Tensor], state: dict[str, Any]) -> int:
    """CRC-32 of names, types, shapes, contents and state.

    Finds damage, and takes 16 ms for 60 MB.
    """
    value = zlib.crc32(json.dumps(state).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        value = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), value)
        value = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, value)
    return value


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters (a shared one once) and buffers by name."""
    persistent = model.state_dict(keep_vars=True)
    return {
        **dict(model.named_parameters()),
        **{name: buffer for name, buffer in model.named_buffers() if name in persistent},
    }


@torch.no_grad()
def restore_model(model: nn.Module, tensors: dict[str, Tensor], origin: Path) -> None:
    """Copy tensors into a model of the same shape.

    Raises UserError naming the file `origin` if it was made for another.
    """
    own = model_tensors(model)
    if own.keys() != tensors.keys() or any(own[name].shape != tensors[name].shape for name in own):
        raise UserError(
            f"{origin}: holds weights of another model than the parameters describe; train it again"
        )
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's per-parameter state, as flat names `<parameter>.<entry>`."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{key}": torch.as_tensor(value)
        for index, entries in state.items()
        for key, value in entries.items()
        if value is not None
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` gave; learning rates are left as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict(
        {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}
    )


def restore_generator(generator: torch.Generator, state: Tensor, step: int, origin: Path) -> None:
    """Put a generator back to `state`.

    If that is of another kind of device, seed it anew and say so.

    Args:
        generator: one that was seeded; what it has drawn since is forgotten.
        step: how far the work is; the new seed is made of it and of the generator's own.
        origin: the file that `state` is from.
    """
    if len(state) == len(generator.get_state()):
        generator.set_state(state)
        return
    generator.manual_seed(derived_seed(generator.initial_seed(), step))
    print(
        f"{origin}: made on another kind of device than {generator.device.type}; weights and steps "
        "go on, random draws start anew, so results differ from those of one device",
        file=sys.stderr,
        flush=True,
    )


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names under a prefix."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def under_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one prefix, by their own names."""
    return {
        name.removeprefix(f"{prefix}/"): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}/")
    }
