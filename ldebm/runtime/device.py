"""The device work is done on, and the arithmetic it has."""

import os
import sys

import torch

from ldebm.errors import UserError


def choose(name: str) -> torch.device:
    """`auto` takes CUDA where there is a GPU, else the CPU. Raises UserError if `cuda` is asked for in vain."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "run.device: cuda is asked for, but this machine has no CUDA device; use auto or cpu"
        )
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def prepare(device: torch.device) -> None:
    """Settings of the process that change speed, not results: no denormal numbers (they make float32 logits many times slower), threads as told."""
    torch.set_flush_denormal(True)
    if device.type == "cpu" and (threads := os.environ.get("OMP_NUM_THREADS")):
        torch.set_num_threads(int(threads))


def precision(asked: str, device: torch.device) -> str:
    """`bfloat16` if it is asked for and the device computes in it, else `float32`; emulated, it is several times slower than float32."""
    if asked == "bfloat16" and not has_bfloat16(device):
        print(
            "run.precision: this device only emulates bfloat16, which is slower; float32 is used",
            file=sys.stderr,
        )
        return "float32"
    return asked


def has_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 matrices have instructions of their own (AMX or AVX-512 BF16, ARM's BF16, or a GPU's)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def describe(device: torch.device) -> str:
    """The device as it stands in the table."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
