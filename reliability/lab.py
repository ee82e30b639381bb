"""A small project to do harm to: copies of one that is built once, and what must come of them.

A verb runs in a child of this process, in which its imports are done already. Everything else about
it is real: it is killed by SIGKILL, and its disk is full.
"""

import csv
import hashlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import yaml

from ldebm import cli
from ldebm.params import merge
from ldebm.pipeline.project import Project
from ldebm.pipeline.steps import Step
from ldebm.pipeline.verbs import ON_MODEL

SOURCE = Path(__file__).parents[1]
LINKED = ("ldebm", "workflow", "profiles", "Snakefile")
IMPORTED = (
    "ldebm.evaluation.judging",
    "ldebm.evaluation.likelihood",
    "ldebm.evaluation.sampling",
    "ldebm.evaluation.scoring",
    "ldebm.data.grammar",
    "ldebm.report.write",
    "ldebm.rows",
    "ldebm.training.loop",
    "filelock",
)
VERBS = ("raw", "tokens", *ON_MODEL, "table")
TIMES = ("train_seconds",)  # columns of a table that no two runs share
SMALL: dict[str, Any] = {
    "seeds": [1],
    "data": {"corpus": "grammar", "grammar": {"seed": 1, "train": 200, "valid": 40, "test": 30}},
    "run": {"device": "cpu", "precision": "float32"},
    "sentence_model": {"embedding": 16, "hidden": 16},
    "judge": {"train_sentences": 60, "valid_sentences": 20, "embedding": 8, "hidden": 8}
    | {"layers": 2, "epochs": 3, "batch": 4},
    "evaluation": {"samples": 80, "sample_batch": 20, "likelihood_samples": 4}
    | {"likelihood_chunk": 2, "likelihood_sentences": 8}
    | {"annealed": {"sentences": 8, "chains": 2, "temperatures": 40, "simulated": 2}},
}
TRAININGS: dict[str, dict[str, Any]] = {  # rows of each way to stop
    "vae": {"posterior_samples": 1}
    | {"training": {"batch": 32, "validate_every": 3, "max_validations": 20, "patience": 100}},
    "ldebm": {"energy_hidden": 12, "energy_blocks": 2, "langevin_steps": 3}
    | {"training": {"batch": 32, "epochs": 5}},
}


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    said: str

    @property
    def lines(self) -> list[str]:
        """What it said, without the words that every command has here."""
        return [line for line in self.said.splitlines() if "MLflow is not installed" not in line]

    def problem(self, status: int, *words: str) -> str | None:
        """What is wrong if it had to end so, with one line that has those words."""
        if "Traceback" in self.said or self.status != status:
            return f"status {self.status}: {' / '.join(self.lines[-3:])}"
        found = [line for line in self.lines if all(word in line for word in words)]
        return None if not words or len(found) == 1 else f"{len(found)} lines with {words}"


