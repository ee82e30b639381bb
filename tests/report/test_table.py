"""The table's files: values, means and standard deviations by hand, and emptiness where there is no
value.
"""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from ldebm.errors import UserError
from ldebm.metrics import METRICS
from ldebm.report.results import Statistic
from ldebm.report.table import columns
from ldebm.report.write import write_results

FOUR = {"vae": "VAE", "dgm_vae": "DGM-VAE", "svebm": "SVEBM", "ldebm": "LDEBM"}


def table(results: Path) -> dict[str, dict[str, str]]:
    """The cells of table.csv by row name."""
    with (results / "table.csv").open(encoding="utf-8", newline="") as file:
        return {row["row"]: row for row in csv.DictReader(file)}


def cells_of(results: Path, label: str) -> dict[str, str]:
    """The cells of a line of table.md by heading."""
    lines = [
        line.strip("| ")
        for line in (results / "table.md").read_text(encoding="utf-8").splitlines()
        if "|" in line
    ]
    rows = [[cell.strip() for cell in line.split(" |")] for line in lines]
    (row,) = [row for row in rows if row[0] == label]
    return dict(zip(rows[0], row, strict=False))


def test_statistics_by_hand() -> None:
    assert Statistic.of([]) is None
    assert Statistic.of([3.0]) == Statistic(3.0, None)
    assert Statistic.of([1.0, 2.0, 6.0]) == Statistic(
        3.0, pytest.approx(7.0**0.5)
    )  # (4 + 1 + 9) / (3 - 1)
    assert Statistic(3.0, None).text(2) == "3.00"
    assert Statistic(3.0, 0.126).text(2) == "3.00 ± 0.13"


def test_one_seed_on_the_treebank(runs: Any, make_params: Any) -> None:
    scores = {"bleu": 0.0, "wkl": 0.5, "nll": 100.5}
    runs.run("vae", rppl=700.25, scores=scores, record={"git_commit": "abc123"})
    write_results(make_params({"vae": "VAE"}, corpus="ptb"), runs.root, runs.root / "results")
    assert table(runs.root / "results")["VAE"] == {
        "row": "VAE", "model": "vae", "rppl": "700.25", "rppl_sd": "", "rppl_paper": "686.18",
        "bleu": "0.0", "bleu_sd": "", "bleu_paper": "3.12",
        "wkl": "0.5", "wkl_sd": "", "wkl_paper": "0.5",
        "nll": "100.5", "nll_sd": "", "nll_se": "", "nll_bound": "0", "nll_importance": "",
        "nll_importance_sd": "", "nll_importance_se": "",
        "nll_published": "", "nll_published_sd": "", "nll_paper": "100.85",
        "seeds": "1", "parameters": "1023", "train_seconds": "90.0",
        "device": "CPU, 2 threads", "commit": "abc123", "rppl_real_text": "", "failed": "",
    }  # fmt: skip


def test_several_seeds_give_mean_and_sample_standard_deviation(runs: Any, make_params: Any) -> None:
    for seed, rppl in {1: 100.0, 2: 102.0, 5: 107.0}.items():
        runs.run(
            "svebm",
            seed,
            rppl=rppl,
            scores={"nll_published": 90.0 + seed},
            record={"seconds": 10.0 * seed},
        )
    params = make_params({"svebm": "SVEBM"}, seeds=[1, 2, 5])
    write_results(params, runs.root, runs.root)
    row = table(runs.root)["SVEBM"]
    assert (row["rppl"], row["rppl_sd"]) == ("103.0", "3.6056")  # sqrt((9 + 1 + 16) / 2)
    assert (row["nll_published"], row["nll_published_sd"]) == ("92.6667", "2.0817")
    assert (row["seeds"], row["train_seconds"]) == ("1 2 5", "26.7")
    assert cells_of(runs.root, "SVEBM")["rPPL ↓"] == "103.00 ± 3.61"


