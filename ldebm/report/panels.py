"""What all figures share: colours, sizes, and a grid of panels."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

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
HOLLOW: Any = {"markerfacecolor": "none", "markeredgecolor": VERMILION, "markersize": 6}


def set_title(axes: Axes, title: str, subtitle: str) -> None:
    """The title, and a line of small print below it."""
    axes.set_title(f"{title}\n")
    axes.text(0, 1.02, subtitle, transform=axes.transAxes, color=GREY, fontsize=SMALL, va="bottom")


def legend_point(marker: str, face: str, label: str) -> Line2D:
    """A point in a legend; `face` is its colour, or "none"."""
    colours: dict[str, Any] = HOLLOW if face == "none" else {"color": face}
    return Line2D([], [], linestyle="none", marker=marker, label=label, **colours)


def grid(
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
