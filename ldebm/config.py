"""Typed parameters: params.yaml is validated here before any job starts, and every mistake is one line with its path."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, create_model

from ldebm import zoo
from ldebm.errors import UserError

CHOICES = (
    "corpus",
    "training",
)  # keys with alternatives: below them pydantic's paths name the alternative, which is no key
RESERVED = ("real", "test_set")
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Block(BaseModel):
    """A mapping of params.yaml: unknown keys are refused, and numbers are not guessed from strings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TextFiles(Block):
    """A user's own corpus: three UTF-8 text files, one sentence a line."""

    train: str
    valid: str
    test: str


class GrammarCorpus(Block):
    """Sizes of the splits drawn from the embedded grammar, in sentences, and the seed they are drawn from."""

    seed: int
    train: PositiveInt
    valid: PositiveInt
    test: PositiveInt


class Data(Block):
    """Which corpus, where it comes from, and how many word types are kept (null: all)."""

    corpus: Literal["ptb", "grammar"] | TextFiles
    source: str | None
    vocabulary_limit: PositiveInt | None
    grammar: GrammarCorpus


class SentenceSettings(Block):
    """Sizes of the encoder and decoder every row shares; `max_tokens` counts <s> and </s>."""

    embedding: PositiveInt
    hidden: PositiveInt
    dropout: Fraction
    max_tokens: Annotated[int, Field(ge=3)]


class Optimisation(Block):
    """Adam's settings. Learning rates and gradient-norm bounds are given for each parameter group of the model.

    Of every `bucket` batches in turn the sentences are sorted by length, which spares padding; 1 shuffles plainly.
    """

    batch: PositiveInt
    bucket: PositiveInt
    learning_rate: dict[str, PositiveFloat]
    clip: dict[str, PositiveFloat]


class PatienceTraining(Optimisation):
    """Validate every so many steps, keep the best, lower the learning rate when it does not improve, stop when patience ends."""

    stop: Literal["patience"]
    validate_every: PositiveInt
    max_validations: PositiveInt
    patience: PositiveInt
    patience_factor: PositiveFloat
    improvement: PositiveFloat
    decay: PositiveFloat
    min_learning_rate: PositiveFloat


class EpochTraining(Optimisation):
    """A fixed number of passes; `select` says whether the last epoch or the one of best validation BLEU is kept."""

    stop: Literal["epochs"]
    epochs: PositiveInt
    select: Literal["last", "valid_bleu"]


Training = Annotated[PatienceTraining | EpochTraining, Field(discriminator="stop")]


class ModelBlock(Block):
    """A row of the table: the zoo's name for it, the arguments of its builder, and how it is trained."""

    row: str
    training: Training

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the row's builder."""
        return {key: getattr(self, key) for key in type(self).model_fields if key not in ModelBlock.model_fields}


class Judge(Block):
    """The language model that scores samples (reverse perplexity); sizes and rates as in AWD-LSTM's code."""

    train_sentences: PositiveInt
    valid_sentences: PositiveInt
    embedding: PositiveInt
    hidden: PositiveInt
    layers: PositiveInt
    dropout: Fraction
    dropouth: Fraction
    dropouti: Fraction
    dropoute: Fraction
    weight_drop: Fraction
    alpha: float
    beta: float
    weight_decay: float
    clip: PositiveFloat
    batch: PositiveInt
    learning_rate: PositiveFloat
    bptt: PositiveInt
    epochs: PositiveInt
    nonmono: PositiveInt
    seed: int


class Evaluation(Block):
    """How many sentences are sampled and how the likelihood is estimated; `likelihood_sentences: null` means the whole test set."""

    samples: PositiveInt
    sample_batch: PositiveInt
    likelihood_samples: PositiveInt
    likelihood_chunk: PositiveInt
    likelihood_sentences: PositiveInt | None
    seed: int


