"""Annealed importance sampling against closed forms, chains against what they must not change."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ldebm.evaluation.annealed import (
    Annealing,
    Chains,
    LogLikelihood,
    effective,
    log_mean_exp,
    sigmoid_schedule,
)
from ldebm.models.energy import SymbolVectorNet, TimeConditionedNet
from ldebm.models.latent_diffusion import LatentDiffusionPrior
from ldebm.models.priors import Prior, StandardNormal
from ldebm.models.symbol_vector import SymbolVectorPrior
from ldebm.runtime import checkpoint

X, SPREAD = torch.tensor([1.5, -0.4]), 0.8


def flat(prior: SymbolVectorPrior | LatentDiffusionPrior) -> Prior:
    """The prior with F = const."""
    if isinstance(prior.network, SymbolVectorNet):
        torch.nn.init.zeros_(prior.network.layers[-1].weight)
    else:
        weights = prior.network.weights().detach()
        weights.out[0][0].zero_()
        setattr(prior.network, "weights", lambda: weights)  # noqa: B010
    return prior.eval()


def symbol_vector() -> tuple[Prior, float]:
    """SVEBM's sampler without an energy, and the variance of what it generates."""
    variance, step = 1.0, 0.5
    for _ in range(12):
        variance = (1 - step**2 / 2) ** 2 * variance + step**2
    return flat(SymbolVectorPrior(SymbolVectorNet(2, 5, 3), 12, step)), variance


def latent_diffusion() -> tuple[Prior, float]:
    """LDEBM's: the last level pulls to 0, the one below it to where it started."""
    torch.manual_seed(0)
    network = TimeConditionedNet(latent_dim=2, hidden=8, symbols=3, blocks=1, levels=2)
    prior = LatentDiffusionPrior(network, levels=2, steps=3, step_size=0.01)
    schedule, variance = prior.schedule, 1.0
    for level in (1, 0):
        b2 = 0.01 * float(schedule.sigma_bar[level] / schedule.sigma_bar[0])  # in units of σ²
        keep, fresh = 1.0, 0.0  # z̃ = keep · start + N(0, fresh)
        for _ in range(3):
            keep = (1 - b2 / 2) * keep + (b2 / 2 if level == 0 else 0.0)
            fresh = (1 - b2 / 2) ** 2 * fresh + b2 * float(schedule.sigma[level + 1] ** 2)
        variance = (keep**2 * variance + fresh) / float(schedule.a_prev[level + 1] ** 2)
    return flat(prior), variance


def standard() -> tuple[Prior, float]:
    """z = ε."""
    return StandardNormal(2), 1.0


def linear(variance: float, x: Tensor = X) -> LogLikelihood:
    """log N(x; w z, s²) with w = 1/√v, so that x has variance 1 + s²."""
    return lambda z: torch.distributions.Normal(z / math.sqrt(variance), SPREAD).log_prob(x).sum(-1)


MARGINAL = torch.distributions.Normal(0.0, math.sqrt(1 + SPREAD**2))  # of each entry of x
PRIORS = pytest.mark.parametrize("make", [standard, symbol_vector, latent_diffusion])


def annealed(
    made: tuple[Prior, float], temperatures: int, count: int, path: Path, stride: int = 1
) -> Annealing:
    """A pilot run and `count` chains with its step sizes."""
    prior, variance = made
    log_p = linear(variance)
    generator = torch.Generator().manual_seed(1)
    betas = sigmoid_schedule(temperatures)
    pilot = Annealing(Chains.drawn(prior, log_p, 50, generator), betas, None, generator)
    pilot.run(path / "pilot")
    run = Annealing(
        Chains.drawn(prior, log_p, count, generator),
        betas[::stride],
        pilot.deltas[stride - 1 :: stride],
        generator,
    )
    run.run(path / f"run-{stride}")
    return run


