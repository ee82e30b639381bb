"""Statistics of the rows as table.csv, table.md and metrics.json."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from ldebm.config import Block, Params, TextFiles
from ldebm.data.vocabulary import SPECIALS
from ldebm.metrics.base import Metric, Shown
from ldebm.metrics.rppl import PUBLISHED
from ldebm.report.results import TEST_SET, ModelResult, Results, Scores, Statistic
from ldebm.runtime.console import duration

Cells = dict[str, Any]

OTHERS = ("Seeds", "Weights", "Training", "Device")
PUBLISHED_EVALUATION = {"samples": 46000, "likelihood_samples": 500}
CROSS = "✗"  # marks a row of which something failed
ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}


@dataclass(frozen=True)
class Cell:
    """A metric's cell for readers: ours and the printed number, each empty where there is none."""

    ours: str
    printed: str

    def __str__(self) -> str:
        """The printed number in parentheses."""
        return " ".join(filter(None, [self.ours, f"({self.printed})" if self.printed else ""]))


def columns(metrics: Sequence[Metric]) -> list[str]:
    """Of table.csv: a metric, its spread over seeds, its standard error, and whether it is a bound.

    A printed number stands after the last metric it is of.
    """
    last, names = {one.published: one for one in metrics if one.published}, []
    for one in metrics:
        names += [one.key, f"{one.key}_sd"]
        names += [f"{one.key}_se"] if one.error else []
        names += [f"{one.key}_bound"] if one.bound else []
        names += [f"{one.published}_paper"] if one in last.values() else []
    record = ("seeds", "parameters", "train_seconds", "device", "commit")
    return ["row", "model", *names, *record, "rppl_real_text", "failed"]


def write_csv(found: Results, path: Path) -> None:
    """A row a model below the TEST SET row; a cell without a value is empty."""
    import pandas as pd

    rows = [_test_set_cells(found), *(_model_cells(found, result) for result in found.models)]
    pd.DataFrame(rows, columns=columns(found.metrics), dtype=object).to_csv(path, index=False)


def means(found: Results) -> dict[str, Scores]:
    """Means over seeds by the model's key in params.yaml, and the TEST SET row as `test_set`."""
    table = {"test_set": found.test_set}
    for result in found.models:
        values = {one.key: result.statistic(one.key) for one in found.metrics}
        table[result.model] = {key: value.mean for key, value in values.items() if value}
    return table


def _test_set_cells(found: Results) -> Cells:
    scores = {name: round(value, 4) for name, value in found.test_set.items()}
    return {"row": TEST_SET} | scores | _paper_cells(found, TEST_SET)


def _paper_cells(found: Results, row: str) -> Cells:
    return {f"{name}_paper": value for name, value in found.published.get(row, {}).items()}


def _model_cells(found: Results, result: ModelResult) -> Cells:
    cells: Cells = {"row": result.row, "model": result.model}
    for one in found.metrics:
        if statistic := result.statistic(one.key):
            cells[one.key] = round(statistic.mean, 4)
            cells[f"{one.key}_sd"] = None if statistic.sd is None else round(statistic.sd, 4)
            if one.error and (error := result.statistic(one.error)):
                cells[f"{one.key}_se"] = round(error.mean, 4)
            if one.bound:
                cells[f"{one.key}_bound"] = int(bool(result.sign(one)))
    cells["failed"] = "; ".join(_failures(result)) or None
    if result.runs:
        cells |= {"seeds": _seeds(result), "parameters": _weights(result)}
        cells |= {"device": _of_runs(result, "device"), "commit": _of_runs(result, "git_commit")}
        cells["train_seconds"] = round(result.mean("seconds"), 1)
    return cells | _paper_cells(found, result.row)


def _failures(result: ModelResult) -> list[str]:
    return [f"{one.step}: {one.reason}" for one in result.failures]


def _seeds(result: ModelResult) -> str:
    return " ".join(str(run.seed) for run in result.runs)


def _of_runs(result: ModelResult, name: str) -> str:
    """What the records of the runs say, each thing once."""
    said = (run.record.get(name) for run in result.runs)
    return "; ".join(dict.fromkeys(one for one in said if one))


def _weights(result: ModelResult) -> int:
    return sum(result.runs[0].record["weights"].values())


def markdown(params: Params, found: Results) -> str:
    """The table for readers, with what is needed to read it."""
    lines = [f"# Results on {corpus_name(params)}", "", caption(params, found), ""]
    names = headings(found.metrics)
    lines += [_line(["Model", *names, *OTHERS]), _line([":--", *["--:"] * (len(names) + 3), ":--"])]
    lines += [_line([TEST_SET, *map(str, test_set_cells(found)), *[""] * len(OTHERS)])]
    lines += [
        _line([label(one), *map(str, model_cells(found, one)), *other_cells(one)])
        for one in found.models
    ]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(params, found)), ""])


