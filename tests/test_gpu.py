"""On CUDA the same numbers come out as on the CPU, where both are given the same draws."""

import numpy as np
import pytest
import torch

from ldebm.data.batches import Batch
from ldebm.data.vocabulary import BOS, EOS, PAD
from ldebm.evaluation.likelihood import estimators
from ldebm.models.networks import SentenceSize
from ldebm.models.sentence import sentence_generator
from ldebm.rows import ROWS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SIZE = SentenceSize(vocabulary=40, embedding=16, hidden=16, dropout=0.0)
TOKENS = [[BOS, 5, 6, 7, EOS, PAD], [BOS, 8, 9, 10, 11, EOS], [BOS, 12, EOS, PAD, PAD, PAD]]


@pytest.fixture(params=list(ROWS))
def pair(request, small_rows):
    """The same model on both devices, and a batch on each."""
    models = []
    for _ in range(2):
        torch.manual_seed(1)
        models.append(small_rows[request.param].build(SIZE).eval())
    tokens, lengths = torch.tensor(TOKENS), torch.tensor([4, 5, 2])
    batches = [Batch(tokens.to(device), lengths, np.arange(3)) for device in ("cpu", "cuda")]
    return models[0], models[1].cuda(), *batches


def test_validation_loss(pair):
    on_cpu, on_gpu, batch, moved = pair
    torch.testing.assert_close(
        on_gpu.validation_loss(moved, 1).cpu(),
        on_cpu.validation_loss(batch, 1),
        rtol=1e-4,
        atol=1e-4,
    )


def test_likelihoods(pair):
    on_cpu, on_gpu, batch, moved = pair
    for estimate in estimators(on_cpu).values():
        one, other = (Batch(b.tokens[:1], b.lengths[:1], b.indices[:1]) for b in (batch, moved))
        expected = estimate(on_cpu, one, 8, 4, sentence_generator(1, 0))
        if expected is None:
            continue
        found = estimate(on_gpu, other, 8, 4, sentence_generator(1, 0))
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)


def test_reconstructions(pair):
    on_cpu, on_gpu, batch, moved = pair
    assert torch.equal(on_gpu.reconstruct(moved, 10).cpu(), on_cpu.reconstruct(batch, 10))


def test_a_training_step_and_samples(pair):
    _, model, _, batch = pair
    generator = torch.Generator("cuda").manual_seed(1)
    labels = torch.zeros(3, dtype=torch.long, device="cuda")
    loss = model.train().loss(
        Batch(batch.tokens, batch.lengths, batch.indices, labels), 999, 1000, generator
    )
    loss.total.backward()
    assert all(
        parameter.grad is not None and parameter.grad.isfinite().all()
        for parameter in model.parameters()
    )
    assert model.eval().sample(4, 8, generator).is_cuda
