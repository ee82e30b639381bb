"""The metrics as columns: what each is computed from, and that names do not clash."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldebm import metrics
from ldebm.data.corpus import Corpus, tokenize
from ldebm.errors import ModelError, UserError
from ldebm.metrics import METRICS
from ldebm.metrics.base import Texts
from ldebm.metrics.bleu import Bleu
from ldebm.metrics.word_kl import WordKl
from ldebm.report.results import published_table

TEXTS = {"train": "a a b c d e\n", "valid": "a\n", "test": "a b c d e e e\nb c d\n"}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    for split, text in TEXTS.items():
        (tmp_path / f"{split}.txt").write_text(text)
    tokenize(tmp_path, tmp_path / "tokens", None)
    return Corpus.open(tmp_path / "tokens")


def test_bleu_is_of_reconstructions_against_cut_sentences(corpus: Corpus) -> None:
    texts = Texts(corpus, 7, ["e"], ["a b c d e", "b c d"])
    assert texts.references == ["a b c d e", "b c d"]
    assert Bleu().compute(texts) == pytest.approx(100)
    assert Bleu().compute(Texts(corpus, 9, ["e"], ["a b c d e", "b c d"])) == pytest.approx(
        100 * math.exp(1 - 10 / 8)  # every n-gram matches, 8 words stand against 10
    )
    assert Bleu().compute(Texts(corpus, 7, ["e"], None)) is None


def test_word_kl_is_from_samples_to_the_uncut_training_text(corpus: Corpus) -> None:
    by_hand = 0.5 * math.log(0.5 / (2 / 6)) + 0.5 * math.log(0.5 / (1 / 6))
    assert WordKl().compute(Texts(corpus, 4, ["a e"], ["b"])) == pytest.approx(by_hand)


def test_the_test_set_stands_uncut_for_samples_and_cut_for_reconstructions(corpus: Corpus) -> None:
    texts = Texts.of_test_set(corpus, 5)
    assert texts.samples == ["a b c d e e e", "b c d"]
    assert texts.reconstructions == texts.references == ["a b c", "b c d"]
    assert Bleu().of_test_set(texts) == 100
    p, q = np.array([1, 2, 2, 2, 3]) / 10, np.array([2, 1, 1, 1, 1]) / 6
    assert WordKl().of_test_set(texts) == pytest.approx((p * np.log(p / q)).sum())


def test_every_printed_column_has_a_metric_and_keys_are_unique() -> None:
    printed = {column for row in published_table().values() for column in row}
    assert {one.published for one in METRICS} == printed
    assert len({one.key for one in METRICS}) == len(METRICS)
    assert {one.limit[0] for one in METRICS if one.limit} == {"rppl_real_text", "wkl", "nll"}


@pytest.mark.parametrize("value", [np.float32(1.5), 1.5, np.float64(1.5)])
def test_what_a_metric_computes_is_a_plain_number(value: Any) -> None:
    found = metrics.scored(Bleu(), value)
    assert (type(found), found) == (float, 1.5)
    assert metrics.scored(Bleu(), None) is None


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        (float("nan"), ModelError, "metric bleu is nan"),
        (np.float32("inf"), ModelError, "metric bleu is inf"),
        ("3", UserError, "metric bleu: computed '3', which is no number"),
    ],
)
def test_what_is_no_score_is_said(value: Any, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        metrics.scored(Bleu(), value)
