"""The whole chain through Snakemake and DVC.

One project serves all tests, which follow one another as a user's day does.
"""

import csv
import json
import re
import shutil
import sqlite3
from pathlib import Path

import pytest
import yaml

from ldebm.pipeline.manifest import read_manifest

from .conftest import MODELS, Command, command_in

SNAKEMAKE = "snakemake --cores 2 --config threads=1 --"


def said(output: str, verb: str) -> dict[str, str]:
    """What the steps of a verb said of themselves, by the rest of their names."""
    found = re.findall(rf"^{verb}(.*): (up to date|restored|done)", output, re.MULTILINE)
    return {name.strip(): outcome for name, outcome in found}


def stages_run(output: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", output))


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of every file below a folder."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def built(project: Path, run: Command) -> str:
    """The output of one full run."""
    return run(f"{SNAKEMAKE} results/table.csv").stdout


def test_one_command_makes_the_table(project: Path, built: str) -> None:
    own = [
        line
        for line in built.splitlines()
        if not line.startswith("Using workflow specific profile")
    ]
    assert own[0].startswith("ldebm: on ")
    with (project / "results/table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1 + len(MODELS)  # TEST SET and the models
    metrics = json.loads((project / "results/metrics.json").read_text())
    assert {"nll", "bleu", "rppl", "wkl"} <= metrics["vae"].keys()
    for step in ("train", "sample", "judge", "evaluate", "likelihood"):
        assert {f"{model} seed 1" for model in MODELS} <= said(built, step).keys()


def test_what_is_kept_of_the_rows_makes_the_same_table(
    project: Path, run: Command, built: str, tmp_path: Path
) -> None:
    assert run(f"ldebm keep {tmp_path}").stdout.count(": kept") == 1 + len(MODELS)
    run(f"ldebm assemble {tmp_path}")
    run(f"ldebm assemble {tmp_path} --results {tmp_path / 'elsewhere'}")
    assert (tmp_path / "elsewhere/table.csv").read_text() == (tmp_path / "table.csv").read_text()
    assert "keep` leaves them out" in (tmp_path / "interpretability.md").read_text()
    assert "they are not known here" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "table.csv").read_text() == (project / "results/table.csv").read_text()
    shown = [(folder / "table.md").read_text() for folder in (tmp_path, project / "results")]
    assert shown[0] == shown[1]
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_run_prints_a_line_a_job_then_the_table_and_where_the_report_is(
    project: Path, built: str
) -> None:
    whole = [line for line in built.splitlines() if line and not line.startswith("Using workflow")]
    jobs = [line for line in whole if re.search(r": done in [\d.]+ s$", line)]
    assert len(jobs) == 3 + 2 + 5 * len(MODELS)  # raw, tokens, table; sample and judge of real
    after = whole[whole.index(jobs[-1]) + 1 :]
    stands = [line for line in whole if re.search(r": \w+ \d+/\d+(, |$)", line)]
    others = 2  # where the work is done, and how many words the text has
    assert len(whole) == others + len(jobs) + len(stands) + len(after)
    assert jobs[-1].startswith("table: done")
    assert "results/report.html" in after[-1]
    (vae,) = [line.split() for line in after if line.startswith("VAE")]
    metrics = json.loads((project / "results/metrics.json").read_text())["vae"]
    assert vae[1:4] == [
        f"{metrics['rppl']:.2f}",
        f"{metrics['bleu']:.2f}",
        f"{metrics['wkl']:.3f}",
    ]


def test_a_profiles_options_stay_when_a_single_one_is_given(run: Command) -> None:
    """Snakemake lets `--config` replace all of a profile's `config`."""
    line = "snakemake --dry-run --cores 1 --workflow-profile ablations --config rows=levels_2"
    told = run(line).stdout
    trained = re.findall(r"output: (\S*models/\S+) ", told)
    assert sorted(trained) == [
        f"runs/ablations/models/levels_2/seed{n}/manifest.json" for n in (1, 2, 3)
    ]
    assert "results/ablations/table.csv" in told


def test_the_page_has_the_commands_of_its_cells(project: Path, built: str) -> None:
    page = (project / "results/report.html").read_text()
    for verb in ("train", "sample", "judge", "evaluate", "likelihood"):
        assert f"<code>ldebm {verb} vae --seed 1" in page


def test_snakemakes_own_report_has_every_figure_and_its_caption(
    project: Path, run: Command, built: str
) -> None:
    run("snakemake --report own.html -- results/table.csv")
    page = (project / "own.html").read_text()
    (project / "own.html").unlink()
    figures = [path.stem for path in (project / "results/figures").iterdir()]
    assert len(figures) == 5
    for name in [*figures, "table", "claims", "symbols", "page"]:
        caption = (project / f"workflow/report/{name}.rst").read_text().split(".")[0]
        assert " ".join(caption.split()[:4]) in page
    for category in ("Page", "Table", "Figures", "Symbols"):
        assert f'"{category}"' in page


def test_dvc_keeps_every_file_of_the_results(project: Path, built: str) -> None:
    """Else a clone that pulls has not all that the table's manifest names, and makes it again."""
    stage = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]["table"]
    kept = {path for kind in ("outs", "metrics", "plots") for one in stage[kind] for path in one}
    manifest = read_manifest(project / "results")
    assert manifest is not None
    files = {f"results/{name}" for name in manifest["outputs"]}
    whole = {"results/figures" if one.startswith("results/figures/") else one for one in files}
    assert whole | {"results/manifest.json"} == kept


