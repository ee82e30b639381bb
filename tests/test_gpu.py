"""On CUDA the same numbers come out as on the CPU, where both are given the same draws.

None of this has been run on CUDA: no device was at hand when it was written.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ldebm.config import RowConfig
from ldebm.data.batches import Batch, moved
from ldebm.data.vocabulary import BOS, EOS, PAD
from ldebm.evaluation.likelihood import estimators
from ldebm.models.networks import SentenceSize
from ldebm.models.sentence import SentenceModel, sentence_generator
from ldebm.rows import ROWS
from ldebm.runtime import checkpoint
from ldebm.runtime import device as devices

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SIZE = SentenceSize(vocabulary=40, embedding=16, hidden=16, dropout=0.0)
TOKENS = [[BOS, 5, 6, 7, EOS, PAD], [BOS, 8, 9, 10, 11, EOS], [BOS, 12, EOS, PAD, PAD, PAD]]
Pair = tuple[SentenceModel, SentenceModel, Batch, Batch]  # on the CPU and on CUDA


@pytest.fixture(params=list(ROWS))
def pair(request: pytest.FixtureRequest, small_rows: dict[str, RowConfig]) -> Pair:
    """The same model on both devices, and a batch on each."""
    devices.prepare(torch.device("cuda"))
    models = []
    for _ in range(2):
        torch.manual_seed(1)
        models.append(small_rows[request.param].build(SIZE).eval())
    tokens, lengths = torch.tensor(TOKENS), torch.tensor([4, 5, 2])
    batches = [Batch(tokens.to(device), lengths, np.arange(3)) for device in ("cpu", "cuda")]
    return models[0], models[1].cuda(), *batches


def test_validation_loss(pair: Pair) -> None:
    on_cpu, on_gpu, batch, moved = pair
    torch.testing.assert_close(
        on_gpu.validation_loss(moved, 1).cpu(),
        on_cpu.validation_loss(batch, 1),
        rtol=1e-4,
        atol=1e-4,
    )


def test_likelihoods(pair: Pair) -> None:
    on_cpu, on_gpu, batch, moved = pair
    for estimate in estimators(on_cpu).values():
        one, other = (Batch(b.tokens[:1], b.lengths[:1], b.indices[:1]) for b in (batch, moved))
        expected = estimate(on_cpu, one, 8, 4, sentence_generator(1, 0))
        if expected is None:
            continue
        found = estimate(on_gpu, other, 8, 4, sentence_generator(1, 0))
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)


def test_reconstructions(pair: Pair) -> None:
    on_cpu, on_gpu, batch, moved = pair
    assert torch.equal(on_gpu.reconstruct(moved, 10).cpu(), on_cpu.reconstruct(batch, 10))


def test_a_training_step_and_samples(pair: Pair) -> None:
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


def test_float32_recurrent_layers_are_not_rounded_to_tf32() -> None:
    """TF32 keeps 10 bits, an error of 5e-4 a product; float32 stays below 1e-5."""
    devices.prepare(torch.device("cuda"))
    torch.manual_seed(1)
    gru, x = torch.nn.GRU(512, 512, batch_first=True), torch.randn(64, 20, 512)
    exact = gru.double()(x.double())[0]
    found = gru.float().cuda()(x.cuda())[0]
    assert (found.cpu().double() - exact).abs().max() < 1e-5


def test_costs_of_sentences_are_the_same_bits_every_time(small_rows: dict[str, RowConfig]) -> None:
    """Atomic additions, as of index_add, would come in another order each time."""
    torch.manual_seed(1)
    model = small_rows["VAE"].build(SIZE).eval().cuda()
    lengths, tokens = torch.full((4000,), 30), torch.randint(3, 40, (4000, 31), device="cuda")
    z = torch.randn(4000, 6, device="cuda")
    with torch.no_grad():
        first, *others = (model.decoder(tokens, lengths, z) for _ in range(5))
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("row", ROWS)
def test_a_step_does_not_wait_for_the_device(row: str, small_rows: dict[str, RowConfig]) -> None:
    """Batch, loss and gradients; what would wait raises."""
    torch.manual_seed(1)
    model = small_rows[row].build(SIZE).train().cuda()
    generator, device = torch.Generator("cuda").manual_seed(1), torch.device("cuda")
    tokens, lengths = torch.tensor(TOKENS), torch.tensor([4, 5, 2])
    labels = torch.zeros(3, dtype=torch.long, device="cuda")

    def step() -> None:
        batch = Batch(moved(tokens, device), lengths, np.arange(3), labels)
        model.loss(batch, 9, 10, generator).total.backward()

    step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_recurrent_layers_have_float32_where_bfloat16_is_asked_for(
    small_rows: dict[str, RowConfig],
) -> None:
    """Autocast would give cuDNN float16, in which the smallest gradients are 0."""
    torch.manual_seed(1)
    model = small_rows["VAE"].build(replace(SIZE, bfloat16=True)).train().cuda()
    assert model.encoder is not None
    seen: list[torch.dtype] = []
    for layer in (model.decoder.gru, model.encoder.forwards, model.encoder.backwards):
        layer.register_forward_hook(lambda _, inputs, outputs: seen.append(outputs[0].dtype))
    batch = Batch(torch.tensor(TOKENS).cuda(), torch.tensor([4, 5, 2]), np.arange(3))
    loss = model.loss(batch, 999, 1000, torch.Generator("cuda").manual_seed(1)).total
    (loss * 1e-6).backward()
    assert seen == [torch.float32] * 3
    found = model.encoder.forwards.weight_ih_l0.grad
    assert found is not None
    assert found.any()


def test_generators_states_of_another_device_are_replaced(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for old, new in (("cpu", "cuda"), ("cuda", "cpu")):
        stored = torch.Generator(old).manual_seed(1).get_state()
        generators = [torch.Generator(new).manual_seed(1) for _ in range(2)]
        for generator in generators:
            checkpoint.restore_generator(generator, stored, 7, Path("checkpoint.safetensors"))
        first, second = (torch.rand(5, generator=one, device=new) for one in generators)
        assert torch.equal(first, second)
        assert f"another kind of device than {new}" in capsys.readouterr().err
