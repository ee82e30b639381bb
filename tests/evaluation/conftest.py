"""A corpus written out by hand, and a context around it."""

from pathlib import Path

import pytest
import torch
import yaml

from ldebm import params
from ldebm.context import Context
from ldebm.data.corpus import Corpus, tokenize
from ldebm.runtime.tracking import NoTracker

ROOT = Path(__file__).parents[2]
SPLITS = {
    "train": ["a b c", "b b d e", "a", "c d e f a b", "f f", "d a"],
    "valid": ["b a", "c", "f e d", "a a a a"],
    "test": ["a b c d e f", "b", "c c d", "e f a", "d"],
}
SMALL = {
    "data": {"corpus": "grammar"},
    "run": {"device": "cpu"},
    "sentence_model": {"embedding": 6, "hidden": 6, "max_tokens": 6},
    "judge": {"train_sentences": 4, "valid_sentences": 2},
    "evaluation": {"samples": 9, "sample_batch": 4},
}


@pytest.fixture(scope="session")
def splits() -> dict[str, list[str]]:
    """The corpus."""
    return SPLITS


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """The VAE of params.yaml on the sentences above; at most four words of them reach a model."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for split, lines in SPLITS.items():
        (raw / f"{split}.txt").write_text("".join(f"{line}\n" for line in lines))
    tokenize(raw, tmp_path / "tokens", None)
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    folders = [tmp_path / name for name in ("checkpoints", "out")]
    for folder in folders:
        folder.mkdir()
    settings = params.validate(params.merge(shipped, SMALL), "params.yaml")
    corpus = Corpus.open(tmp_path / "tokens")
    return Context(settings, "vae", 3, corpus, torch.device("cpu"), NoTracker(), *folders)
