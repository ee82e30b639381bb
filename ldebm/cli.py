"""The command line: parse, call, report.

Each verb is one step of the pipeline; a step with nothing to do says so and ends.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from ldebm import __version__, ask
from ldebm.errors import UserError, of_memory, of_system, one_line

if TYPE_CHECKING:
    from ldebm.pipeline.project import Project

MODEL_FAILED = 3  # the exit status where a model failed, and all else is done


class Terminated(BaseException):
    """SIGTERM, raised where the program stands so that files and tracking are closed properly."""


STOPS = {KeyboardInterrupt: ("interrupted", 130), Terminated: ("terminated", 143)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    0, 2 for a user's mistake, 3 if a model failed, 130 or 143 when interrupted or terminated.
    """
    options = ask.parse(build_parser(), arguments)
    try:
        with _termination_raises():
            return options.run(options) or 0
    except UserError as error:
        print(f"ldebm: error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Terminated) as stop:
        word, status = STOPS[type(stop)]
        print("; ".join([f"ldebm: {word}", *getattr(stop, "__notes__", ())]), file=sys.stderr)
        return status
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a folder that is a file, a name too long, a read-only disk
        print(f"ldebm: error: {of_system(error)}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        reason = of_memory(error)
        if reason is None:
            raise
        print(f"ldebm: error: {reason}", file=sys.stderr)
        return 2


class Parser(argparse.ArgumentParser):
    """One whose errors are one line too, as are those of its verbs."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"{self.prog}: error: {one_line(message)}; see {self.prog} --help\n")


def build_parser() -> Parser:
    """All verbs and their options."""
    parser = Parser(
        prog="ldebm", description="Train, sample and score text models with learned latent priors."
    )
    parser.add_argument("--version", action="version", version=f"ldebm {__version__}")
    common = _common_options()
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    data = verbs.add_parser("data", help="get the corpus and encode it").add_subparsers(
        metavar="STEP", required=True
    )
    data.add_parser(
        "fetch", parents=[common], help="download, import or draw the raw text"
    ).set_defaults(run=_fetch)
    data.add_parser(
        "tokenize", parents=[common], help="vocabulary and token arrays from the raw text"
    ).set_defaults(run=_tokenize)
    for verb, help_ in (
        ("train", "train a model"),
        ("sample", "draw sentences from a trained model, or take them from 'real' text"),
        ("judge", "reverse perplexity of a model's samples, or of 'real' text"),
        ("evaluate", "scores of a trained model that take seconds, and what its latents say"),
        ("likelihood", "log p(x) of test sentences under a trained model"),
    ):
        command = verbs.add_parser(
            verb, parents=[common], help=help_, description=f"{help_[0].upper()}{help_[1:]}."
        )
        command.add_argument(
            "model", metavar="MODEL", help="a key under `models` in the parameters"
        )
        command.add_argument(
            "--seed",
            type=ask.seed_option,
            metavar="N",
            help="one of `seeds` in the parameters, or another; default: each of them",
        )
        command.add_argument(
            "--again", action="store_true", help="do the work even if it is done, or has failed"
        )
        command.set_defaults(run=_model_verb, verb=verb)
    verbs.add_parser(
        "plan", parents=[common], help="write what each step depends on; name those with work to do"
    ).set_defaults(run=_plan)
    verbs.add_parser(
        "table", parents=[common], help="the table and its figures from everything above"
    ).set_defaults(run=_table)
    for verb, help_, run in (
        ("keep", "copy the small results of finished rows into a folder", _keep),
        (
            "assemble",
            "the table of the rows kept in a folder (there, or in --results), whoever made them",
            _assemble,
        ),
    ):
        kept = verbs.add_parser(verb, parents=[common], help=help_)
        kept.add_argument("folder", metavar="FOLDER", help="where small results are kept")
        kept.set_defaults(run=run)
    verbs.add_parser(
        "models", parents=[common], help="the rows, what they are composed of, and their sizes"
    ).set_defaults(run=_models)
    verbs.add_parser("sync", help="send to MLflow what earlier steps could not").set_defaults(
        run=_sync
    )
    ask.add_verbs(verbs, common)
    return parser


def _common_options() -> Parser:
    common = Parser(add_help=False)
    group = common.add_argument_group("project")
    group.add_argument("--params", metavar="FILE", help="parameters (default: params.yaml)")
    group.add_argument(
        "--overlay", metavar="FILE", help="parameters of a trial, which replace some of those"
    )
    group.add_argument(
        "--rows", metavar="KEY,KEY", help="of `models` in the parameters (default: all)"
    )
    group.add_argument(
        "--root",
        metavar="FOLDER",
        help="where data and models are kept (default: here; of an overlay results/<its name>)",
    )
    group.add_argument(
        "--results",
        metavar="FOLDER",
        help="where the table goes (default: results; of an overlay results/<its name>)",
    )
    return common


def _project(options: argparse.Namespace) -> "Project":
    from ldebm.pipeline.project import Project

    return Project.load(**vars(options))


def _fetch(options: argparse.Namespace) -> None:
    from ldebm.pipeline import steps

    steps.run(_project(options).raw())


def _tokenize(options: argparse.Namespace) -> None:
    from ldebm.pipeline import steps

    steps.run(_project(options).tokens())


def _model_verb(options: argparse.Namespace) -> int:
    from ldebm.pipeline import steps

    project = _project(options)
    asked = (options.verb, options.model)
    found = (one.seed for one in project.steps() if (one.verb, one.key) == asked)
    listed = [seed for seed in found if seed is not None]
    given = listed or project.params.seeds if options.seed is None else [options.seed]
    said = [steps.run(project.step(*asked, seed), again=options.again) for seed in given]
    return MODEL_FAILED if "failed" in said else 0


def _plan(options: argparse.Namespace) -> None:
    stale = _project(options).plan()
    print("\n".join(step.name for step in stale) or "nothing to do")


def _table(options: argparse.Namespace) -> int:
    from ldebm.pipeline import steps

    project = _project(options)
    steps.run(project.table())
    failures = project.failures()
    for one in failures:
        print(f"ldebm: {one.step} failed: {one.reason}", file=sys.stderr)
    return MODEL_FAILED if failures else 0


def _keep(options: argparse.Namespace) -> None:
    from ldebm.pipeline import kept

    for line in kept.keep(_project(options), Path(options.folder)):
        print(line, flush=True)


def _assemble(options: argparse.Namespace) -> None:
    from ldebm.pipeline import kept, steps

    project, folder = _project(options), Path(options.folder)
    for step in (project.raw(), project.tokens()):
        steps.run(step)
    print(*kept.assemble(project, folder, Path(options.results or folder)), sep="\n")


def _models(options: argparse.Namespace) -> None:
    from ldebm.report.models import models_table

    print(models_table(_project(options).params))


def _sync(options: argparse.Namespace) -> None:
    from ldebm.runtime.sender import sync

    print(f"sync: {sync()}")


@contextmanager
def _termination_raises() -> Iterator[None]:
    def handler(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