class Running:
    """A verb at work in a child of this process."""

    def __init__(self, words: tuple[str, ...], folder: Path) -> None:
        self.said = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - open until it ends
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_child(words, folder, self.said.fileno()))
        self.status: int | None = None

    def ended(self, within: float) -> bool:
        """Whether it ends within so many seconds."""
        last = time.monotonic() + within
        while self.status is None and time.monotonic() < last:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.002)
        return self.status is not None

    def kill(self) -> None:
        """End it as a power failure would."""
        os.kill(self.pid, signal.SIGKILL)
        self.done()

    def done(self) -> Done:
        """Wait for its end."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.said.seek(0)
        return Done(self.status, self.said.read())


def _child(words: tuple[str, ...], folder: Path, output: int) -> int:
    for number in (1, 2):
        os.dup2(output, number)
    sys.stdout, sys.stderr = (
        os.fdopen(number, "w", buffering=1, encoding="utf-8") for number in (1, 2)
    )
    sys.modules["mlflow"] = None  # type: ignore[assignment]
    os.chdir(folder)
    try:
        return cli.main(words)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1


@dataclass(frozen=True)
class Lab:
    """A project in a folder."""

    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)  # of each step's work, by its name

    @cached_property
    def project(self) -> Project:
        """Its steps; their paths are relative to the folder."""
        return Project.load(params=str(self.folder / "params.yaml"))

    def step(self, verb: str, key: str = "vae") -> Step:
        """A step by its verb; those on a model by its key too."""
        return (
            self.project.step(verb, key, 1) if verb in ON_MODEL else getattr(self.project, verb)()
        )

    def some(self) -> list[Step]:
        """Enough for Snakemake to make again: those of one model, and of none."""
        return [step for step in self.project.steps() if step.key in ("", "vae")]

    def start(self, step: Step, *words: str) -> Running:
        """Begin a step."""
        return Running((*step.command.split()[1:], *words), self.folder)

    def run(self, step: Step, *words: str) -> Done:
        """Take a step."""
        return self.start(step, *words).done()

    def program(self, *words: str, **variables: str) -> "subprocess.Popen[str]":
        """Begin a program in the folder, in a group of its own."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LDEBM_", "MLFLOW_", "DVC_"))
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env={**inherited, "PATH": path, "OMP_NUM_THREADS": "1", **QUIET, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def snakemake(self, *words: str) -> "subprocess.Popen[str]":
        """Begin the whole pipeline."""
        return self.program(
            *("snakemake", "--cores", "2", "--config", "threads=1", *words),
            *("--", "results/table.csv"),
        )

    def forget(self, *steps: Step) -> None:
        """Remove what steps made, and what they keep."""
        for step in steps:
            for path in (step.output, step.folder):
                shutil.rmtree(self.folder / path, ignore_errors=True)

    def bits(self, step: Step) -> str:
        """A hash of what a step made, but for times."""
        made = self.folder / step.output
        names = {"train": ["model.safetensors"], "judge": ["scores.json"], "table": ["table.csv"]}
        files = names.get(step.verb) or sorted(json.loads(_text(made / "manifest.json"))["outputs"])
        parts = [_text(made / name) for name in files if not name.endswith((".npz", ".png"))]
        return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def _text(path: Path) -> str:
    """A file's content; of a table without the columns that hold times."""
    content = path.read_bytes().decode("utf-8", "surrogateescape")
    if path.name != "table.csv":
        return content
    rows = csv.DictReader(content.splitlines())
    return "\n".join(str({k: v for k, v in row.items() if k not in TIMES}) for row in rows)


class Reference(Lab):
    """The project as it is without any harm, and copies of it."""

    @classmethod
    @contextmanager
    def built(cls, models: tuple[str, ...]) -> Iterator["Reference"]:
        """Build it with some of the TRAININGS, in a temporary folder."""
        for name in IMPORTED:
            importlib.import_module(name)
        with TemporaryDirectory(prefix="reliability-") as name:
            reference = cls(Path(name) / "reference")
            reference.prepare(models)
            yield reference

    def prepare(self, models: tuple[str, ...]) -> None:
        """Write its parameters, and take every step."""
        self.folder.mkdir()
        for name in LINKED:
            (self.folder / name).symlink_to(SOURCE / name)
        raw = yaml.safe_load((SOURCE / "params.yaml").read_text(encoding="utf-8"))
        small = {**raw, "models": {key: raw["models"][key] for key in models}, "metrics": []}
        small = merge(merge(small, SMALL), {"models": {key: TRAININGS[key] for key in models}})
        text = yaml.safe_dump(small, sort_keys=False)
        (self.folder / "params.yaml").write_text(text, encoding="utf-8")
        for step in self.project.steps():
            started = time.monotonic()
            done = self.run(step)
            self.seconds[step.name] = time.monotonic() - started
            assert done.status == 0, done.said

    @contextmanager
    def copy(self, place: Path | None = None) -> Iterator[Lab]:
        """A copy of it, as small as it may be, in a temporary folder or at `place`."""
        with TemporaryDirectory(prefix="lab-", dir=place or self.folder.parent) as name:
            folder = Path(name) / "lab"
            shutil.copytree(self.folder, folder, symlinks=True)
            yield Lab(folder, self.seconds)

    def wrong(self, lab: Lab, *steps: Step) -> str | None:
        """Which step made something else in the copy."""
        for step in steps:
            try:
                same = lab.bits(step) == self.bits(step)
            except OSError as error:
                return f"{step.name}: {error}"
            if not same:
                return f"{step.name}: other bits"
        return None


Problem = str | None
Injection = Callable[["Reference", int], Iterator[Problem]]
