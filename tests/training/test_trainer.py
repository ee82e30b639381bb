import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from shipped import shipped_parameters

import ldebm
from ldebm import build, params
from ldebm.build import build_model
from ldebm.config import Params
from ldebm.context import Context
from ldebm.data.batches import collate
from ldebm.data.corpus import Corpus, tokenize
from ldebm.data.grammar import write_corpus
from ldebm.errors import ModelError, UserError
from ldebm.evaluation.inference import posterior_modes, reconstructions
from ldebm.evaluation.prior_fit import draw_vectors, frechet_distance
from ldebm.runtime import checkpoint
from ldebm.runtime import device as devices
from ldebm.runtime.tracking import NoTracker
from ldebm.training import trainer as trainer_module
from ldebm.training.console import Console
from ldebm.training.loop import train
from ldebm.training.trainer import Trainer

OVERLAY = """
data: {corpus: grammar, grammar: {seed: 1, train: 300, valid: 40, test: 40}}
judge: {valid_sentences: 40}
run: {device: cpu}
sentence_model: {embedding: 16, hidden: 16}
models:
  "*":
    {latent_dim: 6, groups: 3, posterior_samples: 2, kl_midpoint: 10, kl_slope: 0.3,
     energy_hidden: 10, energy_blocks: 2, langevin_steps: 3,
     symbols: 4, training: {batch: 16, validate_every: 10, max_validations: 4, epochs: 2}}
"""
TIMES = {"seconds", "tokens_per_second", "clustering_seconds"}


AVERAGED = {"models": {"ldebm": {"training": {"energy_average": 0.6}}}}
COOLED = {"models": {"ldebm": {"training": {"cooldown": 1}}}}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Path]:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder / "raw", 1, {"train": 300, "valid": 40, "test": 40})
    tokenize(folder / "raw", folder / "tokens", None)
    return validated({}), folder / "tokens"


def validated(changes: dict[str, Any]) -> Params:
    raw = params.merge(shipped_parameters(), yaml.safe_load(OVERLAY))
    return params.validate(params.merge(raw, changes), "params.yaml")


def run(
    small: tuple[Params, Path], key: str, tmp_path: Path, name: str
) -> tuple[bytes, list[dict[str, str]]]:
    settings, tokens = small
    work, out = tmp_path / name / "work", tmp_path / name / "out"
    work.mkdir(parents=True, exist_ok=True)
    out.mkdir(exist_ok=True)
    train(Context.open(settings, key, 1, tokens, NoTracker(), work, out))
    with (out / "history.csv").open() as file:
        history = [
            {name: value for name, value in row.items() if name not in TIMES}
            for row in csv.DictReader(file)
        ]
    return (out / "model.safetensors").read_bytes(), history


class KilledError(Exception):
    pass


def test_noise_is_not_the_initial_weights(small: tuple[Params, Path], tmp_path: Path) -> None:
    """The encoder's embedding is the first normal draw of GM-VAE's weights."""
    settings, tokens = small
    context = Context.open(settings, "gm_vae", 1, tokens, NoTracker(), tmp_path, tmp_path)
    torch.manual_seed(context.seed)
    model = build.build(context)
    generator = Trainer(context, model).generator
    first = torch.randn(48, generator=generator)
    weights = model.encoder.embedding.weight.flatten()[:48]
    assert torch.equal(weights, torch.randn(48, generator=generator.manual_seed(context.seed)))
    assert not torch.isclose(first, weights).any()


