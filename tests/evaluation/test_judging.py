"""What the judge is given, by a judge that only takes notes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ldebm.context import Context
from ldebm.data.vocabulary import EOS
from ldebm.evaluation import judging
from ldebm.evaluation.sampling import sample_real
from ldebm.metrics.reverse_perplexity import Judgement
from ldebm.runtime.tracking import NoTracker

Given = dict[str, Any]
Splits = dict[str, list[str]]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """The judge's arguments, filled when it is called."""
    notes: Given = {}
    names = [
        "train",
        "valid",
        "test",
        "vocabulary",
        "eos",
        "settings",
        "seed",
        "device",
        "work",
        "report",
    ]

    def note(*arguments: Any) -> Judgement:
        notes.update(zip(names, arguments, strict=True))
        return Judgement(4.0, 5.0, 2, [{"epoch": 1, "valid_ppl": 5.0}], "by hand")

    monkeypatch.setattr(judging, "reverse_perplexity", note)
    return notes


def lines(context: Context, sentences: Sequence[Any]) -> list[str]:
    return [" ".join(context.corpus.vocabulary.words[i] for i in words) for words in sentences]


def test_the_first_samples_train_the_next_validate_and_the_uncut_test_split_is_scored(
    context: Context, given: Given, splits: Splits, tmp_path: Path
) -> None:
    samples = ["a", "b b", "", "c d e f a b", "d", "e e", "f", "a a"]
    (tmp_path / "samples.txt").write_text("".join(f"{line}\n" for line in samples))
    judging.judge(context, tmp_path / "samples.txt")
    assert lines(context, given["train"]) == samples[:4]
    assert lines(context, given["valid"]) == samples[4:6]
    assert lines(context, given["test"]) == splits["test"]
    assert given["vocabulary"] == len(context.corpus.vocabulary)
    assert given["eos"] == EOS
    assert given["settings"] == context.params.judge
    assert given["seed"] == 141
    assert given["work"] == context.checkpoints


def test_the_judge_of_real_text_learns_training_sentences_and_validates_on_others(
    context: Context, given: Given, splits: Splits
) -> None:
    sample_real(context)
    judging.judge(context, context.out / "samples.txt")
    assert lines(context, given["train"]) == splits["train"][:4]
    assert lines(context, given["valid"]) == splits["valid"][:2]


def test_real_text_that_is_short_is_used_once(
    context: Context, given: Given, splits: Splits
) -> None:
    """Too few to learn from: all there are; too few to validate on: others that are not learned."""
    cases = {
        (9, 2): (splits["train"], splits["valid"][:2]),
        (3, 6): (splits["train"][:3], splits["train"][3:5] + splits["valid"]),
    }
    for (train_sentences, valid_sentences), (train, valid) in cases.items():
        sizes = {"train_sentences": train_sentences, "valid_sentences": valid_sentences}
        judge = context.params.judge.model_copy(update=sizes)
        changed = replace(context, params=context.params.model_copy(update={"judge": judge}))
        sample_real(changed)
        judging.judge(changed, context.out / "samples.txt")
        assert lines(context, given["train"]) == train
        assert lines(context, given["valid"]) == valid


class Notes(NoTracker):
    """A tracker that keeps the metrics."""

    def __init__(self) -> None:
        self.metrics: list[tuple[dict[str, float | None], int]] = []

    def log_metrics(self, metrics: Mapping[str, float | None], step: int) -> None:
        self.metrics.append((dict(metrics), step))


def test_its_scores_and_history_are_kept_and_tracked(context: Context, given: Given) -> None:
    notes = Notes()
    sample_real(context)
    judging.judge(replace(context, tracker=notes), context.out / "samples.txt")
    expected = {"rppl": 4.0, "rppl_valid": 5.0, "best_epoch": 2, "signature": "by hand"}
    assert json.loads((context.out / "scores.json").read_text()) == expected
    assert (context.out / "history.csv").read_text().split() == ["epoch,valid_ppl", "1,5.0"]
    given["report"]({"epoch": 1, "valid_ppl": 5.0, "optimiser": "sgd"})
    assert notes.metrics == [({"rppl": 4.0}, 0), ({"judge_valid_ppl": 5.0}, 1)]


def test_the_judge_says_how_far_it_is_after_every_epoch(
    context: Context, given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(judging.Console, "show", lambda _, *told: said.append(str(told)))
    (tmp_path / "samples.txt").write_text("a\n" * 9)
    judging.judge(context, tmp_path / "samples.txt")
    given["report"]({"epoch": 3, "valid_ppl": 7.125})
    assert said == ["(3, 'valid perplexity 7.12')"]
