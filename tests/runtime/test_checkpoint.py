import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from ldebm.errors import UserError
from ldebm.runtime import checkpoint
from ldebm.runtime.checkpoint import DamagedError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


def flip(path: Path, bit: int) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def saved_step(path: Path) -> int | None:
    found = checkpoint.newest(path)
    return None if found is None else int(found[1]["step"])


def test_round_trip(path: Path) -> None:
    tensors = {
        "a": torch.arange(3),
        "b/c": torch.randn(2, 2),
        "scalar": torch.tensor(2.0),
        "none": torch.zeros(0, 3),
        "half": torch.randn(3).bfloat16(),
    }
    state = {"step": 3, "rng": {"state": 2**100}, "best": float("inf")}
    checkpoint.save(path, tensors, state)
    found, plain = checkpoint.load(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert plain == state
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.safetensors"]


def test_a_flipped_bit_in_any_byte_is_noticed(path: Path) -> None:
    checkpoint.save(path, {"a": torch.randn(4), "b": torch.arange(2)}, {"step": 1})
    for byte in range(path.stat().st_size):
        bit = 8 * byte + byte % 8
        flip(path, bit)
        with pytest.raises(DamagedError, match=r"checkpoint.safetensors: .*damaged.*delete it"):
            checkpoint.load(path)
        flip(path, bit)
    assert checkpoint.load(path)[1] == {"step": 1}


@pytest.mark.parametrize("content", [b"", b"nothing of use", b"\x00" * 100])
def test_other_content_is_damage(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        checkpoint.load(path)


def test_what_cannot_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read") as raised:
        checkpoint.load(tmp_path)
    assert not isinstance(raised.value, DamagedError)


def test_a_damaged_checkpoint_is_set_aside_for_the_one_before_it(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert saved_step(path) is None
    for step in (1, 2, 3):
        checkpoint.save(path, {"a": torch.randn(50)}, {"step": step}, keep_previous=True)
    assert saved_step(path) == 3
    assert not capsys.readouterr().err
    flip(path, 8 * (path.stat().st_size - 10))
    assert saved_step(path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path}: damaged, it is not what was written; set aside as checkpoint.")
    checkpoint.save(path, {"a": torch.randn(50)}, {"step": 4}, keep_previous=True)
    for name in ("checkpoint.safetensors", "previous.checkpoint.safetensors"):
        flip(path.with_name(name), 8 * (path.stat().st_size - 10))
    assert saved_step(path) is None
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_one_of_an_earlier_version_is_called_old(path: Path) -> None:
    header = {"state": json.dumps({"step": 1})}
    save_file({"a": torch.zeros(3)}, path, header)
    with pytest.raises(
        DamagedError, match="of an earlier version, which kept no checksum, or damaged; delete"
    ):
        checkpoint.load(path)
    assert saved_step(path) is None


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("I/O error: No space left on device (os error 28)", errno.ENOSPC),
        ('I/O error: Read-only file system (os error 30) at path "x"', errno.EROFS),
        ("no number", None),
    ],
)
def test_what_cannot_be_written_is_an_error_of_the_system_and_leaves_the_last(
    path: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: int | None
) -> None:
    """As safetensors puts it; a full disk itself is in tests/faults."""
    checkpoint.save(path, {"a": torch.zeros(50)}, {"step": 1})

    def fail(tensors: Any, file: Path, header: Any) -> None:
        file.write_bytes(b"half")
        raise SafetensorError(f"Error while serializing: {said}")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError if expected else SafetensorError) as caught:
        checkpoint.save(path, {"a": torch.zeros(50)}, {"step": 2}, keep_previous=True)
    assert getattr(caught.value, "errno", None) == expected
    if expected == errno.ENOSPC:
        assert caught.value.needed > 200  # 50 numbers of 4 bytes, and the header
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert saved_step(path) == 1


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    tensors = checkpoint.model_tensors(torch.nn.Linear(3, 2))
    with pytest.raises(UserError, match=r"model.safetensors.*another model"):
        checkpoint.restore_model(torch.nn.Linear(4, 2), tensors, tmp_path / "model.safetensors")


def test_optimiser_goes_on_as_if_never_stored() -> None:
    def run(interrupted: bool) -> torch.Tensor:
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 1)
        optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
        for step in range(6):
            optimiser.zero_grad()
            layer(torch.full((1, 3), float(step))).sum().backward()
            optimiser.step()
            if interrupted and step == 2:
                stored = {
                    name: tensor.clone()
                    for name, tensor in checkpoint.optimiser_tensors(optimiser).items()
                }
                optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
                checkpoint.restore_optimiser(optimiser, stored)
        return layer.weight

    assert torch.equal(run(True), run(False))