class Run(Block):
    """Where the work is done, and in which arithmetic."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]


class Params(Block):
    """The whole of params.yaml."""

    seeds: Annotated[list[int], Field(min_length=1)]
    data: Data
    sentence_model: SentenceSettings
    models: dict[str, ModelBlock]
    judge: Judge
    evaluation: Evaluation
    run: Run


def load(path: Path, overlay: Path | None = None) -> Params:
    """Read and validate parameters; an overlay's values replace those of `path`, and its key `*` stands for every entry that has the keys below it.

    Raises:
        UserError: the file is missing or no YAML, or a key is unknown, missing or of the wrong type.
    """
    raw = _read(path)
    if overlay is not None:
        raw = merge(raw, _read(overlay))
    return validate(raw, str(path) if overlay is None else f"{path} with {overlay}")


def validate(raw: Mapping[str, Any], origin: str) -> Params:
    """Build `Params` from plain data; `origin` names the file in messages."""
    try:
        blocks = raw.get("models")
        typed = {**raw, "models": _model_blocks(blocks)} if isinstance(blocks, Mapping) else dict(raw)
        params = Params.model_validate(typed)
    except ValidationError as error:
        raise UserError(f"{origin}: {_first_line(error)}") from None
    except UserError as error:
        raise UserError(f"{origin}: {error}") from None
    _check_names(params, origin)
    return params


def merge(base: Any, overlay: Any, *, known_only: bool = False) -> Any:
    """`base` with the values of `overlay`; below a key `*` only keys that `base` has are replaced."""
    if not isinstance(base, Mapping) or not isinstance(overlay, Mapping):
        return overlay
    merged = dict(base)
    for key, value in overlay.items():
        for name in list(base) if key == "*" else [key]:
            if name in base:
                merged[name] = merge(merged[name], value, known_only=known_only or key == "*")
            elif not known_only:
                merged[name] = value
    return merged


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name the parameter file with --params") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is no valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: holds no mapping; the keys {', '.join(Params.model_fields)} belong at its top")
    return raw


def _model_blocks(blocks: Mapping[str, Any]) -> dict[str, ModelBlock]:
    return {key: _model_block(key, block) for key, block in blocks.items()}


def _model_block(key: str, block: Any) -> ModelBlock:
    row = block.get("row") if isinstance(block, Mapping) else None
    if row not in zoo.MODELS:
        raise UserError(f"models.{key}.row: {row!r} is no row of the zoo; known rows: {', '.join(zoo.MODELS)}")
    try:
        typed = _block_type(row).model_validate(block)
    except ValidationError as error:
        raise UserError(_first_line(error, f"models.{key}.")) from None
    _check_groups(key, typed, zoo.MODELS[row].groups)
    return typed


def _check_groups(key: str, block: ModelBlock, groups: tuple[str, ...]) -> None:
    for name in ("learning_rate", "clip"):
        given = getattr(block.training, name)
        if set(given) != set(groups):
            raise UserError(
                f"models.{key}.training.{name}: gives {', '.join(given)}; the row {block.row} has {', '.join(groups)}"
            )


def _block_type(row: str) -> type[ModelBlock]:
    """The typed block of a row, read off its builder: each keyword-only argument is a key."""
    signature = inspect.signature(zoo.MODELS[row].build, eval_str=True)
    fields: dict[str, Any] = {
        name: (argument.annotation, ...)
        for name, argument in signature.parameters.items()
        if argument.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return create_model(f"{zoo.MODELS[row].build.__name__}_block", __base__=ModelBlock, **fields)


def _first_line(error: ValidationError, prefix: str = "") -> str:
    """The most telling error: an unknown key before what it leaves missing, and of a choice the alternative that went furthest."""
    first = min(error.errors(), key=lambda one: (one["type"] != "extra_forbidden", -len(one["loc"])))
    parts = [str(part) for part in first["loc"]]
    path = prefix + ".".join(part for part, before in zip(parts, ["", *parts], strict=False) if before not in CHOICES)
    reasons = {"extra_forbidden": "unknown key; remove it or correct its name", "missing": "missing; give it a value"}
    value = "" if first["type"] in reasons else f" (got {first['input']!r})"
    return f"{path}: {reasons.get(first['type'], first['msg'])}{value}"


def _check_names(params: Params, origin: str) -> None:
    for key in params.models:
        if key in RESERVED:
            raise UserError(f"{origin}: models.{key}: the name is taken by the pipeline; choose another key")
    if len(set(params.seeds)) != len(params.seeds):
        raise UserError(f"{origin}: seeds: {params.seeds} names a seed twice; remove the repetition")
