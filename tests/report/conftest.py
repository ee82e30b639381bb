"""A hand-made corpus and hand-made runs: what the pipeline would have left."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shipped import shipped_parameters

from ldebm import params as parameters
from ldebm.config import Params
from ldebm.data.corpus import tokenize

TEXTS = {"train": "a a b\nb c\n", "valid": "a\n", "test": "a b\nb\n"}
LOG_PROBS = (-2.0, -3.5)
HISTORY = (
    {"step": 50, "epoch": 0.5, "reconstruction": 20.0, "loss": 20.0, "seconds": 1.0},
    {
        "step": 100,
        "epoch": 1.0,
        "reconstruction": 12.0,
        "kl": 3.0,
        "loss": 15.0,
        "valid_loss": 14.0,
        "seconds": 2.0,
    },
    {
        "step": 200,
        "epoch": 2.0,
        "reconstruction": 9.0,
        "kl": 2.0,
        "loss": 11.0,
        "valid_loss": 12.5,
        "seconds": 4.0,
    },
)


class Runs:
    """Writes into `root` what the verbs would leave there."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def corpus(self) -> None:
        """The texts above, tokenised, with the exact log-probabilities of the test sentences."""
        raw = self.root / "data" / "raw"
        raw.mkdir(parents=True)
        for split, text in TEXTS.items():
            (raw / f"{split}.txt").write_text(text)
        (raw / "test.attributes.csv").write_text(
            "topic,log_prob\n" + "".join(f"x,{value}\n" for value in LOG_PROBS)
        )
        (raw / "valid.attributes.csv").write_text("topic,log_prob\nx,-1.0\n")
        tokenize(raw, self.root / "data" / "tokens", None)

    def judgement(self, model: str, seed: int, rppl: float) -> None:
        """A judge's scores."""
        self.json(
            "judgements",
            model,
            seed,
            "scores.json",
            {"rppl": rppl, "best_epoch": 3, "signature": "judge|v1"},
        )

    def run(
        self,
        model: str,
        seed: int = 1,
        *,
        rppl: float = 300.0,
        scores: Mapping[str, float] | None = None,
        record: Mapping[str, Any] | None = None,
        history: Sequence[Mapping[str, float]] = HISTORY,
        latents: Mapping[str, Any] | None = None,
    ) -> None:
        """Everything of one training; `latents` None: a model without an encoder."""
        defaults = {
            "weights": {"sentence": 1000, "energy": 23},
            "seconds": 90.0,
            "epochs": 2.0,
            "kept_step": 200,
        }
        self.json(
            "models",
            model,
            seed,
            "run.json",
            {**defaults, "device": "CPU, 2 threads", **(record or {})},
        )
        self.judgement(model, seed, rppl)
        self.json(
            "evaluations",
            model,
            seed,
            "scores.json",
            {"bleu": 5.0, "wkl": 0.25} if scores is None else scores,
        )
        self.json("likelihoods", model, seed, "scores.json", {})
        with (self.folder("models", model, seed) / "history.csv").open("w", newline="") as file:
            writer = csv.DictWriter(
                file, list(dict.fromkeys(name for row in history for name in row)), restval=""
            )
            writer.writeheader()
            writer.writerows(history)
        if latents is not None:
            np.savez_compressed(self.folder("evaluations", model, seed) / "latents.npz", **latents)

    def failed(self, kind: str, model: str, seed: int, step: str, reason: str) -> None:
        """A verb that failed of its model."""
        self.json(kind, model, seed, "failed.json", {"step": step, "reason": reason})

    def folder(self, kind: str, model: str, seed: int) -> Path:
        """Where a verb writes."""
        return self.root / kind / model / f"seed{seed}"

    def json(self, kind: str, model: str, seed: int, name: str, values: Mapping[str, Any]) -> None:
        """Write a mapping."""
        folder = self.folder(kind, model, seed)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(values))


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A corpus and the judgement of real text; the models' runs are for the test to write."""
    made = Runs(tmp_path)
    made.corpus()
    made.judgement("real", 1, 42.125)
    return made


def make_params(
    rows: Mapping[str, str], *, corpus: str = "grammar", seeds: Sequence[int] = (1,), **changes: Any
) -> Params:
    """params.yaml with a model of the given row name under each key, and `evaluation` or `judge`
    changed as told.
    """
    raw = shipped_parameters()
    raw["seeds"] = list(seeds)
    raw["data"]["corpus"] = corpus
    raw["models"] = {"vae": raw["models"]["vae"]}
    for block, values in changes.items():
        raw[block] |= values
    loaded = parameters.validate(raw, "test")
    vae = loaded.models["vae"]
    blocks = {key: vae.model_copy(update={"row": row}) for key, row in rows.items()}
    return loaded.model_copy(update={"models": blocks})


@pytest.fixture(name="make_params", scope="session")
def _make_params() -> Any:
    return make_params
