"""The figures: metrics beside the published ones, and what `histories` and `planes` draw."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    ScalarFormatter,
)

from ldebm.metrics.base import Metric
from ldebm.report.histories import curves, terms
from ldebm.report.panels import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    HOLLOW,
    ORANGE,
    PALE,
    PURPLE,
    SMALL,
    STYLE,
    legend_point,
)
from ldebm.report.planes import latent, priors
from ldebm.report.results import ModelResult, Results

DIRECTIONS = {"lower": "← lower is better", "higher": "higher is better →", None: ""}
MARKERS = (("o", BLUE), ("s", PURPLE), ("^", ORANGE), ("v", BLACK))  # of metrics in one panel


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
    handles = [
        legend_point("o", BLUE, "ours, ± standard deviation over seeds" if spread else "ours")
    ]
    if found.published:
        handles.append(legend_point("D", "none", "printed in the paper"))
    for several in panels:
        for one, (marker, colour) in list(zip(several, MARKERS, strict=False))[1:]:
            if one.key in found.scored:
                handles.append(
                    legend_point(marker, colour, f"ours, {one.title or one.heading or one.key}")
                )
    return handles


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
