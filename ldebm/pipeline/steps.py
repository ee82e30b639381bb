"""A step decides by itself whether there is work: any engine, or a hand, may call it at any time.

Its fingerprint covers its slice of the parameters, the contents of its inputs and the source it
depends on. Outputs that carry the fingerprint are left alone; finished outputs of an earlier run
with the same fingerprint are put back; else the work is done, from its last checkpoint where there
is one. Outputs appear in place whole, the manifest last. docs/architecture.md tells the rest.
"""

import hashlib
import json
import os
import shlex
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ldebm.data.files import FAILED, Failure
from ldebm.errors import ModelError, UserError, of_memory
from ldebm.pipeline.manifest import (
    ABSENT,
    MANIFEST,
    Hashes,
    file_hash,
    intact,
    publish,
    read_manifest,
    touch,
    write_manifest,
)
from ldebm.pipeline.sources import source_hash
from ldebm.runtime import disk

RESUMES = "the work is kept; the same command goes on from its last checkpoint"
AGAIN = "0" * 64  # the fingerprint of what is to be tried again whenever it is asked for
PERIOD = 60.0  # seconds between two lines of a step that waits
COMMANDS = {"raw": "data fetch", "tokens": "data tokenize"}  # of steps that are called otherwise


@dataclass(frozen=True)
class Input:
    """A plain file, or the output folder of a step, of which only `files` count (None: all)."""

    path: Path
    files: tuple[str, ...] | None = None
    maker: "Step | None" = None

    def hashes(self) -> dict[str, str]:
        """SHA-256 by file name; a folder's are read from its manifest.

        Raises:
            UserError: the input is not there.
        """
        if self.maker is None:
            if not self.path.is_file():
                raise UserError(f"{self.path} is no file that can be read; correct its name")
            return {self.path.name: file_hash(self.path)}
        found = made(self.path, self.files)
        if found is None:
            raise UserError(f"{self.path} is not there yet; run `{self.maker.command}` first")
        return found

    def now(self, hashes: Hashes) -> dict[str, str] | None:
        """SHA-256 by file name, of a plain file from memory; None where nothing is there."""
        if self.maker is not None:
            return made(self.path, self.files)
        digest = hashes.of(self.path)
        return None if digest == ABSENT else {self.path.name: digest}

    def failure(self) -> Failure | None:
        """Why there is nothing of a model, if that is what its maker left."""
        failed = self.maker is not None and FAILED in self.hashes()
        return Failure.read(self.path) if failed else None

    def verify(self, hashes: Hashes, period: float) -> None:
        """See that the files are those that their step made; else put back what it kept.

        Raises:
            UserError: nothing whole is kept.
        """
        if self.maker is None:
            return
        wrong = [name for name, one in self.hashes().items() if hashes.of(self.path / name) != one]
        if not wrong:
            return
        manifest = read_manifest(self.path) or {}
        done = self.maker.folder / manifest["fingerprint"] / "done"
        problem = f"{self.path / wrong[0]}: is damaged, not what `{self.maker.command}` made"
        if not intact(done, manifest["fingerprint"], hashes):
            raise UserError(f"{problem}; run that again")
        with _alone(self.maker, period):
            publish(done, self.path)
        print(f"{problem}; put back from {done}", flush=True)


