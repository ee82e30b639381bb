"""A step decides by itself whether there is work: any engine, or a hand, may call it at any time.

Its fingerprint covers its slice of the parameters, the contents of its inputs and the source it
depends on. Outputs that carry the fingerprint are left alone; finished outputs of an earlier run
with the same fingerprint are put back; else the work is done, from its last checkpoint where there
is one. Outputs appear in place whole, the manifest last. docs/architecture.md tells the rest.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ldebm.errors import UserError
from ldebm.pipeline.manifest import (
    MANIFEST,
    Hashes,
    file_hash,
    read_manifest,
    write_manifest,
    write_whole,
)
from ldebm.pipeline.sources import source_hash

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
        manifest = read_manifest(self.path)
        if manifest is None:
            raise UserError(f"{self.path} is not there yet; run `{self.maker.command}` first")
        outputs = manifest["outputs"]
        names = outputs if self.files is None else self.files
        return {name: outputs[name] for name in names if name in outputs}

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
        if not _intact(done, manifest["fingerprint"], hashes):
            raise UserError(f"{problem}; run that again")
        with _alone(self.maker, period):
            _publish(done, self.path)
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

    @property
    def name(self) -> str:
        """What the step is called in messages."""
        return self.verb if self.seed is None else f"{self.verb} {self.key} seed {self.seed}"

    @property
    def command(self) -> str:
        """What runs the step by hand."""
        verb = COMMANDS.get(self.verb, self.verb)
        return f"ldebm {verb}" + ("" if self.seed is None else f" {self.key} --seed {self.seed}")

    @property
    def folder(self) -> Path:
        """Where the step keeps locks, checkpoints and finished outputs."""
        return self.home / self.name.replace(" ", "-")

    @property
    def plan(self) -> Path:
        """The folder of its plan file, which engines count among the inputs."""
        parts = () if self.seed is None else (self.key, f"seed{self.seed}")
        return Path(self.home, "plan", self.verb, *parts)

    @cached_property
    def source(self) -> str:
        """SHA-256 of the source the step depends on."""
        return source_hash(self.entries)

    def planned(self) -> dict[str, Any]:
        """All of the fingerprint that is known before any work: parameters and source."""
        return {"parameters": json.loads(canonical(self.parameters)), "source": self.source}

    def description(self) -> dict[str, Any]:
        """The manifest, but for its outputs. Raises UserError if an input is not there."""
        inputs = {name: one.hashes() for name, one in self.inputs.items()}
        content = {**self.planned(), "inputs": inputs}
        fingerprint = hashlib.sha256(canonical(content).encode()).hexdigest()
        return {"step": self.name, "fingerprint": fingerprint, **content}


def run(step: Step, period: float = PERIOD) -> str:
    """Bring a step's outputs up to date, say how in one line, and return that word.

    It is "up to date", "restored" or "done". A second run of the same step waits for the first.
    """
    started, hashes = time.monotonic(), Hashes(step.home)
    for one in step.inputs.values():
        one.verify(hashes, period)
    outcome = "up to date"
    if not _intact(step.output, step.description()["fingerprint"], hashes):
        with _alone(step, period):
            outcome = _bring_about(step, hashes)
    touch(step.output)
    hashes.save()
    spent = f" in {time.monotonic() - started:.1f} s" if outcome == "done" else ""
    print(f"{step.name}: {outcome}{spent}", flush=True)
    return outcome


def is_stale(step: Step, hashes: Hashes) -> bool:
    """Whether outputs are missing, damaged, or were made from something else."""
    try:
        return not _intact(step.output, step.description()["fingerprint"], hashes)
    except UserError:
        return True


def write_plans(steps: Sequence[Step]) -> list[Step]:
    """Write the plan file of every step, remove those of no step, and return the stale steps."""
    hashes, home = Hashes(steps[0].home), steps[0].home
    stale = [step for step in steps if _write_plan(step, hashes)]
    hashes.save()
    wanted = {step.plan for step in steps}
    for file in list((home / "plan").rglob("plan.json")):
        if file.parent not in wanted:
            shutil.rmtree(file.parent)
    return stale


def _write_plan(step: Step, hashes: Hashes) -> bool:
    """Write <plan>/plan.json if its content is new; the folder is newer than outputs while stale.

    Snakemake compares times of a folder alone: what it remembers of outputs is not asked, since
    DVC may have exchanged them meanwhile.
    """
    file = step.plan / "plan.json"
    own = {name: one.hashes() for name, one in step.inputs.items() if one.maker is None}
    plan = {"step": step.name, **step.planned(), "inputs": own}
    text = json.dumps(plan, indent=1, ensure_ascii=False) + "\n"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        step.plan.mkdir(parents=True, exist_ok=True)
        write_whole(file, text)
    stale, manifest = is_stale(step, hashes), step.output / MANIFEST
    if not stale:
        os.utime(step.plan, (0, 0))
    elif manifest.exists() and step.plan.stat().st_mtime_ns <= manifest.stat().st_mtime_ns:
        os.utime(step.plan)
    return stale


def touch(folder: Path) -> None:
    """Make a step's outputs newer than its inputs: engines that compare times are then content."""
    for name in (*(read_manifest(folder) or {"outputs": {}})["outputs"], MANIFEST):
        os.utime(folder / name)


def canonical(value: Any) -> str:
    """JSON with sorted keys and nothing between the tokens."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _bring_about(step: Step, hashes: Hashes) -> str:
    """Do the work unless it was finished before, and put its outputs in place."""
    wanted = step.description()
    place, fingerprint, outcome = step.folder / wanted["fingerprint"], wanted["fingerprint"], "done"
    if _intact(step.output, fingerprint, hashes):
        return "up to date"  # made by the process that this one waited for
    if _intact(place / "done", fingerprint, hashes):
        outcome = "restored"
    else:
        _do(step, wanted, place)
    _publish(place / "done", step.output)
    return outcome


def _do(step: Step, wanted: dict[str, Any], place: Path) -> None:
    checkpoints, new, done = place / "checkpoints", place / "new", place / "done"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    checkpoints.mkdir(exist_ok=True)
    print(f"{step.name}: {'going on' if any(checkpoints.iterdir()) else 'started'}", flush=True)
    step.work(checkpoints, new)
    files = sorted(path for path in new.rglob("*") if path.is_file())
    outputs = {path.relative_to(new).as_posix(): file_hash(path) for path in files}
    write_manifest(new, {**wanted, "outputs": outputs})
    shutil.rmtree(done, ignore_errors=True)
    os.replace(new, done)
    shutil.rmtree(checkpoints)


def _publish(done: Path, output: Path) -> None:
    """Put finished files in place one by one, each whole, the manifest last; former ones go."""
    manifest = read_manifest(done)
    assert manifest is not None
    before = (read_manifest(output) or {"outputs": {}})["outputs"]
    for name in manifest["outputs"]:
        target = output / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.new")
        temporary.unlink(missing_ok=True)
        _link(done / name, temporary)
        os.replace(temporary, target)
        temporary.unlink(missing_ok=True)  # replacing a file by a link to itself does nothing
    for name in before.keys() - manifest["outputs"].keys():
        (output / name).unlink(missing_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    write_manifest(output, manifest)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _intact(folder: Path, fingerprint: str, hashes: Hashes) -> bool:
    """Whether a folder holds the outputs that belong to a fingerprint, byte for byte."""
    manifest = read_manifest(folder)
    if manifest is None or manifest["fingerprint"] != fingerprint:
        return False
    return hashes.match(folder, manifest["outputs"])


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
