"""The steps of this project: the one list of what each depends on, makes, and works with.

Nothing here imports what a step needs for its work before the work begins.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ldebm import params as parameters
from ldebm.config import Evaluation, Params, RowConfig, TextFiles
from ldebm.data import SPLITS, download
from ldebm.data.files import REAL, Failure, run_folder
from ldebm.data.tokenizer import words_of
from ldebm.errors import UserError
from ldebm.outside import is_outside, load_object
from ldebm.pipeline import plans, record, sources
from ldebm.pipeline.manifest import write_whole
from ldebm.pipeline.steps import Input, Step
from ldebm.runtime import device as devices
from ldebm.runtime import imports

KINDS = {
    "train": "models",
    "sample": "samples",
    "judge": "judgements",
    "evaluate": "evaluations",
    "likelihood": "likelihoods",
}  # the folder of each verb on a model
OPTIONS = ("params", "overlay", "rows", "root", "results")  # of the command line
READ = {"model": "model.safetensors", "samples": "samples.txt"}  # what a verb reads of another's
Slice = dict[str, Any]


@dataclass(frozen=True)
class Project:
    """Parameters, and where outputs go: `root` for data and models, `results` for the table.

    `options` are those of the command line that it was loaded by.
    """

    params: Params
    root: Path = Path(".")
    results: Path = Path("results")
    options: tuple[str, ...] = ()

    @classmethod
    def load(cls, **options: str | None) -> "Project":
        """Read and validate parameters.

        Args:
            options: OPTIONS of the command line; None is one that is not given. Of `rows` the keys
                have commas between. An overlay, being a trial, has a folder of its own,
                results/<its name>, for all that is not placed elsewhere.

        Raises:
            UserError: for anything wrong with the parameters.
        """
        asked = {name: options.get(name) for name in OPTIONS}
        given = {name: value for name, value in asked.items() if value is not None}
        overlay, chosen = given.get("overlay"), given.get("rows")
        own = f"results/{Path(overlay).stem}" if overlay else None
        loaded = parameters.load(
            Path(given.get("params", "params.yaml")),
            Path(overlay) if overlay else None,
            chosen.split(",") if chosen else None,
        )
        return cls(
            loaded,
            Path(given.get("root", own or ".")),
            Path(given.get("results", own or "results")),
            tuple(word for name, value in given.items() for word in (f"--{name}", value)),
        )

    def steps(self) -> Iterator[Step]:
        """Every step, producers first."""
        yield from (*self._before_the_table(), self.table())

    def step(self, verb: str, key: str, seed: int | None) -> Step:
        """A verb on a model."""
        return getattr(self, verb)(key, seed)

    def folder(self, kind: str, key: str, seed: int | None) -> Path:
        """The output folder of a verb on a model; `kind` is one of KINDS."""
        return run_folder(self.root, kind, key, seed)

    def plan(self) -> list[Step]:
        """Write the plan file of every step, and what DVC is to watch; return the stale steps."""
        if self.params.rows and "DVC_STAGE" in os.environ:
            raise UserError(
                "rows: DVC has stages for every block under models in params.yaml; take blocks out "
                "there, or choose rows with Snakemake, --config rows=KEY,KEY"
            )
        stale = plans.write_plans(list(self.steps()), some=bool(self.params.rows))
        if self.root == Path(".") and Path("dvc.yaml").is_file():
            _tell_dvc(Path("dvc.yaml"), sorted({one.as_posix() for one in self._outside()}))
        return stale

    def failures(self) -> list[Failure]:
        """What failed of the models, each once; the table does without it."""
        found = (one.failure() for one in self.table().inputs.values() if one.path.exists())
        return list(dict.fromkeys(one for one in found if one is not None))

    def raw(self) -> Step:
        """The three raw texts."""
        corpus, out = self.params.data.corpus, self.root / "data/raw"
        slice_: Slice = {"corpus": corpus}
        inputs: dict[str, Input] = {}
        entries: list[str] = []  # a download is known by its checksum
        if isinstance(corpus, TextFiles):
            slice_ = {"corpus": "text", **corpus.model_dump(exclude=set(SPLITS))}
            inputs = {split: Input(Path(getattr(corpus, split))) for split in SPLITS}
            entries, work = ["ldebm.data.download"], self._import_texts
            entries += [_file(corpus.preprocessing)] if corpus.preprocessing else []
        elif corpus == "grammar":
            slice_ |= {"grammar": self.params.data.grammar.model_dump()}
            entries, work = ["ldebm.data.grammar"], self._write_grammar
        else:
            slice_ |= {"sha256": download.CHECKSUMS}
            work = self._fetch
        return self._step("raw", slice_, inputs, out, tuple(entries), work=work)

    def tokens(self) -> Step:
        """The encoded splits and the vocabulary."""
        raw, limit = self.raw(), self.params.data.vocabulary_limit

        def work(checkpoints: Path, out: Path) -> None:
            from ldebm.data.corpus import tokenize

            tokenize(raw.output, out, limit)

        inputs = {"raw": Input(raw.output, tuple(f"{split}.txt" for split in SPLITS), raw)}
        out, slice_ = self.root / "data/tokens", {"vocabulary_limit": limit}
        return self._step("tokens", slice_, inputs, out, ("ldebm.data.corpus",), work=work)

    def train(self, key: str, seed: int) -> Step:
        """A trained model."""
        training = self._block(key).training.model_dump(mode="json")
        slice_ = {**self._model_slice(key, seed), "training": training, **self._words()}
        return self._of_model("training.loop:train", key, seed, slice_)

    def sample(self, key: str, seed: int) -> Step:
        """Sentences drawn from a trained model, or real ones."""
        if key == REAL:
            counts = self.params.judge.model_dump(include={"train_sentences", "valid_sentences"})
            return self._of_model("evaluation.sampling:sample_real", key, seed, {"judge": counts})
        slice_ = self._evaluation_slice(key, seed, {"samples", "sample_batch", "seed"})
        return self._of_model("evaluation.sampling:sample", key, seed, slice_, "model")

    def judge(self, key: str, seed: int) -> Step:
        """Reverse perplexity of a model's samples."""
        judge = self.params.judge
        slice_ = {"judge": {**judge.model_dump(), "precision": self._given(judge.precision)}}
        return self._of_model("evaluation.judging:judge", key, seed, slice_, "samples")

    def evaluate(self, key: str, seed: int) -> Step:
        """Scores that take seconds, reconstructions and latents of a trained model."""
        slice_ = {
            **self._model_slice(key, seed),
            "judge": self.params.judge.model_dump(include={"train_sentences"}),
            "metrics": self.params.metrics,
        }
        return self._of_model("evaluation.scoring:evaluate", key, seed, slice_, "model", "samples")

    def likelihood(self, key: str, seed: int) -> Step:
        """log p(x) of test sentences by each of the model's estimators, which takes its time."""
        names = set(Evaluation.model_fields) - {"samples", "sample_batch"}
        slice_ = self._evaluation_slice(key, seed, names)
        return self._of_model("evaluation.likelihood:likelihood", key, seed, slice_, "model")

    def table(self) -> Step:
        """The table and its figures, from everything else."""

        def work(checkpoints: Path, out: Path) -> None:
            with imports.uncollected():
                from ldebm.report.write import write_results
            before = self._before_the_table()
            commands = {(one.verb, one.key, one.seed): one.command for one in before}
            with record.opened_table(self, step) as tracker:
                write_results(self.params, self.root, out, commands=commands)
                record.table(self, step, tracker, out)

        inputs = {one.name: Input(one.output, None, one) for one in self._before_the_table()}
        left_out: Any = {"rows": True, "run": True, "data": {"source": True}}
        slice_ = self.params.model_dump(mode="json", exclude=left_out)
        entries = ("ldebm.report.write", *map(_file, self.params.metrics))
        step = self._step("table", slice_, inputs, self.results, entries, work=work)
        return step

    def _before_the_table(self) -> Iterator[Step]:
        yield from (self.raw(), self.tokens(), self.sample(REAL, 1), self.judge(REAL, 1))
        for key in self.params.models:
            for seed in self.params.seeds:
                yield from (self.step(verb, key, seed) for verb in KINDS)

    def _of_model(self, entry: str, key: str, seed: int, slice_: Slice, *reads: str) -> Step:
        """The step that calls `entry`, MODULE:FUNCTION, on a context and what it reads."""
        module, _, function = entry.partition(":")
        verb, tokens = function.partition("_")[0], self.tokens()
        makers = {name: self._maker(name, key, seed) for name in reads}
        inputs = {name: Input(one.output, (READ[name],), one) for name, one in makers.items()}
        paths = [
            one.output if name == "model" else one.output / READ[name]
            for name, one in makers.items()
        ]

        def work(checkpoints: Path, out: Path) -> None:
            with imports.uncollected():
                from ldebm.context import Context

                do = getattr(import_module(f"ldebm.{module}"), function)
            with record.opened(self, step) as tracker:
                opened = (tokens.output, tracker, checkpoints, out)
                context = Context.open(self.params, key, seed, *opened)
                splits = {name: len(getattr(context.corpus, name)) for name in SPLITS}
                parameters.check_sizes(self.params, splits)
                record.texts(self, step, context)
                do(context, *paths)
                record.outputs(step, tracker, out)

        entries = [f"ldebm.{module}"]
        if "model" in reads or verb == "train":
            entries.append(self._row_source(key))
        if verb == "evaluate":
            entries += map(_file, self.params.metrics)
        inputs = {"tokens": Input(tokens.output, None, tokens), **inputs}
        out, of_model = self.folder(KINDS[verb], key, seed), {"key": key, "seed": seed}
        step = self._step(verb, slice_, inputs, out, tuple(entries), work=work, **of_model)
        return step

    @property
    def _step(self) -> "partial[Step]":
        """A step of this project."""
        return partial(Step, home=self.root / "work", options=self.options)

    def _maker(self, name: str, key: str, seed: int) -> Step:
        return self.train(key, seed) if name == "model" else self.sample(key, seed)

    def _block(self, key: str) -> RowConfig:
        if key not in self.params.models:
            known = ", ".join(self.params.models)
            raise UserError(f"{key!r} is no model of the parameters; there are: {known}")
        return self.params.models[key]

    def _row_source(self, key: str) -> str:
        block = self._block(key)
        return _file(block.row) if is_outside(block.row) else type(block).__module__

    def _model_slice(self, key: str, seed: int) -> Slice:
        """What decides a model's shape and weights, but for its training."""
        return {
            "seed": seed,
            "precision": self._given(self.params.run.precision),
            "sentence_model": self.params.sentence_model.model_dump(),
            "model": self._block(key).model_dump(mode="json", exclude={"training"}),
        }

    def _words(self) -> Slice:
        """How words are made of a user's own text, which a trained model does with sentences."""
        corpus = self.params.data.corpus
        if not isinstance(corpus, TextFiles):
            return {}
        return {"corpus": corpus.model_dump(include={"tokenizer", "lowercase"})}

    def _evaluation_slice(self, key: str, seed: int, names: set[str]) -> Slice:
        settings = self.params.evaluation.model_dump(include=names)
        return {**self._model_slice(key, seed), "evaluation": settings}

    def _given(self, asked: str) -> str:
        """The precision that the device really gives."""
        return asked if asked == "float32" else self._bfloat16

    @cached_property
    def _bfloat16(self) -> str:
        """What bfloat16 comes to; the work itself tells of the device that has it not."""
        has = devices.has_bfloat16(devices.kind(self.params.run.device))
        return "bfloat16" if has else "float32"

    def _outside(self) -> Iterator[Path]:
        """Files of a user's own that steps depend on: corpus and code."""
        for step in self.steps():
            yield from (one.path for one in step.inputs.values() if one.maker is None)
            yield from (path for path, home in sources.reached(step.entries) if home is not None)

    def _fetch(self, checkpoints: Path, out: Path) -> None:
        source = self.params.data.source
        download.fetch_ptb(out, download.local_source(Path(source) if source else None))

    def _import_texts(self, checkpoints: Path, out: Path) -> None:
        corpus = self.params.data.corpus
        assert isinstance(corpus, TextFiles)
        preprocessing = load_object(corpus.preprocessing) if corpus.preprocessing else None
        train, valid, test = (Path(getattr(corpus, split)) for split in SPLITS)
        words = words_of(corpus.model_dump())
        download.import_texts(out, train, valid, test, preprocessing, words)

    def _write_grammar(self, checkpoints: Path, out: Path) -> None:
        from ldebm.data.grammar import write_corpus

        grammar = self.params.data.grammar
        write_corpus(out, grammar.seed, grammar.model_dump(exclude={"seed"}))


def _file(name: str) -> str:
    """The file of FILE.py:NAME."""
    return name.partition(":")[0]


def _tell_dvc(path: Path, files: list[str]) -> None:
    """Name files among the dependencies of dvc.yaml's stage `plan`, which cannot know them."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    deps = ", ".join(["ldebm", "params.yaml", *map(json.dumps, files)])
    line = re.compile(r"^    deps: \[ldebm, params\.yaml.*\]$", re.M)
    new, count = line.subn(lambda _: f"    deps: [{deps}]", text)
    if files and count != 1:
        raise UserError(
            f"{path}: its stage plan has no line `    deps: [ldebm, params.yaml]` that could name "
            f"{files[0]}; give it one, so that DVC sees that file change"
        )
    if new != text:
        write_whole(path, new)
