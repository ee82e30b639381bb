"""What the runs left behind, as plain values; only the TEST SET row is computed here."""

import csv
import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ldebm import metrics
from ldebm.config import Params
from ldebm.data.corpus import Corpus, Split, subset
from ldebm.data.files import REAL, Failure, run_folder
from ldebm.errors import UserError
from ldebm.metrics.base import Metric, Texts
from ldebm.report.sentences import Values, carried_over, read_sentences

SCORED = ("judgements", "evaluations", "likelihoods")  # folders that hold a scores.json
# A step has looked at its inputs before, and names the command; this is for who calls by hand.
REMEDY = "run the step that makes it"
TEST_SET = "TEST SET"
Scores = dict[str, float]


@dataclass(frozen=True)
class Statistic:
    """Mean over seeds and sample standard deviation (None for a single seed)."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Statistic | None":
        """None where there is no value."""
        if not values:
            return None
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    def text(self, decimals: int) -> str:
        """`mean ± sd`, or the mean alone."""
        spread = "" if self.sd is None else f" ± {self.sd:.{decimals}f}"
        return f"{self.mean:.{decimals}f}{spread}"


@dataclass(frozen=True, eq=False)
class SeedRun:
    """One training of a model: finite scores, record, history and latents.

    `sentences` are those of the likelihoods that are known of single ones. Of the history an array
    a column, NaN where a cell is empty; a model without an encoder has no latents.
    """

    seed: int
    scores: Scores
    sentences: Mapping[str, Values]
    record: Mapping[str, Any]
    history: Mapping[str, NDArray[np.float64]]
    latents: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class ModelResult:
    """A row of the table: its name there, its key, a label that no other row has, a run a seed.

    A seed whose training failed has no run; `failures` tells why, and what else failed of the row.
    """

    row: str
    model: str
    label: str
    runs: tuple[SeedRun, ...]
    failures: tuple[Failure, ...] = ()

    def values(self, metric: str) -> list[float]:
        """A metric's value of every seed that has one."""
        return [run.scores[metric] for run in self.runs if metric in run.scores]

    def statistic(self, metric: str) -> Statistic | None:
        """Over the seeds that have a value of the metric; None where none has."""
        return Statistic.of(self.values(metric))

    def sign(self, metric: Metric) -> str:
        """What stands before the metric's value: "≤ " where it is only a bound."""
        return "≤ " if metric.bound and any(self.values(metric.bound)) else ""

    def mean(self, name: str) -> float:
        """Over the seeds, of a number in the record of the run; there must be one."""
        return statistics.fmean(run.record[name] for run in self.runs)


@dataclass(frozen=True, eq=False)
class Results:
    """All rows in the order of the table; `published`: the printed numbers by row, if any compare.

    `reference` is the label of the row whose exact NLL carries that of others over to the whole
    test split, if there is one.
    """

    corpus: Corpus
    metrics: tuple[Metric, ...]
    test_set: Scores
    models: tuple[ModelResult, ...]
    published: Mapping[str, Scores]
    reference: str | None

    @cached_property
    def trained(self) -> tuple[ModelResult, ...]:
        """The rows of which there is a model."""
        return tuple(one for one in self.models if one.runs)

    @cached_property
    def scored(self) -> frozenset[str]:
        """Keys of the metrics that any model has a value of."""
        keys = (one.key for one in self.metrics)
        return frozenset(key for key in keys if any(one.statistic(key) for one in self.models))

    def printed(self, result: ModelResult) -> Scores:
        """The printed numbers of a row by metric: of several with one column, the last scored."""
        numbers: Scores = {}
        for column, number in self.published.get(result.row, {}).items():
            keys = [one.key for one in self.metrics if one.published == column]
            numbers[([key for key in keys if result.statistic(key)] or keys)[-1]] = number
        return numbers


def read_results(params: Params, root: Path, runs: Path | None = None) -> Results:
    """Everything the report shows of the models in `params`.

    The corpus is below `root`, what the models left below `runs` (default: there too).

    Raises:
        UserError: a file is missing; names it.
    """
    corpus, runs = Corpus.open(root / "data" / "tokens"), runs or root
    models = tuple(_read_model(params, runs, key, label) for key, label in _labels(params).items())
    printed = published_table() if params.data.corpus == "ptb" else {}
    shown = metrics.find(params.metrics)
    test_set = _test_set(params, corpus, shown)
    reference, exact = _reference(params, models, len(corpus.test))
    test_set |= _limits(params, root, runs, corpus, whole=reference is not None)
    if reference is not None:
        models = tuple(_carried_over(one, exact) for one in models)
    return Results(corpus, shown, test_set, models, printed, reference)


def published_table() -> dict[str, Scores]:
    """The printed numbers by row, in the printed order; a metric that a row lacks is left out."""
    text = (files("ldebm.report") / "published.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {
        row.pop("model"): {metric: float(value) for metric, value in row.items() if value}
        for row in rows
    }


def _labels(params: Params) -> dict[str, str]:
    """A label a model, in the published order, then that of params.yaml; unique by the key."""
    order = {row: place for place, row in enumerate(published_table())}
    rows = {key: block.name for key, block in params.models.items()}
    count = Counter(rows.values())
    ordered = sorted(rows, key=lambda key: order.get(rows[key], len(order)))  # stable
    return {key: rows[key] if count[rows[key]] == 1 else f"{rows[key]} ({key})" for key in ordered}


