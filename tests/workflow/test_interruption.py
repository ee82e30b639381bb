"""Trainings that are killed go on, by the same command, to the same result."""

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
