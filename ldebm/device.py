"""The device work is done on."""

import os

import torch

from ldebm.errors import UserError


def choose(name: str) -> torch.device:
    """`auto` takes CUDA where there is a GPU, else the CPU. Raises UserError if `cuda` is asked for in vain."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("run.device: cuda is asked for, but this machine has no CUDA device; use auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def prepare(device: torch.device) -> None:
    """Settings of the process that change speed, not results: no denormal numbers (they make float32 logits many times slower), threads as told."""
    torch.set_flush_denormal(True)
    if device.type == "cpu" and (threads := os.environ.get("OMP_NUM_THREADS")):
        torch.set_num_threads(int(threads))


def describe(device: torch.device) -> str:
    """The device as it stands in the table."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
