"""A step decides by itself whether there is work: to be called by any engine, or by hand, as often as one likes.

Its fingerprint covers its slice of the parameters, the contents of its inputs and the source it depends on. Outputs that carry the
fingerprint are left alone; finished outputs of an earlier run with the same fingerprint are put back; else the work is done, from its
last checkpoint where there is one. Outputs appear in place whole, the manifest last.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ldebm.errors import UserError
from ldebm.pipeline.sources import source_hash

MANIFEST = "manifest.json"
PATIENCE = 10.0  # seconds to wait for another process that does the same work


@dataclass(frozen=True)
class Input:
    """A plain file, or the output folder of another step, of which only `files` count (all of them where None)."""

    path: Path
    files: tuple[str, ...] | None = None
    made_by: str = ""

    def hashes(self) -> dict[str, str]:
        """SHA-256 by file name; a folder's are read from its manifest. Raises UserError if the input is not there."""
        if self.path.is_file():
            return {self.path.name: file_hash(self.path)}
        manifest = read_manifest(self.path)
        if manifest is None:
            raise UserError(
                f"{self.path} is not there yet"
                + (f"; run `ldebm {self.made_by}` first" if self.made_by else "")
            )
        outputs = manifest["outputs"]
        return {
            name: outputs.get(name, "absent")
            for name in (outputs if self.files is None else self.files)
        }


@dataclass(frozen=True)
class Step:
    """One piece of the pipeline: `work(checkpoints, out)` writes its files into `out`, and may keep checkpoints in the other folder."""

    name: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Input]
    output: Path
    entries: tuple[str, ...]
    home: Path
    work: Callable[[Path, Path], None] = field(compare=False)

    @property
    def folder(self) -> Path:
        """Where the step keeps locks, checkpoints and finished outputs."""
        return self.home / self.name.replace(" ", "-")

    @cached_property
    def source(self) -> str:
        """SHA-256 of the source the step depends on."""
        return source_hash(self.entries)

    def description(self) -> dict[str, Any]:
        """The manifest, but for its outputs. Raises UserError if an input is not there."""
        content = {
            "parameters": json.loads(canonical(self.parameters)),
            "source": self.source,
            "inputs": {name: one.hashes() for name, one in self.inputs.items()},
        }
        return {
            "step": self.name,
            "fingerprint": hashlib.sha256(canonical(content).encode()).hexdigest(),
            **content,
        }


def run(step: Step, patience: float = PATIENCE) -> str:
    """Bring a step's outputs up to date, say how in one line, and return that word: "up to date", "restored" or "done"."""
    wanted = step.description()
    outcome, started = "up to date", time.monotonic()
    if not _intact(step.output, wanted["fingerprint"]):
        with _alone(step, patience):
            outcome = _bring_about(step, wanted)
    touch(step.output)
    spent = f" in {time.monotonic() - started:.1f} s" if outcome == "done" else ""
    print(f"{step.name}: {outcome}{spent}", flush=True)
    return outcome


def is_stale(step: Step) -> bool:
    """Whether outputs are missing or were made from something else; looks at no output's contents, so it is quick."""
    manifest = read_manifest(step.output)
    if manifest is None or not all((step.output / name).is_file() for name in manifest["outputs"]):
        return True
    try:
        return bool(manifest["fingerprint"] != step.description()["fingerprint"])
    except UserError:
        return True


def stamp(step: Step, stale: bool) -> Path:
    """A file for Snakemake to count among the inputs: while the step is stale it is newer than the manifest, and its content is new."""
    path, manifest = step.home / "stamps" / step.name.replace(" ", "-"), step.output / MANIFEST
    made = manifest.stat().st_mtime_ns if manifest.exists() else 0
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, ns=(0, 0))
    if stale and path.stat().st_mtime_ns <= made:
        path.write_text(f"{time.time_ns()}\n")
    return path


def touch(folder: Path) -> None:
    """Make a step's outputs newer than its inputs: engines that compare times are then content."""
    for name in (*(read_manifest(folder) or {"outputs": {}})["outputs"], MANIFEST):
        os.utime(folder / name)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of an output folder, or None where there is none that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return (
        manifest
        if isinstance(manifest, dict) and {"fingerprint", "outputs"} <= manifest.keys()
        else None
    )


def canonical(value: Any) -> str:
    """JSON with sorted keys and nothing between the tokens."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bring_about(step: Step, wanted: dict[str, Any]) -> str:
    """Do the work unless it was finished before, and put its outputs in place."""
    place = step.folder / wanted["fingerprint"]
    outcome = "restored"
    if not _intact(place / "done", wanted["fingerprint"]):
        _do(step, wanted, place)
        outcome = "done"
    _publish(place / "done", step.output)
    return outcome


def _do(step: Step, wanted: dict[str, Any], place: Path) -> None:
    checkpoints, new, done = place / "checkpoints", place / "new", place / "done"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    checkpoints.mkdir(exist_ok=True)
    print(f"{step.name}: {'going on' if any(checkpoints.iterdir()) else 'started'}", flush=True)
    step.work(checkpoints, new)
    outputs = {
        path.relative_to(new).as_posix(): file_hash(path)
        for path in sorted(new.rglob("*"))
        if path.is_file()
    }
    _write_manifest(new, {**wanted, "outputs": outputs})
    shutil.rmtree(done, ignore_errors=True)
    os.replace(new, done)
    shutil.rmtree(checkpoints)


def _publish(done: Path, output: Path) -> None:
    """Put finished files in place one by one, each whole, and the manifest last; files of the previous run go."""
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
    _write_manifest(output, manifest)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    temporary = folder / f".{MANIFEST}.new"
    temporary.write_text(
        json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    os.replace(temporary, folder / MANIFEST)


def _intact(folder: Path, fingerprint: str) -> bool:
    """Whether a folder holds the outputs that belong to a fingerprint, byte for byte."""
    manifest = read_manifest(folder)
    if manifest is None or manifest["fingerprint"] != fingerprint:
        return False
    paths = {folder / name: digest for name, digest in manifest["outputs"].items()}
    return all(path.is_file() and file_hash(path) == digest for path, digest in paths.items())


@contextmanager
def _alone(step: Step, patience: float) -> Iterator[None]:
    """Hold the step's lock. It goes with the process that holds it, however that ends.

    Raises UserError, naming the process, if another one still holds it after `patience` seconds.
    """
    from filelock import FileLock, Timeout

    step.folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(step.folder / "lock"), step.folder / "holder"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        pid = holder.read_text().strip() if holder.exists() else "unknown"
        print(f"{step.name}: waiting for process {pid}, which is at work on it", flush=True)
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            raise UserError(
                f"{step.name}: process {pid} is at work on it; let it finish, or stop it (`kill {pid}`): the next run goes on from its last checkpoint"
            ) from None
    try:
        holder.write_text(f"{os.getpid()}\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
