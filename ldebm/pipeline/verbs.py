"""The verbs on a model, in their order: what each calls, asks of the parameters, reads and leaves.

Nothing here imports what a verb needs for its work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldebm.config import Evaluation, RowConfig, TextFiles
from ldebm.data.files import REAL
from ldebm.errors import UserError
from ldebm.outside import file_of, is_outside

if TYPE_CHECKING:
    from ldebm.pipeline.project import Project

Slice = dict[str, Any]  # of the parameters


@dataclass(frozen=True)
class Verb:
    """A verb on a model.

    `call`, MODULE:FUNCTION, gets a context, and of each verb in `reads` the file that is its
    `product`. `asks` is its slice of the parameters, of (project, key, seed), and `code` what it
    depends on beside the module, files or modules, of (project, key).
    """

    kind: str  # the folder of its outputs
    call: str
    asks: Callable[["Project", str, int], Slice]
    code: Callable[["Project", str], list[str]]
    reads: tuple[str, ...] = ()
    product: str = ""

    @property
    def module(self) -> str:
        """Where its function is."""
        return self.call.partition(":")[0]

    @property
    def called(self) -> str:
        """Its product, as those that read it call it."""
        return Path(self.product).stem

    def function(self) -> Callable[..., None]:
        """What does the work, imported."""
        return getattr(import_module(self.module), self.call.partition(":")[2])


def verb_on(name: str, key: str) -> Verb:
    """A verb on a model, or on real text in a model's place."""
    return (ON_REAL if key == REAL else ON_MODEL).get(name, ON_MODEL[name])


def _training(project: "Project", key: str, seed: int) -> Slice:
    training = _block(project, key).training.model_dump(mode="json")
    return {**_model(project, key, seed), "training": training, **_words(project)}


def _sampling(project: "Project", key: str, seed: int) -> Slice:
    return _evaluation(project, key, seed, {"samples", "sample_batch", "seed"})


def _choosing(project: "Project", key: str, seed: int) -> Slice:
    counts = {"train_sentences", "valid_sentences"}
    return {"judge": project.params.judge.model_dump(include=counts)}


def _judging(project: "Project", key: str, seed: int) -> Slice:
    judge = project.params.judge
    return {"judge": {**judge.model_dump(), "precision": project.given(judge.precision)}}


def _scoring(project: "Project", key: str, seed: int) -> Slice:
    return {
        **_model(project, key, seed),
        "judge": project.params.judge.model_dump(include={"train_sentences"}),
        "metrics": project.params.metrics,
    }


def _estimating(project: "Project", key: str, seed: int) -> Slice:
    names = set(Evaluation.model_fields) - {"samples", "sample_batch"}
    return _evaluation(project, key, seed, names)


def _model(project: "Project", key: str, seed: int) -> Slice:
    """What decides a model's shape and weights, but for its training."""
    return {
        "seed": seed,
        "precision": project.given(project.params.run.precision),
        "sentence_model": project.params.sentence_model.model_dump(),
        "model": _block(project, key).model_dump(mode="json", exclude={"training"}),
    }


def _words(project: "Project") -> Slice:
    """How words are made of a user's own text, which a trained model does with sentences."""
    corpus = project.params.data.corpus
    if not isinstance(corpus, TextFiles):
        return {}
    return {"corpus": corpus.model_dump(include={"tokenizer", "lowercase"})}


def _evaluation(project: "Project", key: str, seed: int, names: set[str]) -> Slice:
    settings = project.params.evaluation.model_dump(include=names)
    return {**_model(project, key, seed), "evaluation": settings}


def _block(project: "Project", key: str) -> RowConfig:
    if key not in project.params.models:
        known = ", ".join(project.params.models)
        raise UserError(f"{key!r} is no model of the parameters; there are: {known}")
    return project.params.models[key]


def _row(project: "Project", key: str) -> list[str]:
    block = _block(project, key)
    return [file_of(block.row) if is_outside(block.row) else type(block).__module__]


def _row_and_metrics(project: "Project", key: str) -> list[str]:
    return [*_row(project, key), *map(file_of, project.params.metrics)]


def _nothing(project: "Project", key: str) -> list[str]:
    return []


WEIGHTS, SENTENCES = "model.safetensors", "samples.txt"
ON_MODEL = {
    "train": Verb("models", "ldebm.training.loop:train", _training, _row, product=WEIGHTS),
    "sample": Verb(
        "samples", "ldebm.evaluation.sampling:sample", _sampling, _row, ("train",), SENTENCES
    ),
    "judge": Verb("judgements", "ldebm.evaluation.judging:judge", _judging, _nothing, ("sample",)),
    "evaluate": Verb(
        "evaluations",
        "ldebm.evaluation.scoring:evaluate",
        _scoring,
        _row_and_metrics,
        ("train", "sample"),
    ),
    "likelihood": Verb(
        "likelihoods", "ldebm.evaluation.likelihood:likelihood", _estimating, _row, ("train",)
    ),
}
ON_REAL = {
    "sample": Verb(
        "samples", "ldebm.evaluation.sampling:sample_real", _choosing, _nothing, product=SENTENCES
    ),
    "judge": ON_MODEL["judge"],
}
