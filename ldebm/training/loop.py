"""`ldebm train`: build a model, train it, write its weights, history and a record of the run."""

import csv
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ldebm import build
from ldebm.context import Context
from ldebm.runtime import checkpoint
from ldebm.runtime import device as devices
from ldebm.runtime.provenance import git_commit, package_versions
from ldebm.training.card import describe
from ldebm.training.console import Console
from ldebm.training.trainer import Entry, Trainer


def train(context: Context) -> None:
    """Train the context's model: model.safetensors, history.csv, and what `describe` writes."""
    torch.manual_seed(context.seed)
    trainer = Trainer(context, build.build(context))
    known = _known(context, trainer)
    context.tracker.log_params(
        {name: known[name] for name in ("data", "weights", "device", "versions")}
    )
    console = Console(f"{context.key} seed {context.seed}", trainer.total_steps)

    def report(entry: Entry) -> None:
        console.show(entry)
        values = {name: value for name, value in entry.items() if name != "step"}
        context.tracker.log_metrics(values, step=int(entry["step"]))

    trainer.run(report)
    console.close()
    checkpoint.load(trainer.best_path)  # damaged weights would be taken for a result
    shutil.copyfile(trainer.best_path, context.out / "model.safetensors")
    _write_history(context.out / "history.csv", trainer.progress.history)
    progress = trainer.progress
    outcome = {
        "steps": progress.step,
        "epochs": progress.step / trainer.steps_per_epoch,
        "kept_step": progress.kept_step,
        "stopped": progress.stopped,
        "seconds": progress.seconds,
        "finished": datetime.now(UTC).isoformat(timespec="minutes"),
    }
    describe(context.out, known | outcome, context.corpus.vocabulary)


def _write_history(path: Path, history: list[Entry]) -> None:
    columns = list(dict.fromkeys(name for entry in history for name in entry))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(history)


def _known(context: Context, trainer: Trainer) -> dict[str, Any]:
    """What the record of a run says of it before the first step."""
    params, row = context.params, context.params.models[context.key]
    model, data = trainer.model, {"corpus": params.data.model_dump()["corpus"]}
    data |= {
        "train_sentences": len(context.corpus.train),
        "word_types": len(context.corpus.vocabulary),
    }
    return {
        "model": context.key,
        "row": row.name,
        "seed": context.seed,
        "parameters": row.model_dump(),
        "composition": {
            "source": row.source,
            "posterior": model.posterior.label,
            "prior": model.prior.label,
            "regularisers": ", ".join(one.label for one in model.regularisers) or "-",
        },
        "data": data,
        "sentence_model": params.sentence_model.model_dump(),
        "run": {**params.run.model_dump(), "precision": context.precision},
        "weights": {name: sum(p.numel() for p in group) for name, group in trainer.groups.items()},
        "device": devices.describe(context.device),
        "versions": package_versions(),
        "git_commit": git_commit(),
    }
