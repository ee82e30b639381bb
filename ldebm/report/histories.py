"""Figures of the trainings: validation losses, and the terms of the loss."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, ScalarFormatter, SymmetricalLogLocator

from ldebm.report.panels import BLUE, PALETTE, SILVER, SMALL, Floats, grid, legend_point, set_title
from ldebm.report.results import ModelResult, Results, SeedRun
from ldebm.runtime.console import duration

NO_TERMS = (
    "step",
    "epoch",
    "loss",
    "clusters",
    "clustering_seconds",
    "tokens_per_second",
    "seconds",
)
NO_TERM_PREFIXES = ("valid_", "gradient_norm_", "learning_rate_")
FEW_ROWS = 30  # of a history: its points are marked, as a line of one point is not seen
LABEL_HEIGHT = 0.085  # of a line of small print, in heights of a panel


def curves(found: Results) -> Figure:
    """A panel a model: validation loss of every seed over the objective, and the weights kept."""
    figure, panels = grid(found.trained, "no model in the table")
    for axes, result in zip(panels, found.trained, strict=False):
        for run in result.runs:
            _curve(axes, run)
        set_title(axes, result.label, training_summary(result))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=2))
    if found.trained:
        figure.supxlabel("epoch", fontsize="medium")
        figure.supylabel("loss, nats a sentence", fontsize="medium")
        lines = {"validation": BLUE, "training objective": SILVER}
        handles = [Line2D([], [], color=colour, label=name) for name, colour in lines.items()]
        figure.legend(
            handles=[*handles, legend_point("o", BLUE, "weights kept")],
            loc="outside upper left",
            ncols=3,
        )
    return figure


def training_summary(result: ModelResult) -> str:
    """How long a run took, and the validation loss of the weights it kept; means over seeds."""
    seconds = [run.record["seconds"] for run in result.runs if "seconds" in run.record]
    kept = [value for run in result.runs for _, value in kept_points(run)]
    each = " a seed" if len(result.runs) > 1 else ""
    said = [f"{duration(statistics.fmean(seconds))}{each}"] if seconds else []
    said += [f"kept at {statistics.fmean(kept):.1f}"] if kept else []
    return ", ".join(said)


def _curve(axes: Axes, run: SeedRun) -> None:
    """Draw a run: its objective, its validations, and that of the weights it kept."""
    axes.plot(*pairs_of(run.history, "epoch", "loss"), color=SILVER, linewidth=1)
    validation = pairs_of(run.history, "epoch", "valid_loss")
    axes.plot(*validation, color=BLUE, linewidth=1.5, marker=".", markersize=4)
    for point in kept_points(run):
        axes.plot(*point, "o", color=BLUE, markersize=6)


def kept_points(run: SeedRun) -> list[tuple[float, float]]:
    """Epoch and validation loss of the weights that a run kept, if they are in its history."""
    steps, values = pairs_of(run.history, "step", "valid_loss")
    epochs, _ = pairs_of(run.history, "epoch", "valid_loss")
    if len(epochs) != len(steps):
        return []
    kept = steps == run.record.get("kept_step")
    return list(zip(epochs[kept].tolist(), values[kept].tolist(), strict=True))


def pairs_of(history: Mapping[str, Floats], x: str, y: str) -> tuple[Floats, Floats]:
    """The rows of the history that have both columns."""
    if x not in history or y not in history:
        return np.empty(0), np.empty(0)
    both = np.isfinite(history[x]) & np.isfinite(history[y])
    return history[x][both], history[y][both]


def terms(found: Results) -> Figure:
    """A panel a model: every unweighted term of the loss over the steps of the first seed."""
    figure, panels = grid(found.trained, "no model in the table")
    for axes, result in zip(panels, found.trained, strict=False):
        axes.set_title(result.label)
        _term_lines(axes, result.runs[0].history)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if found.trained:
        figure.supxlabel("training step", fontsize="medium")
        figure.supylabel("unweighted loss term, nats a sentence", fontsize="medium")
    return figure


def _term_lines(axes: Axes, history: Mapping[str, Floats]) -> None:
    """Several terms of very different size share a scale that is logarithmic beyond ±1."""
    ends = []
    marker = "." if len(history["step"]) < FEW_ROWS else ""
    for colour, name in zip(itertools.cycle(PALETTE), names := term_names(history), strict=False):
        axes.plot(history["step"], history[name], color=colour, linewidth=1.2, marker=marker)
        ends.append((pairs_of(history, "step", name)[1][-1], name.replace("_", " "), colour))
    if len(names) > 1:
        axes.set_yscale("symlog", linthresh=1, linscale=0.6)
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=1, subs=[1, 3]))
        axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.margins(y=0.1)
    _label_ends(axes, ends)


def term_names(history: Mapping[str, Floats]) -> list[str]:
    """The columns that hold a term of the loss, those without any value left out."""
    names = [
        name for name in history if name not in NO_TERMS and not name.startswith(NO_TERM_PREFIXES)
    ]
    return [name for name in names if np.isfinite(history[name]).any()]


def _label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name each line at the right, as near to its last value as the other names allow."""
    scale = axes.yaxis.get_transform().transform
    bottom, top = scale(np.array(axes.get_ylim()))
    wanted = sorted(
        ((float(scale(value)) - bottom) / (top - bottom), name, colour)
        for value, name, colour in ends
    )
    for y, (_, name, colour) in zip(
        spread([y for y, _, _ in wanted], LABEL_HEIGHT), wanted, strict=True
    ):
        axes.text(
            1.02, y, name, transform=axes.transAxes, color=colour, fontsize=SMALL, va="center"
        )


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places in [0, 1], moved until neighbours are `gap` apart, and down from above 1."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap) if moved else place)
    ceiling = math.inf if gap * (len(moved) - 1) > 1 else 1.0
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - gap
    return moved
