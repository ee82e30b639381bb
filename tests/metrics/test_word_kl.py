import json
import math
from pathlib import Path

import pytest

from ldebm.errors import UserError
from ldebm.metrics.word_kl import word_kl

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "reference_text_scores.json").read_text()
)["word_kl"]


def test_golden_score() -> None:
    score = word_kl(GOLDEN["samples"], GOLDEN["reference"]).score
    assert score == pytest.approx(GOLDEN["word_kl"], rel=1e-9)


def test_closed_form_of_two_words() -> None:
    result = word_kl(["a a a b"], ["a", "b"])
    assert result.score == pytest.approx(0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert result.unknown_words == 0


def test_the_direction_is_from_samples_to_reference() -> None:
    assert word_kl(["a a a b"], ["a b"]).score != pytest.approx(word_kl(["a b"], ["a a a b"]).score)


def test_a_trailing_s_is_split_off_in_both_texts() -> None:
    joined = word_kl(["dog's day dog"], ["cat's dog day's"])
    apart = word_kl(["dog 's day dog"], ["cat 's dog day 's"])
    assert joined.score == apart.score
    # p: dog 1/2, 's 1/4, day 1/4; q: cat 1/5, 's 2/5, dog 1/5, day 1/5
    expected = 0.5 * math.log(0.5 / 0.2) + 0.25 * math.log(0.25 / 0.4) + 0.25 * math.log(0.25 / 0.2)
    assert joined.score == pytest.approx(expected)


def test_an_unknown_word_loses_its_term_and_keeps_its_count() -> None:
    result = word_kl(["a b z z"], ["a b"])
    assert result.score == pytest.approx(
        2 * 0.25 * math.log(0.25 / 0.5)
    )  # z stays in the denominator of p
    assert result.unknown_words == 0.5


def test_the_order_and_the_cut_into_lines_do_not_matter() -> None:
    assert word_kl(["a b", "", "<unk> N a"], ["N <unk>", "a b"]) == word_kl(
        ["a a b N <unk>"], ["a b N <unk>"]
    )


def test_unk_and_n_count() -> None:
    assert word_kl(["<unk> N N"], ["<unk> N"]).score == pytest.approx(
        1 / 3 * math.log(1 / 3 / 0.5) + 2 / 3 * math.log(2 / 3 / 0.5)
    )


def test_identical_texts_score_0() -> None:
    text = ["a b it's", "b <unk> N"]
    assert word_kl(iter(text), iter(text)).score == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(("samples", "reference"), [([], ["a"]), (["a"], []), (["", " "], ["a"])])
def test_a_text_without_words_is_refused(samples: list[str], reference: list[str]) -> None:
    with pytest.raises(UserError, match="words in both texts"):
        word_kl(samples, reference)
