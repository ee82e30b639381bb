"""Figures of the latent spaces: what symbols stand where, and what priors generate."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from ldebm.report.interpretability import information
from ldebm.report.panels import (
    BLUE,
    GREY,
    PALETTE,
    SILVER,
    SMALL,
    VERMILION,
    Floats,
    grid,
    set_title,
)
from ldebm.report.results import Results


def latent(found: Results) -> Figure:
    """A panel a model with a latent space: the test sentences' modes, coloured by symbol."""
    with_latents = [result for result in found.trained if "modes" in result.runs[0].latents]
    figure, panels = grid(with_latents, "no latents of a row are here", height=2.9, width=3.1)
    for axes, result in zip(panels, with_latents, strict=False):
        arrays = result.runs[0].latents
        points, shares = principal_components(arrays["modes"])
        kind, groups = groups_of(arrays)
        set_title(axes, result.label, kind)
        _scatter(axes, points, groups)
        axes.set_xlabel(f"PC 1 ({shares[0]:.0%})", color=GREY, fontsize=SMALL)
        axes.set_ylabel(f"PC 2 ({shares[1]:.0%})", color=GREY, fontsize=SMALL)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def priors(found: Results) -> Figure:
    """A panel a model: vectors its prior generates over posterior ones, in one plane."""
    rows = [result for result in found.trained if "generated" in result.runs[0].latents]
    figure, panels = grid(rows, "no latents of a row are here", height=2.9, width=3.1)
    for axes, result in zip(panels, rows, strict=False):
        arrays = result.runs[0].latents
        for name, colour in (("posterior", SILVER), ("generated", VERMILION)):
            axes.plot(*arrays[name].T, ".", color=colour, markersize=2, alpha=0.6, label=name)
        set_title(axes, result.label, "generated over posterior")
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
