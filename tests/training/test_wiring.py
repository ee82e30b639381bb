"""What training asks of a model, an optimiser and a policy, by ones that take notes."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ldebm import build
from ldebm.config import EpochTraining, PatienceTraining, Training
from ldebm.context import Context
from ldebm.data.batches import Batch
from ldebm.models.plans import EpochPlan
from ldebm.models.sentence import Loss
from ldebm.runtime import checkpoint
from ldebm.streams import derived_seed
from ldebm.training import loop, trainer
from ldebm.training.policies import EpochPolicy, PatiencePolicy, Verdict, new_policy
from ldebm.training.trainer import Trainer

RATES = {"sentence": 0.01, "energy": 0.002}
OPTIMISED: dict[str, Any] = {
    "batch": 4,
    "bucket": 1,
    "learning_rate": RATES,
    "clip": {"sentence": 0.5, "energy": 10.0},
}
PATIENCE = PatienceTraining(
    stop="patience",
    validate_every=2,
    max_validations=6,
    patience=10,
    patience_factor=2.0,
    improvement=0.996,
    decay=0.8,
    min_learning_rate=1e-5,
    **OPTIMISED,
)
Trains = Callable[[Training], tuple[Trainer, "Toy"]]


class Toy(nn.Module):
    """A parameter a group, with gradients 30 and 40, and 300 and 400; notes what it is given."""

    encoder = None  # no latent variables: nothing of the prior is measured

    def __init__(self) -> None:
        super().__init__()
        self.sentence, self.energy = (nn.Parameter(torch.zeros(2)) for _ in range(2))
        self.steps: list[tuple[int, int, torch.Generator]] = []
        self.validated: list[tuple[Batch, int, bool]] = []
        self.trained: list[Batch] = []
        self.plans: list[tuple[int, np.random.Generator, Any]] = []

    def plan_epoch(self, count: int, rng: np.random.Generator, modes: Any) -> EpochPlan:
        self.plans.append((count, rng, modes()))
        return EpochPlan(np.arange(count), 10 * np.arange(count), {"clusters": 7.0})

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"sentence": [self.sentence], "energy": [self.energy]}

    def loss(self, batch: Batch, step: int, total: int, generator: torch.Generator) -> Loss:
        assert self.training
        self.steps.append((step, total, generator))
        self.trained.append(batch)
        slope = torch.tensor([30.0, 40.0])
        objective = (slope * self.sentence).sum() + (10 * slope * self.energy).sum()
        return Loss(objective, {"term": torch.tensor(float(step))})

    def validation_loss(self, batch: Batch, seed: int) -> Tensor:
        self.validated.append((batch, seed, self.training))
        return batch.lengths.float()


@dataclass
class Notes:
    """A policy that keeps every score and lowers the rate to a quarter after the first."""

    stop_after: int
    scores: list[float]
    learning_rate_factor: float = 1.0

    def due(self, step: int, epoch_ended: bool) -> bool:
        return epoch_ended

    def observe(self, score: float) -> Verdict:
        self.scores.append(score)
        self.learning_rate_factor = 0.25
        return Verdict(True, "done" if len(self.scores) == self.stop_after else None)

    def state(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def trains(context: Context, monkeypatch: pytest.MonkeyPatch) -> Trains:
    """A trainer of the toy on the hand-made corpus: six sentences, two batches an epoch."""
    monkeypatch.setattr(trainer, "posterior_modes", lambda context, model, split: split)

    def make(training: Training) -> tuple[Trainer, Toy]:
        row = context.params.models["ldebm"].model_copy(update={"training": training})
        settings = context.params.model_copy(update={"models": {"ldebm": row}})
        toy = Toy()
        return Trainer(replace(context, key="ldebm", params=settings), toy), toy  # type: ignore[arg-type]

    return make


def epochs(select: str = "last", count: int = 3) -> EpochTraining:
    return EpochTraining.model_validate(
        {"stop": "epochs", "epochs": count, "select": select, **OPTIMISED}
    )


def test_the_weights_and_all_draws_are_of_the_contexts_seed(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Trainer] = []

    def run(self: Trainer, report: Any) -> None:
        started.append(self)
        checkpoint.save(self.best_path, {}, {})
        self.progress.history.append({"step": 1})

    monkeypatch.setattr(Trainer, "run", run)
    loop.train(context)
    torch.manual_seed(3)
    expected = build.build(context).state_dict()
    weights = started[0].model.state_dict()
    assert all(torch.equal(weights[name], one) for name, one in expected.items())
    assert started[0].generator.initial_seed() == derived_seed(3, "training")
    drawn = np.random.default_rng(3).bit_generator.state
    assert started[0].rng.bit_generator.state == drawn


def test_a_step_knows_its_number_and_the_length_of_the_longest_run(trains: Trains) -> None:
    for training, total in ((epochs(), 3 * 2), (PATIENCE, 6 * 2)):
        started, toy = trains(training)
        started.policy = Notes(3, [])
        started.run(lambda entry: None)
        assert [(step, length) for step, length, _ in toy.steps] == [(n, total) for n in range(6)]
        assert {id(generator) for *_, generator in toy.steps} == {id(started.generator)}
        for file in started.context.checkpoints.iterdir():
            file.unlink()


def test_every_sentence_is_trained_on_once_an_epoch_cut_and_the_last_batch_too(
    trains: Trains, splits: dict[str, list[str]]
) -> None:
    started, toy = trains(epochs(count=1))
    started.run(lambda entry: None)
    words = started.corpus.vocabulary.words
    seen = [
        " ".join(words[i] for i in row[1:length])
        for batch in toy.trained
        for row, length in zip(batch.tokens, batch.lengths.tolist(), strict=True)
    ]
    assert seen == [" ".join(line.split()[:4]) for line in splits["train"]]


def test_every_epoch_is_planned_anew_and_labels_stay_with_their_sentences(trains: Trains) -> None:
    started, toy = trains(epochs(count=2))
    started.run(lambda entry: None)
    assert toy.plans == [(6, started.rng, started.corpus.train)] * 2
    for batch in toy.trained:
        assert batch.labels is not None
        assert batch.labels.tolist() == (10 * batch.indices).tolist()


def test_an_entry_has_the_means_since_the_last_one(
    trains: Trains, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four steps in two epochs, an entry after 1.5 epochs and after each; the term is the step."""
    monkeypatch.setattr(trainer, "LOG_EVERY", 3)
    started, toy = trains(epochs(count=2))
    entries: list[dict[str, float]] = []
    started.run(entries.append)
    assert [(one["step"], one["epoch"], one["term"]) for one in entries] == [
        (2, 1.0, 0.5),
        (3, 1.5, 2.0),
        (4, 2.0, 3.0),
    ]
    assert [("valid_loss" in one, one.get("clusters")) for one in entries] == [
        (True, 7.0),
        (False, 7.0),
        (True, None),
    ]
    tokens = [int(batch.lengths.sum()) for batch in toy.trained]
    seconds = np.diff([0.0, *(one["seconds"] for one in entries)])
    speeds = np.array([tokens[0] + tokens[1], tokens[2], tokens[3]]) / seconds
    assert [one["tokens_per_second"] for one in entries] == pytest.approx(list(speeds), rel=1e-3)


