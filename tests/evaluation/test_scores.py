from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from ldebm import params
from ldebm.data.corpus import Corpus, tokenize
from ldebm.data.grammar import write_corpus
from ldebm.evaluation.scores import likelihoods

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder / "raw", 1, {"train": 20, "valid": 5, "test": 5})
    tokenize(folder / "raw", folder / "tokens", None)
    return Corpus.open(folder / "tokens").test


@pytest.fixture(scope="module")
def settings():
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    return params.validate(
        params.merge(raw, {"evaluation": {"likelihood_sentences": 4}}), "params.yaml"
    ).evaluation


def scored(split, settings, work, monkeypatch):
    """The scores of an estimator that draws a number for each sentence, and the sentences it was called for."""
    called = []

    def estimate(model, batch, samples, chunk, generator):
        called.append(batch.indices.item())
        return -100 * torch.rand((), generator=generator)

    work.mkdir(exist_ok=True)
    monkeypatch.setattr("ldebm.evaluation.scores.estimators", lambda model: {"nll": estimate})
    return likelihoods(SimpleNamespace(), split, settings, 40, torch.device("cpu"), work), called


def test_mean_and_standard_error_over_sentences(split, settings, tmp_path, monkeypatch):
    scores, called = scored(split, settings, tmp_path, monkeypatch)
    values = torch.tensor(
        [float(line) for line in (tmp_path / "nll.txt").read_text().split()], dtype=torch.float64
    )
    assert called == [0, 1, 2, 3]
    assert scores["nll"] == pytest.approx(values.mean().item())
    assert scores["nll_standard_error"] == pytest.approx(values.std().item() / 2)


def test_wherever_the_kept_values_break_off_the_scores_are_the_same(
    split, settings, tmp_path, monkeypatch
):
    scores, _ = scored(split, settings, tmp_path / "whole", monkeypatch)
    kept = (tmp_path / "whole/nll.txt").read_text()
    for length in range(len(kept)):
        work = tmp_path / str(length)
        work.mkdir()
        (work / "nll.txt").write_text(kept[:length])
        again, called = scored(split, settings, work, monkeypatch)
        assert again == scores
        assert called == list(range(kept[:length].count("\n"), 4))
        assert (work / "nll.txt").read_text() == kept
