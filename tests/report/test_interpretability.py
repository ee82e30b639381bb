"""Symbols against information theory written out and against attributes that they follow by
construction.
"""

import csv
import math
from typing import Any

import numpy as np
import pytest

from ldebm.report import interpretability
from ldebm.report.results import read_results
from ldebm.report.write import write_results


def test_information_of_certain_codes_is_their_entropy_and_of_ignorance_nothing() -> None:
    certain = np.eye(4)[np.arange(8) % 4]
    probs = np.stack([certain, np.full((8, 4), 0.25)], axis=1)
    np.testing.assert_allclose(interpretability.information(probs), [math.log(4), 0], atol=1e-12)


def test_information_by_hand() -> None:
    """Two sentences, p(y|x) = (0.9, 0.1) and (0.5, 0.5).

    H(0.7, 0.3) - (H(0.9, 0.1) + H(0.5, 0.5))/2.
    """
    h = lambda p: -p * math.log(p) - (1 - p) * math.log(1 - p)  # noqa: E731
    probs = np.array([[[0.9, 0.1]], [[0.5, 0.5]]])
    assert interpretability.information(probs)[0] == pytest.approx(h(0.7) - (h(0.9) + h(0.5)) / 2)


@pytest.fixture
def attributes() -> Any:
    topic = np.array(["food", "sport", "food", "sport"])
    return {
        "valid": {"topic": topic},
        "test": {"topic": topic, "tense": np.array(["past", "past", "now", "now"])},
    }


def latents(valid: Any, test: Any) -> dict[str, Any]:
    probs = np.eye(3)[test] * 0.8 + 0.1 * (np.arange(3) != test[..., None])
    return {
        "modes": np.zeros((len(test), 2)),
        "probs": probs,
        "valid_probs": np.eye(3)[valid],
        "codes": test,
    }


def test_the_variable_is_chosen_on_validation_and_scored_on_the_test_split(
    runs: Any, make_params: Any, attributes: Any
) -> None:
    """Variable 1 follows the topic on the validation split.

    On the test split it splits food in two: homogeneous, not complete.
    """
    valid = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    test = np.array([[0, 0], [1, 1], [0, 2], [1, 1]])
    runs.run("gm", latents=latents(valid, test))
    attributes["valid"]["tense"] = np.array(["a", "b", "a", "b"])
    (row,) = interpretability.rows(
        read_results(make_params({"gm": "GM-VAE"}), runs.root), attributes
    )
    assert row["topic_variable"] == 1
    assert row["topic_homogeneity"] == pytest.approx(1)
    assert row["topic_completeness"] == pytest.approx(
        math.log(2) / (1.5 * math.log(2)), abs=1e-3
    )  # H(K) of (¼, ½, ¼) = 1.5 ln 2
    assert (row["variables"], row["values"], row["values_used"]) == (2, 3, 2.5)


def test_what_is_written(runs: Any, make_params: Any, tmp_path: Any) -> None:
    """Of every row with symbols, in table and page; the corpus may lie elsewhere than the runs."""
    runs.judgement("real", 1, 90.0)
    runs.run("lm")
    runs.run("ldebm", latents=latents(np.array([[0]]), np.array([[2], [1]])))
    runs.run("svebm", latents=latents(np.array([[0]]), np.array([[0], [0]])))
    elsewhere, results = tmp_path / "elsewhere", tmp_path / "results"
    elsewhere.mkdir()
    (runs.root / "data").rename(elsewhere / "data")
    params = make_params({"lm": "RNN-LM", "ldebm": "LDEBM", "svebm": "SVEBM-IB"})
    write_results(params, elsewhere, results, runs.root)
    with (results / "interpretability.csv").open() as file:
        other, one = csv.DictReader(file)
    assert (one["model"], one["values_used"]) == ("ldebm", "2.0")
    assert (other["model"], other["values_used"]) == ("svebm", "1.0")
    assert one["topic_v_measure"] == "0.0"  # both sentences have one topic, and a symbol each
    assert other["topic_v_measure"] == "1.0"
    text = (results / "interpretability.md").read_text()
    assert "- **2** (50.0%)\n  - a b\n" in text
    assert "- **1** (50.0%)\n  - b\n" in text
    assert text.count("**0**") == 1
    page = (results / "report.html").read_text()
    for cells in (other, one):
        known = (
            cells["seed"],
            "1",
            "3",
            cells["values_used"],
            f"{float(cells['information']):.2f}",
        )
        line = "".join(f"<td>{cell}</td>" for cell in known)
        measure = f"<td>{float(cells['topic_v_measure']):.2f}</td>"
        assert f'<tr><th scope="row">{cells["row"]}</th>{line}\n{measure}' in page


def test_a_value_shows_those_of_its_own_sentences_that_are_surest_of_it() -> None:
    """Each of 49 values is the likeliest of one sentence; all are as sure of the first value."""
    probs = np.full((49, 1, 49), 0.001)
    probs[:, 0, 0] = 0.4
    probs[np.arange(49), 0, np.arange(49)] = 0.5
    probs[1, 0, 0] = 0.49  # surer of value 0 than most, and of value 1 still
    texts = [f"sentence {place}" for place in range(49)]
    lines = list(interpretability._model_page("one", probs, texts))
    expected = [line for n in range(49) for line in (f"- **{n}** (2.0%)", f"  - sentence {n}")]
    assert lines == ["### one", "", *expected, ""]


def certainties(*sure: float) -> Any:
    """Of 8 sentences a variable a number, each half 0 and half 1, so surely."""
    value = np.arange(8) % 2
    columns = [np.where(np.arange(2) == value[:, None], one, 1 - one) for one in sure]
    return np.stack(columns, axis=1)


def test_the_most_informative_variables_come_first() -> None:
    probs = certainties(0.8, 0.6, 0.99, 0.7)
    lines = interpretability._model_page("one", probs, ["a"] * 8)
    headings = [line.split(",")[0] for line in lines if line.startswith("####")]
    assert headings == [f"#### Variable {n} of 4" for n in (2, 0, 3)]


def test_information_is_that_of_all_variables_together(runs: Any, make_params: Any) -> None:
    """Of certain codes ln 2 each."""
    probs = certainties(1.0, 1.0)
    arrays = {"modes": np.zeros((8, 2)), "codes": probs.argmax(2)}
    runs.run("gm", latents={**arrays, "probs": probs, "valid_probs": probs[:1]})
    (row,) = interpretability.rows(read_results(make_params({"gm": "GM-VAE"}), runs.root), {})
    assert row["information"] == pytest.approx(2 * math.log(2), abs=1e-4)
