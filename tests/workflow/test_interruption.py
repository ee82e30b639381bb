"""Trainings that are killed go on, by the same command, to the same result."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ldebm.pipeline.steps import RESUMES

from .conftest import Command, environment

LONGER = "models: {vae: {training: {max_validations: 40, patience: 100}}}\n"


@pytest.fixture(scope="module")
def prepared(project: Path, run: Command) -> Path:
    """The project with its corpus, and an overlay that makes training last some seconds."""
    (project / "longer.yaml").write_text(LONGER)
    run("ldebm data fetch")
    run("ldebm data tokenize")
    return project


def started(folder: Path, seed: int) -> "subprocess.Popen[str]":
    """A training that has just written a checkpoint."""
    line = [
        sys.executable,
        "-m",
        "ldebm",
        "train",
        "vae",
        "--seed",
        str(seed),
        "--overlay",
        "longer.yaml",
        "--root",
        ".",
    ]
    process = subprocess.Popen(
        line,
        cwd=folder,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    work = folder / f"work/train-vae-seed-{seed}"
    while not any(path.suffix == ".safetensors" for path in work.glob("*/checkpoints/*")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    return process


def test_an_interrupted_run_ends_with_one_line(prepared: Path, run: Command) -> None:
    """Ctrl-C goes to all processes of the terminal's group."""
    line = "snakemake --cores 1 --config threads=1 overlay=longer.yaml root=. results=results --"
    process = subprocess.Popen(
        [*line.split(), "models/vae/seed1/manifest.json"],
        cwd=prepared,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    work = prepared / "work/train-vae-seed-1"
    while not any(path.suffix == ".safetensors" for path in work.glob("*/checkpoints/*")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate()[0].splitlines()
    assert process.returncode != 0
    *before, last = [one for one in said if not one.startswith(("Using workflow", "tokens: "))]
    assert [one.partition(":")[0] for one in before] == ["ldebm"]  # where it works
    assert last.startswith("ldebm: interrupted; the work is kept")
    assert not list((prepared / "work/tracking").iterdir())  # all of it was sent


def weights(folder: Path, seed: int) -> bytes:
    return (folder / f"models/vae/seed{seed}/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [
        (signal.SIGKILL, -9, None),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_training_that_ends_early_goes_on(
    prepared: Path, run: Command, number: int, status: int, word: str | None
) -> None:
    seed = int(number)
    process = started(prepared, seed)
    process.send_signal(number)
    output = process.communicate()[0]
    assert process.returncode == status
    assert word is None or output.splitlines()[-1] == f"ldebm: {word}; {RESUMES}"
    assert not (prepared / f"models/vae/seed{seed}/manifest.json").exists()
    command = f"ldebm train vae --seed {seed} --overlay longer.yaml --root ."
    assert f"train vae seed {seed}: going on" in run(command).stdout
    resumed = weights(prepared, seed)
    for folder in (f"work/train-vae-seed-{seed}", f"models/vae/seed{seed}"):
        run(f"rm -r {folder}")
    assert f"train vae seed {seed}: started" in run(command).stdout
    assert weights(prepared, seed) == resumed
