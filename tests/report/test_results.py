"""What is read of the runs, against what was put there by hand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldebm.errors import UserError
from ldebm.report.results import Statistic, published_table, read_results

PUBLISHED_ORDER = [
    "TEST SET", "RNN-LM", "AE", "VAE", "DAE", "DVAE", "DI-VAE", "SEMI-VAE", "SEMI-VAE + I",
    "GM-VAE", "GM-VAE + I", "DGM-VAE", "DGM-VAE + I", "SVEBM", "SVEBM-IB", "LDEBM w/o GC", "LDEBM",
]  # fmt: skip


def test_the_published_table_has_all_rows_in_order_and_leaves_out_what_was_not_printed() -> None:
    table = published_table()
    assert list(table) == PUBLISHED_ORDER
    assert table["RNN-LM"] == {"nll": 101.21}
    assert table["TEST SET"] == {"bleu": 100.0, "wkl": 0.14}
    assert table["LDEBM"] == {"rppl": 164.57, "bleu": 11.16, "wkl": 0.06, "nll": 82.38}


def test_rows_stand_in_published_order_then_in_that_of_the_parameters(
    runs: Any, make_params: Any
) -> None:
    rows = {
        "new_b": "Toy B",
        "ldebm": "LDEBM",
        "small": "VAE",
        "new_a": "Toy A",
        "vae": "VAE",
        "lm": "RNN-LM",
    }
    for model in rows:
        runs.run(model)
    found = read_results(make_params(rows), runs.root)
    assert [result.model for result in found.models] == [
        "lm",
        "small",
        "vae",
        "ldebm",
        "new_b",
        "new_a",
    ]
    labels = ["RNN-LM", "VAE (small)", "VAE (vae)", "LDEBM", "Toy B", "Toy A"]
    assert [result.label for result in found.models] == labels


def test_a_run_is_read_whole(runs: Any, make_params: Any) -> None:
    modes = np.arange(6.0).reshape(3, 2)
    runs.run("vae", 7, rppl=310.5, scores={"bleu": 4.0, "nll": 99.0}, latents={"modes": modes})
    (result,) = read_results(make_params({"vae": "VAE"}, seeds=[7]), runs.root).models
    (run,) = result.runs
    assert run.seed == 7
    assert run.scores == {"rppl": 310.5, "best_epoch": 3.0, "bleu": 4.0, "nll": 99.0}
    assert run.record["kept_step"] == 200
    np.testing.assert_array_equal(run.history["step"], [50, 100, 200])
    np.testing.assert_array_equal(run.history["valid_loss"], [math.nan, 14.0, 12.5])
    np.testing.assert_array_equal(run.latents["modes"], modes)


def test_what_is_not_finite_counts_as_absent(runs: Any, make_params: Any) -> None:
    runs.run("vae", scores={"bleu": 0.0, "nll": math.nan, "wkl": math.inf})
    (result,) = read_results(make_params({"vae": "VAE"}), runs.root).models
    assert result.statistic("bleu") == Statistic(0.0, None)
    assert result.statistic("nll") is result.statistic("wkl") is None


def test_the_test_set_is_scored_by_hand(runs: Any, make_params: Any) -> None:
    found = read_results(make_params({}), runs.root)
    wkl = 1 / 3 * math.log(5 / 6) + 2 / 3 * math.log(10 / 6)  # p = (1, 2, 0) / 3, q = (2, 2, 1) / 5
    assert found.test_set == {
        "bleu": 100.0,
        "wkl": pytest.approx(wkl),
        "nll": pytest.approx(2.75),
        "rppl_real_text": 42.125,
    }
    assert list(map(len, (found.corpus.train, found.corpus.valid, found.corpus.test))) == [2, 1, 2]


@pytest.mark.parametrize(("seed", "expected"), [(1, 2.0), (3, 3.5)])  # the first, the second
def test_the_exact_nll_is_of_the_sentences_that_the_models_are_scored_on(
    runs: Any, make_params: Any, seed: int, expected: float
) -> None:
    one = {"sentences": 1, "chains": 2, "temperatures": 8, "simulated": 1}
    params = make_params({}, evaluation={"annealed": one, "seed": seed})
    assert read_results(params, runs.root).test_set["nll"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"corpus": "ptb"},
        {"sentence_model": {"max_tokens": 3}},
        {"data": {"corpus": "grammar", "vocabulary_limit": 2}},
    ],
)
def test_no_exact_nll_where_the_source_is_unknown_or_altered(
    runs: Any, make_params: Any, changes: Any
) -> None:
    assert "nll" not in read_results(make_params({}, **changes), runs.root).test_set


def test_printed_numbers_are_only_set_beside_treebank_runs(runs: Any, make_params: Any) -> None:
    assert read_results(make_params({}, corpus="ptb"), runs.root).published == published_table()
    assert read_results(make_params({}, corpus="grammar"), runs.root).published == {}


@pytest.mark.parametrize(
    "file",
    [
        "models/vae/seed2/run.json",
        "models/vae/seed2/history.csv",
        "judgements/vae/seed2/scores.json",
        "judgements/real/seed1/scores.json",
        "evaluations/vae/seed2/scores.json",
        "data/tokens/train.tokens.npy",
        "data/raw/test.attributes.csv",
    ],
)
def test_a_missing_file_is_named(runs: Any, make_params: Any, file: str) -> None:
    for seed in (1, 2):
        runs.run("vae", seed)
    Path(runs.root, file).unlink()
    with pytest.raises(UserError, match="is missing; run") as error:
        read_results(make_params({"vae": "VAE"}, seeds=[1, 2]), runs.root)
    assert str(runs.root / file) in str(error.value)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("models/vae/seed1/run.json", "{"),
        ("evaluations/vae/seed1/scores.json", "[1]"),
        ("models/vae/seed1/history.csv", ""),
        ("models/vae/seed1/history.csv", "step,loss\n1,high\n"),
        ("models/vae/seed1/history.csv", "step,loss\n1\n"),
        ("data/raw/test.attributes.csv", "topic\nx\n"),
        ("evaluations/vae/seed1/latents.npz", "PK"),
        ("likelihoods/vae/seed1/vectors.npz", ""),
    ],
)
def test_a_damaged_file_is_named(runs: Any, make_params: Any, file: str, text: str) -> None:
    runs.run("vae")
    Path(runs.root, file).write_text(text)
    with pytest.raises(UserError, match="is damaged") as error:
        read_results(make_params({"vae": "VAE"}), runs.root)
    assert str(runs.root / file) in str(error.value)
