"""One place decides the arithmetic, and it agrees with the kernel and with oneDNN."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ldebm.errors import UserError
from ldebm.runtime import device as devices

ROOT = Path(__file__).parents[2]


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What the processor is made to say of itself."""
    for name in devices.ISA_LIMITS:
        monkeypatch.delenv(name, raising=False)
    said = {"avx2", "avx512f"}
    monkeypatch.setattr(devices, "processor_flags", lambda: said)
    return said


def test_bfloat16_that_would_be_emulated_becomes_float32(
    flags: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert devices.precision("bfloat16", "cpu") == "float32"
    assert capsys.readouterr().err == (
        "precision: this device only emulates bfloat16, which is slower; float32 is used\n"
    )


@pytest.mark.parametrize("instructions", ["amx_bf16", "avx512_bf16", "bf16"])
def test_bfloat16_is_used_where_the_processor_has_it(
    flags: set[str], instructions: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags.add(instructions)
    assert devices.precision("bfloat16", "cpu") == "bfloat16"
    assert devices.precision("float32", "cpu") == "float32"
    assert not capsys.readouterr().err


@pytest.mark.parametrize("on_cuda", [True, False])
def test_on_cuda_autocast_is_kept_from_recurrent_layers(on_cuda: bool) -> None:
    """`cuda` stands for a tensor of that device, since there may be none."""
    inputs: Any = SimpleNamespace(is_cuda=on_cuda, float=lambda: "float32")
    before = torch.is_autocast_enabled("cuda")
    torch.set_autocast_enabled("cuda", True)
    try:
        seen = devices.recurrent(lambda *given: (given, torch.is_autocast_enabled("cuda")), inputs)
    finally:
        torch.set_autocast_enabled("cuda", before)
    assert seen == ((("float32",), False) if on_cuda else ((inputs,), True))


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(
    ("limit", "has"),
    [("AVX2", False), ("avx512_core", False), ("AVX512_CORE_BF16", True), ("DEFAULT", True)],
)
def test_instructions_that_may_not_be_used_do_not_count(
    flags: set[str], variable: str, limit: str, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags.add("avx512_bf16")
    monkeypatch.setenv(variable, limit)
    assert devices.has_bfloat16("cpu") is has


def test_without_the_kernel_torch_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = devices.processor_flags() & {"amx_bf16", "avx512_bf16", "avx2"}
    monkeypatch.setattr(devices, "CPU_INFO", tmp_path / "absent")
    assert devices.processor_flags() & {"amx_bf16", "avx512_bf16", "avx2"} == expected


@pytest.mark.parametrize("limit", ["", "AVX2", "AVX512_CORE"])
def test_what_is_used_is_what_onednn_can_compute(limit: str) -> None:
    """In a process of its own: oneDNN reads its limit once.

    It accepts emulated products too, so that it may say yes where we say no, but never the reverse.
    """
    program = (
        "import sys; from ldebm.runtime.device import has_bfloat16, kind; "
        "print(has_bfloat16('cpu'));"
        "kind('cpu'); print('torch' in sys.modules);"
        "import torch; print(torch.ops.mkldnn._is_mkldnn_bf16_supported());"
        "lstm = torch.nn.LSTM(16, 16).bfloat16(); x = torch.ones(2, 3, 16, dtype=torch.bfloat16);"
        "has_bfloat16('cpu') and lstm(x)[0].sum().backward()"
    )
    environment = {name: value for name, value in os.environ.items() if "MAX_CPU_ISA" not in name}
    if limit:
        environment |= {"ONEDNN_MAX_CPU_ISA": limit}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    has, imported, accepted = (word == "True" for word in done.stdout.split())
    assert not imported
    assert accepted or not has
    if limit:
        assert not has


def test_what_is_known_of_the_processor_is_what_torch_says() -> None:
    capabilities = torch.cpu.get_capabilities()
    for name in ("amx_bf16", "avx512_bf16"):
        assert (name in devices.processor_flags()) == bool(capabilities.get(name))


def test_cuda_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_has_cuda", lambda: False)
    assert devices.choose("auto") == devices.choose("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="no CUDA device"):
        devices.choose("cuda")
    monkeypatch.setattr(devices, "_has_cuda", lambda: True)
    assert (devices.kind("auto"), devices.kind("cpu")) == ("cuda", "cpu")


def test_float32_is_float32_after_preparing() -> None:
    """PyTorch's own setting for cuDNN's recurrent layers is TF32."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    devices.prepare(torch.device("cpu"))
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.tensor([1e-20]) * 1e-20 == 0


def test_a_processor_is_named_with_its_widest_instructions(
    flags: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nmodel name\t: Some CPU 9000\n" * 2)
    monkeypatch.setattr(devices, "CPU_INFO", told)
    assert devices.processor() == "Some CPU 9000 (AVX-512)"
    flags.add("amx_bf16")
    assert devices.processor() == "Some CPU 9000 (AMX)"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert devices.describe(torch.device("cpu")) == "Some CPU 9000 (AMX), 1 thread"


@pytest.mark.parametrize("given", ["0", "-1", "two", ",2", " "])
def test_what_is_no_number_of_threads_is_refused(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    with pytest.raises(UserError, match=f"OMP_NUM_THREADS: {given!r} is no number of threads"):
        devices.prepare(torch.device("cpu"))


def test_of_nested_threads_the_outer_ones_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "2,1")
    try:
        devices.prepare(torch.device("cpu"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
