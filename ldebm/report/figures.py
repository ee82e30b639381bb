"""The figures: metrics beside the published ones, training curves, loss terms, latent spaces."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    ScalarFormatter,
    SymmetricalLogLocator,
)
from numpy.typing import NDArray

from ldebm.metrics.base import Metric
from ldebm.report.interpretability import information
from ldebm.report.results import ModelResult, Results, SeedRun
from ldebm.runtime.console import duration

Floats = NDArray[np.float64]

# Okabe and Ito 2008: told apart by colour-blind readers too
BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000",
)  # fmt: skip
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK, "#8C6D31")
GREY, SILVER, PALE = "#6B6B6B", "#B8B8B8", "#D9D9D9"
STYLE: Any = {
    "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.titleweight": "bold",
    "axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8, "savefig.dpi": 130,
    "legend.frameon": False, "xtick.labelcolor": "black", "ytick.labelcolor": "black",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY,
    "xtick.color": GREY, "ytick.color": GREY,
}  # fmt: skip
SMALL = 8

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
DIRECTIONS = {"lower": "← lower is better", "higher": "higher is better →", None: ""}
MARKERS = (("o", BLUE), ("s", PURPLE), ("^", ORANGE), ("v", BLACK))  # of metrics in one panel
HOLLOW: Any = {"markerfacecolor": "none", "markeredgecolor": VERMILION, "markersize": 6}
FEW_ROWS = 30  # of a history: its points are marked, as a line of one point is not seen
LABEL_HEIGHT = 0.085  # of a line of small print, in heights of a panel


def draw_figures(found: Results, folder: Path) -> None:
    """Write metrics.png, curves.png, terms.png, latent.png and priors.png into `folder`."""
    for draw in (metrics, curves, terms, latent, priors):
        with mpl.rc_context(STYLE):
            draw(found).savefig(folder / f"{draw.__name__}.png")


def metrics(found: Results) -> Figure:
    """A panel a metric, a line a model: ours, the printed number, and the TEST SET row's limit."""
    figure = Figure(
        figsize=(14, 1.7 + 0.3 * len(found.models)), layout=ConstrainedLayoutEngine(wspace=0.08)
    )
    shared = panels_of(found.metrics)
    panels = figure.subplots(1, len(shared), sharey=True, squeeze=False)[0]
    for axes, several in zip(panels, shared, strict=True):
        _metric_panel(axes, found, several)
    panels[0].set_yticks(range(len(found.models)), [result.label for result in found.models])
    panels[0].set_ylim(len(found.models) - 0.4, -0.6)
    figure.legend(handles=_legend(found, shared), loc="outside lower left", ncols=3)
    return figure


def panels_of(metrics: Sequence[Metric]) -> list[list[Metric]]:
    """Metrics that share a printed column share a panel."""
    shared: dict[str, list[Metric]] = {}
    for one in metrics:
        shared.setdefault(one.published or one.key, []).append(one)
    return list(shared.values())


def _legend(found: Results, panels: Sequence[Sequence[Metric]]) -> list[Line2D]:
    spread = any(len(result.runs) > 1 for result in found.models)
    handles = [_key("o", BLUE, "ours, ± standard deviation over seeds" if spread else "ours")]
    if found.published:
        handles.append(_key("D", "none", "printed in the paper"))
    for several in panels:
        for one, (marker, colour) in list(zip(several, MARKERS, strict=False))[1:]:
            if one.key in found.scored:
                handles.append(_key(marker, colour, f"ours, {one.title or one.heading or one.key}"))
    return handles


def _key(marker: str, face: str, label: str) -> Line2D:
    colours: dict[str, Any] = HOLLOW if face == "none" else {"color": face}
    return Line2D([], [], linestyle="none", marker=marker, label=label, **colours)


