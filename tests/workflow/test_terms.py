"""The pages' Snakemake commands as typed, and where a trial goes."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from shipped import write_shipped_parameters

from .conftest import ROOT
from .test_security import OWN, snakemake

PAGES = ("README.md", "results/published/README.md")
TEXT = " ".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
COMMANDS = sorted(
    {" ".join(one.split()) for one in re.findall(r"`(snakemake [^`…]*--config[^`…]*)`", TEXT)}
)


@pytest.fixture(scope="module")
def shipped(project: Path) -> Path:
    """The project with all rows, and the overlays that are kept."""
    write_shipped_parameters(project)
    shutil.copytree(
        ROOT / "results/published",
        project / "results/published",
        ignore=lambda folder, names: [name for name in names if not name.endswith(".yaml")],
    )
    (project / "own.yaml").write_text(OWN)
    (project / "own.txt").write_text("a cat sat\n" * 4000)
    return project


def test_there_are_commands_with_options() -> None:
    assert any("overlay=" in one for one in COMMANDS)
    assert any("rows=" in one for one in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works_as_typed(shipped: Path, command: str) -> None:
    done = snakemake(shipped, "--dry-run", *shlex.split(command)[1:])
    assert done.returncode == 0, done.stdout
    made = re.findall(r"output: (\S*)table\.csv|, (\S*)table\.csv", done.stdout)
    own = re.search(r"(?:overlay=results/published/|--workflow-profile )([\w-]+)", command)
    assert {"".join(one) for one in made} == {f"results/{own[1]}/" if own else "results/"}
    rows = re.search(r"rows=(\S+)", command)
    trained = set(re.findall(r"output: \S*models/(\w+)/seed1", done.stdout))
    assert rows is None or trained == set(rows[1].split(","))


def test_a_trial_leaves_the_visible_results_alone(shipped: Path) -> None:
    target = "results/own/data/raw/manifest.json"
    given = ("--config", "overlay=own.yaml", "rows=vae", "threads=1")
    done = snakemake(shipped, *given, "--", target)
    assert done.returncode == 0, done.stdout
    assert (shipped / target).exists()
    assert not (shipped / "data").exists()
    (shipped / "results/table.csv").write_text("kept")
    done = snakemake(shipped, *given, "--", "results/table.csv")
    assert done.returncode != 0
    assert "leave the target out, or name results/own/table.csv" in done.stdout


def test_a_job_has_as_many_threads_as_are_asked_for(shipped: Path) -> None:
    target = "models/vae/seed1/manifest.json"
    for asked in (1, 3):
        given = ("--config", "rows=vae", f"threads={asked}", "--", target)
        done = snakemake(shipped, "--dry-run", "--cores", "4", *given)
        assert done.returncode == 0, done.stdout
        job = done.stdout.partition("rule train:")[2].partition("rule ")[0]
        found = re.search(r"threads: (\d+)", job)
        assert (int(found[1]) if found else 1) == asked


def test_a_profile_works_in_a_folder_of_its_own() -> None:
    for path in ROOT.glob("profiles/*/options.yaml"):
        given = yaml.safe_load(path.read_text())
        trial = Path(given["overlay"]).stem
        assert Path(given["results"]) == Path("results", trial)
        assert Path(given["root"]) in (Path("results", trial), Path("runs", trial))


@pytest.mark.parametrize("option", ["root=2024_01_05", "results=007", "overlay=1e3", "root=True"])
def test_a_folder_that_reads_as_a_number_is_not_guessed(shipped: Path, option: str) -> None:
    done = snakemake(shipped, "--dry-run", "--config", option)
    assert done.returncode != 0
    assert f"--config {option.partition('=')[0]}: " in done.stdout
    assert "write it as ./NAME" in done.stdout