def test_a_metric_that_one_of_two_seeds_lacks_has_no_spread(runs: Any, make_params: Any) -> None:
    runs.run("vae", 1, scores={"nll": 90.0})
    runs.run("vae", 2, scores={"nll": float("nan")})
    write_results(make_params({"vae": "VAE"}, seeds=[1, 2]), runs.root, runs.root)
    row = table(runs.root)["VAE"]
    assert (row["nll"], row["nll_sd"], row["bleu"]) == ("90.0", "", "")
    assert "nan" not in (runs.root / "table.csv").read_text().lower()


def test_the_test_set_row(runs: Any, make_params: Any) -> None:
    write_results(make_params({}, corpus="grammar"), runs.root, runs.root)
    values = {name: cell for name, cell in table(runs.root)["TEST SET"].items() if cell}
    assert values == {
        "row": "TEST SET",
        "bleu": "100.0",
        "wkl": "0.2798",
        "nll": "2.75",
        "rppl_real_text": "42.125",
    }
    write_results(make_params({}, corpus="ptb"), runs.root, runs.root)
    row = table(runs.root)["TEST SET"]
    assert (row["bleu_paper"], row["wkl_paper"], row["nll"], row["rppl_paper"]) == (
        "100.0",
        "0.14",
        "",
        "",
    )


def test_columns_and_order_of_rows(runs: Any, make_params: Any) -> None:
    rows = {"toy": "Toy", "ldebm": "LDEBM", "a": "VAE", "b": "VAE"}
    for model in rows:
        runs.run(model)
    write_results(make_params(rows), runs.root, runs.root)
    with (runs.root / "table.csv").open(newline="") as file:
        header, *lines = list(csv.reader(file))
    assert header == columns(METRICS)
    names = [("TEST SET", ""), ("VAE", "a"), ("VAE", "b"), ("LDEBM", "ldebm"), ("Toy", "toy")]
    assert [tuple(line[:2]) for line in lines] == names


def test_no_printed_number_stands_beside_another_corpus(runs: Any, make_params: Any) -> None:
    runs.run("ldebm", scores={"nll_published": 80.0})
    write_results(make_params({"ldebm": "LDEBM"}, corpus="grammar"), runs.root, runs.root)
    paper = [
        cell
        for row in table(runs.root).values()
        for name, cell in row.items()
        if name.endswith("_paper")
    ]
    assert set(paper) == {""}
    assert "printed" not in (runs.root / "table.md").read_text()


def test_metrics_json_holds_means_by_model_and_nothing_absent(runs: Any, make_params: Any) -> None:
    for seed in (1, 2):
        runs.run("vae", seed, rppl=300.0 + seed, scores={"bleu": 4.0 * seed})
    write_results(make_params({"vae": "VAE"}, corpus="ptb", seeds=[1, 2]), runs.root, runs.root)
    found = json.loads((runs.root / "metrics.json").read_text())
    assert found["vae"] == {"rppl": 301.5, "bleu": 6.0}
    assert found["test_set"] == {
        "bleu": 100.0,
        "wkl": pytest.approx(0.27977, abs=1e-5),
        "rppl_real_text": 42.125,
    }
    assert list(found) == ["test_set", "vae"]


def test_markdown_sets_the_printed_nll_beside_the_estimator_it_came_from(
    runs: Any, make_params: Any
) -> None:
    runs.run("vae", scores={"bleu": 3.0, "wkl": 0.4567, "nll": 101.0})
    runs.run("svebm", scores={"nll": 110.0, "nll_published": 96.0})
    write_results(make_params({"vae": "VAE", "svebm": "SVEBM"}, corpus="ptb"), runs.root, runs.root)
    vae, svebm = cells_of(runs.root, "VAE"), cells_of(runs.root, "SVEBM")
    assert (vae["BLEU ↑"], vae["wKL ↓"], vae["NLL ↓"]) == (
        "3.00 (3.12)",
        "0.457 (0.50)",
        "101.00 (100.85)",
    )
    assert (vae["Weights"], vae["Training"]) == ("1,023", "2 epochs, 1.5 min")
    assert svebm["NLL ↓"] == "110.00"
    assert svebm["NLL, published estimator"] == "96.00 (95.02)"
    assert cells_of(runs.root, "TEST SET")["rPPL ↓"] == "42.12 †"