def _read_model(params: Params, root: Path, model: str, label: str) -> ModelResult:
    failures: list[Failure] = []
    runs = [_read_run(root, model, seed, failures) for seed in params.seeds]
    known = tuple(run for run in runs if run is not None)
    return ModelResult(
        params.models[model].name, model, label, known, tuple(dict.fromkeys(failures))
    )


def _read_run(root: Path, model: str, seed: int, failures: list[Failure]) -> SeedRun | None:
    """What there is of a training; None where it failed. Why, and what else failed, is added."""
    kinds = ("models", "samples", *SCORED)
    folders = {kind: run_folder(root, kind, model, seed) for kind in kinds}
    failed = {kind: one for kind in kinds if (one := Failure.read(folders[kind]))}
    failures += failed.values()
    if "models" in failed:
        return None
    record = _read_json(folders["models"] / "run.json")
    history = _read_history(folders["models"] / "history.csv")
    scores: Scores = {}
    for kind in SCORED:
        if kind not in failed:
            scores |= _finite(_read_json(folders[kind] / "scores.json"))
    latents = _read_latents(folders["evaluations"] / "latents.npz")
    latents |= _read_latents(folders["likelihoods"] / "vectors.npz")
    known = read_sentences(folders["likelihoods"] / "sentences.csv")
    return SeedRun(seed, scores, known, record, history, latents)


def _reference(
    params: Params, models: Sequence[ModelResult], count: int
) -> tuple[str | None, Values]:
    """The first row whose NLL is known of all `count` test sentences, others' being of a part.

    None: there is no such row.
    """
    if params.evaluation.annealed.sentences >= count:
        return None, {}
    known = ((one.label, run.sentences.get("nll", {})) for one in models for run in one.runs)
    return next(((label, exact) for label, exact in known if len(exact) == count), (None, {}))


def _carried_over(result: ModelResult, exact: Values) -> ModelResult:
    """The row with its NLL of the whole test split, `exact` being that of the reference."""

    def scores(run: SeedRun) -> Scores:
        found = dict(run.scores)
        for name, own in run.sentences.items():
            if len(own) == len(exact):  # nothing is estimated
                found.pop(f"{name}_standard_error", None)
            elif known := carried_over(own, exact):
                found[name], found[f"{name}_standard_error"] = known
        return found

    return replace(result, runs=tuple(replace(run, scores=scores(run)) for run in result.runs))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(_read_text(path))
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged: no JSON mapping; {REMEDY} again")
    return values


def _read_history(path: Path) -> dict[str, NDArray[np.float64]]:
    rows = list(csv.reader(_read_text(path).splitlines()))
    names, cells = (rows[0], rows[1:]) if rows else ([], [])
    try:
        if "step" not in names:
            raise ValueError("no column step")
        values = np.array(
            [[float(cell) if cell else math.nan for cell in row] for row in cells], dtype=np.float64
        )
        return dict(zip(names, values.reshape(len(cells), len(names)).T, strict=True))
    except ValueError:
        raise UserError(f"{path} is damaged: no table of numbers; {REMEDY} again") from None


def _read_latents(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz; none for a model without an encoder, which has no such file."""
    if not path.exists():
        return {}
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, BadZipFile):
        raise UserError(f"{path} is damaged: no arrays; {REMEDY} again") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {REMEDY}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None


def _finite(values: Mapping[str, Any]) -> Scores:
    """The finite numbers among `values`: text and what could not be computed are left out."""
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


def _test_set(params: Params, corpus: Corpus, shown: Sequence[Metric]) -> Scores:
    """What the metrics say of the test set itself."""
    texts = Texts.of_test_set(corpus, params.sentence_model.max_tokens)
    values = {one.key: metrics.scored(one, one.of_test_set(texts)) for one in shown}
    return {name: value for name, value in values.items() if value is not None}


def _limits(params: Params, root: Path, runs: Path, corpus: Corpus, *, whole: bool) -> Scores:
    """What a judge of real text says, and the source of the corpus, where it is known.

    The source speaks of the `whole` test split, or of the sentences that likelihoods are of.
    """
    judged, rppl = run_folder(runs, "judgements", REAL, 1), None
    if Failure.read(judged) is None:
        rppl = _finite(_read_json(judged / "scores.json")).get("rppl")
    values = {"rppl_real_text": rppl, "nll": _source_nll(params, root, corpus.test, whole=whole)}
    return {name: value for name, value in values.items() if value is not None}


def _source_nll(params: Params, root: Path, test: Split, *, whole: bool) -> float | None:
    """Mean exact -log p in nats of the test sentences, all or those that likelihoods are of.

    None where the source is unknown, or where the models see other sentences than it wrote: cut, or
    with rare words replaced.
    """
    cut = test.lengths.max() + 2 > params.sentence_model.max_tokens
    if params.data.corpus != "grammar" or params.data.vocabulary_limit is not None or cut:
        return None
    path = root / "data" / "raw" / "test.attributes.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            log_probs = [float(row["log_prob"]) for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {REMEDY}") from None
    except (KeyError, ValueError):
        problem = "no column log_prob of numbers"
        raise UserError(f"{path} is damaged: {problem}; {REMEDY} again") from None
    settings = params.evaluation
    count = len(log_probs) if whole else settings.annealed.sentences
    return -float(np.mean(np.array(log_probs)[subset(len(log_probs), count, settings.seed)]))
