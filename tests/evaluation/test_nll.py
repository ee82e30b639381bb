"""The annealed estimate of small models, against simulation, quadrature and importance."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ldebm import build
from ldebm.config import AnnealedSettings, RowConfig
from ldebm.context import Context
from ldebm.data.corpus import subset
from ldebm.data.vocabulary import BOS, EOS, PAD
from ldebm.evaluation import annealed, nll
from ldebm.evaluation import likelihood as module
from ldebm.evaluation.likelihood import importance_sampled, likelihood
from ldebm.evaluation.prior_fit import draw_vectors, frechet_distance, with_longer_chains
from ldebm.models.networks import SentenceSize
from ldebm.models.priors import StandardNormal
from ldebm.models.sentence import SentenceModel, sentence_generator
from ldebm.runtime import checkpoint

NUMBERS = np.array([4, 0, 2])


def settings(chains: int, temperatures: int) -> AnnealedSettings:
    return AnnealedSettings(sentences=3, chains=chains, temperatures=temperatures, simulated=3)


def sharp(row: RowConfig, context: Context, latent_dim: int) -> SentenceModel:
    """A row at a small size whose decoder says something of z."""
    torch.manual_seed(2)
    shrunk = row.model_copy(update={"latent_dim": latent_dim, "groups": latent_dim // 2})
    model = shrunk.build(SentenceSize(len(context.corpus.vocabulary), 6, 6, 0.3)).eval()
    with torch.no_grad():
        for parameter in (*model.decoder.parameters(), *model.prior.energy_parameters()):
            parameter.mul_(4)
    return model


def estimated(
    model: SentenceModel, context: Context, chains: int, temperatures: int, work: Path
) -> nll.Estimates:
    work.mkdir(exist_ok=True)
    split, how = context.corpus.test, settings(chains, temperatures)
    return nll.estimate(model, split, NUMBERS, 6, how, 1, work)


def log_p(model: SentenceModel, context: Context, number: int, z: torch.Tensor) -> torch.Tensor:
    """log p(x|z) of one test sentence for each z (N, D), decoded plainly."""
    words = context.corpus.test[number][:4].tolist()
    tokens = torch.tensor([[BOS, *words, EOS]]).expand(len(z), -1)
    with torch.no_grad():
        return -model.decoder(tokens, torch.full((len(z),), len(words) + 1), z).double()


def test_quadrature_over_two_dimensions(
    context: Context, small_rows: dict[str, RowConfig], tmp_path: Path
) -> None:
    """∫ N(z; 0, I) p(x|z) dz on a grid."""
    model = sharp(small_rows["VAE"], context, 2)
    axis = torch.linspace(-6, 6, 241)
    z = torch.cartesian_prod(axis, axis)
    density = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1).double()
    found = estimated(model, context, 64, 100, tmp_path)
    for number in NUMBERS.tolist():
        each = log_p(model, context, number, z) + density
        exact = -(each.logsumexp(0) + 2 * math.log(12 / 240)).item()
        assert found.nll[number] == pytest.approx(exact, abs=0.06)


@pytest.mark.parametrize("row", ["SVEBM-IB", "LDEBM", "DVAE", "DGM-VAE", "SEMI-VAE"])
def test_simulation(
    context: Context, small_rows: dict[str, RowConfig], row: str, tmp_path: Path
) -> None:
    """log mean p(x|z) over many z of the row's own sampler."""
    model = sharp(small_rows[row], context, 2)
    z = model.prior.sample(30_000, torch.Generator().manual_seed(9))
    found = estimated(model, context, 64, 100, tmp_path)
    for number in NUMBERS.tolist():
        weights = log_p(model, context, number, z).exp()
        error = (weights.std() / weights.mean() / math.sqrt(len(z))).item()
        exact = -weights.mean().log().item()
        assert error < 0.05
        assert found.nll[number] == pytest.approx(exact, abs=4 * error + 0.06)


