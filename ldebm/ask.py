"""The shell's verbs on a trained model: one sentence or answer a line, as text or as JSON."""

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldebm.errors import UserError

if TYPE_CHECKING:
    from ldebm.pipeline.steps import Step
    from ldebm.trained import TrainedModel

Answer = dict[str, Any]  # a line of --json; without, its values side by side
MODEL = "a key of the parameters, the folder of a trained model, or a run of MLflow, runs:/ID"


def add_verbs(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add the verbs to the command line."""
    for run, help_ in (
        (generate, "draw new sentences from a trained model"),
        (reconstruct, "encode sentences and decode them again"),
        (interpolate, "sentences on the way from one to another"),
        (classify, "the symbol, or the code, of sentences"),
        (symbols, "what every symbol of a model, or value of its code, stands for"),
    ):
        command = verbs.add_parser(run.__name__, parents=[common], help=help_, description=help_)
        command.add_argument("model", metavar="MODEL", help=MODEL)
        command.add_argument(
            "--model-seed", type=seed_option, metavar="N", help="which training of a key"
        )
        command.add_argument("--row", metavar="FILE.py:CLASS", help="row of one's own, of a folder")
        command.add_argument("--json", action="store_true", help="one JSON object a line")
        if run is interpolate:
            command.add_argument("start", metavar="SENTENCE")
            command.add_argument("end", metavar="SENTENCE")
            command.add_argument("--steps", type=int, default=7, help="default: %(default)s")
        elif run is not generate:
            command.add_argument(
                "sentences", nargs="*", metavar="SENTENCE",
                help="default: the model's own" if run is symbols else "default: standard input",
            )  # fmt: skip
        if run in (generate, symbols):
            command.add_argument("--seed", type=seed_option, default=1, help="default: %(default)s")
        if run is generate:
            command.add_argument("-n", type=int, default=10, help="default: %(default)s")
            command.add_argument("--symbol", metavar="VALUE|VARIABLE:VALUE")
        command.set_defaults(run=answers(run))

    what = "reverse perplexity, word KL and BLEU of anybody's sentences"
    command = verbs.add_parser("score", parents=[common], help=what, description=what)
    command.add_argument("--samples", required=True, metavar="FILE", help="a sentence a line")
    command.add_argument(
        "--references",
        metavar="FILE",
        help="of which the samples are reconstructions, line by line: BLEU",
    )
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.set_defaults(run=_score)


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parsed arguments; sentences may stand behind options too, which argparse alone refuses."""
    for one in sys.argv[1:] if arguments is None else arguments:
        if not _is_text(one):
            parser.error(f"{one!a} is not UTF-8")
    options, rest = parser.parse_known_args(arguments)
    if rest and (any(one.startswith("-") for one in rest) or "sentences" not in options):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.sentences += rest
    return options


def seed_option(text: str) -> int:
    """A seed given on the command line."""
    from ldebm.config import SEEDS

    if not text.isdecimal() or int(text[:11]) >= SEEDS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no seed; give a number from 0 to {SEEDS - 1}"
        )
    return int(text)


def _is_text(argument: str) -> bool:
    """Whether it can be written: what is not UTF-8 on the command line is kept as surrogates."""
    return argument.isascii() or not any("\ud800" <= one <= "\udfff" for one in argument)


def answers(verb: Callable[["TrainedModel", Any], Iterator[Answer]]) -> Callable[[Any], None]:
    """The command that opens the model and prints the answers of a verb."""

    def command(options: argparse.Namespace) -> None:
        _plain_warnings()
        _print(verb(_open(options), options), options.json)

    return command


def _score(options: argparse.Namespace) -> None:
    """The command `ldebm score`."""
    from tempfile import TemporaryDirectory

    from ldebm.context import Context
    from ldebm.evaluation.texts import score
    from ldebm.pipeline.project import Project
    from ldebm.runtime.tracking import NoTracker

    project = Project.load(**vars(options))
    samples, references = Path(options.samples), options.references and Path(options.references)
    _plain_warnings()
    with TemporaryDirectory() as name:
        work, tokens, seed = Path(name), _current(project.tokens()), project.params.judge.seed
        opened = (tokens, NoTracker(), work, work)
        context = Context.open(project.params, samples.stem, seed, *opened)
        _print(score(context, samples, references), options.json)


def _print(answers: Iterator[Answer], as_json: bool) -> None:
    for answer in answers:
        print(json.dumps(answer, ensure_ascii=False) if as_json else _line(answer), flush=True)