def test_markdown_marks_what_is_still_falling_and_says_the_error(
    runs: Any, make_params: Any
) -> None:
    runs.run("vae", scores={"nll": 22.0, "nll_standard_error": 0.5, "still_falling": 0.0})
    runs.run("ldebm", scores={"nll": 27.0, "nll_standard_error": 1.25, "still_falling": 1.0})
    write_results(make_params({"vae": "VAE", "ldebm": "LDEBM"}), runs.root, runs.root)
    assert cells_of(runs.root, "VAE")["NLL ↓"] == "22.00 ± 0.50 s.e."
    assert cells_of(runs.root, "LDEBM")["NLL ↓"] == "≤ 27.00 ± 1.25 s.e."
    with (runs.root / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    found = {key: (rows[key]["nll_se"], rows[key]["nll_bound"]) for key in ("vae", "ldebm")}
    assert found == {"vae": ("0.5", "0"), "ldebm": ("1.25", "1")}


def test_markdown_says_how_it_was_evaluated(runs: Any, make_params: Any) -> None:
    runs.run("vae", scores={"nll": 3.0})
    settings = {
        "judge": {"hidden": 64, "epochs": 2},
        "evaluation": {"samples": 43500, "likelihood_sentences": 1},
    }
    write_results(make_params({"vae": "VAE"}, **settings), runs.root, runs.root)
    text = (runs.root / "table.md").read_text(encoding="utf-8")
    assert "the grammar corpus" in text
    assert "2 training, 1 validation and 2 test sentences, 3 word types" in text
    assert "the same 2 of 2 test sentences" in text
    assert "judge.hidden 64 (1150), judge.epochs 2 (20)" in text
    assert "evaluation.samples 43500 (46000)" in text
    assert "evaluation.likelihood_sentences 1 (all)" in text
    assert "dictionary is the corpus vocabulary" in text
    assert "nll_published" not in text  # no energy-based row
    runs.run("ldebm", scores={"nll_published": 80.0})
    write_results(make_params({"ldebm": "LDEBM"}, **settings), runs.root, runs.root)
    assert "It is of the first 1 test sentences." in (runs.root / "table.md").read_text("utf-8")


def test_markdown_does_not_speak_of_changes_where_there_are_none(
    runs: Any, make_params: Any
) -> None:
    runs.run("ldebm", scores={"nll_published": 80.0})
    write_results(make_params({"ldebm": "LDEBM"}, corpus="ptb"), runs.root, runs.root)
    text = (runs.root / "table.md").read_text(encoding="utf-8")
    assert "Not evaluated as published" not in text
    assert "the same 2 of 2 test sentences" in text
    assert "nll_published" in text
    assert "It is of all test sentences." in text
    assert "SVEBM" not in text


def test_nothing_is_written_when_a_run_is_missing(runs: Any, make_params: Any) -> None:
    runs.run("vae")
    results = runs.root / "results"
    with pytest.raises(UserError, match="is missing"):
        write_results(make_params(FOUR), runs.root, results)
    assert not results.exists()


def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_else(
    runs: Any, make_params: Any
) -> None:
    for model in FOUR:
        runs.run(model)
    results = runs.root / "results"
    contents = []
    for _ in range(2):
        write_results(make_params(FOUR), runs.root, results)
        files = [path for path in sorted(results.rglob("*")) if path.is_file()]
        contents.append({path.relative_to(results).as_posix(): path.read_bytes() for path in files})
    names = [f"figures/{name}.png" for name in ("curves", "latent", "metrics", "priors", "terms")]
    assert list(contents[0]) == [
        "claims.csv",
        "claims.md",
        "curves.csv",
        *names,
        "interpretability.csv",
        "interpretability.md",
        "metrics.json",
        "report.html",
        "table.csv",
        "table.md",
    ]
    assert contents[0] == contents[1]


def test_a_row_that_failed_is_marked_and_the_others_are_as_they_were(
    runs: Any, make_params: Any
) -> None:
    """One whose training failed, one whose judge failed, one that lost a seed, and a whole one."""
    names = {"vae": "VAE", "ae": "AE", "dae": "DAE", "svebm": "SVEBM"}
    for model in ("ae", "dae", "svebm"):
        for seed in (1, 2):
            runs.run(model, seed, rppl=100.0 * seed)
    for seed in (1, 2):
        runs.failed("models", "vae", seed, f"train vae seed {seed}", "training diverged at step 3")
    runs.failed("judgements", "ae", 1, "judge ae seed 1", "the judge diverged")
    for kind in ("models", "samples", "judgements", "evaluations", "likelihoods"):
        runs.failed(kind, "dae", 2, "train dae seed 2", "training diverged at step 9")
    (runs.folder("evaluations", "dae", 2) / "scores.json").unlink()  # as the pipeline would
    write_results(make_params(names, seeds=(1, 2)), runs.root, runs.root / "results")
    cells = table(runs.root / "results")
    assert {row: cells[row]["rppl"] for row in names.values()} == {
        "VAE": "", "AE": "200.0", "DAE": "100.0", "SVEBM": "150.0",
    }  # fmt: skip
    assert {row: cells[row]["seeds"] for row in names.values()} == {
        "VAE": "", "AE": "1 2", "DAE": "1", "SVEBM": "1 2",
    }  # fmt: skip
    assert cells["AE"]["bleu"] == "5.0"
    assert cells["AE"]["failed"] == "judge ae seed 1: the judge diverged"
    assert cells["DAE"]["failed"] == "train dae seed 2: training diverged at step 9"
    assert cells["SVEBM"]["failed"] == ""
    text = (runs.root / "results/table.md").read_text(encoding="utf-8")
    marked = [
        line.split(" |")[0] for line in text.splitlines() if line.startswith("| ") and "✗" in line
    ]
    assert marked == ["| AE ✗", "| VAE ✗", "| DAE ✗"]
    note = next(line for line in text.splitlines() if line.startswith("- ✗ "))
    for reason in ("train vae seed 1: training diverged at step 3", "judge ae seed 1: the judge"):
        assert note.count(reason) == 1
    assert note.count("step 9") == 1


def test_real_text_that_cannot_be_judged_leaves_its_cell_empty(runs: Any, make_params: Any) -> None:
    runs.run("vae")
    runs.failed("judgements", "real", 1, "judge real seed 1", "the judge diverged")
    write_results(make_params({"vae": "VAE"}), runs.root, runs.root / "results")
    found = table(runs.root / "results")
    assert found["TEST SET"]["rppl_real_text"] == ""
    assert found["VAE"]["rppl"] == "300.0"


def test_curves_hold_the_validations_of_every_seed(runs: Any, make_params: Any) -> None:
    line = {"step": 3, "epoch": 0.25, "loss": 9.5, "valid_loss": 8.125, "valid_bleu": 1.5}
    runs.run("vae", 1)
    runs.run("vae", 2, history=[{**line, "valid_prior_fit": 0.75}, {"step": 4, "loss": 2.0}])
    write_results(make_params({"vae": "VAE"}, seeds=(1, 2)), runs.root, runs.root)
    assert (runs.root / "curves.csv").read_text().splitlines() == [
        "model,seed,step,epoch,valid_loss,valid_bleu,valid_prior_fit",
        "VAE,1,100,1,14,,",
        "VAE,1,200,2,12.5,,",
        "VAE,2,3,0.25,8.125,1.5,0.75",
    ]
