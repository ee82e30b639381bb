"""The steps of this project: for each its slice of the parameters, its inputs and outputs, the source it depends on, and its work.

Nothing here imports what a step needs for its work before the work begins.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldebm import params as parameters
from ldebm.config import Params, RowConfig, TextFiles
from ldebm.data import download
from ldebm.errors import UserError
from ldebm.outside import is_outside
from ldebm.pipeline.steps import Input, Step, read_manifest
from ldebm.runtime.tracking import NoTracker, Tracker, open_tracker

if TYPE_CHECKING:
    from ldebm.context import Context

REAL = "real"  # in a model's place: the training text itself, for the judge
REAL_SEED = 1


@dataclass(frozen=True)
class Project:
    """Parameters, and where outputs go: `root` for data and models, `results` for the table."""

    params: Params
    root: Path = Path(".")
    results: Path = Path("results")

    @classmethod
    def load(
        cls,
        params: str = "params.yaml",
        overlay: str | None = None,
        root: str = ".",
        results: str = "results",
    ) -> "Project":
        """Read and validate parameters. Raises UserError for anything wrong with them."""
        loaded = parameters.load(Path(params), Path(overlay) if overlay else None)
        return cls(loaded, Path(root), Path(results))

    def steps(self) -> Iterator[Step]:
        """Every step, producers first."""
        yield from (self.raw(), self.tokens())
        yield from (self.sample(REAL, REAL_SEED), self.judge(REAL, REAL_SEED))
        for model in self.params.models:
            for seed in self.params.seeds:
                yield from (
                    make(model, seed)
                    for make in (self.train, self.sample, self.judge, self.evaluate)
                )
        yield self.table()

    def folder(self, kind: str, model: str, seed: int) -> Path:
        """The output folder of a model's step; `kind` is models, samples, judgements or evaluations."""
        return self.root / kind / model / f"seed{seed}"

    def raw(self) -> Step:
        """The three raw texts."""
        corpus = self.params.data.corpus
        if isinstance(corpus, TextFiles):
            inputs = {
                split: Input(Path(path))
                for split, path in corpus.model_dump(exclude={"preprocessing"}).items()
            }
            return self._step(
                "raw",
                {"corpus": "text"},
                inputs,
                self.root / "data/raw",
                ["ldebm.data.download"],
                self._import_texts,
            )
        if corpus == "grammar":
            slice_ = {"corpus": corpus, "grammar": self.params.data.grammar.model_dump()}
            return self._step(
                "raw",
                slice_,
                {},
                self.root / "data/raw",
                ["ldebm.data.grammar"],
                self._write_grammar,
            )
        slice_ = {"corpus": corpus, "sha256": download.CHECKSUMS}
        return self._step("raw", slice_, {}, self.root / "data/raw", [], self._fetch)

    def tokens(self) -> Step:
        """The encoded splits and the vocabulary."""
        raw, limit = self.root / "data/raw", self.params.data.vocabulary_limit

        def work(checkpoints: Path, out: Path) -> None:
            from ldebm.data.corpus import tokenize

            tokenize(raw, out, limit)

        files = tuple(f"{split}.txt" for split in ("train", "valid", "test"))
        inputs = {"raw": Input(raw, files, made_by="data fetch")}
        return self._step(
            "tokens",
            {"vocabulary_limit": limit},
            inputs,
            self.root / "data/tokens",
            ["ldebm.data.corpus"],
            work,
        )

    def train(self, model: str, seed: int) -> Step:
        """A trained model."""
        slice_ = {
            **self._model_slice(model, seed),
            "training": self._block(model).training.model_dump(mode="json"),
        }
        entries = ["ldebm.training.loop", self._builder(model)]
        name, output = f"train {model} seed {seed}", self.folder("models", model, seed)

        def work(checkpoints: Path, out: Path) -> None:
            from ldebm.training.loop import train

            with self._tracker(
                f"{model} seed {seed}",
                self.train(model, seed).description()["fingerprint"],
                model,
                seed,
            ) as tracker:
                tracker.log_params(slice_)
                train(self._context(model, seed, tracker, checkpoints, out))

        return self._step(name, slice_, {"tokens": self._tokens}, output, entries, work)

    def sample(self, model: str, seed: int) -> Step:
        """Sentences drawn from a trained model, or real ones."""
        if model == REAL:
            return self._sample_real()
        settings = self.params.evaluation.model_dump(include={"samples", "sample_batch", "seed"})
        slice_ = {**self._model_slice(model, seed), "evaluation": settings}
        entries = ["ldebm.evaluation.sampling", self._builder(model)]

        def work(checkpoints: Path, out: Path) -> None:
            from ldebm.evaluation.sampling import sample

            context = self._context(model, seed, NoTracker(), checkpoints, out)
            sample(context, self.folder("models", model, seed))

        inputs = {"tokens": self._tokens, "model": self._weights(model, seed)}
        return self._step(
            f"sample {model} seed {seed}",
            slice_,
            inputs,
            self.folder("samples", model, seed),
            entries,
            work,
        )

    def _sample_real(self) -> Step:
        slice_ = {
            "judge": self.params.judge.model_dump(include={"train_sentences", "valid_sentences"})
        }
        entries = ["ldebm.evaluation.sampling"]

        def work(checkpoints: Path, out: Path) -> None:
            from ldebm.evaluation.sampling import sample_real

            sample_real(self._context(REAL, REAL_SEED, NoTracker(), checkpoints, out))

        name, output = f"sample {REAL} seed {REAL_SEED}", self.folder("samples", REAL, REAL_SEED)
        return self._step(name, slice_, {"tokens": self._tokens}, output, entries, work)

    def judge(self, model: str, seed: int) -> Step:
        """Reverse perplexity of a model's samples, or of real text."""
        slice_ = {"judge": self.params.judge.model_dump()}
        samples = self._samples(model, seed)

        def work(checkpoints: Path, out: Path) -> None:
            from ldebm.evaluation.judging import judge

            part = self.judge(model, seed).description()["fingerprint"]
            with self._tracker_of(model, seed, part) as tracker:
                tracker.log_params(slice_)
                context = self._context(model, seed, tracker, checkpoints, out)
                judge(context, samples.path / "samples.txt")

        output, entries = (
            self.folder("judgements", model, seed),
            ["ldebm.evaluation.judging"],
        )
        inputs = {"tokens": self._tokens, "samples": samples}
        return self._step(f"judge {model} seed {seed}", slice_, inputs, output, entries, work)

    def evaluate(self, model: str, seed: int) -> Step:
        """Scores, reconstructions and latents of a trained model."""
        settings = self.params.evaluation.model_dump(exclude={"samples", "sample_batch"})
        slice_ = {
            **self._model_slice(model, seed),
            "evaluation": settings,
            "judge": self.params.judge.model_dump(include={"train_sentences"}),
            "metrics": self.params.metrics,
        }
        entries = [
            "ldebm.evaluation.scoring",
            "ldebm.evaluation.likelihood",
            self._builder(model),
            *(name.partition(":")[0] for name in self.params.metrics),
        ]
        samples = self._samples(model, seed)

        def work(checkpoints: Path, out: Path) -> None:
            from ldebm.data.files import write_json
            from ldebm.evaluation.likelihood import likelihood
            from ldebm.evaluation.scoring import evaluate

            part = self.evaluate(model, seed).description()["fingerprint"]
            with self._tracker_of(model, seed, part) as tracker:
                tracker.log_params({"evaluation": settings})
                context = self._context(model, seed, tracker, checkpoints, out)
                text, weights = samples.path / "samples.txt", self.folder("models", model, seed)
                evaluate(context, weights, text)
                scores = json.loads((out / "scores.json").read_text(encoding="utf-8"))
                likelihood(context, weights)
                scores |= json.loads((out / "scores.json").read_text(encoding="utf-8"))
                write_json(out / "scores.json", scores)
                for file in (text, out / "reconstructions.txt"):
                    tracker.log_text(file.name, _head(file))

        inputs = {"tokens": self._tokens, "model": self._weights(model, seed), "samples": samples}
        return self._step(
            f"evaluate {model} seed {seed}",
            slice_,
            inputs,
            self.folder("evaluations", model, seed),
            entries,
            work,
        )

    def table(self) -> Step:
        """The table and its figures."""
        inputs = {
            "tokens": self._tokens,
            "raw": Input(self.root / "data/raw", made_by="data fetch"),
        }
        inputs[f"judgements/{REAL}"] = Input(
            self.folder("judgements", REAL, REAL_SEED), made_by=f"judge {REAL}"
        )
        for model in self.params.models:
            for seed in self.params.seeds:
                for kind, verb in (
                    ("models", "train"),
                    ("samples", "sample"),
                    ("judgements", "judge"),
                    ("evaluations", "evaluate"),
                ):
                    path = self.folder(kind, model, seed)
                    inputs[f"{kind}/{model}/seed{seed}"] = Input(path, made_by=f"{verb} {model}")

        def work(checkpoints: Path, out: Path) -> None:
            from ldebm.report.write import write_results

            write_results(self.params, self.root, out)
            with self._tracker("table", "table") as tracker:
                for file in sorted(path for path in out.rglob("*") if path.is_file()):
                    tracker.log_artifact(file, file.relative_to(out).parent.as_posix())

        slice_ = self.params.model_dump(
            mode="json", exclude={"run": {"device"}, "data": {"source"}}
        )
        return self._step("table", slice_, inputs, self.results, ["ldebm.report.write"], work)

    def _context(
        self, model: str, seed: int, tracker: Tracker, checkpoints: Path, out: Path
    ) -> "Context":
        from ldebm.context import Context

        tokens = self._tokens.path
        return Context.open(self.params, model, seed, tokens, tracker, checkpoints, out)

    def _step(
        self,
        name: str,
        slice_: dict[str, Any],
        inputs: dict[str, Input],
        output: Path,
        entries: Sequence[str],
        work: Any,
    ) -> Step:
        return Step(name, slice_, inputs, output, tuple(entries), self.root / "work", work)

    @property
    def _tokens(self) -> Input:
        return Input(self.root / "data/tokens", made_by="data tokenize")

    def _weights(self, model: str, seed: int) -> Input:
        return Input(
            self.folder("models", model, seed),
            ("model.safetensors",),
            made_by=f"train {model} --seed {seed}",
        )

    def _samples(self, model: str, seed: int) -> Input:
        return Input(
            self.folder("samples", model, seed),
            ("samples.txt",),
            made_by=f"sample {model} --seed {seed}",
        )

    def _block(self, model: str) -> RowConfig:
        if model not in self.params.models:
            raise UserError(
                f"{model!r} is no model of the parameters; there are: {', '.join(self.params.models)}"
            )
        return self.params.models[model]

    def _builder(self, model: str) -> str:
        block = self._block(model)
        return block.row.partition(":")[0] if is_outside(block.row) else type(block).__module__

    def _model_slice(self, model: str, seed: int) -> dict[str, Any]:
        """What decides a model's shape and weights, but for its training."""
        return {
            "seed": seed,
            "precision": self.params.run.precision,
            "sentence_model": self.params.sentence_model.model_dump(),
            "model": self._block(model).model_dump(mode="json", exclude={"training"}),
        }

    def _fetch(self, checkpoints: Path, out: Path) -> None:
        source = self.params.data.source
        download.fetch_ptb(out, download.local_source(Path(source) if source else None))

    def _import_texts(self, checkpoints: Path, out: Path) -> None:
        corpus = self.params.data.corpus
        assert isinstance(corpus, TextFiles)
        download.import_texts(out, Path(corpus.train), Path(corpus.valid), Path(corpus.test))

    def _write_grammar(self, checkpoints: Path, out: Path) -> None:
        from ldebm.data.grammar import write_corpus

        grammar = self.params.data.grammar
        write_corpus(out, grammar.seed, grammar.model_dump(exclude={"seed"}))

    def _tracker_of(self, model: str, seed: int, part: str) -> Tracker:
        """The run of the training that a model came from, to which `part` adds."""
        if model == REAL:
            return self._tracker("real text", part, model)
        manifest = read_manifest(self.folder("models", model, seed)) or {"fingerprint": "unknown"}
        return self._tracker(f"{model} seed {seed}", manifest["fingerprint"], model, seed, part)

    def _tracker(
        self, name: str, identity: str, model: str = "", seed: int | None = None, part: str = ""
    ) -> Tracker:
        experiment = (
            "ldebm" if self.root.resolve() == Path.cwd() else f"ldebm-{self.root.resolve().name}"
        )
        tags = {"model": model, "seed": "" if seed is None else str(seed)}
        given = {key: value for key, value in tags.items() if value}
        return open_tracker(experiment, name, identity, given, part)


def _head(path: Path, lines: int = 100) -> str:
    """The first lines of a text, or nothing where there is none."""
    if not path.exists():
        return ""
    with path.open(encoding="utf-8") as file:
        return "".join(line for line, _ in zip(file, range(lines), strict=False))
