"""`results/report.html`: one page that holds everything, for a browser without a network."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from ldebm.config import Params
from ldebm.data.files import Failure, read_text, run_folder
from ldebm.evaluation.symbols import Symbol, describe_symbols
from ldebm.report import claims, diagnostics, drawing, interpretability, settings, table
from ldebm.report.figures import panels_of
from ldebm.report.histories import training_summary
from ldebm.report.interpretability import Cells
from ldebm.report.results import TEST_SET, ModelResult, Results, SeedRun
from ldebm.runtime.console import duration

SAMPLES = 10  # sentences of each row, the first ones
SYMBOL_SENTENCES = 2
VARIABLES = 2  # of a code, the most informative ones
OTHERS = table.OTHERS[:-1]  # the device stands among the runs
COLUMNS = {"nll": "likelihood", "rppl": "judge"}  # published column -> the verb that makes it
FILES = {  # folder -> the file of it that says it was made
    "models": ("train", "run.json"),
    "samples": ("sample", "samples.txt"),
    "judgements": ("judge", "scores.json"),
    "evaluations": ("evaluate", "scores.json"),
    "likelihoods": ("likelihood", "scores.json"),
}
Commands = Mapping[tuple[str, str, int | None], str]  # (verb, model, seed) -> what runs it


def write(
    params: Params,
    found: Results,
    meanings: Sequence[Cells],
    runs: Path,
    commands: Commands,
    path: Path,
) -> None:
    """Write the page of what the models left below `runs`, and of what their symbols mean."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters["inline"] = inline
    source = (files("ldebm.report") / "page.html").read_text(encoding="utf-8")
    text = environment.from_string(source).render(
        **content(params, found, meanings, runs, commands)
    )
    path.write_text(text, encoding="utf-8")


def content(
    params: Params, found: Results, meanings: Sequence[Cells], runs: Path, commands: Commands
) -> dict[str, Any]:
    """What the template shows, a section a key."""
    names = {one.key: one.heading or one.key for one in found.metrics}
    return {
        "title": f"Results on {table.corpus_name(params)}",
        "facts": list(_facts(params, found)),
        "caption": table.caption(params, found),
        "headings": table.headings(found.metrics),
        "others": OTHERS,
        "rows": list(_rows(found, commands)),
        "notes": table.notes(params, found),
        "gaps": [gap for one in found.models for gap in gaps(runs, one, params.seeds, commands)],
        "claims": [one | {"by": names.get(one["by"], one["by"])} for one in claims.rows(found)],
        "claims_note": claims.NOTE,
        "panels": [drawing.panel(found, several) for several in panels_of(found.metrics)],
        "sizes": {"curve": drawing.CURVE, "cloud": drawing.CLOUD},
        "curves": [(one, drawing.curves(one), training_summary(one)) for one in found.trained],
        "maps": _maps(found, drawing.latent_map),
        "priors": _maps(found, drawing.prior_map),
        "diagnostics": diagnostics.table(found),
        "diagnostics_headings": diagnostics.HEADINGS,
        "samples": list(_samples(found, runs)),
        "meanings": meanings,
        "meanings_note": interpretability.NOTE,
        "nothing": interpretability.NOTHING,
        "symbols": list(_symbols(found)),
        "runs": [(one, run, _times(run)) for one in found.models for run in one.runs],
        "versions": _versions(found),
        "differences": settings.differences(params),
        "commands": list(_commands(commands)),
    }


def _facts(params: Params, found: Results) -> Iterator[str]:
    """In a few words, what was run, on what, and by which version."""
    count, seeds = len(found.models), len(params.seeds)
    yield f"{count} row{'s' * (count != 1)}, {seeds} seed{'s' * (seeds != 1)}"
    records = [run.record for one in found.models for run in one.runs]
    if seconds := sum(record.get("seconds", 0) for record in records):
        yield f"{duration(seconds)} of training"
    yield from sorted({record["device"] for record in records if "device" in record})
    commits = sorted({record["git_commit"] for record in records if record.get("git_commit")})
    for commit in commits:
        number, _, dirty = commit.partition("-")
        yield f"commit {number[:9]}{' with changes' * bool(dirty)}"


def inline(text: str) -> Markup:
    """Escaped, but for **bold** and `code`."""
    bold = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", bold))