def test_each_group_is_clipped_by_its_own_bound(trains: Trains) -> None:
    started, toy = trains(epochs(count=1))
    norms: list[tuple[float, float]] = []

    def note(*_: Any) -> None:
        gradients = toy.sentence.grad, toy.energy.grad
        norms.append(tuple(float(one.norm()) for one in gradients if one is not None))  # type: ignore[arg-type]

    started.optimiser.register_step_pre_hook(note)
    entries: list[dict[str, float]] = []
    started.run(entries.append)
    assert norms == [pytest.approx((0.5, 10.0), rel=1e-4)] * 2
    assert entries[-1]["gradient_norm_sentence"] == pytest.approx(50)  # before it was clipped
    assert entries[-1]["gradient_norm_energy"] == pytest.approx(500)


def test_a_group_without_gradients_has_none_to_clip(trains: Trains) -> None:
    started, toy = trains(epochs(count=1))
    toy.sentence.grad, toy.energy.grad = torch.full_like(toy.sentence, 3.0), None
    norms = started._clip()
    assert norms["gradient_norm_sentence"] == pytest.approx(3.0 * toy.sentence.numel() ** 0.5)
    assert norms["gradient_norm_energy"] == 0


def test_each_group_steps_at_its_rate_times_the_policys_factor(trains: Trains) -> None:
    started, _ = trains(epochs())
    started.policy = Notes(2, [])
    rates: list[list[float]] = []
    started.optimiser.register_step_pre_hook(
        lambda optimiser, *_: rates.append([group["lr"] for group in optimiser.param_groups])
    )
    started.run(lambda entry: None)
    assert rates == [[0.01, 0.002]] * 2 + [[0.0025, 0.0005]] * 2


@pytest.mark.parametrize("longest", [{"stop": "epochs"}, {"max_validations": 3}])
def test_all_rates_fall_to_0_over_the_last_epochs_of_the_longest_run(
    trains: Trains, longest: dict[str, Any]
) -> None:
    """Two steps an epoch, three epochs, of which two are cooler; a quarter after the first."""
    training = epochs() if "stop" in longest else PATIENCE.model_copy(update=longest)
    started, _ = trains(training.model_copy(update={"cooldown": 2}))
    started.policy = Notes(3, [])
    rates: list[list[float]] = []
    started.optimiser.register_step_pre_hook(
        lambda optimiser, *_: rates.append([group["lr"] for group in optimiser.param_groups])
    )
    started.run(lambda entry: None)
    factors = [1, 1, 0.25, 0.25 * 0.75, 0.25 * 0.5, 0.25 * 0.25]
    assert rates == [pytest.approx([0.01 * one, 0.002 * one]) for one in factors]


