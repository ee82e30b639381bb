"""Bad inputs, each of which has to end in one clear line with nothing lost.

    from reliability.bad_inputs import CASES, check, tiny_project

    tiny_project(project)                # a folder; once, some seconds
    for case in CASES:                   # case.separate: has a process of its own, takes seconds
        wrong = check(case, project)     # None, or in a few words what was wrong

`check` works in a copy of `project`, changes the working directory meanwhile, and belongs into the
main thread. Nothing is sent to MLflow but by processes of their own.
"""

import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NamedTuple
from unittest.mock import patch

import yaml

from ldebm import cli
from ldebm.params import merge
from ldebm.runtime.tracking import NoTracker
from reliability import bad_files, bad_params, bad_texts, bad_words
from reliability.bad_case import BadInput

CASES: list[BadInput] = [
    *bad_params.CASES,
    *bad_texts.CASES,
    *bad_files.CASES,
    *bad_words.CASES,
]

SOURCE = Path(__file__).parents[1]
MODELS = ("vae", "rnn_lm", "dgm_vae")
TINY: dict[str, Any] = {
    "seeds": [1],
    "data": {
        "corpus": {f"{split}": f"text/{split}.txt" for split in ("train", "valid", "test")},
        "vocabulary_limit": None,
    },
    "run": {"device": "cpu", "precision": "float32"},
    "sentence_model": {"embedding": 6, "hidden": 6},
    "metrics": [],
    "judge": {
        "train_sentences": 30,
        "valid_sentences": 10,
        "embedding": 6,
        "hidden": 6,
        "layers": 1,
        "epochs": 1,
    },
    "evaluation": {
        "samples": 40,
        "sample_batch": 40,
        "likelihood_samples": 2,
        "likelihood_chunk": 2,
        "likelihood_sentences": 2,
        "annealed": {"sentences": 2, "chains": 1, "temperatures": 8, "simulated": 1},
    },
    "models": {
        "*": {
            "posterior_samples": 1,
            "training": {"batch": 32, "validate_every": 2, "max_validations": 1},
        }
    },
}
MADE = ("work/hashes.json", "work/plan", "work/logs", ".snakemake")  # may change at any time
PATIENCE = 120  # seconds after which a command hangs


class Outcome(NamedTuple):
    """What a command did: its exit status, or an exception that got out of it."""

    status: int
    out: str
    err: str
    escaped: str = ""


class HungError(BaseException):
    """A command does not end."""


def tiny_project(folder: Path) -> None:
    """Make a project with a text of its own and three models, two of them trained."""
    from ldebm.data.grammar import write_corpus

    folder.mkdir(parents=True, exist_ok=True)
    raw = yaml.safe_load((SOURCE / "params.yaml").read_text(encoding="utf-8"))
    tiny = merge({**raw, "models": {key: raw["models"][key] for key in MODELS}}, TINY)
    (folder / "params.yaml").write_text(yaml.safe_dump(tiny, sort_keys=False), encoding="utf-8")
    write_corpus(folder / "text", 1, {"train": 64, "valid": 16, "test": 8})
    for words in ("data fetch", "data tokenize", "train rnn_lm", "train vae", "sample vae"):
        done = run(f"ldebm {words}", folder)
        assert done.status == 0, done
    shutil.rmtree(folder / "work/train-rnn_lm-seed-1")  # of the others there are copies kept


def check(case: BadInput, project: Path) -> str | None:
    """Run a case in a copy of a project that `tiny_project` made.

    None if all is as it should be, else in a few words what is not.
    """
    with TemporaryDirectory() as name:
        folder = Path(name) / "project"
        shutil.copytree(project, folder, symlinks=True)
        case.arrange(folder)
        before = _contents(folder)
        done = run(case.command, folder)
        after = _contents(folder)
    wrong = _wrong(case, done)
    if wrong is None and not case.used:
        wrong = next((f"{path} is not what it was" for path in before
                      if after.get(path) != before[path]), None)  # fmt: skip
    return wrong


def run(command: str, folder: Path) -> Outcome:
    """Run a command as `BadInput` describes it."""
    words, given = shlex.split(command), None
    if "<" in words:
        given = folder / words.pop()
        words.pop()
    program = next(index for index, word in enumerate(words) if "=" not in word)
    variables = dict(word.split("=", 1) for word in words[:program])
    if words[program] == "ldebm":
        return _here(words[program + 1 :], variables, folder, given)
    return _apart(words[program:], variables, folder, given)


def _here(words: list[str], variables: dict[str, str], folder: Path, given: Path | None) -> Outcome:
    """`ldebm` in this process, untracked."""
    out, err, escaped, status = io.StringIO(), io.StringIO(), "", -1
    with (
        chdir(folder),
        patch.dict(os.environ, variables),
        patch("ldebm.pipeline.record.open_tracker", lambda *_, **__: NoTracker()),
        patch("sys.stdin", (given or Path(os.devnull)).open(encoding="utf-8")),
        warnings.catch_warnings(),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            with _patience():
                status = cli.main(words)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException as error:
            escaped = f"{type(error).__name__}: {error}"
    return Outcome(status, out.getvalue(), err.getvalue(), escaped)


def _apart(
    words: list[str], variables: dict[str, str], folder: Path, given: Path | None
) -> Outcome:
    """A program in a process of its own: this source, this environment."""
    if words[0] == "snakemake":
        words[1:1] = ["--snakefile", str(SOURCE / "Snakefile"), "--cores", "1"]
    if words[0] == "python":
        words[0] = sys.executable
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(SOURCE),
        "OMP_NUM_THREADS": "1",
    }
    with (given or Path(os.devnull)).open("rb") as stdin:
        try:
            done = subprocess.run(
                words,
                cwd=folder,
                env={**os.environ, **own, **variables},
                stdin=stdin,
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(-1, "", "", "HungError")
    out, err = (text.decode("utf-8", "backslashreplace") for text in (done.stdout, done.stderr))
    return Outcome(done.returncode, out, err)


def _wrong(case: BadInput, done: Outcome) -> str | None:
    """What is wrong with what a command said and how it ended."""
    lines = [line for line in done.err.splitlines() if not line.startswith("Using workflow")]
    if done.escaped or "Traceback (most recent call last)" in done.out + done.err:
        return f"a traceback: {done.escaped or done.err.splitlines()[-1]}"
    if (done.status == 0) != case.used:
        return f"status {done.status}: {done.out}{done.err}"
    if case.used:
        lines = [line for line in [*lines, *done.out.splitlines()] if re.search(case.says, line)]
    if len(lines) != 1:
        return f"{len(lines)} lines: {done.err}"
    return None if re.search(case.says, lines[0]) else f"says: {lines[0]}"


def _contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder, but for those that any command may write."""
    return {
        name: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.is_symlink()
        and not (name := path.relative_to(folder).as_posix()).startswith(MADE)
    }


@contextmanager
def _patience() -> Iterator[None]:
    def handler(number: int, frame: FrameType | None) -> None:
        raise HungError

    before = signal.signal(signal.SIGALRM, handler)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