def _rows(found: Results, commands: Commands) -> Iterator[dict[str, Any]]:
    """The table's rows: cells with what runs them, and a number to sort by."""
    values = [found.test_set.get(one.limit[0] if one.limit else one.key) for one in found.metrics]
    cells = zip(table.test_set_cells(found), values, [""] * len(values), strict=True)
    yield {"label": TEST_SET, "cells": list(cells), "others": [""] * len(OTHERS)}
    for result in found.models:
        means = [result.statistic(one.key) for one in found.metrics]
        verbs = [COLUMNS.get(one.published or "", "evaluate") for one in found.metrics]
        cells = zip(
            table.model_cells(found, result),
            [one.mean if one else None for one in means],
            ["\n".join(_of_seeds(commands, verb, result)) for verb in verbs],
            strict=True,
        )
        yield {
            "label": table.label(result),
            "cells": list(cells),
            "others": table.other_cells(result)[: len(OTHERS)],
        }


def _of_seeds(commands: Commands, verb: str, result: ModelResult) -> list[str]:
    keys = [(verb, result.model, run.seed) for run in result.runs]
    return [commands[key] for key in keys if key in commands]


@dataclass(frozen=True)
class Gap:
    """A step that has not made what it should: of which row and seed, why, and what runs it."""

    row: str
    seed: int
    step: str
    reason: str
    command: str


def gaps(
    runs: Path, result: ModelResult, seeds: Sequence[int], commands: Commands
) -> Iterator[Gap]:
    """What a row lacks, because a step failed or was not taken yet."""
    for seed in seeds:
        for kind, (verb, file) in FILES.items():
            folder = run_folder(runs, kind, result.model, seed)
            if not (folder / file).exists():
                failure = Failure.read(folder)
                reason = f"{failure.step}: {failure.reason}" if failure else "not made yet"
                command = commands.get((verb, result.model, seed), "")
                yield Gap(result.label, seed, verb, reason, command)


def _maps(found: Results, draw: Any) -> list[tuple[str, drawing.Cloud]]:
    """Of the first seed of every model that has one."""
    drawn = [(one.label, draw(one.runs[0])) for one in found.trained]
    return [(label, cloud) for label, cloud in drawn if cloud is not None]


def _samples(found: Results, runs: Path) -> Iterator[tuple[str, list[str]]]:
    """The first sentences of real text and of every row, as far as they are kept."""
    yield "Real text", list(islice(found.corpus.texts(found.corpus.train), SAMPLES))
    for one in found.trained:
        path = run_folder(runs, "samples", one.model, one.runs[0].seed) / "samples.txt"
        if path.exists():
            yield one.label, [text for _, text in islice(read_text(path), SAMPLES)]


def _symbols(found: Results) -> Iterator[tuple[str, list[Symbol]]]:
    """Of the first seed: the values in use of the most informative variables."""
    texts = list(found.corpus.texts(found.corpus.test))
    for one in found.trained:
        probs = one.runs[0].latents.get("probs")
        if probs is not None:
            most = (-interpretability.information(probs)).argsort(kind="stable")[:VARIABLES]
            described = describe_symbols(probs, texts, SYMBOL_SENTENCES)
            shown = [
                symbol for variable in most for symbol in described if symbol.variable == variable
            ]
            yield one.label, [symbol for symbol in shown if symbol.share]


def _times(run: SeedRun) -> dict[str, str]:
    """How a run was trained: every cell may be missing."""
    record = run.record
    numbers = {"Steps": "{:,}", "Epochs": "{:.3g}", "Kept step": "{:,}"}
    cells = {
        name: shape.format(record[key])
        for name, shape in numbers.items()
        if (key := name.lower().replace(" ", "_")) in record
    }
    cells["Stopped by"] = str(record.get("stopped", ""))
    cells["Time"] = duration(record["seconds"]) if "seconds" in record else ""
    cells["Device"] = str(record.get("device", ""))
    cells["Precision"] = str(record.get("run", {}).get("precision", ""))
    return cells


def _versions(found: Results) -> list[tuple[list[str], str, dict[str, str]]]:
    """Commit and versions, with the rows trained by them."""
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
    for one in found.models:
        for run in one.runs:
            versions = tuple(run.record.get("versions", {}).items())
            commit = str(run.record.get("git_commit") or "")
            groups.setdefault((commit, versions), []).append(f"{one.label}, seed {run.seed}")
    return [(rows, commit, dict(versions)) for (commit, versions), rows in groups.items()]


def _commands(commands: Commands) -> Iterator[tuple[str, list[str]]]:
    """By model, in the order they are taken."""
    of_model: dict[str, list[str]] = {}
    for (_, key, _), line in commands.items():
        of_model.setdefault(key or "data", []).append(line)
    yield from of_model.items()
