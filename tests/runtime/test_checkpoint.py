import pytest
import torch

from ldebm.errors import UserError
from ldebm.runtime import checkpoint


def test_round_trip(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(
        path,
        {"a": torch.arange(3), "b/c": torch.randn(2, 2)},
        {"step": 3, "rng": {"state": 2**100}, "best": float("inf")},
    )
    tensors, state = checkpoint.load(path)
    assert torch.equal(tensors["a"], torch.arange(3))
    assert state == {"step": 3, "rng": {"state": 2**100}, "best": float("inf")}
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_damage_is_named(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"nothing of use")
    with pytest.raises(UserError, match=r"checkpoint.safetensors.*delete it"):
        checkpoint.load(path)


def test_weights_of_another_shape_are_refused(tmp_path):
    tensors = checkpoint.model_tensors(torch.nn.Linear(3, 2))
    with pytest.raises(UserError, match=r"model.safetensors.*another model"):
        checkpoint.restore_model(torch.nn.Linear(4, 2), tensors, tmp_path / "model.safetensors")


def test_optimiser_goes_on_as_if_never_stored():
    def run(interrupted):
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
