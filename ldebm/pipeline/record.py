"""What MLflow is told of a step, beside what the step itself says.

A training has one run, which its other steps add to; a table has one, whose name its models' runs
carry as a tag.
"""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ldebm.data.files import REAL
from ldebm.pipeline.manifest import read_manifest
from ldebm.pipeline.steps import Step
from ldebm.runtime.tracking import NoTracker, Tracker, open_tracker

if TYPE_CHECKING:
    from ldebm.config import Params
    from ldebm.context import Context
    from ldebm.pipeline.project import Project

SETTINGS = ("seeds", "data", "sentence_model", "judge", "evaluation", "metrics")  # of a table


def opened(project: "Project", step: Step) -> Tracker:
    """The run of the training that a step belongs to; sampling has nothing to say there."""
    if step.verb == "sample":
        return NoTracker()
    corpus, row = _corpus(project.params), _row(project.params, step.key)
    tags = {"corpus": corpus, "row": row, "model": step.key, "seed": str(step.seed)}
    identity = None if step.verb == "train" else _identity(project, step.key, step.seed)
    tracker = _tracker(project, step, f"{corpus} {row} seed {step.seed}", tags, identity)
    tracker.log_params(step.parameters)
    return tracker


def texts(project: "Project", step: Step, context: "Context") -> None:
    """The splits that a step works with, by the digests of their texts."""
    tokens = read_manifest(project.tokens().output)
    assert tokens is not None  # the step reads them
    for split in ("train", "valid") if step.verb == "train" else ("test",):
        encoded = getattr(context.corpus, split)
        context.tracker.log_dataset(
            f"{_corpus(project.params)} {split}",
            tokens["inputs"]["raw"][f"{split}.txt"][:16],
            project.raw().output / f"{split}.txt",
            split,
            sentences=len(encoded),
            words=len(encoded.tokens),
        )


def outputs(step: Step, tracker: Tracker, out: Path) -> None:
    """What a step made: of a training the model, of others each file."""
    if step.verb == "train":
        tracker.log_model(out)
    files = (path for path in out.rglob("*") if path.is_file() and path.suffix != ".safetensors")
    for file in sorted(files):
        tracker.log_artifact(file, str(Path(step.verb, file.relative_to(out).parent)))


def opened_table(project: "Project", step: Step) -> Tracker:
    """The run of a table, with its settings."""
    corpus = _corpus(project.params)
    name = f"{corpus} table {step.description()['fingerprint'][:7]}"
    tracker = _tracker(project, step, name, {"corpus": corpus})
    tracker.log_params({key: step.parameters[key] for key in SETTINGS})
    return tracker


def table(project: "Project", step: Step, tracker: Tracker, out: Path) -> None:
    """A table: its means, its text, its files, and the runs that it is made of."""
    from ldebm.report.table import first_table

    means = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    for model, values in means.items():
        tracker.log_metrics({f"{key}/{model}": one for key, one in values.items()}, step=0)
    shown = first_table((out / "table.md").read_text(encoding="utf-8"))
    tracker.set_tags({"mlflow.note.content": "\n".join(shown)})
    outputs(step, tracker, out)
    pairs = [(key, seed) for key in project.params.models for seed in project.params.seeds]
    found = [_identity(project, key, seed) for key, seed in (*pairs, (REAL, 1))]
    tracker.add_members([one for one in found if one is not None])


def _tracker(
    project: "Project", step: Step, name: str, tags: dict[str, str], identity: str | None = None
) -> Tracker:
    here, part = project.root.resolve(), step.description()["fingerprint"]
    experiment = "ldebm" if here == Path.cwd() else f"ldebm-{here.name}"
    return open_tracker(experiment, name, identity or part, tags, part, step.verb)


def _identity(project: "Project", key: str, seed: int | None) -> str | None:
    """The fingerprint of the training; of the real text that of its judgement."""
    kind = "judgements" if key == REAL else "models"
    manifest = read_manifest(project.folder(kind, key, seed))
    return None if manifest is None else str(manifest["fingerprint"])


def _corpus(params: "Params") -> str:
    """What a corpus is called: a user's own by its training file."""
    corpus = params.data.corpus
    return corpus if isinstance(corpus, str) else Path(corpus.train).stem


def _row(params: "Params", key: str) -> str:
    """What a model is called: by its row, and where several have that by its key too."""
    if key == REAL:
        return "real text"
    rows = {name: block.name for name, block in params.models.items()}
    name = rows[key]
    return name if Counter(rows.values())[name] == 1 else f"{name} ({key})"