def test_it_agrees_with_importance_sampling(
    context: Context, small_rows: dict[str, RowConfig], tmp_path: Path
) -> None:
    model = sharp(small_rows["VAE"], context, 4)
    found = estimated(model, context, 64, 100, tmp_path)
    for number in NUMBERS.tolist():
        batch = nll.collate(context.corpus.test, np.array([number]), 6, context.device)
        with torch.no_grad():
            other = importance_sampled(model, batch, 20_000, 1, sentence_generator(1, number))
        assert other is not None
        assert found.nll[number] == pytest.approx(-other.item(), abs=0.1)


def test_sides_meet_on_simulated_sentences(
    context: Context, small_rows: dict[str, RowConfig], tmp_path: Path
) -> None:
    """The more temperatures, the smaller the gap."""
    model = sharp(small_rows["SVEBM"], context, 2)
    few = estimated(model, context, 16, 8, tmp_path / "few").diagnostics
    many = estimated(model, context, 16, 80, tmp_path / "many").diagnostics
    assert abs(many["gap"]) < 0.15
    assert not many["still_falling"]
    assert many["effective_chains"] > few["effective_chains"]


def test_simulated_sentences_are_those_of_their_noise(
    context: Context, small_rows: dict[str, RowConfig]
) -> None:
    """Each ends where its row first says so, the shortest first, frequencies the model's."""
    model, generator = sharp(small_rows["VAE"], context, 2), torch.Generator().manual_seed(3)
    batches, noise = nll.simulate(model, 3000, 6, generator)
    lengths = torch.cat([batch.lengths for batch in batches])
    assert torch.equal(lengths, lengths.sort().values)
    first = []
    for batch in batches:
        assert (batch.tokens[:, 0] == BOS).all()
        for row, length in zip(batch.tokens[:, 1:].tolist(), batch.lengths.tolist(), strict=True):
            ends = [place for place, word in enumerate(row) if word in (EOS, PAD)]
            assert length == (ends[0] + 1 if ends else 5)
            first.append(row[0])
    z = noise[0][0]
    start = torch.full((3000, 1), BOS)
    words = range(len(context.corpus.vocabulary))
    with torch.no_grad():  # p(first word | z) of each, by its cost
        costs = [
            model.decoder(
                torch.cat([start, torch.full_like(start, word)], 1), torch.ones(3000).long(), z
            )
            for word in words
        ]
    probs = torch.stack([-cost for cost in costs], 1).exp()
    own = probs.gather(1, torch.tensor(first)[:, None]).mean().item()
    assert own == pytest.approx(probs.square().sum(1).mean().item(), abs=0.03)


def test_the_subset_is_fixed_and_a_larger_one_begins_with_it() -> None:
    assert subset(100, 7, 1).tolist() == subset(100, 20, 1)[:7].tolist()
    assert sorted(subset(5, 64, 1).tolist()) == [0, 1, 2, 3, 4]
    assert len(set(subset(100, 64, 1).tolist())) == 64
    assert subset(100, 7, 1).tolist() != subset(100, 7, 2).tolist()


