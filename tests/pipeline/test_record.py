"""What MLflow is told of a step, against the files that the step works with."""

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from shipped import shipped_parameters

from ldebm import params as parameters
from ldebm.data.corpus import Corpus
from ldebm.pipeline import record, steps
from ldebm.pipeline.manifest import read_manifest
from ldebm.pipeline.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A drawn corpus, and nothing trained."""
    raw = shipped_parameters()
    raw["data"] |= {"corpus": "grammar"}
    raw["data"]["grammar"] |= {"train": 30, "valid": 5, "test": 7}
    raw["judge"] |= {"train_sentences": 10, "valid_sentences": 2, "batch": 2}
    made = Project(parameters.validate(raw, "test"), tmp_path)
    for step in (made.raw(), made.tokens()):
        steps.run(step)
    return made


@pytest.mark.parametrize(
    ("verb", "expected"), [("train", {"train": 30, "valid": 5}), ("evaluate", {"test": 7})]
)
def test_a_step_tells_the_texts_that_it_works_with(
    project: Project, verb: str, expected: dict[str, int]
) -> None:
    told: dict[str, tuple[str, str, int]] = {}

    def log(name: str, digest: str, source: Path, use: str, *, sentences: int, words: int) -> None:
        assert words == len(source.read_text().split())
        told[use] = (name, digest, sentences)

    corpus = Corpus.open(project.tokens().output)
    context: Any = SimpleNamespace(corpus=corpus, tracker=SimpleNamespace(log_dataset=log))
    record.texts(project, project.step(verb, "vae", 1), context)
    texts = {split: project.raw().output / f"{split}.txt" for split in expected}
    assert told == {
        split: (
            f"grammar {split}",
            hashlib.sha256(texts[split].read_bytes()).hexdigest()[:16],
            sentences,
        )
        for split, sentences in expected.items()
    }


def test_what_is_scored_goes_to_the_run_of_its_training(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def open_tracker(*details: Any) -> Any:
        asked.append(details)
        return SimpleNamespace(log_params=lambda params: None)

    def work(checkpoints: Path, out: Path) -> None:
        for name in ("model.safetensors", "samples.txt"):
            (out / name).write_text(name)

    for step in (project.step("train", "vae", 1), project.step("sample", "vae", 1)):
        steps.run(replace(step, work=work))
    monkeypatch.setattr(record, "open_tracker", open_tracker)
    for step in (project.step("train", "vae", 1), project.step("evaluate", "vae", 1)):
        record.opened(project, step)
    trained = read_manifest(project.step("train", "vae", 1).output)
    assert trained is not None
    tags = {"corpus": "grammar", "row": "VAE", "model": "vae", "seed": "1"}
    assert [details[3] for details in asked] == [tags] * 2
    identities = [details[2] for details in asked]
    parts = [details[4] for details in asked]
    assert identities == [trained["fingerprint"]] * 2
    assert parts[0] == trained["fingerprint"] != parts[1]


def test_a_table_is_noted_without_what_stands_below_it(project: Project, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"vae": {"bleu": 2.0}}')
    text = "# Results\n\n| Model | BLEU |\n| :-- | --: |\n| VAE | 2 |\n\n- note\n\n| Row | NLL |\n"
    (tmp_path / "table.md").write_text(text)
    tags: dict[str, str] = {}
    tracker: Any = SimpleNamespace(
        log_metrics=lambda values, step: None,
        set_tags=tags.update,
        log_artifact=lambda path, folder: None,
        add_members=lambda members: None,
    )
    record.table(project, project.table(), tracker, tmp_path)
    assert tags == {"mlflow.note.content": "| Model | BLEU |\n| :-- | --: |\n| VAE | 2 |"}