def _metric_panel(axes: Axes, found: Results, several: Sequence[Metric]) -> None:
    first = several[0]
    axes.set_title(first.title or first.heading or first.key, pad=18)
    axes.set_xlabel(DIRECTIONS[first.better], color=GREY)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for line, result in enumerate(found.models):
        for number in found.printed(result).keys() & {one.key for one in several}:
            axes.plot(found.printed(result)[number], line, "D", zorder=3, **HOLLOW)
        _metric_line(axes, line, result, several)
    name, label = first.limit or ("", "")
    if name in found.test_set:
        axes.axvline(found.test_set[name], color=GREEN, linewidth=1.2, zorder=1)
        place: dict[str, Any] = {"va": "bottom", "ha": "center", "fontsize": SMALL}
        where = axes.get_xaxis_transform()
        axes.text(found.test_set[name], 1.01, label, color=GREEN, transform=where, **place)
    _set_scale(axes, first.logarithmic)


def _metric_line(axes: Axes, line: int, result: ModelResult, several: Sequence[Metric]) -> None:
    """Our values with their spread over seeds, and as numbers at the right."""
    column: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
    for place, (one, (marker, colour)) in enumerate(zip(several, MARKERS, strict=False)):
        if statistic := result.statistic(one.key):
            mean, spread = statistic.mean, statistic.sd
            style: dict[str, Any] = {"fmt": marker, "color": colour, "markersize": 5.5, "zorder": 4}
            axes.errorbar(mean, line, xerr=spread, **style)
            text, x = short_value(result, one), 1.19 + 0.17 * place
            axes.text(x, line, text, color=colour, fontsize=SMALL, ha="right", **column)


def short_value(result: ModelResult, metric: Metric) -> str:
    """The mean of a metric that has one, as a panel has room for it."""
    statistic = result.statistic(metric.key)
    assert statistic is not None
    decimals = metric.decimals if metric.decimals > 2 else int(statistic.mean < 1000)
    return f"{result.sign(metric)}{statistic.mean:,.{decimals}f}"


def far_apart(low: float, high: float) -> bool:
    """Whether values need a logarithmic scale, and can have one."""
    return low > 0 and high > 3 * low


def _set_scale(axes: Axes, logarithmic: bool) -> None:
    """Linear with some air, but logarithmic where that is allowed and values are far apart."""
    low, high = axes.dataLim.intervalx
    if logarithmic and far_apart(low, high):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.08)