@PRIORS
def test_a_linear_decoder_of_a_flat_prior(
    make: Callable[[], tuple[Prior, float]], tmp_path: Path
) -> None:
    """F = 0: z ~ N(0, v I) and x ~ N(0, (1 + s²) I)."""
    prior, variance = make()
    z = prior.sample(100_000, torch.Generator().manual_seed(5))
    assert z.var(0).mean().item() == pytest.approx(variance, rel=0.02)
    exact = MARGINAL.log_prob(X).sum().item()
    run = annealed((prior, variance), 44, 1000, tmp_path)
    weights = (run.log_w - exact).exp()
    error = weights.std().item() / math.sqrt(1000)
    assert error < 0.08
    assert weights.mean().item() == pytest.approx(1, abs=4 * error)
    assert run.log_w.mean().item() < exact  # a single chain is below it in expectation


@PRIORS
@pytest.mark.parametrize("kind", [0, 1, -1])
def test_moves_keep_the_tempered_posterior(
    make: Callable[[], tuple[Prior, float]], kind: int
) -> None:
    """Chains in N(ε; 0, I) p(x | G(ε))^β stay there.

    By the moments of the Gaussian posterior of z.
    """
    prior, variance = make()
    beta, generator = 0.4, torch.Generator().manual_seed(2)
    chains = Chains.drawn(prior, linear(variance), 2000, generator)
    for step in range(40):
        chains.move(beta, step % (1 + len(prior.noise)), 0.6, generator)
    for _ in range(20):
        chains.move(beta, kind % (1 + len(prior.noise)), 0.5, generator)
    precision = 1 + beta / SPREAD**2  # of z/√v
    mean = beta * X / SPREAD**2 / precision
    z = chains.states[-1] / math.sqrt(variance)
    torch.testing.assert_close(z.mean(0), mean, atol=5 / math.sqrt(2000 * precision), rtol=0)
    torch.testing.assert_close(z.var(0), torch.full((2,), 1 / precision), atol=0, rtol=0.15)


@PRIORS
def test_states_are_those_of_the_noise_after_any_moves(
    make: Callable[[], tuple[Prior, float]],
) -> None:
    """A move of a later stage reruns no earlier one.

    What is kept is what a run from the start gives.
    """
    prior, variance = make()
    log_p, generator = linear(variance), torch.Generator().manual_seed(3)
    chains = Chains.drawn(prior, log_p, 30, generator)
    for step in range(40):
        chains.move(0.3, step % (1 + len(prior.noise)), 0.7, generator)
    again = Chains(prior, log_p, chains.noise)
    for kept, rerun in zip(chains.states, again.states, strict=True):
        torch.testing.assert_close(kept, rerun)
    torch.testing.assert_close(chains.log_p, again.log_p)


def test_a_block_move_touches_its_stage_alone() -> None:
    """And of a single vector only a part of the entries."""
    prior, generator = symbol_vector()[0], torch.Generator().manual_seed(3)
    chains = Chains.drawn(prior, linear(1.0), 500, generator)
    before = [one.clone() for one in chains.noise]
    assert chains.move(0.0, 3, 1.0, generator) == 1.0  # at β = 0 all is accepted
    same = [torch.equal(one, other) for one, other in zip(chains.noise, before, strict=True)]
    assert same == [True, True, False]
    chains.move(0.0, 1, 1.0, generator)
    share = (chains.noise[0] != before[0]).double().mean().item()
    assert share == pytest.approx(0.25, abs=0.05)


@PRIORS
def test_bounds_from_both_sides_meet(
    make: Callable[[], tuple[Prior, float]], tmp_path: Path
) -> None:
    """Backwards from exact posterior draws, E 1/ŵ = 1/p(x); here x itself is drawn with ε."""
    prior, variance = make()
    generator = torch.Generator().manual_seed(4)
    deltas = annealed((prior, variance), 60, 1, tmp_path).deltas
    source = Chains.drawn(prior, linear(variance), 500, generator)
    x = source.states[-1] / math.sqrt(variance) + SPREAD * torch.randn(500, 2, generator=generator)

    of_each = linear(variance, x)
    exact = MARGINAL.log_prob(x).sum(-1)
    found = {}
    for backwards in (False, True):
        start = Chains.drawn(prior, of_each, 500, generator)
        if backwards:
            start = Chains(prior, of_each, list(source.noise))
        run = Annealing(start, sigmoid_schedule(60), deltas, generator, backwards=backwards)
        run.run(tmp_path / f"{backwards}")
        found[backwards] = run.log_w - exact
    error = 4 / math.sqrt(500)
    assert found[False].exp().mean().item() == pytest.approx(
        1, abs=error * found[False].exp().std().item()
    )
    inverse = (-found[True]).exp()
    assert inverse.mean().item() == pytest.approx(1, abs=error * inverse.std().item())
    assert -0.5 < found[False].mean().item() < 0 < found[True].mean().item() < 0.5


