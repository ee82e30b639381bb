"""What the first line says, against operations counted on the models themselves."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from shipped import shipped_parameters

from ldebm import params as parameters
from ldebm.config import Params, TextFiles
from ldebm.metrics.awd_lstm import AwdLstm
from ldebm.models.networks import SentenceSize
from ldebm.pipeline import announce

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import operations

WIDE = {"embedding": 96, "hidden": 96}
GRAMMAR = {"seed": 1, "train": 1000, "valid": 10, "test": 20}


def stale(*named: str) -> Any:
    """Steps with work to do, as `verb key`."""
    return [
        SimpleNamespace(verb=verb, key=key)
        for verb, _, key in (one.partition(" ") for one in named)
    ]


def seconds(params: Params, step: str, speed: float, small: float = 0.0) -> float:
    """What one step is said to take on one core."""
    return 3600 * announce.estimated_hours(
        params, stale(step), 1, lambda precision: speed, lambda: small
    )


@pytest.fixture
def params() -> Params:
    raw = shipped_parameters()
    raw["data"] |= {"corpus": "grammar", "grammar": GRAMMAR}
    raw["sentence_model"] |= WIDE
    raw["models"]["ldebm"]["training"] |= {"batch": 100, "epochs": 3}
    raw["judge"] |= {"valid_sentences": 500}
    raw["evaluation"] |= {"samples": 50000}
    return parameters.validate(raw, "test")


def test_a_training_is_what_its_matrices_have_to_do(params: Params) -> None:
    """3 epochs of 1,000 sentences of 22 tokens, their products and those of two chains each."""
    size = SentenceSize(vocabulary=223, embedding=96, hidden=96, dropout=0.0)
    model = params.models["ldebm"].build(size)
    word = 3 * (operations.encoder_macs(model) + operations.decoder_macs(model))
    products = 3000 * (22 * word + 2 * operations.chain_macs(model))
    assert seconds(params, "train ldebm", 1e9) == pytest.approx(2 * products / 0.7e9, rel=0.05)


def test_every_posterior_sample_is_written(params: Params) -> None:
    """VAE, at most 50 validations of 2,000 steps of 30 sentences: read once, written 20 times."""
    size = SentenceSize(vocabulary=223, embedding=96, hidden=96, dropout=0.0)
    model = params.models["vae"].build(size)
    word = 3 * (operations.encoder_macs(model) + 20 * operations.decoder_macs(model))
    products = 100_000 * 30 * 22 * word
    assert seconds(params, "train vae", 1e12) == pytest.approx(2 * products / 0.7e12, rel=0.02)


def test_a_judges_training_is_what_its_matrices_have_to_do(params: Params) -> None:
    """20 epochs of 1,000 sentences of 22 words; its output layer is its embedding."""
    judge = AwdLstm(220, generator=torch.Generator())
    word = 3 * (operations.matrix_size(*judge.layers) + judge.embedding.numel())
    products = 20 * 1000 * 22 * word
    assert seconds(params, "judge vae", 1e9) == pytest.approx(2 * products / 0.7e9, rel=0.02)


def test_samples_and_temperatures_are_what_their_matrices_have_to_do(params: Params) -> None:
    """50,000 sentences written after six chains each; 8 chains of 144 sentences at 2,000
    temperatures, three quarters of the levels each.
    """
    size = SentenceSize(vocabulary=223, embedding=96, hidden=96, dropout=0.0)
    model = params.models["ldebm"].build(size)
    write, chain = 22 * operations.decoder_macs(model), operations.chain_macs(model)
    sampled = 2 * 50_000 * (write + 6 * chain) / 0.7e9
    weighed = 2 * 8 * 144 * 2000 * (write + 0.75 * 6 * chain) / 0.7e9
    assert seconds(params, "sample ldebm", 1e9) == pytest.approx(sampled, rel=0.05)
    assert seconds(params, "likelihood ldebm", 1e9) == pytest.approx(weighed, rel=0.05)


def test_what_no_size_spares_is_counted_in_passes_of_a_small_layer(params: Params) -> None:
    """Each verb begins; 30 steps of two chains of 50 as one, 50 batches of 40 tokens, 20 epochs in
    steps of 20 × 70 words, 2,000 temperatures for 50 of 1.75 × 64 + 2 × 16 sentences at once.
    """
    judged = 20 * 1000 * 22 / (20 * 70) + 20 * 22 / 50
    passes = {
        "evaluate": announce.START,
        "train": announce.START + 30 * (announce.TRAINING + 50 * announce.LANGEVIN),
        "sample": announce.START + 50 * (40 * announce.DECODING + 6 * 50 * announce.LANGEVIN),
        "judge": announce.START + judged * announce.JUDGING,
        "likelihood": announce.START
        + 2000 * 144 / 50 * (announce.MOVE + 0.75 * 6 * 50 * announce.LANGEVIN),
    }
    for verb, expected in passes.items():
        assert seconds(params, f"{verb} ldebm", float("inf"), 0.01) == pytest.approx(
            0.01 * expected
        )


def test_the_sentences_of_a_text_of_ones_own_are_counted(params: Params, tmp_path: Path) -> None:
    """3 epochs of 300 sentences instead of 1,000, with the treebank's words instead of 223."""
    for split, sentences in (("train", 300), ("valid", 3), ("test", 5)):
        (tmp_path / split).write_text("a b\n" * sentences)
    own = TextFiles(**{split: str(tmp_path / split) for split in ("train", "valid", "test")})
    limited = {"corpus": own, "vocabulary_limit": 220}
    mine = params.model_copy(update={"data": params.data.model_copy(update=limited)})
    begun = announce.START * 0.01
    drawn = 0.3 * seconds(params, "train ldebm", 1e9)
    assert seconds(mine, "train ldebm", 1e9) == pytest.approx(drawn)
    judged = 20 * 300 * 22 / (20 * 70) + 5 * 22 / 50
    passes = begun + 0.01 * judged * announce.JUDGING
    assert seconds(mine, "judge ldebm", float("inf"), 0.01) == pytest.approx(passes)


