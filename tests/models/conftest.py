"""What several tests of models share."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(params=[True, False], ids=["flushed", "denormal"])
def denormals(request: pytest.FixtureRequest) -> Iterator[None]:
    """With denormal numbers flushed to 0 and not; afterwards as before."""
    before = bool(torch.tensor([1e-20]) * 1e-20 == 0)
    torch.set_flush_denormal(request.param)
    yield
    torch.set_flush_denormal(before)
