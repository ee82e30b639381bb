"""Experiment tracking that is never in the way: what is to be recorded goes into a journal on disk.

A process of its own, `ldebm.runtime.sending`, takes it from there to MLflow: one for a step, or one
for all steps of a workflow. Where the store does not answer, the work goes on after one line of
warning; the journal waits for the next step or `ldebm sync`. MLflow holds one flat run for each
training: training begins it, judging and evaluating add to it; a table's run names those it is made
of.
"""

import errno
import importlib.util
import json
import os
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ldebm.runtime.groups import grouped
from ldebm.runtime.provenance import provenance_tags
from ldebm.runtime.sender import NEW, SENDER, Sending, locked, once
from ldebm.runtime.store import files_of, journals, lives


class Tracker(ABC):
    """A run, recorded for a verb; a context manager that closes it with the outcome."""

    verb = ""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters; nested ones are named by their path."""
        self._write({"params": {name: str(value) for name, value in flatten(params)}})

    def log_metrics(self, metrics: Mapping[str, float | None], step: int) -> None:
        """Values at a step; None is left out, a point that the run has is not recorded again."""
        known = {name: float(value) for name, value in metrics.items() if value is not None}
        values = {grouped(name, self.verb): value for name, value in known.items()}
        self._write({"metrics": values, "step": step, "time": _now()})

    def log_dataset(self, name: str, digest: str, source: Path, use: str, **profile: int) -> None:
        """A text that is used, by the digest of its contents, and how large it is."""
        known = {"name": name, "digest": digest, "source": str(source), "profile": profile}
        self._write({"dataset": known, "use": use})

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """A file as artifact, as it is now."""
        self._write({"artifact": path.name, "folder": folder}, [path])

    def log_model(self, folder: Path) -> None:
        """A trained model's folder, as it is now, to be opened by `mlflow.pyfunc.load_model`."""
        self._write({"model": True}, sorted(folder.iterdir()))

    def add_members(self, identities: Sequence[str]) -> None:
        """The runs that this one is about, by their identities, are tagged with its name."""
        self._write({"members": list(identities)})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tags of the run; a new value replaces the old one."""
        self._write({"tags": dict(tags)})

    @abstractmethod
    def _write(self, record: dict[str, Any], files: Sequence[Path] = ()) -> None:
        """Keep a record, and the files that belong to it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        broken_off = kind is not None and not issubclass(kind, Exception)
        status = "KILLED" if broken_off else "FAILED" if kind else "FINISHED"
        self._write({"status": status, "time": _now()})


class NoTracker(Tracker):
    """Records nothing."""

    def _write(self, record: dict[str, Any], files: Sequence[Path] = ()) -> None:
        return


class JournalTracker(Tracker):
    """Appends to a journal, which a sending process reads: the workflow's, or one of its own.

    The journal is locked until this process is gone, and names what sends it; when that is gone
    too, any other may send what is left.
    """

    def __init__(self, folder: Path, header: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.verb = str(header["name"]), str(header["verb"])
        self.warn = once(lambda text: print(f"{self.name}: {text}", file=sys.stderr, flush=True))
        self.files, self.sending = 0, None
        sender = os.environ.get(SENDER, "")
        if not sender or not lives(folder, sender):
            self.sending = Sending(folder, self.warn)
            sender = self.sending.name
        self.path = folder / f"{time.time_ns()}-{os.getpid()}.jsonl"
        self.journal = locked(self.path)
        self.journal.write(json.dumps({**header, "sender": sender}).encode() + b"\n")
        self.path.with_suffix(NEW).rename(self.path)

    def _write(self, record: dict[str, Any], files: Sequence[Path] = ()) -> None:
        whole = self.journal.tell()
        try:
            if files:
                record["kept"] = self._kept(files)
            line = json.dumps(record).encode() + b"\n"
            if self.journal.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with suppress(OSError):  # or the next line would go on from this one's beginning
                self.journal.seek(self.journal.truncate(whole))
            self.warn(f"{self.path}: {error.strerror}; the run is not tracked in full")

    def _kept(self, files: Sequence[Path]) -> str:
        """A folder of second names for files, or copies, that lasts until they are sent.

        Relative to the journal's.
        """
        self.files += 1
        folder = files_of(self.path) / str(self.files)
        folder.mkdir(parents=True)
        for file in files:
            try:
                os.link(file, folder / file.name)
            except OSError:  # another file system, or one without hard links
                shutil.copyfile(file, folder / file.name)
        return str(folder.relative_to(self.path.parent))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self.journal.close()
        if self.sending is not None:
            self.sending.close()


def open_tracker(
    experiment: str,
    name: str,
    identity: str,
    tags: Mapping[str, str],
    part: str = "",
    verb: str = "",
) -> Tracker:
    """The run that belongs to an identity, or a tracker that records nothing where there can be
    none.

    MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME take precedence over the project's own store and
    `experiment`.

    Args:
        experiment: where the run is listed.
        name: of the run, and in warnings.
        identity: a fingerprint of the training.
        tags: added to the run's.
        part: a fingerprint of what is added to the run now. Points that this part recorded before
            are not recorded again; another part's may have other values at the same step.
        verb: what is done, which decides on the group of metrics.
    """
    if importlib.util.find_spec("mlflow") is None:
        print("MLflow is not installed: this run is not tracked", file=sys.stderr, flush=True)
        return NoTracker()
    header = {
        "experiment": os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment,
        "name": name,
        "identity": identity,
        "part": part or identity,
        "verb": verb,
        "time": _now(),
        "tags": {**tags, **provenance_tags()},
    }
    folder = journals()
    try:
        return JournalTracker(folder, header)
    except OSError as error:
        reason = f"{folder}: {error.strerror}; make it writable"
        print(f"{name}: {reason}: this run is not tracked", file=sys.stderr, flush=True)
        return NoTracker()


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as pairs of dotted path and value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _now() -> int:
    return int(time.time() * 1000)
