"""The page's drawings as numbers: scaled to places in an SVG, and few enough of them.

The template draws them in the page's own colours. A cloud is one path a colour, of strokes without
length whose round ends are the points: eight bytes each.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray

from ldebm.metrics.base import Metric
from ldebm.report.figures import DIRECTIONS, far_apart, short_value
from ldebm.report.histories import kept_points, pairs_of
from ldebm.report.panels import Floats
from ldebm.report.planes import commonest, groups_of, principal_components
from ldebm.report.results import ModelResult, Results, SeedRun

SCALE, LABELS, NUMBERS, LINE = 168, 88, 44, 18  # of a panel of metrics; a line is a model
LETTER = 6.3  # of a label, in the mean
CURVE = (190, 120)  # width and height
CLOUD = 400  # width and height
POINTS = 500  # of a cloud
VERTICES = 120  # of a curve
TICKS = 4  # of an axis, at most


@dataclass(frozen=True)
class Axis:
    """Maps low … high to start … end, linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def of(
        cls, values: Iterable[float], start: float, end: float, logarithmic: bool = False
    ) -> "Axis":
        """With a little air; logarithmic where that is allowed and values are far apart."""
        known = [value for value in values if np.isfinite(value)] or [0.0]
        low, high = min(known), max(known)
        if logarithmic and far_apart(low, high):
            return cls(low / 1.1, high * 1.1, start, end, True)
        air = 0.06 * (high - low) or max(1.0, abs(high)) * 0.1
        return cls(low - air, high + air, start, end)

    def place(self, value: float) -> float:
        """Where a value is, to a tenth of a pixel."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = (float(np.log(one)) for one in (value, low, high))
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and labels of round values inside."""
        for locator in self._locators():
            inside = [x for x in locator.tick_values(self.low, self.high) if self._holds(x)]
            if 2 <= len(inside) <= TICKS:
                break
        return [(self.place(x), f"{round(x, 9):,.10g}") for x in inside[:TICKS]]

    def _locators(self) -> list[Any]:
        linear = MaxNLocator(TICKS - 1, steps=[1, 2, 5, 10])
        logs = [LogLocator(subs=subs) for subs in ((1, 2, 5), (1, 3), (1,))]
        return [*logs, linear] if self.logarithmic else [linear]

    def _holds(self, value: float) -> bool:
        return bool(self.low <= value <= self.high)


@dataclass(frozen=True)
class Dot:
    """A value in a panel: its place, the half width of its spread, its shape and what it is."""

    x: float
    y: float
    left: float
    right: float
    shape: str
    text: str


@dataclass(frozen=True)
class Panel:
    """Metrics of one printed column, a line a model."""

    title: str
    direction: str
    axis: Axis
    width: int
    height: int
    labels: list[tuple[int, str, str]]  # y, the model, its first value
    dots: list[Dot]
    limit: tuple[float, str] | None
    legend: list[tuple[str, str]]  # shape, words


def panel(found: Results, several: Sequence[Metric]) -> Panel:
    """Ours, the printed numbers, and the TEST SET row's limit."""
    first, lines = several[0], list(enumerate(found.models))
    name, words = first.limit or ("", "")
    keys = {one.key for one in several}
    printed = [
        (y, number, found.printed(one)[number])
        for y, one in lines
        for number in sorted(found.printed(one).keys() & keys)
    ]
    ours = [(y, result, place, one) for y, result in lines for place, one in enumerate(several)]
    values = [value for _, result, _, one in ours for value in result.values(one.key)]
    values += [value for *_, value in printed]
    values += [found.test_set[name]] if name in found.test_set else []
    labels = max([LABELS, *(round(LETTER * len(one.label)) for one in found.models)])
    axis = Axis.of(values, labels + 8, labels + SCALE - 8, first.logarithmic)
    dots = [_dot(axis, y, "printed", f"printed: {value:g}", value) for y, _, value in printed]
    for y, result, place, one in ours:
        if statistic := result.statistic(one.key):
            text = f"{one.heading or one.key}: {result.sign(one)}{statistic.text(one.decimals)}"
            mean, spread = statistic.mean, statistic.sd or 0.0
            dots.append(_dot(axis, y, f"ours{place}", text, mean, spread))
    return Panel(
        first.title or first.heading or first.key,
        DIRECTIONS[first.better],
        axis,
        labels + SCALE + NUMBERS,
        LINE * len(lines),
        [(_middle(y), result.label, _value(result, several)) for y, result in lines],
        dots,
        (axis.place(found.test_set[name]), words) if name in found.test_set else None,
        _legend(found, several, bool(printed)),
    )


def _middle(line: int) -> int:
    return LINE * line + LINE // 2


