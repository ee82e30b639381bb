"""`ldebm train`: build a model, train it, write its weights, history and a record of the run."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from ldebm.build import build_model
from ldebm.config import Params
from ldebm.data.corpus import Corpus
from ldebm.runtime import device as devices
from ldebm.runtime.provenance import git_commit, package_versions
from ldebm.training.console import Console
from ldebm.training.trainer import Row, Trainer


def train_model(
    params: Params, model: str, seed: int, tokens: Path, work: Path, out: Path, tracker: Any
) -> None:
    """Train `models.<model>` on the corpus in `tokens`; checkpoints live in `work`, and `out` gets model.safetensors, history.csv and run.json."""
    device = devices.choose(params.run.device)
    devices.prepare(device)
    corpus = Corpus.open(tokens)
    torch.manual_seed(seed)
    precision = devices.precision(params.run.precision, device)
    built = build_model(params, model, len(corpus.vocabulary), precision)
    training = params.models[model].training
    trainer = Trainer(
        built,
        corpus,
        training,
        seed=seed,
        max_tokens=params.sentence_model.max_tokens,
        device=device,
        work=work,
    )
    console = Console(f"{model} seed {seed}", trainer.total_steps)

    def report(row: Row) -> None:
        console.show(row)
        tracker.log_metrics(
            {name: value for name, value in row.items() if name != "step"}, step=int(row["step"])
        )

    trainer.run(report)
    console.close()
    shutil.copyfile(trainer.best_path, out / "model.safetensors")
    _write_history(out / "history.csv", trainer.progress.history)
    _write_record(out / "run.json", params, model, seed, precision, trainer)


def _write_history(path: Path, history: list[Row]) -> None:
    columns = list(dict.fromkeys(name for row in history for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(history)


def _write_record(
    path: Path, params: Params, model: str, seed: int, precision: str, trainer: Trainer
) -> None:
    progress = trainer.progress
    record = {
        "model": model,
        "row": params.models[model].name,
        "seed": seed,
        "parameters": params.models[model].model_dump(),
        "sentence_model": params.sentence_model.model_dump(),
        "run": {**params.run.model_dump(), "precision": precision},
        "weights": {name: sum(p.numel() for p in group) for name, group in trainer.groups.items()},
        "steps": progress.step,
        "epochs": progress.step / trainer.steps_per_epoch,
        "kept_step": progress.kept_step,
        "stopped": progress.stopped,
        "seconds": progress.seconds,
        "device": devices.describe(trainer.device),
        "versions": package_versions(),
        "git_commit": git_commit(),
    }
    path.write_text(json.dumps(record, indent=2) + "\n")
