"""NLL of a part of the test sentences, carried over to all of them: by hand, and over all parts."""

import json
import statistics
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from ldebm.data.corpus import tokenize
from ldebm.errors import UserError
from ldebm.report.sentences import carried_over, paired, read_sentences
from ldebm.report.write import write_results


def test_columns_by_sentence(tmp_path: Path) -> None:
    path = tmp_path / "sentences.csv"
    assert read_sentences(path) == {}
    path.write_text("sentence,nll,nll_importance\n7,1.5,2.5\n3,4.0,5.0\n")
    assert read_sentences(path) == {
        "nll": {"7": 1.5, "3": 4.0},
        "nll_importance": {"7": 2.5, "3": 5.0},
    }
    path.write_text("sentence\n7\n")
    assert read_sentences(path) == {}


@pytest.mark.parametrize(
    "text", ["number,nll\n7,1.5\n", "sentence,nll\n7\n", "sentence,nll\n7,x\n"]
)
def test_a_damaged_table_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sentences.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=r"sentences.csv is damaged: .*; run the step .* again"):
        read_sentences(path)


def test_pairs_are_of_the_sentences_of_both() -> None:
    assert paired({"1": 2.0}, {"1": 1.0}) is None
    found = paired({"1": 2.0, "2": 5.0, "8": 100.0}, {"2": 1.0, "1": 1.0, "9": 0.0})
    assert found == (pytest.approx(2.5), pytest.approx(1.5), 2)


def test_over_all_parts_the_estimate_is_the_mean_of_all() -> None:
    """Unbiased, whatever the reference; and its error is that of the difference."""
    every = {"0": 3.0, "1": 8.0, "2": 1.0, "3": 20.0, "4": 5.0}
    reference = {"0": 4.0, "1": 6.0, "2": 2.0, "3": 15.0, "4": 9.0}
    found = []
    for part in combinations(every, 3):
        known = carried_over({number: every[number] for number in part}, reference)
        assert known is not None
        differences = [every[number] - reference[number] for number in part]
        assert known[1] == pytest.approx(statistics.stdev(differences) / 3**0.5)
        found.append(known[0])
    assert statistics.fmean(found) == pytest.approx(statistics.fmean(every.values()))
    assert carried_over({"0": 3.0}, reference) is None  # no difference has an error of one sentence


@pytest.fixture
def three_sentences(runs: Any) -> Any:
    """Of which RNN-LM knows all, VAE the first two, and the source is known too."""
    raw = runs.root / "data/raw"
    (raw / "test.txt").write_text("a b\nb\nb c\n")
    (raw / "test.attributes.csv").write_text("topic,log_prob\nx,-2\nx,-3.5\nx,-5\n")
    tokenize(raw, runs.root / "data/tokens", None)
    for key, text in {
        "vae": "sentence,nll,nll_importance\n1,21,22\n0,12,12.5\n",
        "rnn_lm": "sentence,nll\n0,10\n1,20\n2,60\n",
    }.items():
        scores = {"nll": 16.5, "nll_standard_error": 4.5, "nll_importance": 17.25}
        exact = {"nll": 30.0, "nll_standard_error": 15.0}
        runs.run(key, scores=scores if key == "vae" else exact)
        (runs.folder("likelihoods", key, 1) / "sentences.csv").write_text(text)
    return runs


def table_of(runs: Any, make_params: Any, rows: dict[str, str], taken: int) -> str:
    """The table of `rows` whose likelihood is of so many sentences."""
    annealed = {"sentences": taken, "chains": 2, "temperatures": 8, "simulated": 1}
    params = make_params(rows, evaluation={"annealed": annealed, "seed": 1})
    write_results(params, runs.root, runs.root)
    return (runs.root / "table.md").read_text(encoding="utf-8")


def test_the_table_speaks_of_all_test_sentences(three_sentences: Any, make_params: Any) -> None:
    text = table_of(three_sentences, make_params, {"rnn_lm": "RNN-LM", "vae": "VAE"}, 2)
    assert "| RNN-LM | 300.00 |" in text
    assert "| 30.00 |" in text  # exact: no error
    assert "| 31.50 ± 0.50 s.e. | 32.25 ± 0.25 s.e. |" in text
    assert "the same 2 of 3 test sentences" in text
    assert "stand for all 3 test sentences: the mean difference to RNN-LM" in text
    means = json.loads((three_sentences.root / "metrics.json").read_text())
    assert means["vae"]["nll"] == pytest.approx(31.5)
    assert means["test_set"]["nll"] == pytest.approx(3.5)  # the source's, of all three


def test_without_a_row_that_knows_all_it_speaks_of_a_part(
    three_sentences: Any, make_params: Any
) -> None:
    text = table_of(three_sentences, make_params, {"vae": "VAE"}, 2)
    assert "| 16.50 ± 4.50 s.e. | 17.25 |" in text
    assert "stand for all" not in text
    assert "the standard error over sentences; that of a difference" in text


def test_where_all_are_taken_nothing_is_carried_over(
    three_sentences: Any, make_params: Any
) -> None:
    text = table_of(three_sentences, make_params, {"rnn_lm": "RNN-LM", "vae": "VAE"}, 3)
    assert "| 30.00 ± 15.00 s.e. |" in text
    assert "| 16.50 ± 4.50 s.e. | 17.25 |" in text
    assert "stand for all" not in text
