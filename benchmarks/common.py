"""What speed.py and scaling.py share.

A corpus and parameters, timing, peak memory, fresh processes, Markdown.
"""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from operations import training_macs
from reference import plain

from ldebm import params as parameters
from ldebm.build import build_model
from ldebm.config import Params
from ldebm.context import Context
from ldebm.data import SPLITS
from ldebm.data.corpus import Corpus, tokenize
from ldebm.errors import UserError
from ldebm.models.plans import EpochPlan, bucketed
from ldebm.models.sentence import SentenceModel
from ldebm.runtime import checkpoint
from ldebm.runtime import device as devices
from ldebm.runtime.tracking import NoTracker
from ldebm.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
SEED = 1
PLANNED = 50  # batches that steps are chosen from; also the bucket of length-bucketed batches


@dataclass(frozen=True)
class Done:
    """What one repeat did: `units` of the work a row is named after, tokens (</s> counted) and
    multiply-adds by formula.
    """

    units: float
    tokens: float = 0
    macs: float = 0


@dataclass(frozen=True)
class Figures:
    """Of the median repeat: seconds a unit, tokens and floating-point operations a second.

    The range of seconds a unit; the process's peak memory, bytes.
    """

    seconds: float
    fastest: float
    slowest: float
    tokens_per_second: float
    flops: float
    memory: int


