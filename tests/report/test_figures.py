"""The figures: what is drawn where, and that every file is a picture with something in it."""

from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from ldebm.report import figures, histories, panels, planes
from ldebm.report.results import Results, published_table, read_results

FOUR = {"vae": "VAE", "dgm_vae": "DGM-VAE", "svebm": "SVEBM", "ldebm": "LDEBM"}
SEVENTEEN = {
    f"m{number}": row for number, row in enumerate([*published_table(), "Toy"]) if row != "TEST SET"
}


def one_hot(codes: Any, values: int = 20) -> dict[str, Any]:
    """Codes (N, M) and the certain probabilities they come from."""
    return {
        "codes": codes,
        "probs": np.eye(values)[codes],
        "valid_probs": np.eye(values)[codes[:1]],
    }


def read(runs: Any, params: Any) -> Results:
    """Results of hand-made runs, with latents for every model but the language model."""
    rng = np.random.default_rng(0)
    for key, block in params.models.items():
        arrays = {"modes": rng.normal(size=(40, 5)), **one_hot(np.arange(40)[:, None] % 3)}
        for seed in params.seeds:
            runs.run(
                key,
                seed,
                scores={"bleu": 5.0, "nll": 80.0 + seed},
                latents=None if block.row == "RNN-LM" else arrays,
            )
    return read_results(params, runs.root)


def titles(figure: Figure) -> list[str]:
    """The panels' titles, in order."""
    return [(axes.get_title("left") or axes.get_title()).strip() for axes in figure.axes]


@pytest.mark.parametrize("rows", [FOUR, SEVENTEEN], ids=["four", "seventeen"])
@pytest.mark.parametrize("corpus", ["ptb", "grammar"])
def test_every_figure_is_a_picture_with_something_in_it(
    runs: Any, make_params: Any, rows: Any, corpus: str
) -> None:
    found = read(runs, make_params(rows, corpus=corpus, seeds=[1, 2]))
    figures.draw_figures(found, runs.root)
    for name in ("metrics", "curves", "terms", "latent"):
        pixels = matplotlib.image.imread(runs.root / f"{name}.png")
        height, width, _ = pixels.shape
        assert width > 1000
        assert height > 300
        assert 0.005 < np.mean(pixels[..., :3].min(axis=2) < 0.9) < 0.5, (
            name
        )  # some ink, not all ink


@pytest.mark.parametrize("count", [1, 4, 5, 7, 16, 17])
def test_a_grid_has_as_many_panels_as_asked_for(count: int) -> None:
    figure, made = panels.grid(range(count), "nothing")
    assert len(made) == len(figure.axes) == count


def test_the_metrics_panels_show_ours_and_the_printed_numbers(runs: Any, make_params: Any) -> None:
    runs.run("vae", rppl=321.0, scores={"wkl": 0.4})
    found = read_results(make_params({"vae": "VAE"}, corpus="ptb"), runs.root)
    rppl, bleu, wkl, nll = figures.metrics(found).axes
    assert positions(rppl) == {"o": [321.0], "D": [686.18], "line": [42.125]}
    assert positions(bleu) == {"D": [3.12]}
    assert positions(wkl) == {"o": [0.4], "D": [0.5], "line": [pytest.approx(0.27977, abs=1e-5)]}
    assert positions(nll) == {"D": [100.85]}
    assert [label.get_text() for label in rppl.get_yticklabels()] == ["VAE"]


def test_the_metrics_panels_show_the_published_estimator_apart_and_the_entropy(
    runs: Any, make_params: Any
) -> None:
    runs.run("ldebm", scores={"nll": 9.0, "nll_published": 7.0})
    found = read_results(make_params({"ldebm": "LDEBM"}), runs.root)
    assert positions(figures.metrics(found).axes[3]) == {"o": [9.0], "^": [7.0], "line": [2.75]}


def test_a_bound_has_its_sign_in_the_metrics_panels_too(runs: Any, make_params: Any) -> None:
    runs.run("ldebm", rppl=1234.0, scores={"nll": 9.0, "still_falling": 1.0})
    rppl, _, _, nll = figures.metrics(read_results(make_params({"ldebm": "LDEBM"}), runs.root)).axes
    assert "1,234" in {text.get_text() for text in rppl.texts}
    assert "≤ 9.0" in {text.get_text() for text in nll.texts}


