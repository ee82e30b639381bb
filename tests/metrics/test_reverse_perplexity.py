import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.optim.swa_utils import AveragedModel

from ldebm.config import Judge
from ldebm.errors import UserError
from ldebm.metrics import judge_training
from ldebm.metrics.awd_lstm import AwdLstm
from ldebm.metrics.judge_training import (
    learn,
    mean_nll,
    sequence_length,
    should_average,
    start,
    weights_to_score,
)
from ldebm.metrics.reverse_perplexity import Judgement, batchify, reverse_perplexity, stream
from ldebm.metrics.rppl import PUBLISHED
from ldebm.runtime import checkpoint
from ldebm.runtime import device as devices

EOS = 2


def replace(settings: Judge, **changes: Any) -> Judge:
    """Settings with some of them changed."""
    return settings.model_copy(update=changes)


VOCABULARY = 6
SMALL = replace(
    PUBLISHED,
    embedding=8,
    hidden=12,
    layers=2,
    dropouti=0.1,
    dropouth=0.1,
    dropout=0.1,
    dropoute=0.05,
    weight_drop=0.2,
    batch=4,
    learning_rate=3,
    bptt=10,
    epochs=4,
    valid_batch=2,
)
LEARNING = replace(
    PUBLISHED,  # enough for the chain below
    embedding=16,
    hidden=32,
    layers=1,
    dropouti=0,
    dropouth=0,
    dropout=0,
    dropoute=0,
    weight_drop=0,
    alpha=0,
    beta=0,
    batch=10,
    learning_rate=4,
    bptt=20,
    epochs=6,
)
# next word given the last one; the states are </s>, 3, 4, 5, and a sentence starts after </s>
CHAIN = np.array(
    [[0.1, 0.6, 0.3, 0.0], [0.0, 0.1, 0.8, 0.1], [0.3, 0.1, 0.0, 0.6], [0.5, 0.0, 0.5, 0.0]]
)
STATES = np.array([EOS, 3, 4, 5])


def markov_sentences(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    sentences = []
    for _ in range(count):
        words, state = [], rng.choice(4, p=CHAIN[0])
        while state != 0:
            words.append(STATES[state])
            state = rng.choice(4, p=CHAIN[state])
        sentences.append(np.array(words, dtype=np.uint16))
    return sentences


def entropy_rate() -> float:
    values, vectors = np.linalg.eig(CHAIN.T)
    stationary = np.real(vectors[:, np.argmax(np.real(values))])
    stationary /= stationary.sum()
    logs = np.log(np.where(CHAIN > 0, CHAIN, 1))
    return float(-(stationary[:, None] * CHAIN * logs).sum())


def source_nll(sentences: list[np.ndarray]) -> np.ndarray:
    """The chain's own -log p of every word but the first, which the judge is given."""
    index = np.searchsorted(STATES, stream(sentences, EOS))
    return -np.log(CHAIN[index[:-1], index[1:]])


def judge(settings: Judge, seed: int = 141, count: int = 60, **more: Any) -> Judgement:
    texts = [markov_sentences(count, 1), markov_sentences(30, 2), markov_sentences(30, 3)]
    return reverse_perplexity(*texts, VOCABULARY, EOS, settings, seed, **more)


def without_clock(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in epoch.items() if k not in ("seconds", "tokens_per_second")}
        for epoch in history
    ]


def uniform_model() -> AwdLstm:
    model = AwdLstm(VOCABULARY, 8, 12, 2, generator=torch.Generator())
    for p in model.parameters():
        p.data.zero_()
    return model


def test_the_stream_closes_every_sentence_also_an_empty_one() -> None:
    text = stream(
        [np.array([5, 6]), np.array([], dtype=np.int64), np.array([7], dtype=np.uint16)], EOS
    )
    assert text.tolist() == [5, 6, 2, 2, 7, 2]
    assert text.dtype == np.int64


def test_batchify_lays_runs_of_the_stream_side_by_side() -> None:
    columns = batchify(np.arange(11), 3)
    assert columns.tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_lengths_of_the_training_sequences() -> None:
    rng = np.random.default_rng(0)
    lengths = np.array([sequence_length(rng, 70) for _ in range(40_000)])
    short = lengths < 52  # 3.5 standard deviations from both means
    assert short.mean() == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 40_000) ** 0.5)
    assert lengths[~short].mean() == pytest.approx(
        69.5, abs=0.15
    )  # int() takes half a word on average
    assert lengths[~short].std() == pytest.approx(5, rel=0.03)
    assert lengths[short].mean() == pytest.approx(34.5, abs=0.6)
    assert {sequence_length(rng, 2) for _ in range(50)} >= {5}
    assert min(sequence_length(rng, 2) for _ in range(500)) == 5


