"""What is kept under results/published: README shows it as it is, and it cannot be impossible."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

from ldebm import params

ROOT = Path(__file__).parents[2]
OVERNIGHT = "results/published/overnight"
COOLDOWN = ROOT / "results/published/ptb-cooldown"


def rows_of(text: str) -> list[str]:
    """The lines of the first Markdown table."""
    lines = text.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("| Model |"))
    table = lines[start:]
    return table[: next((n for n, line in enumerate(table) if not line.startswith("|")), None)]


def cells_of(line: str) -> list[str]:
    """The cells of a line of a table, after an empty one."""
    return [cell.strip() for cell in line.split("|")]


@pytest.mark.parametrize(
    ("kept", "heading", "models"),
    [
        ("overnight", "## Penn Treebank, overnight", 16),
        ("demo", "## What the demo gives", 16),
    ],
)
def test_readme_shows_the_table_that_is_kept(kept: str, heading: str, models: int) -> None:
    shown = rows_of((ROOT / "README.md").read_text(encoding="utf-8").partition(heading)[2])
    table = (ROOT / f"results/published/{kept}/table.md").read_text(encoding="utf-8")
    assert shown == rows_of(table)
    assert len(shown) == 3 + models  # heading, rule, test set


def test_readme_shows_the_speed_that_was_printed() -> None:
    speed = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Speed")[2]
    shown = [line for line in speed.splitlines() if line.startswith("| ")]
    printed = (ROOT / "results/published/speed/intel-amx.md").read_text(encoding="utf-8")
    assert len(shown) == 2 + 2 * 4
    assert set(shown) <= set(printed.splitlines())


def test_the_claims_of_the_demo_are_counted_as_they_are_kept() -> None:
    with (ROOT / "results/published/demo/claims.csv").open(encoding="utf-8", newline="") as file:
        verdicts = Counter(row["verdict"] for row in csv.DictReader(file))
    said = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"come to {verdicts.total()} [inequalities" in said
    holds, fails, undecided = (verdicts[one] for one in ("holds", "fails", "undecided"))
    failing = {0: "none fails", 1: "one fails"}.get(fails, f"{fails} fail")
    assert f"{holds} hold here, {failing} and {undecided} are undecided" in said
    told = " ".join((ROOT / "docs/reproduction.md").read_text(encoding="utf-8").split())
    counted = f"{holds} of {verdicts.total()} inequalities hold, {failing} and {undecided} are"
    assert counted in told


def test_the_demos_likelihoods_are_explained_as_they_are_kept() -> None:
    """NLL and published estimator of each row of the page stand in the table."""
    kept = (ROOT / "results/published/demo/table.md").read_text(encoding="utf-8")
    page = (ROOT / "docs/likelihood.md").read_text(encoding="utf-8")
    section = page.partition("## Figures: the grammar corpus")[2].partition("\n\nThe published")[0]
    table = {cells[1]: cells for cells in map(cells_of, rows_of(kept))}
    shown = [cells_of(line) for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(shown) == 14
    for _, row, nll, _, _, published, *_ in shown:
        assert (nll, published) == (table[row][5], table[row][7]), row


def test_the_claims_of_the_treebank_are_counted_as_they_are_kept() -> None:
    with (ROOT / OVERNIGHT / "claims.csv").open(encoding="utf-8", newline="") as file:
        differences = [float(row["difference"]) for row in csv.DictReader(file)]
    said = " ".join((ROOT / "docs/reproduction.md").read_text(encoding="utf-8").split())
    right = sum(difference > 0 for difference in differences)
    assert f"Of {len(differences)} inequalities {right} point the paper's way" in said


def test_the_kept_demo_is_the_demo_but_for_its_seeds() -> None:
    shipped, kept = (
        yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
        for name in ("workflow/demo.yaml", "results/published/demo.yaml")
    )
    assert kept == {**shipped, "seeds": [1, 2, 3]}


def test_no_row_of_the_demo_is_below_the_entropy_of_its_source() -> None:
    """The exact mean of -log p over the same sentences is the least a model can reach.

    But for its sampling error: none comes near it.
    """
    with (ROOT / "results/published/demo/table.csv").open(encoding="utf-8", newline="") as file:
        test_set, *rows = csv.DictReader(file)
    for name in ("nll", "nll_importance"):
        found = [float(row[name]) for row in rows if row[name]]
        assert len(found) == {"nll": 14, "nll_importance": 9}[name]
        assert min(found) > float(test_set["nll"])


@pytest.mark.parametrize("run", sorted((ROOT / OVERNIGHT).glob("models/*/seed1/run.json")), ids=str)
def test_the_pages_figures_of_a_kept_row_are_its_scores(run: Path) -> None:
    """docs/reproduction.md has a section a row, with what its steps left."""
    key, row = (json.loads(run.read_text(encoding="utf-8"))[name] for name in ("model", "row"))
    page = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {row}\n")[2].partition("\n## ")[0]
    scores = json.loads((ROOT / OVERNIGHT / "metrics.json").read_text(encoding="utf-8"))[key]
    decimals = {"bleu": 2, "wkl": 3, "rppl": 2, "nll": 2, "nll_importance": 2, "nll_published": 2}
    for metric in decimals.keys() & scores.keys():
        assert f" {scores[metric]:.{decimals[metric]}f} " in section, metric
    with run.with_name("history.csv").open(encoding="utf-8", newline="") as file:
        validations = [entry for entry in csv.DictReader(file) if entry["valid_loss"]]
    curves = page.partition("\n## Curves\n")[2].partition("\n## ")[0]
    for name, digits in (("valid_loss", 2), ("valid_bleu", 2), ("valid_prior_fit", 1)):
        if validations[0].get(name):
            values = [f"{float(entry[name]):.{digits}f}" for entry in validations]
            assert " | ".join([f"| {row}", *values]) in curves, name


def test_the_page_says_how_near_the_print_each_row_is() -> None:
    """In percent of the print; NLL where that estimated it exactly or by importance sampling."""
    page = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    shown = page.partition("\n## How near\n")[2].partition("\n## ")[0].splitlines()
    with (ROOT / OVERNIGHT / "table.csv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.DictReader(file)
    for row in rows:
        sound = row["nll_importance"] or ("" if row["nll_published"] else row["nll"])
        pairs = [
            (row["bleu"], row["bleu_paper"], 0),
            (row["wkl"], row["wkl_paper"], 0),
            (sound, row["nll_paper"], 1),
        ]
        cells = [
            f"{float(ours) / float(paper) * 100 - 100:+.{digits}f} %" if ours and paper else ""
            for ours, paper, digits in pairs
        ]
        assert " | ".join([f"| {row['row']}", *cells]) + " |" in shown
    assert len([line for line in shown if line.startswith("| ")]) == len(rows) + 2


def test_what_falling_rates_bring_is_told_as_it_is_kept() -> None:
    """LDEBM in README and in docs/reproduction.md, and how it differs from the overnight row."""
    scores = {
        row["model"]: [
            f"{float(row[name]):.{digits}f}"
            for name, digits in (("rppl", 2), ("bleu", 2), ("wkl", 3))
        ]
        for row in table_of(COOLDOWN)
        if row["bleu"] and row["model"]
    }
    rppl, bleu, wkl = scores["ldebm"]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"LDEBM an rPPL of {rppl}, a BLEU of {bleu} and a wKL of {wkl} (" in readme
    first, second = scores["svebm"], scores["svebm_ib"]
    assert "SVEBM then has an rPPL of {}, a BLEU of {} and a wKL of {}, ".format(*first) in readme
    assert "SVEBM-IB {}, {} and {}, ".format(*second) in readme
    mixture = scores["dgm_vae_i"]
    assert (
        "DGM-VAE + I gains most in rPPL and wKL, and has an rPPL of {}, a BLEU of {} and a wKL of "
        "{} then: ".format(*mixture)
        in readme
    )
    page = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    section = page.partition("\n## LDEBM\n")[2].partition("\n## ")[0]
    scored = section.partition("\n| test set | paper |")[2].splitlines()
    for name, value in (("rPPL", rppl), ("BLEU", bleu), ("wKL", wkl)):
        (line,) = [line for line in scored if line.startswith(f"| {name} |")]
        assert line.split(" | ")[3] == value
    with (COOLDOWN / "models/ldebm/seed1/history.csv").open(encoding="utf-8", newline="") as file:
        validations = [entry for entry in csv.DictReader(file) if entry["valid_loss"]]
    for name, label, digits in (
        ("valid_loss", "loss, nats", 2),
        ("valid_bleu", "BLEU", 2),
        ("valid_prior_fit", "prior fit", 1),
    ):
        values = [f"{float(entry[name]):.{digits}f}" for entry in validations]
        assert " | ".join([f"| {label}: seed 1, falling in 7 and 8", *values]) in section


def test_what_falling_rates_bring_to_every_row_is_told_as_it_is_kept() -> None:
    """Scores beside those at constant rates, and validations; only RNN-LM is the same row."""
    page = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    section = page.partition("\n## Falling learning rates\n")[2].partition("\n## ")[0]
    plain, cooler = (
        params.load(ROOT / "params.yaml", ROOT / overlay)
        for overlay in ("workflow/overnight.yaml", "results/published/ptb-cooldown.yaml")
    )
    rows = [row for row in table_of(COOLDOWN) if row["model"]]
    assert {row["model"] for row in rows} == set(cooler.models)
    assert cooler.models["rnn_lm"] == plain.models["rnn_lm"]
    for row in rows:
        if (key := row["model"]) == "rnn_lm":
            continue
        settings = plain.models[key].model_dump()
        assert cooler.models[key].model_dump() == {
            **settings,
            "training": {**settings["training"], "cooldown": 2},
        }
        before, after = (
            {
                name: value
                for step in ("evaluations", "judgements", "likelihoods")
                for name, value in json.loads(
                    (folder / step / key / "seed1/scores.json").read_text(encoding="utf-8")
                ).items()
            }
            for folder in (ROOT / OVERNIGHT, COOLDOWN)
        )
        cells = []
        for name, digits in (("bleu", 2), ("wkl", 3), ("rppl", 2), ("prior_fit", 1)):
            scores = [found.get(name) for found in (before, after)]
            if name in ("bleu", "wkl"):
                cells.append(row[f"{name}_paper"])
            cells += ["" if score is None else f"{score:.{digits}f}" for score in scores]
        assert " | ".join([f"| {row['row']}", *cells]) + " |" in section
        with (COOLDOWN / f"models/{key}/seed1/history.csv").open(encoding="utf-8") as file:
            validations = [entry for entry in csv.DictReader(file) if entry["valid_loss"]]
        for name, label, digits in (
            ("valid_loss", "loss", 2),
            ("valid_bleu", "BLEU", 2),
            ("valid_prior_fit", "prior fit", 1),
        ):
            if validations[0].get(name):
                values = [f"{float(entry[name]):.{digits}f}" for entry in validations]
                assert " | ".join([f"| {label}: {row['row']}", *values]) in section


ABLATIONS = {  # in the order of docs/reproduction.md
    "ldebm": "LDEBM:", "ldebm_no_gc": "no clustering", "many_labels": "λ_c 0.5",
    "no_information": "λ 0 ", "much_information": "λ 0.5", "levels_2": "2 levels",
    "levels_4": "4 levels", "levels_10": "10 levels", "steps_5": "5 steps a level",
    "steps_50": "50 steps a level", "sampled_5": "5 steps in sampling",
    "sampled_100": "100 steps in sampling", "step_size_small": "step size 0.0005",
    "step_size_large": "step size 0.008",
}  # fmt: skip


def test_the_ablations_are_told_as_they_are_kept() -> None:
    """Every cell, and that it is bold where Welch's test at 5 % tells it from LDEBM's."""
    text = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    lines = text.partition("| one choice changed |")[2].splitlines()[2:16]
    folder = ROOT / "results/published/ablations"
    kept = {row["model"]: row for row in table_of(folder)}
    said = (folder / "table.md").read_text(encoding="utf-8").partition("diagnostics")[2]
    fits = {line.split(" | ")[0]: line.split(" | ")[6:9] for line in said.splitlines()}
    symbols: dict[str, list[float]] = {}
    with (folder / "interpretability.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            symbols.setdefault(row["model"], []).append(float(row["information"]))
    assert kept.keys() - {""} == ABLATIONS.keys() == symbols.keys()
    for line, (key, name) in zip(lines, ABLATIONS.items(), strict=True):
        shown, row, base = line.strip("| ").split(" | "), kept[key], kept["ldebm"]
        assert f"{shown[0]} ".startswith(name)
        for place, (metric, digits) in enumerate((("rppl", 1), ("wkl", 3), ("bleu", 1)), 1):
            mean, sd = float(row[metric]), float(row[f"{metric}_sd"])
            found = [float(one) for one in shown[place].strip("*").split(" ± ")]
            # the file is rounded too
            assert found == pytest.approx([mean, sd], abs=0.5 / 10**digits + 6e-5, rel=0)
            other = float(base[metric]), float(base[f"{metric}_sd"])
            p = stats.ttest_ind_from_stats(mean, sd, 3, *other, 3, equal_var=False).pvalue
            assert shown[place].startswith("**") == (p < 0.05)
        assert shown[4] == f"≤ {float(row['nll']):.2f} ± {float(row['nll_sd']):.2f}"
        mean, sd = np.mean(symbols[key]), np.std(symbols[key], ddof=1)
        found = [float(one) for one in shown[5].strip("*").split(" ± ")]
        assert found == pytest.approx([mean, sd], abs=0.0051, rel=0)
        p = stats.ttest_ind(symbols[key], symbols["ldebm"], equal_var=False).pvalue
        assert shown[5].startswith("**") == (p < 0.05)
        fit, _, variance = fits[f"| {row['row']}" + f" ({key})" * (key != "ldebm_no_gc")]
        assert shown[6].replace("*", "") == f"{fit} ({float(variance.split()[0]):.0f})"


def table_of(folder: Path) -> list[dict[str, str]]:
    """The lines of table.csv."""
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