def test_the_error_bars_are_a_standard_deviation_over_seeds_to_either_side(
    runs: Any, make_params: Any
) -> None:
    for seed, rppl in {1: 100.0, 2: 102.0, 5: 107.0}.items():
        runs.run("vae", seed, rppl=rppl, scores={"bleu": 4.0} if seed == 1 else {"nll": 8.0 * seed})
    found = read_results(make_params({"vae": "VAE"}, seeds=[1, 2, 5]), runs.root)
    rppl_axes, bleu_axes, _, nll_axes = figures.metrics(found).axes
    sd = 13**0.5  # of 100, 102, 107: (9 + 1 + 16) / 2
    assert bars(rppl_axes) == [pytest.approx((103 - sd, 103 + sd))]
    assert bars(nll_axes) == [pytest.approx((28 - 288**0.5, 28 + 288**0.5))]  # of 16 and 40
    assert bars(bleu_axes) == []  # one value has no spread


def bars(axes: Any) -> list[tuple[float, float]]:
    """The ends of every error bar."""
    segments = (container.lines[2] for container in axes.containers)
    return [
        (float(ends[0][0]), float(ends[1][0]))
        for bar in segments
        for lines in bar
        for ends in lines.get_segments()
    ]


def positions(axes: Any) -> dict[str, list[float]]:
    """The x of every marker by its shape, and of the reference line."""
    found: dict[str, list[float]] = {}
    for line in axes.lines:
        shape = "line" if line.get_marker() == "None" else line.get_marker()
        found.setdefault(shape, []).append(float(line.get_xdata()[0]))
    return found


def test_the_curves_mark_the_weights_that_were_kept(runs: Any, make_params: Any) -> None:
    runs.run("vae", record={"kept_step": 100, "seconds": 120.0})
    (axes,) = histories.curves(read_results(make_params({"vae": "VAE"}), runs.root)).axes
    training, validation, kept = axes.lines
    np.testing.assert_array_equal(training.get_xydata(), [(0.5, 20.0), (1.0, 15.0), (2.0, 11.0)])
    np.testing.assert_array_equal(validation.get_xydata(), [(1.0, 14.0), (2.0, 12.5)])
    np.testing.assert_array_equal(kept.get_xydata(), [(1.0, 14.0)])
    assert axes.texts[0].get_text() == "2.0 min, kept at 14.0"


def test_the_terms_are_the_named_ones_only(runs: Any, make_params: Any) -> None:
    other = (
        "gradient_norm_sentence",
        "learning_rate_energy",
        "clusters",
        "clustering_seconds",
        "tokens_per_second",
    )
    row = {
        "step": 50.0,
        "epoch": 1.0,
        "loss": 5.0,
        "valid_loss": 4.0,
        "valid_bleu": 1.0,
        **dict.fromkeys(other, 1.0),
    }
    runs.run("vae", history=[{**row, "reconstruction": 4.0, "contrast": -0.5}])
    found = read_results(make_params({"vae": "VAE"}), runs.root)
    assert histories.term_names(found.models[0].runs[0].history) == ["reconstruction", "contrast"]
    (axes,) = histories.terms(found).axes
    assert [text.get_text() for text in axes.texts] == [
        "contrast",
        "reconstruction",
    ]  # from the bottom


def test_a_term_with_a_pause_is_drawn_with_a_gap_and_labelled_at_its_end(
    runs: Any, make_params: Any
) -> None:
    rows = [
        {"step": s, "reconstruction": 9.0, **({"kl": 2.0} if s != 100 else {})}
        for s in (50, 100, 150)
    ]
    runs.run("vae", history=rows)
    (axes,) = histories.terms(read_results(make_params({"vae": "VAE"}), runs.root)).axes
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [2.0, np.nan, 2.0])
    assert [text.get_text() for text in axes.texts] == ["kl", "reconstruction"]


def test_names_are_moved_apart_within_the_panel() -> None:
    assert histories.spread([], 0.1) == []
    assert histories.spread([0.2, 0.5], 0.1) == [0.2, 0.5]
    assert histories.spread([0.5, 0.5, 0.52], 0.1) == pytest.approx([0.5, 0.6, 0.7])
    assert histories.spread([0.1, 0.99, 1.0], 0.1) == pytest.approx([0.1, 0.9, 1.0])