@pytest.mark.parametrize(
    ("earlier", "loss", "switch"),
    [
        ([], 9.0, False),
        ([5, 4, 3, 2, 1], 9.0, False),  # only five validations are done
        ([5, 4, 3, 2, 1, 1], 5.1, True),  # worse than 5, the best without the last five
        ([5, 4, 3, 2, 1, 1], 5.0, False),  # not worse
        ([5, 4, 3, 2, 1, 1], 4.0, False),  # worse than the last five, but they do not count
        ([5, 3, 4, 2, 2, 2, 2], 3.5, True),
        ([3, 5, 4, 2, 2, 2, 2], 2.9, False),
    ],
)
def test_the_switch_to_averaging_by_hand(earlier: list[float], loss: float, switch: bool) -> None:
    assert should_average(earlier, loss, nonmono=5) is switch


def test_the_switch_without_patience() -> None:
    assert should_average([3.0], 3.1, nonmono=0)
    assert not should_average([3.0], 2.9, nonmono=0)


def test_a_uniform_model_has_the_vocabulary_size_as_its_perplexity() -> None:
    columns = batchify(stream(markov_sentences(20, 1), EOS), 2)
    assert math.exp(mean_nll(uniform_model(), columns)) == pytest.approx(VOCABULARY, rel=1e-6)


def test_the_score_does_not_depend_on_the_chunk() -> None:
    model = AwdLstm(VOCABULARY, 8, 12, 2, generator=torch.Generator().manual_seed(3))
    for p in model.parameters():
        p.data.mul_(4)  # so that what was read long ago matters
    columns = batchify(stream(markov_sentences(40, 1), EOS), 2)
    whole = mean_nll(model, columns, len(columns))
    assert [mean_nll(model, columns, chunk) for chunk in (1, 7, 50)] == pytest.approx(
        [whole] * 3, rel=1e-6
    )
    first = mean_nll(model, columns[:51]) * 50
    second = mean_nll(model, columns[50:]) * (len(columns) - 51)
    assert (
        abs((first + second) / (len(columns) - 1) - whole) > 1e-5 * whole
    )  # a state that starts anew does show


def test_a_markov_chain_is_judged_at_its_entropy() -> None:
    test = markov_sentences(1000, 3)
    train, valid = markov_sentences(3000, 1), markov_sentences(400, 2)
    nll = math.log(
        reverse_perplexity(train, valid, test, VOCABULARY, EOS, LEARNING, 141).perplexity
    )
    exact = source_nll(test)
    error = exact.std() / len(exact) ** 0.5
    assert exact.mean() == pytest.approx(entropy_rate(), abs=4 * error)
    assert entropy_rate() - 4 * error < nll < entropy_rate() + 0.04 + 4 * error
    assert -0.005 < nll - exact.mean() < 0.04  # against the same words the sampling error cancels


def test_a_text_unlike_the_training_text_is_judged_worse() -> None:
    real = markov_sentences(1000, 1)
    reversed_text = [sentence[::-1].copy() for sentence in real]
    same, other = (
        reverse_perplexity(real, real, test, VOCABULARY, EOS, LEARNING, 1)
        for test in (real, reversed_text)
    )
    assert other.perplexity > 1.1 * same.perplexity


def test_the_best_epoch_is_scored() -> None:
    settings = replace(
        LEARNING, learning_rate=20, clip=5.0, epochs=8
    )  # too fast on purpose: the last is not the best
    whole = judge(settings)
    losses = [epoch["valid_ppl"] for epoch in whole.history]
    assert whole.valid_perplexity == min(losses) == losses[whole.best_epoch - 1]
    assert whole.best_epoch < settings.epochs
    assert judge(replace(settings, epochs=whole.best_epoch)).perplexity == whole.perplexity