def curves(found: Results) -> Figure:
    """A panel a model: validation loss of every seed over the objective, and the weights kept."""
    figure, panels = _grid(found.trained, "no model in the table")
    for axes, result in zip(panels, found.trained, strict=False):
        for run in result.runs:
            _curve(axes, run)
        _title(axes, result.label, training_summary(result))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=2))
    if found.trained:
        figure.supxlabel("epoch", fontsize="medium")
        figure.supylabel("loss, nats a sentence", fontsize="medium")
        lines = {"validation": BLUE, "training objective": SILVER}
        handles = [Line2D([], [], color=colour, label=name) for name, colour in lines.items()]
        figure.legend(
            handles=[*handles, _key("o", BLUE, "weights kept")], loc="outside upper left", ncols=3
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


def _title(axes: Axes, title: str, subtitle: str) -> None:
    axes.set_title(f"{title}\n")
    axes.text(0, 1.02, subtitle, transform=axes.transAxes, color=GREY, fontsize=SMALL, va="bottom")


def pairs_of(history: Mapping[str, Floats], x: str, y: str) -> tuple[Floats, Floats]:
    """The rows of the history that have both columns."""
    if x not in history or y not in history:
        return np.empty(0), np.empty(0)
    both = np.isfinite(history[x]) & np.isfinite(history[y])
    return history[x][both], history[y][both]


def terms(found: Results) -> Figure:
    """A panel a model: every unweighted term of the loss over the steps of the first seed."""
    figure, panels = _grid(found.trained, "no model in the table")
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


def latent(found: Results) -> Figure:
    """A panel a model with a latent space: the test sentences' modes, coloured by symbol."""
    with_latents = [result for result in found.trained if "modes" in result.runs[0].latents]
    figure, panels = _grid(with_latents, "no latents of a row are here", height=2.9, width=3.1)
    for axes, result in zip(panels, with_latents, strict=False):
        arrays = result.runs[0].latents
        points, shares = principal_components(arrays["modes"])
        kind, groups = groups_of(arrays)
        _title(axes, result.label, kind)
        _scatter(axes, points, groups)
        axes.set_xlabel(f"PC 1 ({shares[0]:.0%})", color=GREY, fontsize=SMALL)
        axes.set_ylabel(f"PC 2 ({shares[1]:.0%})", color=GREY, fontsize=SMALL)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def priors(found: Results) -> Figure:
    """A panel a model: vectors its prior generates over posterior ones, in one plane."""
    rows = [result for result in found.trained if "generated" in result.runs[0].latents]
    figure, panels = _grid(rows, "no latents of a row are here", height=2.9, width=3.1)
    for axes, result in zip(panels, rows, strict=False):
        arrays = result.runs[0].latents
        for name, colour in (("posterior", SILVER), ("generated", VERMILION)):
            axes.plot(*arrays[name].T, ".", color=colour, markersize=2, alpha=0.6, label=name)
        _title(axes, result.label, "generated over posterior")
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def principal_components(modes: NDArray[Any]) -> tuple[Floats, Floats]:
    """The first two principal components of `modes` (N, D).

    Returns:
        The coordinates (N, 2), and the shares of the variance (2,).
    """
    centred = np.asarray(modes, dtype=np.float64) - np.mean(modes, axis=0, dtype=np.float64)
    u, s, _ = np.linalg.svd(
        np.pad(centred, ((0, 0), (0, max(0, 2 - centred.shape[1])))), full_matrices=False
    )
    u, s = np.pad(u, ((0, 0), (0, max(0, 2 - u.shape[1])))), np.pad(s, (0, max(0, 2 - len(s))))
    total = float(np.sum(s**2))
    return u[:, :2] * s[:2], s[:2] ** 2 / total if total > 0 else np.zeros(2)


def groups_of(arrays: Mapping[str, NDArray[Any]]) -> tuple[str, NDArray[Any] | None]:
    """What the points are coloured by, in words, and the group of each (N,)."""
    if "codes" not in arrays:
        return "no symbols", None
    variables = arrays["codes"].shape[1]
    most = 0 if variables == 1 else int(np.argmax(information(arrays["probs"])))
    groups = arrays["codes"][:, most]
    used = len(np.unique(groups))
    words = "symbols" if variables == 1 else f"values of code {most}"
    coloured = f", commonest {len(PALETTE)} in colour" if used > len(PALETTE) else ""
    return f"{used} {words} in use{coloured}", groups


def commonest(groups: NDArray[Any]) -> NDArray[Any]:
    """As many of the groups as there are colours, the largest first."""
    values, counts = np.unique(groups, return_counts=True)
    return values[np.argsort(-counts, kind="stable")][: len(PALETTE)]


def _scatter(axes: Axes, points: Floats, groups: NDArray[Any] | None) -> None:
    size = max(2.0, min(12.0, 6000 / max(1, len(points))))
    axes.scatter(
        points[:, 0],
        points[:, 1],
        s=size,
        color=BLUE if groups is None else SILVER,
        alpha=0.6,
        linewidths=0,
    )
    if groups is None:
        return
    shown = commonest(groups)
    for colour, value in zip(PALETTE, shown, strict=False):
        members = points[groups == value]
        axes.scatter(members[:, 0], members[:, 1], s=size, color=colour, alpha=0.6, linewidths=0)
    for colour, value in zip(PALETTE, shown, strict=False):
        x, y = np.median(points[groups == value], axis=0)
        outline = [withStroke(linewidth=2.5, foreground="white")]
        axes.text(
            x,
            y,
            str(value),
            color=colour,
            fontweight="bold",
            ha="center",
            va="center",
            path_effects=outline,
        )


def _grid(
    panels: Sequence[Any], nothing: str, width: float = 3.3, height: float = 2.4
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each of `panels`, or one that says there is nothing to show."""
    if not panels:
        figure = Figure(figsize=(5, 1.5))
        figure.text(0.5, 0.5, nothing, ha="center", va="center", color=GREY)
        return figure, []
    fewest_empty_places = min((5, 4, 3), key=lambda columns: -len(panels) % columns)
    columns = len(panels) if len(panels) <= 4 else fewest_empty_places
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(width * columns + 0.4, height * rows + 0.5), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in axes[len(panels) :]:
        unused.remove()
    return figure, axes[: len(panels)]
