"""The page's drawings: what is where, by hand."""

import re
import statistics
from typing import Any

import numpy as np
import pytest

from ldebm.report import drawing
from ldebm.report.histories import kept_points, training_summary
from ldebm.report.results import ModelResult, read_results


def result(runs: Any, make_params: Any, **made: Any) -> ModelResult:
    """The one row of a run."""
    runs.run("vae", **made)
    return read_results(make_params({"vae": "VAE"}), runs.root).models[0]


def places(path: str) -> list[tuple[int, int]]:
    """The points of a path of a cloud."""
    return [(int(x), int(y)) for x, y in re.findall(r"M(-?\d+) (-?\d+)h0", path)]


def test_the_objective_and_the_validation_are_drawn_as_what_they_are(
    runs: Any, make_params: Any
) -> None:
    """Three entries have an objective, the last two of them a validation, which is lower."""
    curves = drawing.curves(result(runs, make_params))
    assert curves is not None
    objective, validation = curves.objective[0].split(), curves.validation[0].split()
    assert (len(objective), len(validation)) == (3, 2)
    assert validation[0] == f"{curves.x.place(1.0):g},{curves.y.place(14.0):g}"
    assert objective[-1] == f"{curves.x.place(2.0):g},{curves.y.place(11.0):g}"


def test_the_weights_that_are_marked_are_those_that_were_kept(runs: Any, make_params: Any) -> None:
    one = result(runs, make_params, record={"kept_step": 100, "steps": 200})
    assert kept_points(one.runs[0]) == [(1.0, 14.0)]
    assert training_summary(one) == "1.5 min, kept at 14.0"


def test_generated_vectors_lie_over_those_of_the_posterior_and_y_points_up(
    runs: Any, make_params: Any
) -> None:
    latents = {
        "generated": np.array([[0.0, 0.0], [1.0, 1.0]]),
        "posterior": np.array([[1.0, 0.0], [0.5, 0.5]]),
    }
    cloud = drawing.prior_map(result(runs, make_params, latents=latents).runs[0])
    assert cloud is not None
    assert [kind for kind, _ in cloud.paths] == ["posterior", "generated"]
    low, high = 12, drawing.CLOUD - 12
    below, above = (places(path) for _, path in cloud.paths)
    assert above == [(low, high), (high, low)]
    assert below == [(high, high), ((low + high) // 2, (low + high) // 2)]


def test_the_bars_of_a_panel_are_a_standard_deviation_to_either_side(
    runs: Any, make_params: Any
) -> None:
    values = {1: 100.0, 2: 102.0, 5: 107.0}
    for seed, rppl in values.items():
        runs.run("vae", seed, rppl=rppl)
    found = read_results(make_params({"vae": "VAE"}, seeds=list(values)), runs.root)
    (rppl,) = [one for one in found.metrics if one.key == "rppl"]
    panel = drawing.panel(found, [rppl])
    (dot,) = panel.dots
    mean, sd = statistics.fmean(values.values()), statistics.stdev(values.values())
    ends = [panel.axis.place(one) for one in (mean - sd, mean, mean + sd)]
    assert [dot.left, dot.x, dot.right] == pytest.approx(ends, abs=0.11)