@pytest.mark.parametrize(
    ("key", "changes"), [("vae", {}), ("ldebm", {}), ("ldebm", AVERAGED), ("ldebm", COOLED)]
)
def test_an_interrupted_run_ends_bitwise_as_an_uninterrupted_one(
    small: tuple[Params, Path],
    key: str,
    changes: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = validated(changes), small[1]
    monkeypatch.setattr(trainer_module, "LOG_EVERY", 4)
    monkeypatch.setattr(trainer_module, "CHECKPOINT_EVERY", 0.0)
    whole = run(small, key, tmp_path, "whole")
    step = Trainer._step

    def stop_at(limit: int) -> Callable[[Trainer], None]:
        def stepping(self: Trainer) -> None:
            if self.progress.step == limit:
                raise KilledError
            step(self)

        return stepping

    for limit in (7, 13, 23):  # within an epoch, between log lines, in the second epoch
        monkeypatch.setattr(Trainer, "_step", stop_at(limit))
        with pytest.raises(KilledError):
            run(small, key, tmp_path, "parts")
    monkeypatch.setattr(Trainer, "_step", step)
    parts = run(small, key, tmp_path, "parts")
    assert parts == whole


def test_the_energys_average_is_kept_and_everything_elses_last_weights(
    small: tuple[Params, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The average recomputed from the weights after every step, which it must not change."""
    settings, tokens = small
    _, plain = run(small, "ldebm", tmp_path, "plain")
    seen: list[dict[str, torch.Tensor]] = []
    step = Trainer._step

    def watched(self: Trainer) -> None:
        if not seen:
            seen.append(own(self))
        step(self)
        seen.append(own(self))

    def own(one: Trainer) -> dict[str, torch.Tensor]:
        return {name: each.clone() for name, each in checkpoint.model_tensors(one.model).items()}

    monkeypatch.setattr(Trainer, "_step", watched)
    _, history = run((validated(AVERAGED), tokens), "ldebm", tmp_path, "averaged")
    kept, _ = checkpoint.load(tmp_path / "averaged/out/model.safetensors")
    energy = {name for name, _ in build_model(settings, "ldebm", 10).prior.named_parameters()}
    energy = {f"prior.{name}" for name in energy}
    assert energy < kept.keys()
    for name, tensor in kept.items():
        expected = seen[0][name]
        for each in seen[1:]:
            expected = 0.6 * expected + 0.4 * each[name] if name in energy else each[name]
        torch.testing.assert_close(tensor, expected, msg=name)
    assert any((kept[name] - seen[-1][name]).abs().max() > 1e-5 for name in energy)
    losses = [[row["loss"] for row in rows] for rows in (plain, history)]
    assert losses[0] == losses[1]
    fits = [[row["valid_prior_fit"] for row in rows] for rows in (plain, history)]
    assert fits[0] != fits[1]


@pytest.mark.parametrize("damaged", ["checkpoint.safetensors", "best.safetensors"])
def test_damage_is_set_aside_and_the_run_ends_in_the_same_bits(
    small: tuple[Params, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damaged: str,
) -> None:
    whole = run(small, "vae", tmp_path, "whole")
    step = Trainer._step

    def stopping(self: Trainer) -> None:
        if self.progress.step == 25:  # validated, and so saved, at 10 and 20
            raise KilledError
        step(self)

    monkeypatch.setattr(Trainer, "_step", stopping)
    with pytest.raises(KilledError):
        run(small, "vae", tmp_path, "parts")
    path = tmp_path / "parts/work" / damaged
    content = bytearray(path.read_bytes())
    content[-5] ^= 16
    path.write_bytes(content)
    monkeypatch.setattr(Trainer, "_step", step)
    capsys.readouterr()
    assert run(small, "vae", tmp_path, "parts") == whole
    said = capsys.readouterr().err
    assert said.startswith(f"{path}: damaged, ")
    assert f"; set aside as {damaged}.damaged, " in said


def test_weights_that_were_damaged_after_the_last_step_are_no_result(
    small: tuple[Params, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damage(self: Trainer) -> None:
        path = self.best_path
        path.write_bytes(path.read_bytes()[:-1] + b"?")

    monkeypatch.setattr(Console, "close", lambda console: damage(trainers[0]))
    trainers: list[Trainer] = []
    start = Trainer.run
    monkeypatch.setattr(
        Trainer, "run", lambda self, report: (trainers.append(self), start(self, report))
    )
    with pytest.raises(UserError, match=r"best.safetensors: damaged.*run again"):
        run(small, "vae", tmp_path, "run")
    assert not (tmp_path / "run/out/model.safetensors").exists()


def killed(small: tuple[Params, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint of the run `parts`, killed after ten steps."""
    monkeypatch.setattr(trainer_module, "CHECKPOINT_EVERY", 0.0)
    step = Trainer._step
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", lambda self: _until(self, 10, step))
        with pytest.raises(KilledError):
            run(small, "vae", tmp_path, "parts")
    return tmp_path / "parts" / "work" / "checkpoint.safetensors"


def test_a_checkpoint_of_another_seed_is_refused(
    small: tuple[Params, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = killed(small, tmp_path, monkeypatch)
    tensors, state = checkpoint.load(path)
    checkpoint.save(path, tensors, state | {"of": "vae seed 77"})
    with pytest.raises(UserError, match="is of vae seed 77, not of vae seed 1; delete it"):
        run(small, "vae", tmp_path, "parts")


def test_a_run_goes_on_from_another_kind_of_device(
    small: tuple[Params, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its generator's state, 16 bytes on CUDA, is of no use; weights, optimiser and steps go on."""
    monkeypatch.setattr(trainer_module, "CHECKPOINT_EVERY", 0.0)
    whole = run(small, "vae", tmp_path, "whole")
    path = killed(small, tmp_path, monkeypatch)
    tensors, state = checkpoint.load(path)
    other = {"random/generator": torch.zeros(16, dtype=torch.uint8), "random/cuda": torch.zeros(16)}
    checkpoint.save(path, tensors | other, state)
    parts = run(small, "vae", tmp_path, "parts")
    assert parts[1][:1] == whole[1][:1]  # up to the checkpoint
    assert parts[1][1:] != whole[1][1:]
    assert [row["step"] for row in parts[1]] == [row["step"] for row in whole[1]]
    said = capsys.readouterr().err
    assert said.count("checkpoint.safetensors: made on another kind of device than cpu") == 1


def _until(trainer: Trainer, last: int, step: Callable[[Trainer], None]) -> None:
    if trainer.progress.step == last:
        raise KilledError
    step(trainer)


def test_the_same_seed_gives_the_same_model_and_another_does_not(
    small: tuple[Params, Path], tmp_path: Path
) -> None:
    assert run(small, "svebm", tmp_path, "one") == run(small, "svebm", tmp_path, "two")
    settings = small[0]
    torch.manual_seed(1)
    first = build_model(settings, "svebm", 50).decoder.embedding.weight
    torch.manual_seed(2)
    assert not torch.equal(first, build_model(settings, "svebm", 50).decoder.embedding.weight)


def test_what_a_run_leaves(small: tuple[Params, Path], tmp_path: Path) -> None:
    settings, tokens = small
    _, history = run(small, "dgm_vae", tmp_path, "run")
    record = json.loads((tmp_path / "run/out/run.json").read_text())
    assert record["row"] == "DGM-VAE"
    assert record["steps"] == 40
    assert record["stopped"] == "4 validations done"
    assert record["weights"]["sentence"] > 1000
    assert float(history[-1]["valid_loss"]) < float(history[0]["valid_loss"])
    assert {
        "reconstruction",
        "averaged_kl",
        "dispersion",
        "gradient_norm_sentence",
        "learning_rate_sentence",
    } <= history[0].keys()
    context = Context.open(settings, "dgm_vae", 1, tokens, NoTracker(), tmp_path, tmp_path)
    model = build.load(context, tmp_path / "run/out/model.safetensors")
    assert not model.training
    texts = reconstructions(context, model, context.corpus.test)
    assert len(texts) == len(context.corpus.test)
    assert posterior_modes(context, model, context.corpus.test).shape == (40, 6)


def test_the_folder_stands_alone(
    small: tuple[Params, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(small, "dgm_vae", tmp_path, "run")
    settings, tokens = small
    context = Context.open(settings, "dgm_vae", 1, tokens, NoTracker(), tmp_path, tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (tmp_path / "run/out").rename("mine")
    model, corpus = ldebm.load("mine", device="cpu"), context.corpus
    assert model.reconstruct(list(corpus.texts(corpus.test))) == reconstructions(
        context, build.load(context, Path("mine/model.safetensors")), corpus.test
    )
    card = Path("mine/README.md").read_text()
    assert "# DGM-VAE, seed 1" in card
    assert f"300 sentences, {len(corpus.vocabulary)} word types" in card


def test_bfloat16_that_would_be_emulated_is_trained_in_float32_and_the_record_says_so(
    small: tuple[Params, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, tokens = small
    monkeypatch.setattr(devices, "processor_flags", set)
    asked = settings.model_copy(
        update={"run": settings.run.model_copy(update={"precision": "bfloat16"})}
    )
    assert run((asked, tokens), "vae", tmp_path, "asked") == run(small, "vae", tmp_path, "float32")
    assert (
        json.loads((tmp_path / "asked/out/run.json").read_text())["run"]["precision"] == "float32"
    )


def test_posterior_modes_come_in_the_order_of_the_split(small: tuple[Params, Path]) -> None:
    settings, tokens = small
    context = Context.open(settings, "vae", 1, tokens, NoTracker(), Path(), Path())
    corpus, model = context.corpus, build.build(context).eval()
    modes = posterior_modes(context, model, corpus.valid)
    for index in (0, 7, 39):
        with torch.no_grad():
            one = model.encode(
                collate(corpus.valid, np.array([index]), 40, torch.device("cpu"))
            ).mode()[0]
        np.testing.assert_allclose(modes[index], one.numpy(), rtol=1e-5, atol=1e-6)


def breaking(monkeypatch: pytest.MonkeyPatch, at: int, gradient: bool = False) -> list[int]:
    """Make weights, or a gradient of the step, infinite or no number after `at` steps.

    The steps done.
    """
    step, done = Trainer._step, []

    def stepping(self: Trainer) -> None:
        weight = self.model.decoder.embedding.weight
        if self.progress.step == at and gradient:
            weight.register_hook(lambda grad: torch.full_like(grad, math.inf))
        elif self.progress.step == at:
            weight.data.fill_(math.nan)
        step(self)
        done.append(self.progress.step)

    monkeypatch.setattr(Trainer, "_step", stepping)
    return done


@pytest.mark.parametrize(
    ("at", "gradient", "term", "noticed"),
    [
        (6, False, "step 7, where reconstruction is nan", 10),  # the next validation
        (17, False, "step 18, where reconstruction is nan", 19),  # the end of the epoch
        (4, True, "step 5, where gradient_norm_sentence is (inf|nan)", 10),
        (9, True, "step 10, where gradient_norm_sentence is (inf|nan)|valid_loss is nan", 10),
    ],
)
def test_divergence_names_row_step_and_term_and_is_noticed_at_once(
    small: tuple[Params, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
    gradient: bool,
    term: str,
    noticed: int,
) -> None:
    done = breaking(monkeypatch, at, gradient)
    with pytest.raises(ModelError, match=rf"^training diverged at {term}.*vae.*learning_rate"):
        run(small, "vae", tmp_path, "run")
    assert done[-1] == noticed


@pytest.mark.parametrize("sign", [1, -1])
def test_a_loss_that_runs_away_but_stays_finite_is_divergence(
    small: tuple[Params, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: int
) -> None:
    """The mean of the steps of an entry: ten times 40 words by chance, each log of all words."""
    limit = 10 * 40 * math.log(len(Corpus.open(small[1]).vocabulary))
    step, done, grown = Trainer._step, [], [limit - 1]

    def growing(self: Trainer) -> None:
        step(self)
        if self.progress.step > 10:
            swing = -100 if self.progress.step % 2 else 100
            self.recent[-1]["loss"] = torch.tensor(sign * (grown[0] + swing))
        done.append(self.progress.step)

    monkeypatch.setattr(Trainer, "_step", growing)
    _, history = run(small, "vae", tmp_path, "large")
    assert float(history[-1]["loss"]) == pytest.approx(sign * grown[0])
    grown[0] += 2
    said = rf"diverged by step 20: its loss is {sign * grown[0]:.0f} nats"
    told = rf"{said}; lower models\.vae\.training\.learning_rate$"
    with pytest.raises(ModelError, match=told):
        run(small, "vae", tmp_path, "larger")
    assert done[-1] == 20


def test_divergence_names_whatever_a_row_has_that_may_be_too_large(
    small: tuple[Params, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(monkeypatch, 1, False)
    told = (
        r"lower models\.svebm_ib\.training\.learning_rate or langevin_step_size or "
        r"information_weight$"
    )
    with pytest.raises(ModelError, match=told):
        run(small, "svebm_ib", tmp_path, "run")


def test_prior_fit_is_a_curve_that_leaves_training_as_it_is(
    small: tuple[Params, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each validation's figure; the last is that of the kept weights with the run's own seed."""
    weights, history = run(small, "svebm", tmp_path, "with")
    figures = [float(row["valid_prior_fit"]) for row in history if row["valid_prior_fit"]]
    assert len(figures) == 2
    settings, tokens = small
    context = Context.open(settings, "svebm", 1, tokens, NoTracker(), tmp_path, tmp_path)
    model, generator = (
        build.load(context, tmp_path / "with/out/model.safetensors"),
        torch.Generator().manual_seed(1),
    )
    vectors = draw_vectors(model, context.corpus.valid, 40, generator, 1000)
    expected = frechet_distance(vectors.generated, vectors.posterior)
    assert figures[-1] == pytest.approx(expected, rel=1e-4)
    monkeypatch.setattr(trainer_module, "prior_fit", lambda *arguments: {})
    assert run(small, "svebm", tmp_path, "without")[0] == weights


def test_batches_of_similar_length_are_those_of_the_sorted_text(
    small: tuple[Params, Path], tmp_path: Path
) -> None:
    """With one bucket for the whole epoch; at a bucket of one batch they are mixed."""
    _, tokens = small

    def planned(bucket: int) -> list[list[int]]:
        settings = validated({"models": {"vae": {"training": {"bucket": bucket}}}})
        context = Context.open(settings, "vae", 1, tokens, NoTracker(), tmp_path, tmp_path)
        trainer = Trainer(context, build.build(context))
        trainer._start_epoch()
        assert trainer.plan is not None
        lengths = context.corpus.train.lengths[trainer.plan.order]
        return [sorted(one.tolist()) for one in np.split(lengths, range(16, len(lengths), 16))]

    in_order = np.sort(Corpus.open(tokens).train.lengths)
    expected = [one.tolist() for one in np.split(in_order, range(16, len(in_order), 16))]
    assert sorted(planned(100)) == sorted(expected)
    assert sorted(planned(1)) != sorted(expected)


def test_a_sampler_that_diverges_in_validation_is_told_in_one_line(
    small: tuple[Params, Path], tmp_path: Path
) -> None:
    """SVEBM's contrast, which would notice, is not computed while the KL weight is 0."""
    steps = {"langevin_step_size": 5.0, "langevin_steps": 40, "kl_cycles": 1}
    settings = validated({"models": {"svebm": steps}})
    with pytest.raises(ModelError, match=r"sampler diverged.*langevin_step_size"):
        run((settings, small[1]), "svebm", tmp_path, "run")
