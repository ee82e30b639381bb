"""The device that work is done on, and the arithmetic it has.

Imports torch only where torch itself must be asked: steps read the precision without it.
"""

import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ldebm.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CPU_INFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}  # of Intel's, AMD's and ARM's processors
ISA_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # what oneDNN may use, either name
WITHOUT_BFLOAT16 = {
    "SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI",
}  # fmt: skip
WIDEST = {
    "amx_bf16": "AMX",
    "avx512_bf16": "AVX-512, bfloat16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
}


def kind(name: str) -> str:
    """`cpu` or `cuda`: what `run.device` means on this machine.

    `auto` takes CUDA if there is a GPU.

    Raises:
        UserError: `cuda` is asked for in vain, or there is no such device.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"device {name!r}: give auto, cpu or cuda")
    if name == "cpu" or not _has_cuda():
        if name == "cuda":
            raise UserError(
                "run.device: cuda is asked for, but this machine has no CUDA device; use auto or "
                "cpu"
            )
        return "cpu"
    return "cuda"


def choose(name: str) -> "torch.device":
    """The device of `kind`."""
    import torch

    return torch.device(kind(name))


def prepare(device: "torch.device") -> None:
    """Settings of the process: threads as told, no denormal numbers, and float32 that is float32.

    Denormal numbers make float32 logits many times slower. cuDNN's recurrent layers round to TF32
    (10 bits of 23) unless they are told not to; who wants speed on CUDA asks for bfloat16.

    Raises:
        UserError: OMP_NUM_THREADS is no number of threads.
    """
    import torch

    torch.set_flush_denormal(True)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if device.type == "cpu" and (given := os.environ.get("OMP_NUM_THREADS")):
        threads = given.partition(",")[0].strip()  # of nested loops there may be more
        if not threads.isdecimal() or int(threads) < 1:
            raise UserError(f"OMP_NUM_THREADS: {given!r} is no number of threads; give 1 or more")
        torch.set_num_threads(int(threads))


def precision(asked: str, kind: str) -> Literal["float32", "bfloat16"]:
    """`bfloat16` if it is asked for and the kind of device computes in it, else `float32`.

    Emulated, bfloat16 is several times slower than float32, and oneDNN has no recurrent layer in
    it.
    """
    if asked == "bfloat16":
        if has_bfloat16(kind):
            return "bfloat16"
        print(
            "precision: this device only emulates bfloat16, which is slower; float32 is used",
            file=sys.stderr,
        )
    return "float32"


def recurrent(layer: Callable[..., Any], *inputs: "Tensor") -> Any:
    """What a recurrent layer makes of its inputs: as autocast is set, but on CUDA in float32.

    There autocast gives cuDNN's recurrent layers float16, even where it is to give bfloat16
    (PyTorch, aten/src/ATen/cudnn/AutocastRNN.cpp): small gradients would vanish without a word.
    """
    import torch

    if not inputs[0].is_cuda:
        return layer(*inputs)
    with torch.autocast("cuda", enabled=False):
        return layer(*(one.float() for one in inputs))


def has_bfloat16(kind: str) -> bool:
    """Whether products of bfloat16 matrices have instructions of their own that may be used."""
    if kind == "cuda":
        import torch

        return torch.cuda.is_bf16_supported(including_emulation=False)
    limits = {os.environ.get(name, "").upper() for name in ISA_LIMITS}
    return not limits & WITHOUT_BFLOAT16 and bool(processor_flags() & BFLOAT16_FLAGS)


def processor_flags() -> set[str]:
    """What the processor says it can do, from the kernel where that tells, else from torch."""
    if CPU_INFO.exists():
        return set(CPU_INFO.read_text().split())
    import torch

    return {name for name, has in torch.cpu.get_capabilities().items() if has}


def describe(device: "torch.device") -> str:
    """The device as it stands in the table."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{processor()}, {threads} thread{'s' * (threads != 1)}"


def processor() -> str:
    """The processor's name, and the widest vector instructions it says it has."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = named[0] if named else platform.processor() or platform.machine()
    widest = [spoken for flag, spoken in WIDEST.items() if flag in processor_flags()]
    return f"{name} ({widest[0]})" if widest else name


def _has_cuda() -> bool:
    if version("torch").endswith("+cpu"):  # spares the seconds that importing it takes
        return False
    import torch

    return torch.cuda.is_available()
