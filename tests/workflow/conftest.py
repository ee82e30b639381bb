"""A small project in a repository of its own.

The real workflow and source, tiny sizes, two models.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from shipped import shipped_parameters

from ldebm.params import merge

ROOT = Path(__file__).parents[2]
CARRIED = (
    "ldebm",
    "workflow",
    "profiles",
    "Snakefile",
    "dvc.yaml",
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvc/plots",
    ".dvcignore",
    ".gitignore",
)
MODELS = ("vae", "dgm_vae")
TINY: dict[str, Any] = {
    "data": {"corpus": "grammar", "grammar": {"seed": 1, "train": 200, "valid": 40, "test": 30}},
    "sentence_model": {"embedding": 8, "hidden": 8},
    "judge": {
        "train_sentences": 60,
        "valid_sentences": 20,
        "embedding": 8,
        "hidden": 8,
        "layers": 2,
        "epochs": 1,
    },
    "evaluation": {
        "samples": 80,
        "sample_batch": 40,
        "likelihood_samples": 4,
        "likelihood_chunk": 2,
        "likelihood_sentences": 5,
        "annealed": {"sentences": 5, "chains": 2, "temperatures": 8, "simulated": 2},
    },
    "models": {
        "*": {
            "posterior_samples": 1,
            "training": {"batch": 32, "validate_every": 3, "max_validations": 2},
        }
    },
}

Command = Callable[..., subprocess.CompletedProcess[str]]


def environment() -> dict[str, str]:
    """One thread a process, this environment's programs first, and nothing of a surrounding run."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LDEBM_", "MLFLOW_", "DVC_"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    person = {
        f"GIT_{role}_{part}": f"test@{part}"
        for role in ("AUTHOR", "COMMITTER")
        for part in ("NAME", "EMAIL")
    }
    return {
        **inherited,
        **person,
        "PATH": path,
        "OMP_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }


def command_in(folder: Path) -> Command:
    """Run a command there (`ldebm` is the copied source), with its errors among its output.

    It must succeed, or fail where that is expected.
    """

    def run(line: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        program, *arguments = line.split()
        words = (
            [sys.executable, "-m", "ldebm", *arguments]
            if program == "ldebm"
            else [program, *arguments]
        )
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{line}: status {done.returncode}\n{done.stdout}"
        return done

    return run


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, with everything committed and nothing run."""
    folder = tmp_path_factory.mktemp("project")
    for name in CARRIED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, folder / name)
    shipped = shipped_parameters()
    tiny = merge(shipped, TINY)
    tiny["models"] = {key: tiny["models"][key] for key in MODELS}
    (folder / "params.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False))
    run = command_in(folder)
    run("git init --quiet")
    run("git add --all")
    run("git commit --quiet --message start")
    return folder


@pytest.fixture(scope="module")
def run(project: Path) -> Command:
    """Run a command in the project."""
    return command_in(project)
