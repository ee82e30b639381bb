import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ldebm.config import RowConfig
from ldebm.data.batches import Batch
from ldebm.data.vocabulary import BOS, EOS, PAD
from ldebm.errors import ModelError
from ldebm.models import decoder as decoder_module
from ldebm.models.decoder import Decoder
from ldebm.models.encoder import Encoder
from ldebm.models.heads import MixtureHead
from ldebm.models.networks import SentenceSize
from ldebm.models.sentence import SentenceModel
from ldebm.rows import ROWS

Reference = tuple[Encoder, Decoder, MixtureHead, dict[str, Any]]


@pytest.fixture
def reference(golden: dict[str, Any]) -> Reference:
    """The sentence model of the golden numbers: encoder, decoder, posterior and the case."""
    case = golden["sentence_model"]
    state = {name: torch.tensor(value) for name, value in case["state"].items()}
    vocabulary, embed, cell, latent = (
        len(case["vocab"]),
        case["embed"],
        case["cell"],
        case["latent"],
    )
    encoder = Encoder(torch.nn.Embedding(vocabulary, embed), cell)
    encoder.embedding.weight.data = state["embedding.weight"]
    decoder = Decoder(
        torch.nn.Embedding(vocabulary, embed), cell, latent, latent, 0.3, tied=True
    ).eval()
    decoder.embedding.weight.data = state["dec_embedding.weight"]
    decoder.initial.weight.data = state["dec_init_connector.linear.weight"]
    _, groups, components = torch.tensor(case["qc_logits"]).shape
    posterior = MixtureHead(2 * cell, groups, components, latent // groups)
    for prefix, module in {
        "decoder.rnn": decoder.gru,
        "q_y_mean": posterior.gaussian.mean,
        "q_y_logvar": posterior.gaussian.logvar,
        "post_c": posterior.code,
    }.items():
        module.load_state_dict(
            {
                name.removeprefix(f"{prefix}."): value
                for name, value in state.items()
                if name.startswith(f"{prefix}.")
            }
        )
    for suffix, gru in {"_l0": encoder.forwards, "_l0_reverse": encoder.backwards}.items():
        gru.load_state_dict(
            {
                name: state[f"x_encoder.rnn.{name.removesuffix('_l0')}{suffix}"]
                for name in gru.state_dict()
            }
        )
    return encoder, decoder, posterior, case


def _lengths(tokens: Tensor) -> Tensor:
    return torch.full((len(tokens),), tokens.shape[1] - 1)


def test_encoder_and_posterior(reference: Reference, close: Callable[..., None]) -> None:
    encoder, _, posterior, case = reference
    tokens = torch.tensor(case["tokens"])
    state = encoder(tokens, _lengths(tokens))
    close(state, case["encoder_state"])
    q = posterior(state)
    close(q.mean, case["q_mean"])
    close(q.logvar, case["q_logvar"])
    close(q.code.logits, case["qc_logits"])


def test_token_likelihood(reference: Reference, close: Callable[..., None]) -> None:
    _, decoder, _, case = reference
    tokens, z = torch.tensor(case["tokens"]), torch.tensor(case["q_mean"])
    expected = torch.tensor(case["token_nll"])
    close(decoder.token_nll(tokens, _lengths(tokens), z).view(expected.shape), expected)
    close(decoder(tokens, _lengths(tokens), z), expected.sum(1))


def test_greedy_decoding(reference: Reference) -> None:
    """The golden decoding goes on after </s> and <pad>, whose ids are not ours there.

    Tokens that end nothing here must agree.
    """
    _, decoder, _, case = reference
    z, greedy = torch.tensor(case["q_mean"]), torch.tensor(case["greedy"])
    state, last, steps = (
        decoder._initial_state(z),
        torch.full((len(z),), case["vocab"].index("<s>")),
        [],
    )
    for _ in range(greedy.shape[1]):
        logits, state = decoder._next_logits(last, z, state)
        last = logits.argmax(1)
        steps.append(last)
    assert torch.equal(torch.stack(steps, 1), greedy)


def test_decoding_equals_rescoring_step_by_step(generator: torch.Generator) -> None:
    """Greedy decoding against the teacher-forced likelihood.

    Each decoded token has the lowest cost of all at its place.
    """
    torch.manual_seed(3)
    decoder = Decoder(torch.nn.Embedding(9, 6), 6, 4, 4, 0.3, tied=True).eval()
    z = torch.randn(5, 4) * 3
    decoded = decoder.decode(z, 8)
    for row in range(5):
        length = int((decoded[row] != PAD).sum()) or 1
        tokens = torch.cat([torch.tensor([BOS]), decoded[row, :length]])[None]
        chosen = decoder.token_nll(tokens, torch.tensor([length]), z[row : row + 1])
        for position in range(length):
            for other in range(9):
                changed = tokens.clone()
                changed[0, position + 1] = other
                assert (
                    decoder.token_nll(changed, torch.tensor([length]), z[row : row + 1])[position]
                    >= chosen[position] - 1e-5
                )


def test_decoding_stops_at_the_end_of_a_sentence() -> None:
    torch.manual_seed(3)
    decoder = Decoder(torch.nn.Embedding(9, 6), 6, 4, 4, 0.3, tied=True).eval()
    for row in decoder.decode(torch.randn(64, 4) * 3, 12).tolist():
        ends = [position for position, token in enumerate(row) if token in (EOS, PAD)]
        assert all(token == PAD for token in row[ends[0] + 1 :]) if ends else len(row) == 12


@pytest.mark.parametrize("every", [2, 3, 50])
def test_looking_less_often_for_ended_sentences_changes_nothing(
    every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    decoder = Decoder(torch.nn.Embedding(9, 6), 6, 4, 4, 0.3, tied=True).eval()
    z = torch.randn(64, 4) * 3
    expected = decoder.decode(z, 12)
    ends = (expected == EOS).any(1) | (expected == PAD).any(1)
    assert 0 < ends.sum() < 64
    monkeypatch.setitem(decoder_module.LOOKS_EVERY, "cpu", every)
    assert torch.equal(decoder.decode(z, 12), expected)


def test_ended_sentences_leave_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many are left after a token as have not ended; each is decoded as if it were alone."""
    torch.manual_seed(3)
    decoder = Decoder(torch.nn.Embedding(9, 6), 6, 4, 4, 0.3, tied=True).eval()
    z, sizes, step = torch.randn(64, 4) * 3, list[int](), decoder._next_logits

    def seen(*given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(given[0]))
        return step(*given)

    monkeypatch.setattr(decoder, "_next_logits", seen)
    decoded = decoder.decode(z, 12)
    ended = ((decoded == EOS) | (decoded == PAD)).cummax(1).values
    assert sizes == [64, *(~ended).sum(0).tolist()[:-1]]
    for one, row in zip(z, decoded, strict=True):
        assert torch.equal(decoder.decode(one[None], 12)[0], row)


def test_words_are_chosen_in_float32(generator: torch.Generator) -> None:
    """Near ties, which bfloat16 would decide for the first word of the vocabulary."""
    torch.manual_seed(3)
    decoder = Decoder(torch.nn.Embedding(9, 6), 6, 4, 4, 0.3, tied=True).eval()
    with torch.no_grad():
        decoder.embedding.weight[4:] = decoder.embedding.weight[3] + 1e-4 * torch.randn(5, 6)
    z = torch.randn(64, 4) * 3
    expected = decoder.decode(z, 12)
    assert len(expected.unique()) > 3
    decoder.autocast = True
    assert torch.equal(decoder.decode(z, 12), expected)


def test_a_sentences_cost_is_the_sum_of_its_tokens() -> None:
    """Sentences of unlike lengths, added up one by one."""
    torch.manual_seed(3)
    decoder = Decoder(torch.nn.Embedding(9, 6), 6, 4, 4, 0.0, tied=True)
    lengths, z = torch.tensor([3, 1, 4, 2]), torch.randn(4, 4)
    tokens = torch.randint(3, 9, (4, 5))
    each = iter(decoder.token_nll(tokens, lengths, z).tolist())
    by_hand = [sum(next(each) for _ in range(length)) for length in lengths.tolist()]
    torch.testing.assert_close(decoder(tokens, lengths, z), torch.tensor(by_hand))


def test_sampled_decoding_has_the_models_frequencies(generator: torch.Generator) -> None:
    torch.manual_seed(3)
    decoder = Decoder(torch.nn.Embedding(5, 6), 6, 2, 2, 0.0, tied=True).eval()
    with torch.no_grad():
        decoder.embedding.weight *= 30  # far from uniform
    z = torch.ones(1, 2)
    logits, _ = decoder._next_logits(torch.tensor([BOS]), z, decoder._initial_state(z))
    first = decoder.decode(z.expand(40_000, -1), 1, generator)[:, 0]
    torch.testing.assert_close(
        torch.bincount(first, minlength=5) / 40_000, logits.softmax(1)[0], atol=0.01, rtol=0
    )


SIZE = SentenceSize(vocabulary=30, embedding=12, hidden=12, dropout=0.3)


@pytest.fixture(params=list(ROWS))
def row(request: pytest.FixtureRequest, small_rows: dict[str, RowConfig]) -> RowConfig:
    return small_rows[request.param]


@pytest.fixture
def model(row: RowConfig) -> SentenceModel:
    torch.manual_seed(1)
    return row.build(SIZE)


def make_batch(sentences: list[list[int]], width: int | None = None) -> Batch:
    lengths = torch.tensor([len(sentence) + 1 for sentence in sentences])
    tokens = torch.full((len(sentences), (width or int(lengths.max())) + 1), PAD)
    for row, sentence in enumerate(sentences):
        tokens[row, : len(sentence) + 2] = torch.tensor([BOS, *sentence, EOS])
    return Batch(tokens, lengths, np.arange(len(sentences)))


SENTENCES = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 16, 5], [3], [7, 7, 8, 20, 21]]


def labelled(model: SentenceModel) -> Batch:
    batch = make_batch(SENTENCES)
    plan = model.plan_epoch(
        40, np.random.default_rng(1), lambda: np.random.default_rng(2).normal(size=(40, 6))
    )
    labels = None if plan.labels is None else torch.from_numpy(plan.labels[: len(SENTENCES)])
    return Batch(batch.tokens, batch.lengths, batch.indices, labels)


def test_results_depend_neither_on_padding_nor_on_the_batch(model: SentenceModel) -> None:
    model.eval()
    together = model.validation_loss(make_batch(SENTENCES, width=20), seed=1)
    for index, sentence in enumerate(SENTENCES):
        one = make_batch([sentence])
        alone = model.validation_loss(Batch(one.tokens, one.lengths, np.array([index])), seed=1)
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-5, atol=1e-5)
        if model.encoder is not None:
            torch.testing.assert_close(
                model.encode(one).mode()[0],
                model.encode(make_batch(SENTENCES, width=20)).mode()[index],
                rtol=1e-5,
                atol=1e-5,
            )


def test_gradients_reach_all_parameters(model: SentenceModel, generator: torch.Generator) -> None:
    model.train().loss(labelled(model), 999, 1000, generator).total.backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert without == []


def test_the_loss_is_the_weighted_sum_of_its_terms(
    model: SentenceModel, generator: torch.Generator
) -> None:
    loss = model.train().loss(labelled(model), 999, 1000, generator)
    weights = {
        regulariser.name: regulariser.weight(999, 1000) for regulariser in model.regularisers
    }
    total = loss.terms["reconstruction"] + sum(
        weight * loss.terms[name] for name, weight in weights.items() if weight
    )
    torch.testing.assert_close(loss.total.detach(), total)


def test_groups_are_those_the_row_names(row: RowConfig, model: SentenceModel) -> None:
    groups = model.parameter_groups()
    assert tuple(groups) == row.optimised
    assert {id(p) for group in groups.values() for p in group} == {
        id(p) for p in model.parameters()
    }


def test_sampling(model: SentenceModel, generator: torch.Generator) -> None:
    sentences = model.eval().sample(6, 10, generator)
    assert sentences.shape == (6, 10)
    assert sentences.max() < SIZE.vocabulary


def test_a_sampler_that_diverges_is_no_text(
    model: SentenceModel, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = model.prior.sample(3, generator)
    broken = torch.where(torch.arange(3)[:, None] == 1, math.inf, whole)
    monkeypatch.setattr(type(model.prior), "stage", lambda *_: broken)
    if whole.shape[1]:
        with pytest.raises(ModelError, match="sampler diverged"):
            model.sample(3, 6, generator)