def test_every_training_has_one_run_in_mlflow(project: Path, built: str) -> None:
    with sqlite3.connect(project / "mlflow.db") as database:
        runs = dict(database.execute("select name, run_uuid from runs"))
        count = database.execute("select count(*) from runs").fetchone()[0]
        of_vae = [runs["grammar VAE seed 1"]]
        metrics = {
            key
            for (key,) in database.execute(
                "select key from latest_metrics where run_uuid = ?", of_vae
            )
        }
        tables = database.execute("select run_uuid, value from tags where key = 'table'").fetchall()
        table_metrics = dict(
            database.execute(
                "select key, value from latest_metrics join runs using (run_uuid) "
                "where name like 'grammar table %'"
            )
        )
    (table,) = {name for name in runs if name.startswith("grammar table ")}
    of_models = {f"grammar {row} seed 1" for row in ("VAE", "DGM-VAE", "real text")}
    assert count == len(runs)
    assert runs.keys() == {table, *of_models}
    groups = {"train/loss", "valid/loss", "judge/valid_loss", "prior/fit"}
    assert groups | {"test/rppl", "test/bleu", "test/wkl", "test/nll"} <= metrics
    assert {name.partition("/")[0] for name in metrics} == {
        "train",
        "valid",
        "test",
        "judge",
        "prior",
    }
    assert dict(tables) == {runs[name]: table for name in of_models}
    means = json.loads((project / "results/metrics.json").read_text())
    expected = {f"{key}/{model}": one for model in means for key, one in means[model].items()}
    assert table_metrics == pytest.approx(expected)
    artifacts = project / "mlruns/ldebm" / of_vae[0] / "artifacts"
    found = {path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*")}
    logged = {"train/history.csv", "train/run.json", "evaluate/reconstructions.txt"}
    assert logged | {"judge/history.csv", "likelihood/sentences.csv"} <= found
    samples = (project / "samples/vae/seed1/samples.txt").read_bytes()
    assert (artifacts / "sample/samples.txt").read_bytes() == samples


def test_twice_is_a_no_op(project: Path, run: Command, built: str) -> None:
    before = contents(project / "models")
    assert "Nothing to be done" in run(SNAKEMAKE).stdout
    assert contents(project / "models") == before


def test_dvc_has_nothing_to_do_after_snakemake(project: Path, run: Command, built: str) -> None:
    run("dvc commit --force")
    assert stages_run(run("dvc repro").stdout) == set()
    assert "Nothing to be done" in run(SNAKEMAKE).stdout
    assert run("git status --short").stdout.split() == ["??", "dvc.lock"]
    run("git add dvc.lock")
    run("git commit --quiet --message lock")


def test_a_bad_parameter_is_one_line_and_harms_nothing(
    project: Path, run: Command, built: str
) -> None:
    before = contents(project / "models"), contents(project / "results")
    shipped = (project / "params.yaml").read_text()
    try:
        (project / "params.yaml").write_text(shipped.replace("  hidden: 8", "  hiden: 8", 1))
        outputs = [run(line, fails=True).stdout for line in (SNAKEMAKE, "ldebm table")]
    finally:
        (project / "params.yaml").write_text(shipped)
    for output in outputs:
        own = [
            line
            for line in output.splitlines()
            if not line.startswith("Using workflow specific profile")
        ]
        assert len(own) == 1
        assert own[0].startswith("ldebm: error: params.yaml: sentence_model.hid")
    assert (contents(project / "models"), contents(project / "results")) == before


def test_an_experiment_reruns_its_model_and_the_table_only(
    project: Path, run: Command, built: str
) -> None:
    kept = contents(project / "models/dgm_vae")
    output = run("dvc exp run --set-param models.vae.training.batch=16").stdout
    verbs = ("train", "sample", "judge", "evaluate", "likelihood")
    assert stages_run(output) == {"plan", "model@vae", "table"}
    for verb in verbs:
        assert said(output, verb) == {"vae seed 1": "done"}
    assert contents(project / "models/dgm_vae") == kept
    manifest = read_manifest(project / "models/vae/seed1")
    assert manifest is not None
    assert manifest["parameters"]["training"]["batch"] == 16
    changes = json.loads(run("dvc metrics diff --json").stdout)["results/metrics.json"]
    assert {name.split(".")[0] for name in changes} == {"vae"}
    with sqlite3.connect(project / "mlflow.db") as database:
        named = database.execute("select count(*) from tags where key = 'DVC_EXP_NAME'").fetchone()
    assert named[0] >= 1
    assert stages_run(run("dvc repro").stdout) == set()


def test_a_revert_trains_nothing(project: Path, run: Command, built: str) -> None:
    run("git checkout params.yaml dvc.lock")
    output = run(SNAKEMAKE).stdout
    assert said(output, "train") == {"vae seed 1": "restored"}
    assert said(output, "judge") == {"vae seed 1": "restored"}
    assert stages_run(run("dvc repro").stdout) == set()
    assert run("git status --short").stdout == ""


def test_a_change_seen_by_snakemake_alone_touches_one_model(
    project: Path, run: Command, built: str
) -> None:
    """What is evaluated changes for all models; what is trained for none."""
    kept = contents(project / "models"), contents(project / "samples")
    run("git checkout params.yaml")
    raw = yaml.safe_load((project / "params.yaml").read_text())
    raw["evaluation"]["likelihood_sentences"] = 4
    (project / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    output = run(SNAKEMAKE).stdout
    run("git checkout params.yaml")
    assert said(output, "likelihood") == {f"{model} seed 1": "done" for model in MODELS}
    for verb in ("train", "sample", "judge", "evaluate"):
        assert said(output, verb) == {}
    assert (contents(project / "models"), contents(project / "samples")) == kept
    assert set(said(run(SNAKEMAKE).stdout, "likelihood").values()) == {"restored"}


def test_a_clone_that_pulls_has_nothing_to_train(
    project: Path, run: Command, built: str, tmp_path: Path
) -> None:
    """And one that pulls, then edits a parameter, is not taken to be up to date."""
    run(f"dvc remote add --default store {tmp_path / 'store'}")
    run("dvc push")
    run("git commit --quiet --all --message remote")
    there = command_in(tmp_path)
    there(f"git clone --quiet {project} clone")
    clone = command_in(tmp_path / "clone")
    clone("dvc pull")
    output = clone(SNAKEMAKE).stdout
    assert "done in" not in output
    assert "restored" not in output
    path = tmp_path / "clone/params.yaml"
    path.write_text(path.read_text().replace("    kl_midpoint: 2500", "    kl_midpoint: 2400", 1))
    output = clone(
        f"{SNAKEMAKE} models/vae/seed1/manifest.json models/dgm_vae/seed1/manifest.json"
    ).stdout
    assert said(output, "train") == {"vae seed 1": "done"}


def test_plots_show_figures_and_the_validations_as_data(
    project: Path, run: Command, built: str
) -> None:
    run("dvc plots show")
    page = (project / "dvc_plots/index.html").read_text()
    shutil.rmtree(project / "dvc_plots")
    assert page.count("<img") == 5
    loaded = re.findall(r'(?:src|href)="(http[^"]*)"', page)  # what draws the data, and no more
    assert loaded
    assert all(re.search(r"/vega(-lite|-embed)?@[\d.]+$", one) for one in loaded)
    assert "<title>ldebm" in page
    drawn = json.loads(run("dvc plots show --json").stdout)["data"]
    with (project / "results/curves.csv").open() as file:
        validations = [row for row in csv.DictReader(file) if row["valid_loss"]]
    (lines,) = drawn["validation loss"]
    values = [{"model": row["model"], "y": row["valid_loss"]} for row in validations]
    shown = lines["content"]["data"]["values"]
    assert [{"model": one["model"], "y": one["valid_loss"]} for one in shown] == values
    assert {one["model"] for one in values} == {"VAE", "DGM-VAE"}
    for name, column in (
        ("validation loss", "valid_loss"),
        ("reconstruction of validation sentences", "valid_bleu"),
        ("prior fit", "valid_prior_fit"),
    ):
        content = drawn[name][0]["content"]
        assert content["transform"][0]["calculate"].endswith(f"+datum['{column}']")
        assert content["encoding"]["x"]["field"] == "epoch"


def test_a_second_seed_trains_itself_alone_and_the_table_states_the_spread(
    project: Path, run: Command, built: str
) -> None:
    raw = yaml.safe_load((project / "params.yaml").read_text())
    raw["seeds"] = [1, 2]
    (project / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    output = run(SNAKEMAKE).stdout
    run("git checkout params.yaml")
    assert said(output, "train") == {f"{model} seed 2": "done" for model in MODELS}
    with (project / "results/table.csv").open() as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    for model in MODELS:
        each = [
            json.loads((project / f"likelihoods/{model}/seed{seed}/scores.json").read_text())["nll"]
            for seed in (1, 2)
        ]
        assert each[0] != each[1]
        assert float(rows[model]["nll"]) == pytest.approx(sum(each) / 2, abs=1e-4)
        assert float(rows[model]["nll_sd"]) == pytest.approx(
            abs(each[0] - each[1]) / 2**0.5, abs=1e-4
        )


def test_lint(run: Command) -> None:
    assert "in a good condition" in run("snakemake --lint").stdout