def test_validation_is_the_mean_over_the_validation_split_under_the_models_seed(
    trains: Trains, splits: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "EVALUATION_BATCH", 3)  # four sentences: 3 and 1
    started, toy = trains(epochs())
    policy = started.policy = Notes(1, [])
    entries: list[dict[str, float]] = []
    started.run(entries.append)
    words = started.corpus.vocabulary.words
    lines = {}
    for batch, seed, training in toy.validated:
        assert (seed, training) == (3, False)
        for index, row, length in zip(
            batch.indices.tolist(), batch.tokens, batch.lengths.tolist(), strict=True
        ):
            lines[index] = " ".join(words[i] for i in row[1:length])
    assert lines == {
        index: " ".join(line.split()[:4]) for index, line in enumerate(splits["valid"])
    }
    mean = np.mean([len(line.split()) + 1 for line in lines.values()])
    assert entries[-1]["valid_loss"] == pytest.approx(mean)
    assert policy.scores == [pytest.approx(mean)]


@pytest.mark.parametrize(("select", "kept"), [("valid_bleu", 4), ("last", 6)])
def test_the_epoch_of_the_highest_bleu_or_the_last_is_kept(
    trains: Trains, monkeypatch: pytest.MonkeyPatch, select: str, kept: int
) -> None:
    """Two steps an epoch; the toy's weights fall at every step, so the file tells the epoch."""
    scores = iter([5.0, 9.0, 7.0])
    asked: list[Any] = []

    def bleu(context: Context, model: Any, split: Any) -> float:
        asked.append(split)
        return next(scores)

    monkeypatch.setattr(trainer, "reconstruction_bleu", bleu)
    monkeypatch.setattr(trainer, "prior_fit", lambda *given: {})
    monkeypatch.setattr(Toy, "encoder", object())
    started, _ = trains(epochs(select))
    weights: list[Tensor] = []
    started.run(lambda entry: weights.append(started.model.sentence.detach().clone()))  # type: ignore[operator]
    assert started.progress.kept_step == kept
    assert torch.equal(checkpoint.load(started.best_path)[0]["sentence"], weights[kept // 2 - 1])
    assert all(split is started.corpus.valid for split in asked)
    assert len(asked) == 3


def test_patience_keeps_the_lowest_validation_loss(
    trains: Trains, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([9.0, 7.0, 8.0, 8.5, 9.0, 9.5])
    monkeypatch.setattr(Toy, "validation_loss", lambda *given: torch.tensor([next(losses)]))
    started, _ = trains(PATIENCE)
    rates: list[float] = []
    started.run(lambda entry: rates.append(entry["learning_rate_sentence"]))
    assert started.progress.kept_step == 4
    assert started.progress.stopped == "6 validations done"
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.008, 0.0064])


def test_a_policy_has_the_settings_of_its_block() -> None:
    assert new_policy(PATIENCE) == PatiencePolicy(
        validate_every=2,
        max_validations=6,
        patience=10,
        patience_factor=2.0,
        improvement=0.996,
        decay=0.8,
        min_factor=1e-3,  # 1e-5 of a rate of 0.01
    )
    assert new_policy(epochs("last", 7)) == EpochPolicy(7, keep_last=True)
    assert new_policy(epochs("valid_bleu", 7)) == EpochPolicy(7, keep_last=False)
    assert math.isinf(EpochPolicy(7, keep_last=False).best)


def test_what_is_kept_becomes_the_models_file(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(self: Trainer, report: Any) -> None:
        checkpoint.save(self.best_path, {"kept": torch.ones(1)}, {})
        report({"step": 1.0, "loss": 2.0, "seconds": 1.0, "tokens_per_second": 1.0})
        self.progress.history += [{"step": 1, "loss": 2.0}, {"step": 2, "valid_loss": 3.0}]
        self.progress.step = 3

    told: list[tuple[dict[str, float], int]] = []
    tracker: Any = SimpleNamespace(
        log_params=lambda params: None,
        log_metrics=lambda values, step: told.append((values, step)),
    )
    monkeypatch.setattr(Trainer, "run", run)
    loop.train(replace(context, tracker=tracker))
    assert told == [({"loss": 2.0, "seconds": 1.0, "tokens_per_second": 1.0}, 1)]
    kept = checkpoint.load(Path(context.out / "model.safetensors"))[0]
    assert kept["kept"].tolist() == [1.0]
    rows = (context.out / "history.csv").read_text().split()
    assert rows == ["step,loss,valid_loss", "1,2.0,", "2,,3.0"]
    record = json.loads((context.out / "run.json").read_text())
    batches = math.ceil(len(context.corpus.train) / record["parameters"]["training"]["batch"])
    assert (record["steps"], record["epochs"]) == (3, 3 / batches)
    assert (record["model"], record["seed"]) == (context.key, context.seed)
    model, composed = build.build(context), record["composition"]
    labels = (model.posterior.label, model.prior.label)
    assert (composed["posterior"], composed["prior"]) == labels
    assert labels[0] != labels[1]