def test_fewer_temperatures_are_further_below(tmp_path: Path) -> None:
    """The same step sizes, taken by stride: E log ŵ rises with the number of temperatures."""
    few = annealed(symbol_vector(), 80, 1000, tmp_path, stride=4)
    many = annealed(symbol_vector(), 80, 1000, tmp_path)
    assert len(few.accepted) == 19
    assert few.log_w.mean() < many.log_w.mean()


def test_the_pilot_steers_acceptance(tmp_path: Path) -> None:
    run = annealed(latent_diffusion(), 300, 100, tmp_path)
    whole = run.accepted[150::2]  # moves of all noise
    assert 0.2 < whole.mean().item() < 0.45


class KilledError(Exception):
    pass


def killed_at(run: Annealing, limit: int) -> Callable[[], None]:
    """A step that is not survived when `limit` are done."""
    step = run._step

    def stepping() -> None:
        if run.done == limit:
            raise KilledError
        step()

    return stepping


def test_killed_anywhere_it_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior, betas = symbol_vector()[0], sigmoid_schedule(44)

    def new(deltas: Tensor | None) -> Annealing:
        generator = torch.Generator().manual_seed(7)
        return Annealing(Chains.drawn(prior, linear(1.0), 20, generator), betas, deltas, generator)

    for deltas in (None, torch.full((43, 4), 0.4)):
        whole, name = new(deltas), f"{deltas is None}"
        whole.run(tmp_path / f"whole-{name}")
        for limit in (0, 13, 30, 43):
            run = new(deltas)
            monkeypatch.setattr(run, "_step", killed_at(run, limit))
            with pytest.raises(KilledError):
                run.run(tmp_path / f"parts-{name}", every=0.0)
        parts = new(deltas)
        parts.run(tmp_path / f"parts-{name}")
        assert torch.equal(parts.log_w, whole.log_w)
        assert torch.equal(parts.deltas, whole.deltas)
        assert torch.equal(parts.accepted, whole.accepted)


def test_begun_on_another_kind_of_device_it_goes_on_with_other_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prior, path = symbol_vector()[0], tmp_path / "run.safetensors"
    runs = []
    for _ in range(2):
        generator = torch.Generator().manual_seed(7)
        start = Chains.drawn(prior, linear(1.0), 20, generator)
        runs.append(Annealing(start, sigmoid_schedule(44), None, generator))
    begun, other = runs
    monkeypatch.setattr(begun, "_step", killed_at(begun, 13))
    with pytest.raises(KilledError):
        begun.run(path, every=0.0)
    found = checkpoint.newest(path)
    assert found is not None
    tensors, state = found
    of_cuda = {"generator": torch.zeros(16, dtype=torch.uint8)}
    checkpoint.save(path, tensors | of_cuda, state, keep_previous=False)
    other.run(path)
    assert other.done == 44
    assert "made on another kind of device than cpu" in capsys.readouterr().err


def test_schedule_and_means_by_hand() -> None:
    betas = sigmoid_schedule(4, radius=2.0)
    low, high = (1 / (1 + math.exp(2)), 1 / (1 + math.exp(-2)))
    quarter = (1 / (1 + math.exp(1)) - low) / (high - low)
    torch.testing.assert_close(
        betas, torch.tensor([0, quarter, 0.5, 1 - quarter, 1], dtype=torch.float64)
    )
    log_w = torch.tensor([1.0, 3.0]).log()
    assert log_mean_exp(log_w).item() == pytest.approx(math.log(2))
    assert effective(log_w).item() == pytest.approx(16 / 10)
    assert effective(torch.zeros(5)).item() == pytest.approx(5)