def test_many_chains_go_in_groups(
    context: Context,
    small_rows: dict[str, RowConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = sharp(small_rows["VAE"], context, 2)
    whole = estimated(model, context, 64, 60, tmp_path / "whole")
    monkeypatch.setattr(nll, "CHAINS_AT_ONCE", 64)
    parts = estimated(model, context, 64, 60, tmp_path / "parts")
    assert len(list((tmp_path / "parts").glob("sentences-*.safetensors"))) == 3
    for number in NUMBERS.tolist():
        assert parts.nll[number] == pytest.approx(whole.nll[number], abs=0.1)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("limit", [3, 14, 35])
def test_the_verb_goes_on_to_the_same_file(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Whichever run of chains it is killed in."""

    def run(folder: Path) -> tuple[Any, list[dict[str, str]]]:
        for name in ("work", "out"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        here = replace(context, key="svebm", checkpoints=folder / "work", out=folder / "out")
        torch.manual_seed(5)
        weights = checkpoint.model_tensors(build.build(here))
        checkpoint.save(tmp_path / "model.safetensors", weights, {})
        likelihood(here, tmp_path / "model.safetensors")
        with (folder / "out/sentences.csv").open() as file:
            rows = list(csv.DictReader(file))
        return json.loads((folder / "out/scores.json").read_text()), rows

    whole = run(tmp_path / "whole")
    steps, step = 0, annealed.Annealing._step

    def stepping(self: annealed.Annealing) -> None:
        nonlocal steps
        steps += 1
        if steps == limit:
            raise KilledError
        step(self)

    with monkeypatch.context() as patched:
        patched.setattr(annealed.Annealing, "_step", stepping)
        with pytest.raises(KilledError):
            run(tmp_path / "parts")
    assert run(tmp_path / "parts") == whole
    scores, rows = whole
    values = [float(row["nll"]) for row in rows]
    assert scores["nll"] == pytest.approx(np.mean(values))
    assert scores["nll_standard_error"] == pytest.approx(np.std(values, ddof=1) / 2)
    numbers = np.random.default_rng(context.params.evaluation.seed).permutation(5)[:4]
    assert [int(row["sentence"]) for row in rows] == numbers.tolist()
    expected = {"nll_published", "gap", "effective_chains", "prior_fit", "prior_fit_longer"}
    assert expected | {"still_falling"} <= set(scores)
    with np.load(tmp_path / "whole/out/vectors.npz") as vectors:
        assert vectors["generated"].shape == vectors["posterior"].shape == (1000, 2)


def test_a_row_without_a_prior_has_no_likelihood(context: Context, tmp_path: Path) -> None:
    here = replace(context, key="ae")
    checkpoint.save(tmp_path / "model.safetensors", checkpoint.model_tensors(build.build(here)), {})
    likelihood(here, tmp_path / "model.safetensors")
    scores = json.loads((here.out / "scores.json").read_text())
    assert not any(name.startswith("nll") for name in scores)


def test_every_value_stands_beside_its_sentence(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are compared sentence by sentence, so the order of the draw must be that of the file."""

    def numbered(model: Any, split: Any, chosen: np.ndarray, *rest: Any) -> nll.Estimates:
        drawn.extend(chosen.tolist())
        values = {number: float(number) for number in sorted(chosen.tolist())}
        return nll.Estimates(values, values, {})

    drawn: list[int] = []
    monkeypatch.setattr(nll, "estimate", numbered)
    checkpoint.save(
        tmp_path / "model.safetensors", checkpoint.model_tensors(build.build(context)), {}
    )
    likelihood(context, tmp_path / "model.safetensors")
    with (context.out / "sentences.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["nll"]) for row in rows] == [float(row["sentence"]) for row in rows] == drawn
    assert drawn != sorted(drawn)


def test_the_gap_is_between_a_harmonic_and_an_arithmetic_mean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two chains: ŵ = 1, 3 forwards, mean 2; ŵ = 2, 6 backwards, harmonic mean 3."""

    class Recorded:
        settings = AnnealedSettings(sentences=1, chains=2, temperatures=8, simulated=1)
        model = None

        def generator(self, name: str) -> None:
            return None

        def run(self, name: str, *rest: Any, **more: Any) -> Any:
            weights = {"simulated": [1.0, 3.0], "backwards": [2.0, 6.0]}[name]
            return SimpleNamespace(log_w=torch.tensor(weights).log())

    monkeypatch.setattr(nll, "simulate", lambda *rest: ([], []))
    assert nll._gap(Recorded(), torch.ones(1), 8)["gap"] == pytest.approx(math.log(3 / 2))


@pytest.mark.parametrize(
    ("half", "fall", "error", "falling"),
    [
        ((3.0, 5.0), 1.0, 0.0, 1.0),
        ((2.1, 4.1), 0.1, 0.0, 0.0),
        ((2.0, 4.2), 0.1, 0.1, 1.0),  # by chance it may be 0.3
        ((1.9, 3.9), -0.1, 0.0, 0.0),
    ],
)
def test_falls_are_from_fewer_temperatures_to_all(
    half: tuple[float, float], fall: float, error: float, falling: float
) -> None:
    """-log p is 2 and 4 with all of them, 5 and 8 with a quarter."""
    chains = {4: [[-5.0, -5.0], [-8.0, -8.0]], 2: [[-one, -one] for one in half]}

    class Recorded:
        settings = AnnealedSettings(sentences=2, chains=2, temperatures=8, simulated=1)

        def run(self, name: str, batches: Any, count: int, deltas: Any, *, stride: int) -> Any:
            assert name == {4: "quarter", 2: "half"}[stride]
            return SimpleNamespace(log_w=torch.tensor(chains[stride]).flatten())

    batches: Any = [SimpleNamespace(indices=np.array([7])), SimpleNamespace(indices=np.array([3]))]
    found = nll._convergence(Recorded(), batches, torch.ones(1), {3: 4.0, 7: 2.0})
    assert found == {
        "fall_from_quarter": pytest.approx(3.5),
        "fall_from_quarter_standard_error": pytest.approx(0.5),
        "fall_from_half": pytest.approx(fall),
        "fall_from_half_standard_error": pytest.approx(error, abs=1e-6),
        "still_falling": falling,
    }


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_fewer_temperatures_are_moved_at_with_their_own_steps(
    context: Context,
    small_rows: dict[str, RowConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stride: int,
) -> None:
    """Row k - 1 of the steps is that of temperature k of all; none at the first and last."""
    model, given = sharp(small_rows["VAE"], context, 2), []
    monkeypatch.setattr(
        annealed, "Annealing",
        lambda chains, betas, deltas, *rest, **more: (
            given.append((betas, deltas)) or SimpleNamespace(run=lambda *rest, **more: None)
        ),
    )  # fmt: skip
    batches = nll._batches(context.corpus.test, NUMBERS, 6, context.device)
    of_temperature = torch.arange(1, 8)[:, None].expand(7, 2)
    nll.Runs(model, settings(1, 8), 1, tmp_path).run(
        "run", batches, 1, of_temperature, stride=stride
    )
    ((betas, deltas),) = given
    numbers = range(0, 9, stride)
    assert betas.tolist() == annealed.sigmoid_schedule(8)[list(numbers)].tolist()
    assert deltas[:, 0].tolist() == list(numbers)[1:-1]


def test_of_one_sentence_there_is_no_standard_error(context: Context, tmp_path: Path) -> None:
    evaluation = context.params.evaluation
    single = evaluation.annealed.model_copy(update={"sentences": 1})
    params = context.params.model_copy(
        update={"evaluation": evaluation.model_copy(update={"annealed": single})}
    )
    here = replace(context, params=params)
    checkpoint.save(tmp_path / "model.safetensors", checkpoint.model_tensors(build.build(here)), {})
    likelihood(here, tmp_path / "model.safetensors")
    scores = json.loads((here.out / "scores.json").read_text())
    assert {"nll", "nll_importance"} <= set(scores)
    assert not any(name.endswith("_standard_error") for name in scores)


@pytest.mark.parametrize("diverging", [False, True])
def test_the_samplers_figures_are_of_the_test_sentences(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, diverging: bool
) -> None:
    """Longer chains are held against the posterior too, and left out where they diverge."""
    here = replace(context, key="svebm")
    torch.manual_seed(5)
    weights = checkpoint.model_tensors(build.build(here))
    checkpoint.save(tmp_path / "model.safetensors", weights, {})
    longer = with_longer_chains
    if diverging:
        monkeypatch.setattr(module, "with_longer_chains", lambda prior, factor: Diverging())
    likelihood(here, tmp_path / "model.safetensors")
    scores = json.loads((here.out / "scores.json").read_text())
    model = build.load(here, tmp_path / "model.safetensors")
    generator = torch.Generator().manual_seed(here.params.evaluation.seed)
    drawn = draw_vectors(model, here.corpus.test, here.max_tokens, generator, 1000)
    expected = frechet_distance(drawn.generated, drawn.posterior)
    assert scores["prior_fit"] == pytest.approx(expected, rel=1e-6)
    if diverging:
        assert "prior_fit_longer" not in scores
        return
    long = longer(model.prior, 5).sample(1000, generator)
    expected = frechet_distance(long, drawn.posterior)
    assert scores["prior_fit_longer"] == pytest.approx(expected, rel=1e-6)


class Diverging(StandardNormal):
    """A sampler whose vectors grow beyond all bounds."""

    def __init__(self) -> None:
        super().__init__(2)

    def stage(self, index: int, state: torch.Tensor | None, noise: torch.Tensor) -> torch.Tensor:
        return noise[0] / 0