def test_principal_components_of_points_on_a_plane() -> None:
    rng = np.random.default_rng(3)
    plane = rng.normal(size=(200, 2)) * (3.0, 1.0)
    directions = np.linalg.qr(rng.normal(size=(6, 2)))[0].T  # (2, 6), orthonormal
    points, shares = planes.principal_components(plane @ directions + 5.0)
    covariance = np.linalg.eigvalsh(np.cov(plane.T, ddof=0))[::-1]
    np.testing.assert_allclose(points.var(axis=0), covariance, rtol=1e-9)
    np.testing.assert_allclose(shares, covariance / covariance.sum(), rtol=1e-9)


@pytest.mark.parametrize("modes", [np.ones((4, 3)), np.arange(4.0)[:, None], np.ones((1, 3))])
def test_principal_components_of_what_has_fewer_than_two_dimensions(modes: Any) -> None:
    points, shares = planes.principal_components(modes)
    assert points.shape == (len(modes), 2)
    np.testing.assert_allclose(points[:, 1], 0, atol=1e-12)
    assert np.isfinite(shares).all()


def test_the_latent_spaces_are_coloured_by_symbol(runs: Any, make_params: Any) -> None:
    modes = np.random.default_rng(1).normal(size=(60, 4))
    codes = np.stack([np.arange(60) % 2, np.arange(60) % 5], axis=1)
    runs.run("lm")
    runs.run("vae", latents={"modes": modes})
    runs.run("gm", latents={"modes": modes, **one_hot(codes)})
    runs.run(
        "ldebm", latents={"modes": modes, **one_hot(np.minimum(np.arange(60) % 20, 12)[:, None])}
    )
    rows = {"lm": "RNN-LM", "vae": "VAE", "gm": "GM-VAE", "ldebm": "LDEBM"}
    figure = planes.latent(read_results(make_params(rows), runs.root))
    assert titles(figure) == ["VAE", "GM-VAE", "LDEBM"]
    vae, gm, ldebm = figure.axes
    assert [text.get_text() for text in vae.texts] == ["no symbols"]
    assert [text.get_text() for text in gm.texts] == [
        "5 values of code 1 in use",
        "0",
        "1",
        "2",
        "3",
        "4",
    ]
    assert [len(cloud.get_offsets()) for cloud in gm.collections] == [60, 12, 12, 12, 12, 12]
    numbers = ["13 symbols in use, commonest 8 in colour", "12", "0", "1", "2", "3", "4", "5", "6"]
    assert [text.get_text() for text in ldebm.texts] == numbers
    colours = {to_hex(cloud.get_facecolor()[0]) for cloud in ldebm.collections}
    assert len(colours) == 9


def test_no_model_gives_pictures_that_say_so(runs: Any, make_params: Any, tmp_path: Path) -> None:
    found = read_results(make_params({}), runs.root)
    figures.draw_figures(found, tmp_path)
    assert planes.latent(found).texts[0].get_text() == "no latents of a row are here"
    assert all(
        (tmp_path / f"{name}.png").stat().st_size > 1000
        for name in ("metrics", "curves", "terms", "latent")
    )


def test_generated_vectors_lie_over_posterior_ones(runs: Any, make_params: Any) -> None:
    vectors = {"posterior": [[0.0, 1.0], [2.0, 3.0]], "generated": [[5.0, 6.0]]}
    runs.run("vae", latents={})
    runs.run("rnn_lm")
    folder = runs.folder("likelihoods", "vae", 1)
    np.savez(folder / "vectors.npz", **{name: np.array(one) for name, one in vectors.items()})
    found = read_results(make_params({"vae": "VAE", "rnn_lm": "RNN-LM"}), runs.root)
    (axes,) = [one for one in planes.priors(found).axes if one.lines]
    assert [line.get_label() for line in axes.lines] == ["posterior", "generated"]
    assert [line.get_xydata().tolist() for line in axes.lines] == list(vectors.values())


def test_each_axis_has_the_share_of_its_own_component(runs: Any, make_params: Any) -> None:
    """Along one direction four times the variance."""
    modes = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    runs.run("vae", latents={"modes": modes})
    (axes,) = planes.latent(read_results(make_params({"vae": "VAE"}), runs.root)).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("PC 1 (80%)", "PC 2 (20%)")


def test_the_terms_are_those_of_the_first_seed(runs: Any, make_params: Any) -> None:
    for seed in (1, 2):
        runs.run("vae", seed, history=[{"step": s, "reconstruction": seed} for s in (50, 100)])
    (axes,) = histories.terms(
        read_results(make_params({"vae": "VAE"}, seeds=[1, 2]), runs.root)
    ).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1.0, 1.0])