def _dot(axis: Axis, line: int, shape: str, text: str, value: float, spread: float = 0.0) -> Dot:
    ends = (max(axis.low, value - spread), min(axis.high, value + spread))
    left, right = (axis.place(end) for end in ends)
    return Dot(axis.place(value), _middle(line), left, right, shape, text)


def _value(result: ModelResult, several: Sequence[Metric]) -> str:
    """The first metric's value that there is, as the panel has room for it."""
    for one in several:
        if result.statistic(one.key):
            return short_value(result, one)
    return ""


def _legend(found: Results, several: Sequence[Metric], printed: bool) -> list[tuple[str, str]]:
    shapes = [
        (f"ours{place}", "ours" if place == 0 else one.heading or one.key)
        for place, one in enumerate(several)
        if one.key in found.scored
    ]
    return [*shapes, *([("printed", "printed")] if printed else [])]


@dataclass(frozen=True)
class Curves:
    """A model's training: objective and validation of every seed, and the weights kept."""

    x: Axis
    y: Axis
    objective: list[str]
    validation: list[str]
    kept: list[tuple[float, float]]


def curves(result: ModelResult) -> Curves | None:
    """None without a history. The first tenth of the objective may leave the top."""
    lines = [
        (kind, *pairs_of(run.history, "epoch", column))
        for run in result.runs
        for kind, column in (("objective", "loss"), ("validation", "valid_loss"))
    ]
    if not any(len(x) for _, x, _ in lines):
        return None
    width, height = CURVE
    x = Axis.of((one for _, xs, _ in lines for one in (0.0, *xs)), 34, width - 8)
    y = Axis.of((one for _, _, ys in lines for one in ys), height - 20, 8)
    drawn = [(kind, _polyline(x, y, xs, ys)) for kind, xs, ys in lines if len(xs)]
    kept = [(x.place(a), y.place(b)) for run in result.runs for a, b in kept_points(run)]
    of_kind = {kind: [path for one, path in drawn if one == kind] for kind, _ in drawn}
    return Curves(x, y, of_kind.get("objective", []), of_kind.get("validation", []), kept)


def _polyline(x: Axis, y: Axis, xs: Floats, ys: Floats) -> str:
    chosen = thinned(len(xs), VERTICES)
    return " ".join(f"{x.place(xs[i]):g},{y.place(ys[i]):g}" for i in chosen)


def thinned(count: int, most: int) -> list[int]:
    """At most `most` of the first `count` numbers, evenly spread, both ends among them."""
    if count <= most:
        return list(range(count))
    return sorted(set(np.linspace(0, count - 1, most).round().astype(int).tolist()))


@dataclass(frozen=True)
class Cloud:
    """Points in a plane: a path a class of colour, and labels at x, y."""

    kind: str
    paths: list[tuple[str, str]]
    labels: list[tuple[int, int, str, str]]  # x, y, class, text


def latent_map(run: SeedRun) -> Cloud | None:
    """The test sentences' modes in their first two principal components, coloured by symbol."""
    if "modes" not in run.latents:
        return None
    points, shares = principal_components(run.latents["modes"])
    kind, groups = groups_of(run.latents)
    kind += f"; {shares.sum():.0%} of the variance"
    chosen = thinned(len(points), POINTS)
    places = _places(points[chosen], points)
    if groups is None:
        return Cloud(kind, [("c0", _path(places))], [])
    groups = groups[chosen]
    shown = commonest(groups)
    paths = [("rest", _path(places[~np.isin(groups, shown)]))]
    labels = []
    for colour, value in enumerate(shown):
        own = places[groups == value]
        x, y = np.median(own, axis=0).astype(int).tolist()
        paths.append((f"c{colour}", _path(own)))
        labels.append((x, y, f"c{colour}", str(value)))
    return Cloud(kind, [one for one in paths if one[1]], labels)


def prior_map(run: SeedRun) -> Cloud | None:
    """What the prior generates over the posterior's vectors, in one plane."""
    if not {"generated", "posterior"} <= run.latents.keys():
        return None
    both = {name: np.asarray(run.latents[name], np.float64) for name in ("posterior", "generated")}
    everything = np.concatenate(list(both.values()))
    paths = [
        (name, _path(_places(points[thinned(len(points), POINTS)], everything)))
        for name, points in both.items()
    ]
    return Cloud("", paths, [])


def _places(points: NDArray[Any], within: NDArray[Any]) -> NDArray[np.int64]:
    """Points (N, 2) as whole places in a cloud that holds `within`, with air; y upwards."""
    low, high = np.min(within, axis=0), np.max(within, axis=0)
    shares = (points - low) / np.where(high > low, high - low, 1.0)
    shares[:, 1] = 1 - shares[:, 1]
    return (12 + shares * (CLOUD - 24)).round().astype(np.int64)


def _path(places: NDArray[np.int64]) -> str:
    return "".join(f"M{x} {y}h0" for x, y in places.tolist())