def test_more_cores_and_faster_ones_take_less(params: Params) -> None:
    def hours(cores: int, speed: float) -> float:
        steps = stale("train vae", "judge vae", "sample vae", "likelihood vae", "evaluate vae")
        return announce.estimated_hours(params, steps, cores, lambda precision: speed, lambda: 0.01)

    assert hours(4, 1e9) == pytest.approx(hours(1, 1e9) / 4)
    assert hours(1, 1e9) / 12 < hours(1, 1e10) < hours(1, 1e9) / 8  # what no size spares is left


def test_each_precision_is_measured_once_and_where_it_is_used(params: Params) -> None:
    asked = []

    def speed(precision: str) -> float:
        asked.append(precision)
        return 1e9

    mixed = params.model_copy(
        update={"run": params.run.model_copy(update={"precision": "bfloat16"})}
    )
    steps = stale("train vae", "judge vae", "train ldebm")
    announce.estimated_hours(mixed, steps, 1, speed, lambda: 0.0)
    assert asked == ["bfloat16", "float32"]


def test_nothing_is_measured_where_nothing_long_is_left(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "product_speed", pytest.fail)
    monkeypatch.setattr(announce, "layer_pass", pytest.fail)
    monkeypatch.setattr(announce.devices, "kind", lambda name: "cpu")
    said = "ldebm: on the CPU (2 cores), no GPU is used; what is left takes minutes"
    assert announce.sentence(params, stale("table ", "evaluate vae"), 2) == said


def test_the_measurement_leaves_the_threads_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "MEASURED", 0.01)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert announce.product_speed("float32") > 1e7
        assert announce.layer_pass() > 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_what_is_timed_is_the_mean_after_a_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first call of 5 s, then calls of 0.125 s until 0.3 s are over: three."""
    now, calls = [0.0], [5.0, 0.125, 0.125, 0.125]
    monkeypatch.setattr(announce.time, "perf_counter", lambda: now[0])

    def work() -> None:
        now[0] += calls.pop(0)

    assert announce._mean_time(work) == 0.125
    assert not calls


def test_the_line_is_said_once_and_not_by_the_processes_started(
    params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LDEBM_ANNOUNCED", "")  # so that it is put back
    monkeypatch.delenv("LDEBM_ANNOUNCED")
    monkeypatch.setattr(announce.devices, "kind", lambda name: "cpu")
    announce.once(params, [], 1)
    said = "ldebm: on the CPU (1 core), no GPU is used; what is left takes minutes\n"
    assert capsys.readouterr().err == said
    monkeypatch.setenv("LDEBM_ANNOUNCED", "another")
    announce.once(params, [], 1)
    assert capsys.readouterr().err == ""