def test_training_carries_the_state_from_sequence_to_sequence() -> None:
    training = start(VOCABULARY, replace(LEARNING, learning_rate=0), 5, torch.device("cpu"))
    for p in training.model.parameters():
        p.data.mul_(4)  # so that what was read long ago matters
    columns = batchify(stream(markov_sentences(60, 1), EOS), 4)
    loss, words = learn(
        training, columns, replace(LEARNING, learning_rate=0, bptt=5)
    )  # nothing is dropped or learned
    assert columns[1:].numel() - words in (0, 4)  # a single last row may be left out
    assert loss == pytest.approx(mean_nll(training.model, columns[: words // 4 + 1]), rel=1e-6)


def test_the_step_grows_with_the_sequence() -> None:
    training = start(VOCABULARY, SMALL, 5, torch.device("cpu"))
    rates = []
    training.optimiser.register_step_post_hook(
        lambda optimiser, *_: rates.append(optimiser.param_groups[0]["lr"])
    )
    learn(training, batchify(stream(markov_sentences(60, 1), EOS), 4), SMALL)
    rng = np.random.default_rng(5)
    assert rates == pytest.approx([3 * sequence_length(rng, 10) / 10 for _ in rates])


@pytest.mark.parametrize("averaging", [False, True])
def test_every_step_by_hand(averaging: bool) -> None:
    """w ← w - rate (g + decay w) with the rate of the very sequence, and the mean of w over all
    steps.
    """
    settings = replace(SMALL, weight_decay=0.01, clip=0.05)
    training = start(VOCABULARY, settings, 5, torch.device("cpu"))
    training.average = AveragedModel(training.model) if averaging else None
    seen: list[
        tuple[torch.Tensor, torch.Tensor]
    ] = []  # the embedding and its gradient before each step
    weight = training.model.embedding

    def note(*_: object) -> None:
        assert weight.grad is not None
        total = torch.stack(
            [p.grad.norm() for p in training.model.parameters() if p.grad is not None]
        ).norm()
        assert total <= 0.05 * 1.0001
        seen.append((weight.detach().clone(), weight.grad.clone()))

    training.optimiser.register_step_pre_hook(note)
    learn(training, batchify(stream(markov_sentences(60, 1), EOS), 4), settings)
    rng = np.random.default_rng(5)
    after = [*(w for w, _ in seen[1:]), weight.detach()]
    for (before, gradient), found in zip(seen, after, strict=True):
        rate = 3 * sequence_length(rng, 10) / 10
        torch.testing.assert_close(found, before - rate * (gradient + 0.01 * before))
    expected = torch.stack(after).mean(0) if averaging else weight.detach()
    assert len(seen) > 5
    torch.testing.assert_close(weights_to_score(training)["embedding"], expected)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stop_after", [1, 4, 5, 6])
def test_a_stopped_and_resumed_judge_is_bitwise_the_uninterrupted_one(
    tmp_path: Path, stop_after: int
) -> None:
    settings = replace(SMALL, learning_rate=30, nonmono=1, epochs=7)

    def stop(epoch: dict[str, Any]) -> None:
        if epoch["epoch"] == stop_after:
            raise StoppedError

    whole = judge(settings)
    assert {epoch["optimiser"] for epoch in whole.history} == {
        "sgd",
        "asgd",
    }  # stops before, at and after the switch
    with pytest.raises(StoppedError):
        judge(settings, work=tmp_path, report=stop)
    reported: list[dict[str, Any]] = []
    resumed = judge(settings, work=tmp_path, report=reported.append)
    assert [epoch["epoch"] for epoch in reported] == list(range(stop_after + 1, 8))
    assert resumed.perplexity == whole.perplexity
    assert (resumed.valid_perplexity, resumed.best_epoch) == (
        whole.valid_perplexity,
        whole.best_epoch,
    )
    assert without_clock(resumed.history) == without_clock(whole.history)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"judge.safetensors", "previous.judge.safetensors"}


def test_a_judge_goes_on_from_another_kind_of_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The state of a CUDA generator is 16 bytes; that of a CPU's cannot be made of it."""
    path = tmp_path / "judge.safetensors"

    def stop(epoch: dict[str, Any]) -> None:
        tensors, state = checkpoint.load(path)
        checkpoint.save(path, tensors | {"generator": torch.zeros(16, dtype=torch.uint8)}, state)
        raise StoppedError

    with pytest.raises(StoppedError):
        judge(SMALL, work=tmp_path, report=stop)
    whole, resumed = judge(SMALL), judge(SMALL, work=tmp_path)
    assert without_clock(resumed.history[:1]) == without_clock(whole.history[:1])
    assert [epoch["epoch"] for epoch in resumed.history] == [1, 2, 3, 4]
    assert resumed.perplexity != whole.perplexity
    assert resumed.perplexity == pytest.approx(whole.perplexity, rel=0.05)
    assert "judge.safetensors: made on another kind of device than cpu" in capsys.readouterr().err


def test_a_finished_judge_is_only_scored_again(tmp_path: Path) -> None:
    first = judge(SMALL, work=tmp_path)
    reported: list[dict[str, Any]] = []
    assert judge(SMALL, work=tmp_path, report=reported.append) == first
    assert not reported


def test_the_checkpoint_is_plain_data(tmp_path: Path) -> None:
    judgement = judge(SMALL, work=tmp_path)
    with safe_open(tmp_path / "judge.safetensors", "pt") as file:
        plain = json.loads(file.metadata()["state"])
    assert plain["history"] == judgement.history


def test_a_checkpoint_of_another_judge_is_refused_and_a_damaged_one_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = judge(SMALL, work=tmp_path)
    with pytest.raises(UserError, match=r"judge\.safetensors.*another judge"):
        judge(SMALL, work=tmp_path, seed=7)
    with pytest.raises(UserError, match="another judge"):
        judge(SMALL, work=tmp_path, count=61)
    path = tmp_path / "judge.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    again = judge(SMALL, work=tmp_path)
    assert capsys.readouterr().err.startswith(f"{path}: damaged, ")
    assert (again.perplexity, again.best_epoch) == (whole.perplexity, whole.best_epoch)


def test_the_seed_decides() -> None:
    assert judge(SMALL).perplexity == judge(SMALL).perplexity
    assert judge(SMALL).perplexity != judge(SMALL, seed=142).perplexity


def test_the_report_of_an_epoch() -> None:
    reported: list[dict[str, Any]] = []
    judgement = judge(replace(SMALL, epochs=2), report=reported.append)
    assert reported == judgement.history
    assert set(reported[0]) == {
        "epoch",
        "train_loss",
        "valid_loss",
        "valid_ppl",
        "lr",
        "optimiser",
        "seconds",
        "tokens_per_second",
    }
    assert reported[0]["lr"] == SMALL.learning_rate
    assert "hidden:12" in judgement.signature
    assert "seed:141" in judgement.signature


def test_bfloat16_trains_to_nearly_the_same_score() -> None:
    exact, rounded = (
        judge(replace(SMALL, precision=p)).perplexity for p in ("float32", "bfloat16")
    )
    assert (rounded != exact) == devices.has_bfloat16("cpu")  # emulated, it is not used
    assert rounded == pytest.approx(exact, rel=0.05)


def test_without_bfloat16_instructions_the_judge_computes_and_signs_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "processor_flags", set)
    asked, plain = judge(replace(SMALL, precision="bfloat16")), judge(SMALL)
    assert (asked.perplexity, asked.signature) == (plain.perplexity, plain.signature)


def test_a_text_too_short_for_its_batch_is_refused() -> None:
    short = [np.array([3, 4, 5])] * 2  # 8 words with </s>; a batch of 4 needs 12, 3 such sentences
    long = markov_sentences(30, 1)
    with pytest.raises(
        UserError, match=r"training text has 2 sentences with 8 words.*12 words, about 3 sentences"
    ):
        reverse_perplexity(short, long, long, VOCABULARY, EOS, SMALL, 1)
    with pytest.raises(UserError, match="test text has 0 sentences"):
        reverse_perplexity(long, long, [], VOCABULARY, EOS, SMALL, 1)


def test_an_id_outside_the_vocabulary_is_refused() -> None:
    long = markov_sentences(30, 1)
    with pytest.raises(
        UserError, match="validation text has word ids 2 to 5, the vocabulary holds 5"
    ):
        reverse_perplexity([np.array([3, 4])] * 20, long, long, 5, EOS, SMALL, 1)


@pytest.mark.parametrize(("rows", "predicted"), [(3, 2), (6, 5), (7, 5), (8, 7), (12, 10)])
def test_every_word_but_a_single_last_one_is_learned(
    rows: int, predicted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In sequences of five; the first word is given, and beta's term needs two."""
    monkeypatch.setattr(judge_training, "sequence_length", lambda rng, bptt: 5)
    judge = start(VOCABULARY, SMALL, 1, torch.device("cpu"))
    columns = torch.from_numpy(np.random.default_rng(1).integers(0, VOCABULARY, (rows, 3)))
    assert learn(judge, columns, SMALL)[1] == 3 * predicted


def test_a_diverged_judge_is_refused() -> None:
    with pytest.raises(UserError, match=r"diverged.*after epoch 1"):
        judge(replace(SMALL, learning_rate=1e38, clip=1e30))


def test_the_test_text_is_read_in_columns_of_its_own() -> None:
    """One column reads all of it; of more, each begins without a past, and a rest is left out."""
    one, five = (judge(replace(SMALL, test_batch=batch)) for batch in (1, 5))
    assert one.valid_perplexity == five.valid_perplexity
    assert one.perplexity != five.perplexity
