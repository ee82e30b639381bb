"""The steps of this project: the one list of what each depends on, makes, and works with.

Nothing here imports what a step needs for its work before the work begins.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ldebm import params as parameters
from ldebm.config import Params, TextFiles
from ldebm.data import SPLITS, download
from ldebm.data.files import REAL, Failure, run_folder
from ldebm.data.tokenizer import words_of
from ldebm.errors import UserError
from ldebm.outside import file_of, load_object
from ldebm.pipeline import plans, record, sources
from ldebm.pipeline.manifest import write_whole
from ldebm.pipeline.steps import Input, Step
from ldebm.pipeline.verbs import ON_MODEL, ON_REAL, Slice, verb_on
from ldebm.runtime import device as devices
from ldebm.runtime import imports

OPTIONS = ("params", "overlay", "rows", "root", "results")  # of the command line


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

    def folder(self, kind: str, key: str, seed: int | None) -> Path:
        """The output folder of a verb on a model; `kind` is that of the verb."""
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
            entries += [file_of(corpus.preprocessing)] if corpus.preprocessing else []
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

    def step(self, verb: str, key: str, seed: int) -> Step:
        """A verb on a model, or on real text in a model's place.

        Raises:
            UserError: the parameters have no such model.
        """
        one, tokens = verb_on(verb, key), self.tokens()
        asked = one.asks(self, key, seed)
        makers = {verb_on(name, key): self.step(name, key, seed) for name in one.reads}
        read = [maker.output / made.product for made, maker in makers.items()]

        def work(checkpoints: Path, out: Path) -> None:
            with imports.uncollected():
                from ldebm.context import Context

                do = one.function()
            with record.opened(self, step) as tracker:
                opened = (tokens.output, tracker, checkpoints, out)
                context = Context.open(self.params, key, seed, *opened)
                splits = {name: len(getattr(context.corpus, name)) for name in SPLITS}
                parameters.check_sizes(self.params, splits)
                record.texts(self, step, context)
                do(context, *read)
                record.outputs(step, tracker, out)

        inputs = {"tokens": Input(tokens.output, None, tokens)}
        inputs |= {
            made.called: Input(maker.output, (made.product,), maker)
            for made, maker in makers.items()
        }
        entries = (one.module, *one.code(self, key))
        out, of_model = self.folder(one.kind, key, seed), {"key": key, "seed": seed}
        step = self._step(verb, asked, inputs, out, entries, work=work, **of_model)
        return step

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
        entries = ("ldebm.report.write", *map(file_of, self.params.metrics))
        step = self._step("table", slice_, inputs, self.results, entries, work=work)
        return step

    def _before_the_table(self) -> Iterator[Step]:
        yield from (self.raw(), self.tokens())
        yield from (self.step(verb, REAL, 1) for verb in ON_REAL)
        for key in self.params.models:
            for seed in self.params.seeds:
                yield from (self.step(verb, key, seed) for verb in ON_MODEL)

    @property
    def _step(self) -> "partial[Step]":
        """A step of this project."""
        return partial(Step, home=self.root / "work", options=self.options)

    def given(self, asked: str) -> str:
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