def first_table(text: str) -> list[str]:
    """The lines of the first table in Markdown, which in table.md is that of the metrics."""
    lines = text.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("|"))
    return list(takewhile(lambda line: line.startswith("|"), lines[first:]))


def headings(metrics: Sequence[Metric]) -> list[str]:
    """Of the metrics' columns, with an arrow towards better values."""
    return [f"{one.heading or one.key}{ARROWS[one.better]}" for one in metrics]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def test_set_cells(found: Results) -> list[Cell]:
    """The limits of the metrics; † marks one that is not the test set's own score."""
    cells = []
    for one in found.metrics:
        name = one.limit[0] if one.limit else one.key
        statistic = Statistic.of([found.test_set[name]] if name in found.test_set else [])
        printed = found.published.get(TEST_SET, {}).get(one.key)
        cells.append(_cell(statistic, one, printed, " †" if name != one.key else ""))
    return cells


def model_cells(found: Results, result: ModelResult) -> list[Cell]:
    """A cell a metric: ± the spread over seeds, or of one seed the standard error."""
    printed = found.printed(result)
    cells = []
    for one in found.metrics:
        error = result.statistic(one.error) if one.error and len(result.runs) == 1 else None
        mark = f" ± {error.mean:.{one.decimals}f} s.e." if error else ""
        ours, sign = result.statistic(one.key), result.sign(one)
        cells.append(_cell(ours, one, printed.get(one.key), mark, sign))
    return cells


def label(result: ModelResult) -> str:
    """The row's name, marked if something of it failed."""
    return f"{result.label} {CROSS}" if result.failures else result.label


def other_cells(result: ModelResult) -> list[str]:
    """What stands below OTHERS."""
    if not result.runs:
        return [""] * len(OTHERS)
    training = f"{result.mean('epochs'):.3g} epochs, {duration(result.mean('seconds'))}"
    return [_seeds(result), f"{_weights(result):,}", training, _of_runs(result, "device")]


def _cell(
    statistic: Statistic | None,
    metric: Metric,
    printed: float | None,
    mark: str = "",
    before: str = "",
) -> Cell:
    ours = "" if statistic is None else f"{before}{statistic.text(metric.decimals)}{mark}"
    return Cell(ours, "" if printed is None else f"{printed:.2f}")


def corpus_name(params: Params) -> str:
    """What the models learned from, in words."""
    if isinstance(params.data.corpus, TextFiles):
        corpus = params.data.corpus
        return f"the text files {corpus.train}, {corpus.valid}, {corpus.test}"
    return {"ptb": "Penn Treebank", "grammar": "the grammar corpus"}[params.data.corpus]


def caption(params: Params, found: Results) -> str:
    """The corpus in figures, and how to read the cells."""
    corpus, cut = found.corpus, params.sentence_model.max_tokens
    parts = [
        f"{len(corpus.train):,} training, {len(corpus.valid):,} validation and "
        f"{len(corpus.test):,} test sentences, {len(corpus.vocabulary) - len(SPECIALS):,} word "
        f"types; sentences are cut to {cut} tokens with `<s>` and `</s>`."
    ]
    if len(params.seeds) > 1:
        parts.append("Ours is the mean ± sample standard deviation over the seeds.")
    if found.published:
        parts.append("In parentheses: the number printed in the paper.")
    parts.append("↓ lower is better, ↑ higher is better; a cell without a value is empty.")
    return " ".join(parts)


def notes(params: Params, found: Results) -> list[str]:
    """What each column is, and how this table's evaluation differs from the published one."""
    rows, test = [result.row for result in found.models], len(found.corpus.test)
    printed = bool(found.published)
    shown = Shown(params, test, rows, found.scored, printed, found.test_set, found.reference)
    failed = [reason for result in found.models for reason in _failures(result)]
    said = [f"{CROSS} Failed, so that cells are empty: {'; '.join(failed)}."] if failed else []
    said += [note for one in found.metrics for note in one.notes(shown)]
    return said + _reductions(params, test)


def _reductions(params: Params, test: int) -> list[str]:
    """One note on the settings that differ from the published evaluation, or none."""
    evaluation, judge = params.evaluation, PUBLISHED.model_dump(exclude={"seed"})
    changed = _changed("judge", params.judge, judge)
    changed += _changed("evaluation", evaluation, PUBLISHED_EVALUATION)
    if (sentences := evaluation.likelihood_sentences) is not None and sentences < test:
        changed.append(f"evaluation.likelihood_sentences {sentences} (all)")
    listed = ", ".join(changed)
    note = f"Not evaluated as published. Settings, the published one in parentheses: {listed}."
    return [note] if changed else []


def _changed(block: str, settings: Block, published: dict[str, Any]) -> list[str]:
    pairs = {name: (getattr(settings, name), value) for name, value in published.items()}
    return [
        f"{block}.{name} {ours} ({value})" for name, (ours, value) in pairs.items() if ours != value
    ]
