from pathlib import Path

import pytest
import torch

from ldebm.runtime import device as devices

CPU = torch.device("cpu")


@pytest.fixture
def capabilities(monkeypatch):
    """What the processor is made to say of itself."""
    said = {"avx512_f": True, "amx_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: said)
    return said


def test_bfloat16_that_would_be_emulated_becomes_float32(capabilities, capsys):
    assert devices.precision("bfloat16", CPU) == "float32"
    assert capsys.readouterr().err == (
        "run.precision: this device only emulates bfloat16, which is slower; float32 is used\n"
    )


@pytest.mark.parametrize("instructions", ["amx_bf16", "avx512_bf16", "bf16"])
def test_bfloat16_is_used_where_the_processor_has_it(capabilities, instructions, capsys):
    capabilities[instructions] = True
    assert devices.precision("bfloat16", CPU) == "bfloat16"
    assert devices.precision("float32", CPU) == "float32"
    assert not capsys.readouterr().err


def test_what_is_known_of_the_processor_is_what_the_kernel_says():
    info = Path("/proc/cpuinfo")
    flags = info.read_text().split() if info.exists() else []
    if "avx" not in flags:
        pytest.skip("the kernel does not list the flags of this processor")
    assert devices.has_bfloat16(CPU) == bool({"amx_bf16", "avx512_bf16"} & set(flags))
