"""A model that fails keeps nothing else from being made, and nobody from hearing of it."""

import csv
import re
from pathlib import Path

import pytest

from .conftest import Command

DIVERGING = "models: {vae: {training: {learning_rate: {sentence: 1.0e+30}}}}\n"
SNAKEMAKE = (
    "snakemake --cores 2 --config threads=1 overlay=diverging.yaml root=. results=results --"
)
REASON = r"train vae seed 1 failed: training diverged at step \d+, where \w+ is (nan|inf)"


@pytest.fixture(scope="module")
def failed(project: Path, run: Command) -> str:
    """The output of a run in which one of two models diverges."""
    (project / "diverging.yaml").write_text(DIVERGING)
    return run(f"{SNAKEMAKE} results/table.csv", fails=True).stdout


def rows(project: Path) -> dict[str, dict[str, str]]:
    with (project / "results/table.csv").open(encoding="utf-8", newline="") as file:
        return {row["model"]: row for row in csv.DictReader(file)}


def test_the_other_rows_complete_and_the_table_tells(project: Path, failed: str) -> None:
    assert re.search(REASON, failed)
    assert "Traceback" not in failed
    found = rows(project)
    assert all(found["dgm_vae"][name] for name in ("rppl", "bleu", "wkl", "nll", "train_seconds"))
    assert not found["dgm_vae"]["failed"]
    assert re.match(r"train vae seed 1: training diverged", found["vae"]["failed"])
    assert not any(found["vae"][name] for name in ("rppl", "bleu", "wkl", "nll", "train_seconds"))
    table = (project / "results/table.md").read_text(encoding="utf-8")
    assert re.search(r"^\| VAE ✗ (\|  )+\|$", table, re.MULTILINE)
    assert re.search(r"^- ✗ Failed, .*: train vae seed 1: training diverged", table, re.MULTILINE)
    assert not list((project / "models/vae").rglob("*.safetensors"))


def test_a_second_run_tries_nothing_again_and_is_no_success(
    project: Path, run: Command, failed: str
) -> None:
    output = run(f"{SNAKEMAKE} results/table.csv", fails=True).stdout
    assert re.search(REASON, output)
    told = re.findall(r"^(\w+)[^:\n]*: (?:up to date|restored|done|failed)", output, re.MULTILINE)
    assert set(told) == {"table"}
    assert rows(project)["dgm_vae"]["nll"]


def test_by_hand_the_status_tells_and_again_tries_again(run: Command, failed: str) -> None:
    given = "--overlay diverging.yaml --root ."
    judged = run(f"ldebm judge vae {given}", fails=True)
    assert judged.returncode == 3
    assert judged.stdout.startswith("judge vae seed 1: failed: train vae seed 1: training diverged")
    first, second = (run(f"ldebm train vae {one} {given}", fails=True) for one in ("", "--again"))
    assert (first.returncode, second.returncode) == (3, 3)
    assert "started" not in first.stdout
    assert second.stdout.startswith("train vae seed 1: started")


@pytest.mark.faults
def test_a_remedy_is_tried_by_itself(project: Path, run: Command, failed: str) -> None:
    output = run("snakemake --cores 2 --config threads=1 -- results/table.csv").stdout
    assert "train vae seed 1: done" in output
    assert "train dgm_vae" not in output
    found = rows(project)["vae"]
    assert found["nll"]
    assert not found["failed"]
    assert not list((project / "models").rglob("failed.json"))


@pytest.mark.faults
def test_dvc_records_the_rows_that_are_whole_and_stops_at_the_table(
    project: Path, run: Command, failed: str
) -> None:
    text = (project / "params.yaml").read_text()
    shipped = "learning_rate:\n        sentence: 0.001"
    assert shipped in text
    (project / "params.yaml").write_text(text.replace(shipped, shipped[:-5] + "1.0e+30", 1))
    output = run("dvc repro", fails=True).stdout
    assert re.search(REASON, output)
    assert "failed to reproduce 'table'" in output
    assert rows(project)["vae"]["failed"]
    lock = (project / "dvc.lock").read_text()
    assert {"train@vae", "judge@vae", "likelihood@dgm_vae"} <= set(re.findall(r"\S+@\w+", lock))
    assert "  table:" not in lock
