"""Reads and validates params.yaml before any job starts.

Every mistake is one line with its path.
"""

import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ldebm import metrics, rows
from ldebm.config import Block, Data, Params, RowConfig
from ldebm.data.download import PTB_SENTENCES
from ldebm.data.files import REAL
from ldebm.errors import UserError

# Keys with alternatives: below them pydantic's paths name the alternative, which is no key.
CHOICES = ("corpus", "training")
JUDGED_ROWS = 3  # words that a column of the judge's text has at least
KINDS = ("stop",)  # keys that tell which other keys their block has
RESERVED = (REAL, "test_set")
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Reader(yaml.SafeLoader):
    """YAML in which a key given twice is a mistake and 1e-3 is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys differ."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key} is given twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


Reader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load(path: Path, overlay: Path | None = None, chosen: Sequence[str] | None = None) -> Params:
    """Read and validate parameters.

    An overlay's values replace those of `path`; its key `*` stands for every entry that has the
    keys below it. A row that is null is left out, and so are those that `rows` does not name;
    `chosen` replaces that list.

    Raises:
        UserError: the file is missing or no YAML, or a key is unknown, missing or of the wrong
            type.

    """
    raw = _read(path, "--params")
    if overlay is not None:
        laid = _read(overlay, "--overlay")
        _check_stars(raw, laid, str(overlay))
        raw = merge(raw, laid)
    if chosen is not None:
        raw["rows"] = list(chosen)
    return validate(raw, str(path) if overlay is None else f"{path} with {overlay}")


def validate(raw: Mapping[str, Any], origin: str) -> Params:
    """Build `Params` from plain data; `origin` names the file in messages."""
    try:
        blocks = raw.get("models")
        typed = dict(raw)
        if isinstance(blocks, Mapping):
            typed["models"] = _model_blocks(_chosen(blocks, raw.get("rows")))
        params = Params.model_validate(typed)
    except ValidationError as error:
        raise UserError(f"{origin}: {_first_line(error)}") from None
    except UserError as error:
        raise UserError(f"{origin}: {error}") from None
    _check_together(params, origin)
    return params


def merge(base: Any, overlay: Any, *, known_only: bool = False) -> Any:
    """`base` with the values of `overlay`.

    Below a key `*` only keys that `base` has are replaced, in every entry of `base`; what the
    overlay says of one entry goes before it, wherever it stands. A block of another kind is
    replaced as a whole.
    """
    if not isinstance(base, Mapping) or not isinstance(overlay, Mapping):
        return overlay
    if any(overlay.get(key, base.get(key)) != base.get(key) for key in KINDS):
        return overlay
    merged = dict(base)
    for key, value in sorted(overlay.items(), key=lambda item: item[0] != "*"):
        for name in list(base) if key == "*" else [key]:
            if name in base:
                merged[name] = merge(merged[name], value, known_only=known_only or key == "*")
            elif not known_only:
                merged[name] = value
    return merged


def _check_stars(base: Any, overlay: Any, origin: str, path: str = "") -> None:
    """Raise UserError for a key below `*` that no entry has."""
    if not isinstance(base, Mapping) or not isinstance(overlay, Mapping):
        return
    for key, value in overlay.items():
        if key == "*":
            _check_held(list(base.values()), value, f"{origin}: {path}*")
        else:
            _check_stars(base.get(key), value, origin, f"{path}{key}.")


def _check_held(entries: Sequence[Any], value: Any, path: str) -> None:
    blocks = [entry for entry in entries if isinstance(entry, Mapping)]
    for key, below in value.items() if isinstance(value, Mapping) else ():
        holders = [block[key] for block in blocks if key in block]
        if not holders:
            near = _nearest(str(key), {str(name) for block in blocks for name in block})
            raise UserError(f"{path}.{key}: no entry has this key; remove it{near}")
        _check_held(holders, below, f"{path}.{key}")


def _nearest(name: str, known: set[str]) -> str:
    """A question that names the nearest right name, or nothing."""
    near = get_close_matches(name, sorted(known), 1)
    return f", or did you mean {near[0]}?" if near else ""


def _read(path: Path, option: str) -> dict[str, Any]:
    try:
        raw = yaml.load(path.read_text(encoding="utf-8-sig"), Reader)
        _check_values(raw)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); name the file with {option}"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is no valid YAML ({' '.join(str(error).split())})") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply") from None
    except (ValueError, AttributeError, LookupError) as error:  # the last two: PyYAML on !!tags
        raise UserError(f"{path}: holds a value that cannot be used ({error})") from None
    if not isinstance(raw, dict):
        raise UserError(
            f"{path}: holds no mapping; the keys {', '.join(Params.model_fields)} belong at its top"
        )
    return raw


def _check_values(value: Any, above: tuple[int, ...] = (), seen: set[int] | None = None) -> None:
    """Raise ValueError for a block that holds itself, and a number too long to be written."""
    seen = set() if seen is None else seen
    if id(value) in above:
        raise ValueError("a block that holds itself")
    if not isinstance(value, (dict, list)):
        str(value)
    elif id(value) not in seen:  # a block may stand in several places, and those in it too
        seen.add(id(value))
        for one in value.values() if isinstance(value, dict) else value:
            _check_values(one, (*above, id(value)), seen)


def _chosen(blocks: Mapping[Any, Any], chosen: Any) -> dict[str, Any]:
    """The blocks that are not null, of those that are chosen (None: all)."""
    kept = {str(key): block for key, block in blocks.items() if block is not None}
    if not isinstance(chosen, list):
        return kept
    for name in map(str, chosen):
        if name not in kept:
            near = _nearest(name.lower().replace("-", "_"), set(kept))
            listed = ", ".join(kept)
            raise UserError(f"rows: {name!r} is no key of models{near or f'; there are: {listed}'}")
    return {key: block for key, block in kept.items() if key in chosen}


def _model_blocks(blocks: Mapping[str, Any]) -> dict[str, RowConfig]:
    return {key: _model_block(key, block) for key, block in blocks.items()}


def _model_block(key: str, block: Any) -> RowConfig:
    if not KEY.fullmatch(key) or key in RESERVED:
        raise UserError(
            f"models.{key}: the name cannot be used; use letters, digits, - and _, and none of "
            f"{', '.join(RESERVED)}"
        )
    row = block.get("row") if isinstance(block, Mapping) else None
    try:
        config = rows.find(row).model_validate(block)
    except ValidationError as error:
        raise UserError(_first_line(error, f"models.{key}.")) from None
    except UserError as error:
        raise UserError(f"models.{key}.row: {error}") from None
    _check_groups(key, config)
    return config


def _check_groups(key: str, config: RowConfig) -> None:
    for name in ("learning_rate", "clip"):
        given = getattr(config.training, name)
        if set(given) != set(config.optimised):
            raise UserError(
                f"models.{key}.training.{name}: gives {', '.join(given)}; "
                f"the row {config.name} has {', '.join(config.optimised)}"
            )
    if getattr(config.training, "energy_average", None) and "energy" not in config.optimised:
        raise UserError(
            f"models.{key}.training.energy_average: the row {config.name} has no energy network; "
            "leave it out"
        )


def _first_line(error: ValidationError, prefix: str = "") -> str:
    """The most telling error: unknown keys first.

    Of a choice, the alternative that went furthest.
    """
    first = min(
        error.errors(), key=lambda one: (one["type"] != "extra_forbidden", -len(one["loc"]))
    )
    parts = [str(part) for part in first["loc"]]
    path = prefix + ".".join(
        part for part, before in zip(parts, ["", *parts], strict=False) if before not in CHOICES
    )
    known = set(_known_keys(Block))
    near = "" if parts[-1] in known else _nearest(parts[-1], known)  # it may belong elsewhere
    reasons = {
        "extra_forbidden": f"unknown key; remove it{near}",
        "missing": "missing; give it a value",
    }
    value = "" if first["type"] in reasons else f" (got {reprlib.repr(first['input'])})"
    return f"{path}: {reasons.get(first['type'], first['msg'])}{value}"


def _known_keys(block: type[Block]) -> Iterator[str]:
    """Every key that any block has."""
    yield from block.model_fields
    for kind in block.__subclasses__():
        yield from _known_keys(kind)


def _check_together(params: Params, origin: str) -> None:
    """What no single key can say."""
    if len(set(params.seeds)) != len(params.seeds):
        raise UserError(
            f"{origin}: seeds: {params.seeds} names a seed twice; remove the repetition"
        )
    try:
        metrics.find(params.metrics)
    except UserError as error:
        raise UserError(f"{origin}: metrics: {error}") from None
    for problem in _impossible(params):
        raise UserError(f"{origin}: {problem}")


def _impossible(params: Params) -> Iterator[str]:
    """What would fail only after training."""
    judge, evaluation, one = params.judge, params.evaluation, params.sentence_model
    if not params.models:
        yield "models: no row is left; give one that is not null"
    for key, block in params.models.items():
        if block.tied and one.embedding != one.hidden:
            yield (
                f"sentence_model.embedding: {one.embedding}, and hidden is {one.hidden}, but of "
                f"models.{key} the output layer is the embedding; set them equal"
            )
    if evaluation.samples < (needed := judge.train_sentences + judge.valid_sentences):
        yield (
            f"evaluation.samples: {evaluation.samples}, and the judge needs "
            f"judge.train_sentences + judge.valid_sentences = {needed}; raise it or lower those"
        )
    samples, chunk = evaluation.likelihood_samples, evaluation.likelihood_chunk
    if samples > chunk and samples % chunk:
        yield (
            f"evaluation.likelihood_samples: {samples} is no multiple of "
            f"evaluation.likelihood_chunk, {chunk}, and all chunks count alike; change one of them"
        )
    longest = one.max_tokens - 1  # of a sampled sentence, with </s>
    for part, batch in (("train", "batch"), ("valid", "valid_batch")):
        count, columns = getattr(judge, f"{part}_sentences"), getattr(judge, batch)
        if count * longest < JUDGED_ROWS * columns:
            yield (
                f"judge.{batch}: {columns}, and {count} sampled sentences (judge.{part}_sentences) "
                f"of at most {longest} tokens do not fill {JUDGED_ROWS} words a column; lower it"
            )
    if known := sizes(params.data):
        yield from _too_small(params, known)


def check_sizes(params: Params, sentences: Mapping[str, int]) -> None:
    """Raise UserError where a corpus of so many sentences in its splits is too small."""
    for problem in _too_small(params, sentences):
        raise UserError(problem)


def _too_small(params: Params, sentences: Mapping[str, int]) -> Iterator[str]:
    held = params.judge.valid_sentences
    if (real := sentences["train"] + min(sentences["valid"], held)) <= held:
        yield (
            f"judge.valid_sentences: {held}, and the corpus has {real} sentences for a judge of "
            "real text to learn from and be validated on; lower it, or take a larger corpus"
        )


def sizes(data: Data) -> dict[str, int]:
    """Sentences in each split; empty where that is not known before the text is read."""
    if data.corpus == "grammar":
        return data.grammar.model_dump(exclude={"seed"})
    return PTB_SENTENCES if data.corpus == "ptb" else {}
