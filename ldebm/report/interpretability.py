"""What the symbols and codes of the models mean.

How much they say of a sentence, how they match known attributes, what sentences they stand for.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from ldebm.errors import UserError
from ldebm.evaluation.symbols import describe_symbols
from ldebm.report.results import REMEDY, ModelResult, Results, SeedRun

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[Any]
Cells = dict[str, Any]
Attributes = dict[str, dict[str, Array]]  # split -> attribute -> its value for every sentence
NOTHING = "No latents of a row with symbols or a code are here; `ldebm keep` leaves them out."
SENTENCES_SHOWN = 3
VARIABLES_SHOWN = 3
NOTE = (
    "Symbols of energy-based priors are one variable, p(y|z) at the posterior mode; codes are "
    "several, q(c|x). I(x; y) is their mutual information with the test sentences in nats, summed "
    "over variables. The columns of known attributes are V-measures of the likeliest values on the "
    "test split, of the variable that does best on the validation split; homogeneity and "
    "completeness stand in interpretability.csv."
)


def write(results: Results, meanings: Sequence[Cells], folder: Path) -> None:
    """Write `rows` into interpretability.csv and, with symbols' nearest sentences, into .md."""
    import pandas as pd

    frame = pd.DataFrame(meanings)
    frame.to_csv(folder / "interpretability.csv", index=False)
    parts = [
        "# What the symbols mean",
        "",
        NOTE,
        "",
        _table(frame),
        "",
        page(results),
    ]
    (folder / "interpretability.md").write_text("\n".join(parts), encoding="utf-8")


def information(probs: Array) -> Array:
    """I(x; y) of each variable in nats: `probs` (N, M, K) -> (M,)."""
    return entr(probs.mean(0)).sum(-1) - entr(probs).sum(-1).mean(0)


def read_attributes(raw: Path) -> Attributes:
    """The known attributes of validation and test sentences; empty where the corpus has none."""
    if not (raw / "test.attributes.csv").exists():
        return {}
    return {split: _columns(raw / f"{split}.attributes.csv") for split in ("valid", "test")}


def rows(results: Results, attributes: Attributes) -> list[Cells]:
    """One row for each model and seed that has symbols or a code.

    `information` is summed over the variables. For each attribute the variable is the one of the
    highest V-measure on the validation split; homogeneity, completeness and V-measure (Rosenberg &
    Hirschberg 2007) of its likeliest value are those on the test split.
    """
    return [_row(result, run, attributes) for result, run in _with_symbols(results)]


def page(results: Results) -> str:
    """Markdown: values of the most informative variables, and the sentences they are surest of."""
    texts = list(results.corpus.texts(results.corpus.test))
    parts = ["## The sentences nearest to each symbol", ""]
    for result, run in _with_symbols(results):
        if run is result.runs[0]:
            parts += _model_page(result.label, run.latents["probs"], texts)
    return "\n".join(parts) + "\n"


def _table(frame: "pd.DataFrame") -> str:
    """The readable columns as Markdown."""
    if frame.empty:
        return NOTHING
    attributes = [
        column.removesuffix("_v_measure")
        for column in map(str, frame)
        if column.endswith("_v_measure")
    ]
    names = {
        "row": "Model",
        "seed": "Seed",
        "variables": "Variables",
        "values": "Values",
        "values_used": "Used",
        "information": "I(x; y)",
    }
    shown = frame.rename(columns=names | {f"{name}_v_measure": f"V, {name}" for name in attributes})
    return shown[[*names.values(), *(f"V, {name}" for name in attributes)]].to_markdown(
        index=False, floatfmt=".2f"
    )


def _with_symbols(results: Results) -> Iterator[tuple[ModelResult, SeedRun]]:
    for result in results.models:
        for run in result.runs:
            if "probs" in run.latents:
                yield result, run


def _columns(path: Path) -> dict[str, Array]:
    with path.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    if not lines:
        raise UserError(f"{path} holds no sentence; {REMEDY} again")
    return {
        name: np.array([line[name] for line in lines]) for name in lines[0] if name != "log_prob"
    }


def _row(result: ModelResult, run: SeedRun, attributes: Attributes) -> Cells:
    probs, valid = run.latents["probs"], run.latents["valid_probs"]
    codes, valid_codes = probs.argmax(2), valid.argmax(2)
    row: Cells = {"row": result.row, "model": result.model, "seed": run.seed}
    row |= {"variables": probs.shape[1], "values": probs.shape[2]}
    row["values_used"] = round(float(np.mean([len(np.unique(column)) for column in codes.T])), 2)
    row["information"] = round(float(information(probs).sum()), 4)
    for name in attributes.get("test", {}):
        row |= _match(name, codes, valid_codes, attributes)
    return row


def _match(name: str, codes: Array, valid_codes: Array, attributes: Attributes) -> Cells:
    from sklearn.metrics import homogeneity_completeness_v_measure, v_measure_score

    on_valid = [v_measure_score(attributes["valid"][name], column) for column in valid_codes.T]
    variable = int(np.argmax(on_valid))
    scores = homogeneity_completeness_v_measure(attributes["test"][name], codes[:, variable])
    named = zip(("homogeneity", "completeness", "v_measure"), scores, strict=True)
    return {f"{name}_variable": variable} | {
        f"{name}_{kind}": round(float(score), 4) for kind, score in named
    }


def _model_page(label: str, probs: Array, texts: Sequence[str]) -> Iterator[str]:
    known, described = information(probs), describe_symbols(probs, texts, SENTENCES_SHOWN)
    yield from (f"### {label}", "")
    for variable in np.argsort(-known, kind="stable")[:VARIABLES_SHOWN]:
        if probs.shape[1] > 1:
            of_all = f"{known[variable]:.2f} of {math.log(probs.shape[2]):.2f} nats"
            yield from (f"#### Variable {variable} of {probs.shape[1]}, {of_all}", "")
        for one in described:
            if one.variable == variable and one.share:
                yield f"- **{one.value}** ({one.share:.1%})"
                yield from (f"  - {text.replace('<', '&lt;')}" for text in one.sentences)
        yield ""