@dataclass(frozen=True)
class Step:
    """One piece of the pipeline: a verb, for most also a model's key and a seed.

    `work(checkpoints, out)` writes its files into `out`, and may keep checkpoints in the other.
    """

    verb: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Input]
    output: Path
    entries: tuple[str, ...]
    home: Path
    work: Callable[[Path, Path], None] = field(compare=False)
    key: str = ""
    seed: int | None = None
    options: Sequence[str] = field(default=(), compare=False)  # that name its project in a shell

    @property
    def name(self) -> str:
        """What the step is called in messages."""
        return self.verb if self.seed is None else f"{self.verb} {self.key} seed {self.seed}"

    @property
    def of_model(self) -> bool:
        """Whether it is a verb on one model, so that others can do without what it makes."""
        return self.seed is not None

    @property
    def command(self) -> str:
        """What runs the step by hand, whole."""
        words = ["ldebm", *COMMANDS.get(self.verb, self.verb).split()]
        words += [] if self.seed is None else [self.key, "--seed", str(self.seed)]
        return shlex.join([*words, *self.options])

    @property
    def folder(self) -> Path:
        """Where the step keeps locks, checkpoints and finished outputs."""
        return self.home / self.name.replace(" ", "-")

    @property
    def plan(self) -> Path:
        """The folder of its plan file, which engines count among the inputs."""
        of_model = () if self.seed is None else ("models", self.key, f"seed{self.seed}")
        return Path(self.home, "plan", *of_model, self.verb)

    @cached_property
    def source(self) -> str:
        """SHA-256 of the source the step depends on."""
        return source_hash(self.entries)

    def planned(self) -> dict[str, Any]:
        """All of the fingerprint that is known before any work: parameters and source."""
        return {"parameters": json.loads(canonical(self.parameters)), "source": self.source}

    def outdated(self, hashes: Hashes) -> str | None:
        """What its outputs, or what they follow from, were made with and is new now; what to do.

        A newer source does not count, and an input that is gone cannot be asked.
        """
        manifest = read_manifest(self.output)
        if manifest is None:
            return None
        asked = json.loads(canonical(self.parameters))
        if differing := difference(manifest.get("parameters"), asked):
            return f"{self.output}: {differing}; run `{self.command}` first"
        for name, one in self.inputs.items():
            if one.maker is not None and (found := one.maker.outdated(hashes)):
                return found
            if one.now(hashes) not in (None, manifest.get("inputs", {}).get(name)):
                return f"{self.output}: was made from another {name}; run `{self.command}` first"
        return None

    def description(self) -> dict[str, Any]:
        """The manifest, but for its outputs. Raises UserError if an input is not there."""
        inputs = {name: one.hashes() for name, one in self.inputs.items()}
        content = {**self.planned(), "inputs": inputs}
        return {"step": self.name, "fingerprint": fingerprint_of(content), **content}


def run(step: Step, period: float = PERIOD, again: bool = False) -> str:
    """Bring a step's outputs up to date, say how in one line, and return that word.

    It is "up to date", "restored", "done" or, where the model failed, here or before, "failed". A
    second run of the same step waits for the first.

    Args:
        again: do the work even if it is finished, or has failed.

    Raises:
        UserError: an input is missing, damaged or outdated, or changed meanwhile, or the disk is
            full or cannot be written.
    """
    try:
        with disk.told(step.folder):
            return _run(step, period, again)
    except BaseException as error:
        if not isinstance(error, Exception):  # an interrupt
            error.add_note(RESUMES)
        raise


def _run(step: Step, period: float, again: bool) -> str:
    started, hashes = time.monotonic(), Hashes(step.home)
    for one in step.inputs.values():
        one.verify(hashes, period)
        if one.maker is not None and (outdated := one.maker.outdated(hashes)):
            raise UserError(outdated)
    outcome = "up to date"
    if again or not intact(step.output, step.description()["fingerprint"], hashes):
        with _alone(step, period):
            outcome = _bring_about(step, hashes, again)
    touch(step.output)
    hashes.save()
    spent = f" in {time.monotonic() - started:.1f} s" if outcome == "done" else ""
    if failure := Input(step.output, None, step).failure():
        outcome, before = "failed", failure.step != step.name
        spent = f": {f'{failure.step}: ' if before else ''}{failure.reason}"
    print(f"{step.name}: {outcome}{spent}", flush=True)
    return outcome


