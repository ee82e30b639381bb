import json
import math
from pathlib import Path

import pytest

from ldebm.errors import UserError
from ldebm.metrics.corpus_bleu import corpus_bleu

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "reference_text_scores.json").read_text()
)["bleu"]


def test_golden_score_of_multi_bleu() -> None:
    bleu = corpus_bleu(GOLDEN["hypotheses"], GOLDEN["references"])
    assert bleu.score == pytest.approx(GOLDEN["bleu"], abs=0.0051)  # stated to two decimals


def test_identical_texts_score_100_and_disjoint_ones_0() -> None:
    text = ["a b c d e", "f g h i"]
    assert corpus_bleu(text, text).score == pytest.approx(100)
    assert corpus_bleu(["v w x y z", "v w x y"], text).score == 0


def test_a_small_example_by_hand() -> None:
    # of 6 words 5 match, of 5 pairs 3 (cat is, mat: lost), of 4 triples 2, of 3 quadruples 1; 6
    # words against 7
    bleu = corpus_bleu(["a b c d x f"], ["a b c d e f g"])
    matches = (5 / 6) * (3 / 5) * (2 / 4) * (1 / 3)
    assert bleu.score == pytest.approx(100 * math.exp(1 - 7 / 6) * matches ** (1 / 4))


def test_one_order_without_a_match_makes_the_corpus_0() -> None:
    assert corpus_bleu(["a b c x"], ["a b c d"]).score == 0  # no smoothing


def test_an_empty_hypothesis_shortens_the_corpus() -> None:
    # all n-grams of the first line match; 4 words stand against 4 + 3
    assert corpus_bleu(["a b c d", ""], ["a b c d", "x y z"]).score == pytest.approx(
        100 * math.exp(1 - 7 / 4)
    )
    assert corpus_bleu([""], ["a b c d"]).score == 0


def test_words_are_compared_as_they_stand() -> None:
    # no tokenisation, no lower-casing
    assert corpus_bleu(["it's a 5-4 vote ."], ["it 's a 5-4 vote ."]).score < 100
    assert corpus_bleu(["A b c d"], ["a b c d"]).score == 0


def test_the_signature_says_how() -> None:
    signature = corpus_bleu(["a b c d"], ["a b c d"]).signature
    assert "tok:none" in signature
    assert "smooth:none" in signature


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [(["a"], ["a", "b"], "1 hypotheses and 2"), ([], [], "none")],
)
def test_texts_that_do_not_match_are_refused(
    hypotheses: list[str], references: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        corpus_bleu(hypotheses, references)