def generate(model: "TrainedModel", options: argparse.Namespace) -> Iterator[Answer]:
    """`ldebm generate`."""
    symbol = None if options.symbol is None else _symbol(options.symbol)
    for sentence in model.samples(options.n, symbol, options.seed):
        yield {"sentence": sentence}


def reconstruct(model: "TrainedModel", options: argparse.Namespace) -> Iterator[Answer]:
    """`ldebm reconstruct`."""
    sentences = _sentences(options)
    for sentence, text in zip(sentences, model.reconstruct(sentences), strict=True):
        yield {"sentence": sentence, "reconstruction": text} if options.json else {"": text}


def interpolate(model: "TrainedModel", options: argparse.Namespace) -> Iterator[Answer]:
    """`ldebm interpolate`."""
    for sentence in model.interpolate(options.start, options.end, options.steps):
        yield {"sentence": sentence}


def classify(model: "TrainedModel", options: argparse.Namespace) -> Iterator[Answer]:
    """`ldebm classify`: a symbol, or a code of a value a variable, and the least probability."""
    sentences = _sentences(options)
    for sentence, probs in zip(sentences, model.classify(sentences), strict=True):
        answer = {"symbol": probs.argmax(-1).tolist()}
        if options.json:
            yield {**answer, "probs": probs.tolist(), "sentence": sentence}
        else:
            yield {**answer, "least": float(probs.max(-1).min()), "sentence": sentence}


def symbols(model: "TrainedModel", options: argparse.Namespace) -> Iterator[Answer]:
    """`ldebm symbols`."""
    found = model.symbols(options.sentences or None, seed=options.seed)
    for one in found:
        if options.json:
            yield vars(one)
        else:
            shown = f"{one.variable}:{one.value}" if found[-1].variable else f"{one.value}"
            yield {"symbol": shown, "share": f"{one.share:.1%}", "words": " ".join(one.words)}
            yield from ({"": f"    {sentence}"} for sentence in one.sentences)


def _open(options: argparse.Namespace) -> "TrainedModel":
    """The model of a folder, of a run of MLflow, or of a key and a seed of the parameters."""
    from ldebm.runtime.logged import RUN
    from ldebm.trained import TrainedModel
    from ldebm.training.card import RECORD

    folder, row = options.model, options.row
    if not (folder.startswith(RUN) or Path(folder, RECORD).exists()):
        from ldebm.outside import is_outside
        from ldebm.pipeline.manifest import Hashes
        from ldebm.pipeline.project import Project

        project = Project.load(**vars(options))
        if options.model not in project.params.models:
            raise UserError(
                f"{options.model!r} is neither a folder with a {RECORD} nor a model of the "
                f"parameters, nor runs:/ID; there are: {', '.join(project.params.models)}"
            )
        key, named = options.model, project.params.models[options.model].row
        seed = project.params.seeds[0] if options.model_seed is None else options.model_seed
        step = project.step("train", key, seed)
        folder, row = _finished(step), named if is_outside(named) else None
        if outdated := step.outdated(Hashes(step.home)):
            warnings.warn(f"what answers is older than the parameters: {outdated}", stacklevel=2)
    return TrainedModel.from_pretrained(folder, row=row)


def _finished(step: "Step") -> Path:
    """What a step has made. Raises UserError, which names its command, if it has not."""
    from ldebm.pipeline.manifest import Hashes
    from ldebm.pipeline.steps import PERIOD, Input

    Input(step.output, None, step).verify(Hashes(step.home), PERIOD)
    return step.output


def _current(step: "Step") -> Path:
    """`_finished`, and made with these parameters. Raises UserError if not."""
    from ldebm.pipeline.manifest import Hashes

    folder = _finished(step)
    if outdated := step.outdated(Hashes(step.home)):
        raise UserError(outdated)
    return folder


def _sentences(options: argparse.Namespace) -> list[str]:
    from ldebm.data.files import decoded

    lines = decoded(sys.stdin.buffer, "standard input")
    return options.sentences or [line for _, line in lines]


def _symbol(text: str) -> int | tuple[int, int]:
    try:
        variable, separator, value = text.rpartition(":")
        return (int(variable), int(value)) if separator else int(value)
    except ValueError:
        raise UserError(f"--symbol {text}: give a value, or variable:value of a code") from None


def _line(answer: Answer) -> str:
    """The values, a tab between two, lists with spaces."""
    return "\t".join(
        " ".join(map(str, one)) if isinstance(one, list)
        else f"{one:.4f}" if isinstance(one, float) else str(one)
        for one in answer.values()
    )  # fmt: skip


def _plain_warnings() -> None:
    """Warnings as one line, like errors."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"ldebm: warning: {message}", file=sys.stderr)

    warnings.showwarning = show