@dataclass(frozen=True)
class Bench:
    """Where rows are measured."""

    params: Params
    corpus: Corpus
    device: torch.device
    options: dict[str, Any]

    @classmethod
    def open(cls, options: dict[str, Any]) -> "Bench":
        """Read parameters and corpus and set up this process.

        `options` are the command line's, plain values.
        """
        loaded = parameters.load(
            Path(options["params"]), Path(options["overlay"]) if options["overlay"] else None
        )
        run = loaded.run.model_copy(
            update={"device": options["device"], "precision": options["precision"]}
        )
        device = devices.choose(options["device"])
        devices.prepare(device)
        if options.get("plain"):
            torch.set_flush_denormal(False)  # as PyTorch starts
        if options["threads"]:
            torch.set_num_threads(options["threads"])
        torch.manual_seed(SEED)
        return cls(
            loaded.model_copy(update={"run": run}),
            Corpus.open(Path(options["corpus"])),
            device,
            options,
        )

    @property
    def max_tokens(self) -> int:
        """Tokens of a sentence, <s> and </s> included."""
        return self.params.sentence_model.max_tokens

    def context(self, key: str) -> Context:
        """Where `models.<key>` is worked on; nothing is written."""
        where = (self.corpus, self.device, NoTracker(), Path(), Path())
        return Context(self.params, key, SEED, *where)

    def generator(self) -> torch.Generator:
        """A seeded generator on the device."""
        return torch.Generator(self.device).manual_seed(SEED)

    def model(
        self, key: str, vocabulary: int | None = None, weights: Path | None = None
    ) -> SentenceModel:
        """`models.<key>`, with freshly drawn weights or those in a file; the plain one if asked."""
        types = vocabulary or len(self.corpus.vocabulary)
        precision = self.params.run.precision  # even if it is emulated
        model = build_model(self.params, key, types, precision)
        if weights is not None:
            checkpoint.restore_model(model, checkpoint.load(weights)[0], weights)
        return (plain(model) if self.options.get("plain") else model).to(self.device)

    def measure(self, run: Callable[[], Done]) -> Figures:
        """The median of `repeats` runs after one that warms up."""
        run()
        repeats = [_timed(run, self.device) for _ in range(self.options["repeats"])]
        each = sorted(seconds / done.units for seconds, done in repeats)
        seconds, done = min(
            repeats, key=lambda one: abs(one[0] / one[1].units - each[len(each) // 2])
        )
        rates = (done.tokens / seconds, 2 * done.macs / seconds)
        return Figures(seconds / done.units, each[0], each[-1], *rates, peak_memory(self.device))

    def trainer(
        self, key: str, batch: int, samples: int, bucket: int, vocabulary: int | None = None
    ) -> Trainer:
        """A trainer of `models.<key>` whose epoch is planned.

        PLANNED batches at most, with drawn labels, so that no step waits for a clustering.
        """
        training = self.params.models[key].training.model_copy(
            update={"batch": batch, "bucket": bucket}
        )
        row = self.params.models[key].model_copy(update={"training": training})
        context = self.context(key)
        changed = context.params.model_copy(update={"models": {key: row}})
        model = self.model(key, vocabulary)
        model.posterior_samples = samples
        trainer = Trainer(replace(context, params=changed), model)
        rng = np.random.default_rng(SEED)
        order = rng.permutation(len(self.corpus.train))[: PLANNED * batch]
        order = order[bucketed(self.kept(order), batch, bucket, rng)]
        labels = rng.integers(getattr(self.params.models[key], "symbols", 1), size=len(order))
        trainer.plan = EpochPlan(order, labels)
        return trainer

    def kept(self, sentences: np.ndarray) -> np.ndarray:
        """Words that are kept of training sentences."""
        return np.minimum(self.corpus.train.lengths[sentences], self.max_tokens - 2)

    def steps(self, trainer: Trainer, count: int) -> Callable[[], Done]:
        """A run of `count` training steps, on batches that stand for short and long ones alike.

        Always the same ones.
        """
        assert trainer.plan is not None
        batch, samples = trainer.training.batch, trainer.model.posterior_samples
        words = self.kept(trainer.plan.order)
        # tokens of each sentence
        batches = [words[start : start + batch] + 1 for start in range(0, len(words), batch)]
        chosen = spread(np.array([sentences.mean() for sentences in batches]), count)
        macs = sum(training_macs(trainer.model, batches[place], samples) for place in chosen)
        tokens = sum(int(batches[place].sum()) for place in chosen)

        def run() -> Done:
            trainer.recent = []
            for place in chosen:
                trainer.progress.position = int(place)
                trainer._step()
            return Done(count, tokens, macs)

        return run


def _timed(run: Callable[[], Done], device: torch.device) -> tuple[float, Done]:
    synchronise(device)
    began = time.perf_counter()
    done = run()
    synchronise(device)
    return time.perf_counter() - began, done


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Bytes: on CUDA the most that was allocated there, else the most this process has ever held.

    Linux's own high-water mark is preferred to ru_maxrss, which a new process inherits from the one
    that started it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def spread(values: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` values in the middle of `count` equal shares of the sorted ones.

    Few that stand for all.
    """
    return np.argsort(values, kind="stable")[
        ((np.arange(count) + 0.5) / count * len(values)).astype(int)
    ]


@contextlib.contextmanager
def tokenised(folder: Path) -> Iterator[Path]:
    """`folder` itself if it is tokenised, else its texts ({split}.txt or ptb.{split}.txt) tokenised
    into a temporary folder.
    """
    if (folder / "vocabulary.txt").exists():
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        raw = Path(temporary, "raw")
        raw.mkdir()
        for split, path in texts(folder).items():
            (raw / f"{split}.txt").symlink_to(path)
        tokenize(raw, Path(temporary, "tokens"), None)
        yield Path(temporary, "tokens")


def texts(folder: Path) -> dict[str, Path]:
    """The texts of a folder by split. Raises UserError if there are none."""
    for prefix in ("", "ptb."):
        paths = {split: (folder / f"{prefix}{split}.txt").resolve() for split in SPLITS}
        if all(path.exists() for path in paths.values()):
            return paths
    raise UserError(
        f"{folder}: holds no train.txt, valid.txt, test.txt (or ptb.*.txt); name such a folder by "
        "--corpus"
    )


def parser(description: str | None, corpus: str) -> argparse.ArgumentParser:
    """Options of both benchmarks."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument(
        "--corpus", type=str, default=str(ROOT / corpus), help="folder with {train,valid,test}.txt"
    )
    made.add_argument("--params", default=str(ROOT / "params.yaml"))
    made.add_argument("--overlay", help="a file laid over the parameters, as for `ldebm`")
    made.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    made.add_argument("--repeats", type=int, default=5, help="the median of so many is reported")
    made.add_argument("--threads", type=int, help="threads of PyTorch on a CPU")
    made.add_argument("--batch", type=int, default=128, help="sentences of a training step")
    made.add_argument("--json", type=Path, help="also write the figures to this file")
    made.add_argument(
        "--one-process",
        action="store_true",
        help="start no process a row; memory is then no row's own",
    )
    # options of a fresh process
    made.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    return made


def options_of(arguments: argparse.Namespace, **changed: Any) -> dict[str, Any]:
    """The command line as plain values, `changed` replacing some."""
    return {
        name: value for name, value in vars(arguments).items() if name not in ("json", "worker")
    } | changed


def run_one(
    work: Callable[[dict[str, Any]], dict[str, Any]], options: dict[str, Any]
) -> dict[str, Any]:
    """What `work` makes of `options`, in a fresh process unless one process is asked for, so that
    peak memory is its own.
    """
    if options["one_process"]:
        return work(options)
    command = [sys.executable, sys.argv[0], "--worker", json.dumps(options)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(finished.stdout.splitlines()[-1])


def start(
    work: Callable[[dict[str, Any]], dict[str, Any]], report: Callable[[argparse.Namespace], Any],
          arguments: argparse.Namespace) -> None:  # fmt: skip
    """Be a worker, or print the report and write its figures."""
    if arguments.worker is not None:
        print(json.dumps(work(arguments.worker)))
        return
    try:
        figures = report(arguments)
    except UserError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: error: {error}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def as_json(figures: Figures) -> dict[str, Any]:
    """Plain values."""
    return asdict(figures)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, its first column text and all others numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, without an exponent; nothing for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:#.{digits}g}"


def machine(threads: int | None, device: str) -> str:
    """Hardware and versions in a line."""
    devices.prepare(chosen := devices.choose(device))
    torch.set_num_threads(threads or torch.get_num_threads())
    return f"{devices.describe(chosen)}; PyTorch {torch.__version__}"
