"""What a process of ours imports, and how."""

import gc
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ldebm.runtime import imports

TRAINS = """
import sys
import torch
from ldebm.metrics.judge_training import SGD
from ldebm.training.trainer import Adam
for kind in (Adam, SGD):
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = kind([{"params": [weight]}], lr=0.1, fused=True)
    optimiser.load_state_dict(optimiser.state_dict())
    optimiser.zero_grad()
    weight.sum().backward()
    optimiser.step()
print("torch._dynamo" in sys.modules)
"""


def test_training_does_without_the_compiler() -> None:
    found = subprocess.run([sys.executable, "-c", TRAINS], capture_output=True, text=True)
    assert found.stdout == "False\n", found.stderr


def test_the_report_does_without_pytorch() -> None:
    """It only reads, and half of a short process's time is PyTorch's import."""
    code = "import sys, ldebm.report.write; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "False\n", found.stderr


def test_what_is_imported_is_left_out_of_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(gc.isenabled()))
    with imports.uncollected():
        assert not gc.isenabled()
        sys.modules["imported here"] = SimpleNamespace()  # type: ignore[assignment]
    assert gc.isenabled()
    assert frozen == [True]
    del sys.modules["imported here"]


def test_without_an_import_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "freeze", lambda: pytest.fail("garbage would stay"))
    with imports.uncollected():
        pass
    with pytest.raises(ImportError), imports.uncollected():
        raise ImportError
    assert gc.isenabled()