def made(folder: Path, files: Sequence[str] | None) -> dict[str, str] | None:
    """SHA-256 by name of a step's outputs, or of some, as its manifest has them; None without.

    Raises:
        UserError: it lacks one.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return None
    outputs = manifest["outputs"]
    names = outputs if files is None or FAILED in outputs else files
    if absent := [name for name in names if name not in outputs]:
        raise UserError(f"{folder / MANIFEST}: names no {absent[0]}; delete the manifest")
    return {name: outputs[name] for name in names}


def difference(before: Any, now: Any, path: tuple[str, ...] = ()) -> str | None:
    """The first leaf in which two slices of parameters differ, in words; None if they ask alike."""
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        name = ".".join(path) or "parameters"
        return None if before == now else f"{name} was {before}, and is {now} here"
    for key in sorted(before.keys() | now.keys()):
        if found := difference(before.get(key), now.get(key), (*path, key)):
            return found
    return None


def fingerprint_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of what a step's outputs follow from: parameters, source and inputs."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys and nothing between the tokens."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _bring_about(step: Step, hashes: Hashes, again: bool) -> str:
    """Do the work unless it was finished before, and put its outputs in place."""
    wanted = step.description()
    place, fingerprint, outcome = step.folder / wanted["fingerprint"], wanted["fingerprint"], "done"
    if not again and intact(step.output, fingerprint, hashes):
        return "up to date"  # made by the process that this one waited for
    if not again and intact(place / "done", fingerprint, hashes):
        outcome = "restored"
    else:
        if source_hash(step.entries) != step.source:
            raise UserError(f"{step.name}: its source changed while it waited; run it again")
        _do(step, wanted, place, hashes)
    publish(place / "done", step.output)
    return outcome


def _do(step: Step, wanted: dict[str, Any], place: Path, hashes: Hashes) -> None:
    checkpoints, done = place / "checkpoints", place / "done"
    with _scratch(place / "new") as new:
        checkpoints.mkdir(exist_ok=True)
        fingerprint = _work(step, wanted["fingerprint"], checkpoints, new)
        failure, finished = Failure.read(new), intact(done, wanted["fingerprint"], hashes)
        if failure is not None and finished and Failure.read(done) is None:
            raise UserError(f"{step.name}: failed: {failure.reason}; what was finished stays")
        if step.description()["fingerprint"] != wanted["fingerprint"]:
            raise UserError(f"{step.name}: its inputs changed while it was at work; run it again")
        files = sorted(path for path in new.rglob("*") if path.is_file())
        outputs = {path.relative_to(new).as_posix(): file_hash(path) for path in files}
        write_manifest(new, {**wanted, "fingerprint": fingerprint, "outputs": outputs})
        shutil.rmtree(done, ignore_errors=True)
        os.replace(new, done)
    if fingerprint != AGAIN:
        shutil.rmtree(checkpoints)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder, gone if the block fails: what is in it is no result, and takes space."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _work(step: Step, fingerprint: str, checkpoints: Path, new: Path) -> str:
    """The work, or in its place why the model fails; the fingerprint of what is left of it.

    Nothing is tried on a model that failed before. A failure that would come again has the
    fingerprint of the work; any other, an error in the code or want of memory, has AGAIN.
    """
    failed = [one for one in map(Input.failure, step.inputs.values()) if one is not None]
    if failed and step.of_model:
        failed[0].write(new)
        return fingerprint
    print(f"{step.name}: {'going on' if any(checkpoints.iterdir()) else 'started'}", flush=True)
    try:
        step.work(checkpoints, new)
    except ModelError as error:
        return _failed(step, error, str(error), new, fingerprint)
    except (UserError, OSError):
        raise
    except Exception as error:
        said = of_memory(error)
        if said is None:
            traceback.print_exc()
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return _failed(step, error, said, new, AGAIN)
    return fingerprint


def _failed(step: Step, error: Exception, reason: str, new: Path, fingerprint: str) -> str:
    """Leave the reason, and nothing of what was made until then."""
    if not step.of_model:
        raise error
    shutil.rmtree(new)
    new.mkdir()
    Failure(step.name, reason).write(new)
    return fingerprint


@contextmanager
def _alone(step: Step, period: float) -> Iterator[None]:
    """Hold the step's lock, waiting for it as long as it takes; a line tells for whom.

    It goes with the process that holds it, however that ends.
    """
    from filelock import FileLock, Timeout

    step.folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(step.folder / "lock"), step.folder / "holder"
    patience, started = 0.0, time.monotonic()
    while not lock.is_locked:
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            pid = holder.read_text().strip() if holder.exists() else "unknown"
            spent = f" ({time.monotonic() - started:.0f} s)" if patience else ""
            print(
                f"{step.name}: waiting for process {pid}, which is at work on it{spent}", flush=True
            )
            patience = period
    try:
        holder.write_text(f"{os.getpid()}\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
