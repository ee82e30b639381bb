"""The verb `likelihood` on estimators that draw a number: its means, and how it goes on."""

import json
import math
import resource
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ldebm import build
from ldebm.context import Context
from ldebm.errors import ModelError
from ldebm.evaluation import likelihood as module

Scores = tuple[dict[str, float], list[int]]


@pytest.fixture
def context(context: Context) -> Context:
    """Four of the five test sentences count."""
    evaluation = context.params.evaluation.model_copy(update={"likelihood_sentences": 4})
    return replace(context, params=context.params.model_copy(update={"evaluation": evaluation}))


def scored(context: Context, work: Path, monkeypatch: pytest.MonkeyPatch) -> Scores:
    """Scores of an estimator that draws a number a sentence, and the sentences it is asked of."""
    called: list[int] = []

    def estimate(model: Any, batch: Any, samples: int, chunk: int, generator: Any) -> Tensor:
        called.append(batch.indices.item())
        return -100 * torch.rand((), generator=generator)

    monkeypatch.setattr(module, "estimators", lambda model: {"nll_published": estimate})
    no_encoder = SimpleNamespace(encoder=None)
    monkeypatch.setattr(build, "load", lambda context, folder: no_encoder)
    work.mkdir(exist_ok=True)
    module.likelihood(replace(context, checkpoints=work), Path())
    return json.loads((context.out / "scores.json").read_text()), called


def test_mean_and_standard_error_over_sentences(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, called = scored(context, tmp_path / "work", monkeypatch)
    lines = (tmp_path / "work/nll_published.txt").read_text().splitlines()
    values = torch.tensor([float(line.split()[0]) for line in lines], dtype=torch.float64)
    assert called == [0, 1, 2, 3]
    assert scores["nll_published"] == pytest.approx(values.mean().item())
    assert scores["nll_published_standard_error"] == pytest.approx(values.std().item() / 2)


def test_without_a_limit_the_whole_test_split_counts(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in (None, 100):
        evaluation = context.params.evaluation.model_copy(update={"likelihood_sentences": limit})
        params = context.params.model_copy(update={"evaluation": evaluation})
        work = tmp_path / str(limit)
        assert scored(replace(context, params=params), work, monkeypatch)[1] == [0, 1, 2, 3, 4]


def test_wherever_the_kept_values_break_off_the_scores_are_the_same(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, _ = scored(context, tmp_path / "whole", monkeypatch)
    kept = (tmp_path / "whole/nll_published.txt").read_text()
    for length in range(len(kept)):
        work = tmp_path / str(length)
        work.mkdir()
        (work / "nll_published.txt").write_text(kept[:length])
        again, called = scored(context, work, monkeypatch)
        assert again == scores
        assert called == list(range(kept[:length].count("\n"), 4))
        assert (work / "nll_published.txt").read_text() == kept


@pytest.mark.parametrize("damage", [b"\0\0\0\0", b"1.0\n", b"1.0 00000000\n", b"\xff"])
def test_kept_values_that_are_damaged_are_estimated_anew(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    """From the first that is; what follows is not believed either."""
    scores, _ = scored(context, tmp_path / "work", monkeypatch)
    file = tmp_path / "work/nll_published.txt"
    first, second, *others = file.read_bytes().splitlines(keepends=True)
    for rest in (damage + b"".join(others), b"".join(others), damage + second):
        file.write_bytes(first + rest)
        assert scored(context, tmp_path / "work", monkeypatch) == (scores, [1, 2, 3])
        assert file.read_bytes() == first + second + b"".join(others)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_estimate_that_is_not_finite_is_no_score(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """Not an empty cell without a word."""
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor(value))
    with pytest.raises(ModelError, match="nll_published is not finite for 4 of 4 test sentences"):
        scored(context, tmp_path / "work", monkeypatch)


def test_kept_values_are_whole_where_nothing_more_can_be_written(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk: they are not written again from the start."""
    scored(context, tmp_path / "work", monkeypatch)
    file = tmp_path / "work/nll_published.txt"
    half = "".join(f"{line}\n" for line in file.read_text().splitlines()[:2])
    file.write_text(half + "-3.")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            scored(context, tmp_path / "work", monkeypatch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_text() == half
