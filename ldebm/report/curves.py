"""Every validation of every training as curves.csv, which `dvc plots` draws."""

import csv
import math
from pathlib import Path

from ldebm.report.results import Results

AXES = ("step", "epoch")
MEASURES = ("valid_loss", "valid_bleu", "valid_prior_fit")


def write_csv(found: Results, path: Path) -> None:
    """A line a validation: model, seed, step, epoch; loss in nats, BLEU, Fréchet distance.

    A cell is empty where the model has no such measure.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", "seed", *AXES, *MEASURES])
        for result in found.trained:
            for run in result.runs:
                columns = [run.history.get(name) for name in (*AXES, *MEASURES)]
                for index in range(len(run.history.get("step", ()))):
                    values = [math.nan if one is None else float(one[index]) for one in columns]
                    if any(map(math.isfinite, values[len(AXES) :])):
                        writer.writerow([result.label, run.seed, *map(_cell, values)])


def _cell(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""
