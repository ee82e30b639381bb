import pytest
import torch
from torch import Generator

from ldebm.metrics.awd_lstm import (
    AwdLstm,
    Output,
    WeightDropLstm,
    activation_regularisation,
    embedding_dropout,
    locked_dropout,
)

NO_DROPOUT = {"dropouti": 0.0, "dropouth": 0.0, "dropout": 0.0, "dropoute": 0.0, "weight_drop": 0.0}


def generator(seed: int = 1) -> Generator:
    return Generator().manual_seed(seed)


def small(**dropouts: float) -> AwdLstm:
    return AwdLstm(
        11, embedding=6, hidden=9, layers=3, **{**NO_DROPOUT, **dropouts}, generator=generator()
    )


def words(rows: int = 7, columns: int = 4) -> torch.Tensor:
    return torch.randint(11, (rows, columns), generator=generator(2))


def test_sizes_and_count_of_the_published_network() -> None:
    model = AwdLstm(10_000, generator=generator())
    shapes = [tuple(layer.weight_ih.shape) for layer in model.layers]
    assert shapes == [(4600, 400), (4600, 1150), (1600, 1150)]
    assert (
        sum(p.numel() for p in model.parameters()) == 24_221_600
    )  # as the published code prints it for this vocabulary


def test_initial_weights() -> None:
    model = AwdLstm(500, 40, 64, 2, generator=generator())
    assert model.embedding.abs().max() <= 0.1
    assert model.embedding.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.02)  # of U(-0.1, 0.1)
    assert not model.bias.any()
    first = model.layers[0].weight_hh
    assert first.abs().max() <= 64**-0.5
    assert first.std().item() == pytest.approx(64**-0.5 / 3**0.5, rel=0.02)


def test_initial_weights_depend_on_the_generator_only() -> None:
    before = torch.random.get_rng_state()
    one, two = small(), small()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_without_dropout_it_is_a_stack_of_lstms_and_a_tied_softmax() -> None:
    model = small()
    x = model.embedding[words()]
    for layer in model.layers:
        lstm = torch.nn.LSTM(layer.weight_ih.shape[1], layer.weight_hh.shape[1])
        lstm.load_state_dict({f"{name}_l0": weight for name, weight in layer.state_dict().items()})
        x, _ = lstm(x)
    expected = -torch.log_softmax(x @ model.embedding.T + model.bias, -1)
    output = model(words(), model.initial_state(4))
    torch.testing.assert_close(output.dropped, x)
    targets = words().flip(0)
    nll = model.nll(output.dropped, targets)
    torch.testing.assert_close(
        nll, expected.flatten(0, 1).gather(1, targets.reshape(-1, 1)).squeeze(1)
    )


def test_the_state_carries_the_text_on() -> None:
    model = small()
    whole = model(words(), model.initial_state(4))
    first = model(words()[:3], model.initial_state(4))
    second = model(words()[3:], first.state)
    torch.testing.assert_close(torch.cat([first.raw, second.raw]), whole.raw)


def test_every_parameter_gets_a_gradient() -> None:
    model = small(dropouti=0.2, dropouth=0.2, dropout=0.2, dropoute=0.1, weight_drop=0.5).train()
    output = model(words(), model.initial_state(4), generator())
    model.nll(output.dropped, words()).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_nothing_is_dropped_in_eval_mode() -> None:
    dropping = small(dropouti=0.5, dropouth=0.5, dropout=0.5, dropoute=0.5, weight_drop=0.5).eval()
    plain = small()
    torch.testing.assert_close(
        dropping(words(), dropping.initial_state(4)).dropped,
        plain(words(), plain.initial_state(4)).dropped,
    )


@pytest.mark.parametrize("name", list(NO_DROPOUT))
def test_every_dropout_acts_in_train_mode(name: str) -> None:
    model, plain = small(**{name: 0.5}).train(), small()
    dropped = model(words(), model.initial_state(4), generator()).dropped
    assert not torch.allclose(dropped, plain(words(), plain.initial_state(4)).dropped)


def test_the_last_output_has_a_dropout_of_its_own() -> None:
    """Before it, layers see what they see without: `dropouth` alone stands between them."""
    state, plain = small().initial_state(4), small()
    last = small(dropout=0.5).train()(words(), state, generator())
    between = small(dropouth=0.5).train()(words(), state, generator())
    raw = plain(words(), state).raw
    torch.testing.assert_close(last.raw, raw)
    assert not torch.allclose(between.raw, raw)
    torch.testing.assert_close(between.dropped, between.raw)


def test_locked_dropout_has_one_mask_for_all_time_steps() -> None:
    x = torch.ones(30, 50, 40)
    dropped = locked_dropout(x, 0.25, generator())
    assert torch.equal(dropped, dropped[:1].expand_as(x))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert (dropped[0] == 0).float().mean() == pytest.approx(
        0.25, abs=4 * (0.25 * 0.75 / 2000) ** 0.5
    )
    assert not torch.equal(dropped[0, 0], dropped[0, 1])  # columns differ


def test_embedding_dropout_takes_whole_words_and_scales_the_rest() -> None:
    weight = torch.rand(5000, 3, generator=generator()) + 1
    dropped = embedding_dropout(weight, 0.1, generator())
    gone = (dropped == 0).all(1)
    torch.testing.assert_close(dropped[~gone], weight[~gone] / 0.9)
    assert gone.float().mean() == pytest.approx(0.1, abs=4 * (0.1 * 0.9 / 5000) ** 0.5)


def test_weight_drop_masks_the_hidden_to_hidden_weights_alone_and_leaves_them_untouched() -> None:
    layer = WeightDropLstm(3, 8, 0.5, generator()).train()
    before = {name: p.clone() for name, p in layer.named_parameters()}
    x, h = torch.randn(1, 2, 3, generator=generator()), torch.randn(1, 2, 8, generator=generator(3))
    zero = torch.zeros(1, 2, 8)

    fresh, _ = layer(
        x, (zero, zero), generator(4)
    )  # nothing remembered: the masked weights have no say
    other, _ = layer(x, (zero, zero), generator(5))
    assert torch.equal(fresh, other)
    remembering, _ = layer(x, (h, zero), generator(4))
    another, _ = layer(x, (h, zero), generator(5))
    assert not torch.allclose(remembering, another)
    assert all(torch.equal(p, before[name]) for name, p in layer.named_parameters())


def test_weight_drop_is_one_mask_a_pass_of_the_stated_share() -> None:
    # with zero weights elsewhere every step adds the same products, so the gradient of weight_hh
    # shows the mask
    layer = WeightDropLstm(3, 60, 0.3, generator()).train()
    state = (torch.ones(1, 2, 60), torch.ones(1, 2, 60))
    output, _ = layer(torch.randn(6, 2, 3, generator=generator()), state, generator())
    output.pow(2).sum().backward()
    dropped = (
        layer.weight_hh.grad == 0
    )  # summed over all six steps: a new mask a step would leave next to none at 0
    assert dropped.float().mean() == pytest.approx(
        0.3, abs=4 * (0.3 * 0.7 / dropped.numel()) ** 0.5
    )
    assert not (layer.weight_ih.grad == 0).any()


def test_activation_regularisation_by_hand() -> None:
    raw = torch.tensor([[[0.0, 1.0]], [[2.0, 1.0]], [[2.0, 4.0]]])  # steps: (2, 0), (0, 3)
    dropped = torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]], [[1.0, 0.0]]])
    value = activation_regularisation(Output(raw, dropped, []), alpha=2.0, beta=1.0)
    assert value.item() == pytest.approx(2 * 6 / 6 + 13 / 4)
