"""Experiment tracking that is never in the way: what is to be recorded goes into a journal on disk.

A process of its own, `ldebm.runtime.sending`, takes it from there to MLflow. Where the store does
not answer, the work goes on after one line of warning; the journal waits for the next step or
`ldebm sync`. MLflow holds one flat run for each training: training begins it, judging and
evaluating add to it.
"""

import fcntl
import importlib.util
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from ldebm.errors import UserError
from ldebm.runtime.provenance import git_commit

PATIENCE = 30.0  # seconds in which the sending process may say nothing; it speaks every ten
HUNG = 5.0  # seconds it has at the end of a step if it was silent for longer than that already
LONGEST = 120.0  # seconds that the end of a step may take, however much there is to send
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}  # MLflow's settings here, unless the environment has others
LATER = "nothing is lost: the next step sends it, or `ldebm sync`"


class Tracker(ABC):
    """A run that is being recorded; a context manager that closes it with the outcome."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters; nested ones are named by their path."""
        self._write({"params": {name: str(value) for name, value in flatten(params)}})

    def log_metrics(self, metrics: Mapping[str, float | None], step: int) -> None:
        """Values at a step; None is left out, a point that the run has is not recorded again."""
        values = {name: float(value) for name, value in metrics.items() if value is not None}
        self._write({"metrics": values, "step": step, "time": int(time.time() * 1000)})

    def log_text(self, name: str, text: str) -> None:
        """A text artifact."""
        self._write({"text": text, "name": name})

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """A file as artifact, as it is now."""
        self._write({"artifact": path.name, "folder": "" if folder == "." else folder}, path)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tags of the run; a new value replaces the old one."""
        self._write({"tags": dict(tags)})

    @abstractmethod
    def _write(self, record: dict[str, Any], file: Path | None = None) -> None:
        """Keep a record, and a file that belongs to it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        broken_off = kind is not None and not issubclass(kind, Exception)
        self._write({"status": "KILLED" if broken_off else "FAILED" if kind else "FINISHED"})


class NoTracker(Tracker):
    """Records nothing."""

    def _write(self, record: dict[str, Any], file: Path | None = None) -> None:
        return


class JournalTracker(Tracker):
    """Appends to a journal, which the sending process reads.

    The journal is locked until this process and the one that sends for it are gone; then any other
    may send what is left.
    """

    def __init__(self, folder: Path, header: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.warned, self.files = str(header["name"]), False, 0
        self.path = folder / f"{time.time_ns()}-{os.getpid()}.jsonl"
        new = self.path.with_suffix(".new")
        self.journal = new.open("xb", buffering=0)
        fcntl.flock(self.journal, fcntl.LOCK_EX)
        self.journal.write(json.dumps(header).encode() + b"\n")
        new.rename(self.path)
        self.sending = Sending(folder, self.path, self.journal.fileno())
        Thread(target=self._listen, daemon=True).start()

    def _write(self, record: dict[str, Any], file: Path | None = None) -> None:
        try:
            if file is not None:
                record["file"] = self._kept(file)
            self.journal.write(json.dumps(record).encode() + b"\n")
        except OSError as error:
            self._warn(f"{self.path}: {error.strerror}; the run is not tracked in full")

    def _kept(self, file: Path) -> str:
        """A second name for a file, or a copy, that lasts until it is sent.

        Relative to the journal's folder.
        """
        self.files += 1
        target = files_of(self.path) / str(self.files) / file.name
        target.parent.mkdir(parents=True)
        try:
            os.link(file, target)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(file, target)
        return str(target.relative_to(self.path.parent))

    def _listen(self) -> None:
        for message in self.sending.messages():
            if "failed" in message:
                self._warn(f"{_store_fails(message['failed'])}; the work goes on, {LATER}")

    def _warn(self, text: str) -> None:
        if not self.warned:
            self.warned = True
            print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        if why := self.sending.finish():
            self._warn(f"{_store_fails(why)}; {LATER}")
        self.journal.close()


class Sending:
    """The process that sends journals; what it says are JSON lines, and its errors are among them.

    Args:
        folder: where the journals are.
        own: a journal to follow until `finish`; without it, all that can be sent is sent once.
        lock: the file descriptor that keeps `own` locked.
    """

    def __init__(self, folder: Path, own: Path | None = None, lock: int | None = None) -> None:
        command = [sys.executable, "-m", "ldebm.runtime.sending", str(folder)]
        self.process = subprocess.Popen(
            [*command, str(own)] if own else command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=_environment(),
            pass_fds=() if lock is None else (lock,),
            start_new_session=True,  # an interrupt is not for it: it ends when its input does
        )
        self.heard = time.monotonic()
        self.ended = False

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the process says, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard = time.monotonic()
            yield json.loads(line)
        self.ended = True

    def finish(self, longest: float = LONGEST) -> str:
        """Have it send the rest, for so many seconds.

        Empty if it ended well, else what became of it.
        """
        assert self.process.stdin is not None
        self.process.stdin.close()
        if time.monotonic() - self.heard < PATIENCE:
            self.heard = time.monotonic()
        else:
            self.heard = time.monotonic() - PATIENCE + HUNG
        last = time.monotonic() + longest
        while not self.ended and time.monotonic() < min(self.heard + PATIENCE, last):
            time.sleep(0.02)
        if not self.ended:
            slow = time.monotonic() >= last
            self.process.kill()
            self.process.wait()
            return "it is slow" if slow else "it does not answer in time"
        status = self.process.wait()
        return f"the process that sends to it ended with status {status}" if status else ""


def open_tracker(
    experiment: str, name: str, identity: str, tags: Mapping[str, str], part: str = ""
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
    """
    if importlib.util.find_spec("mlflow") is None:
        print("MLflow is not installed: this run is not tracked", file=sys.stderr, flush=True)
        return NoTracker()
    header = {
        "experiment": os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment,
        "name": name,
        "identity": identity,
        "part": part or identity,
        "time": int(time.time() * 1000),
        "tags": {**tags, **provenance_tags()},
    }
    folder = journals()
    try:
        return JournalTracker(folder, header)
    except OSError as error:
        reason = f"{folder}: {error.strerror}; make it writable"
        print(f"{name}: {reason}: this run is not tracked", file=sys.stderr, flush=True)
        return NoTracker()


def sync() -> str:
    """Send what earlier steps could not; how much it was, in words.

    Raises:
        UserError: some of it could not be sent.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise UserError("MLflow is not installed: `pip install mlflow`, then `ldebm sync`")
    said: dict[str, Any] = {"records": 0, "runs": 0, "left": 0, "busy": 0}
    sending = Sending(journals())
    listening = Thread(target=lambda: [said.update(message) for message in sending.messages()])
    listening.start()
    if why := sending.finish(math.inf):
        said["failed"] = why
    listening.join()
    sent = f"{said['records']} records of {said['runs']} runs sent"
    if "failed" in said:
        raise UserError(f"{_store_fails(said['failed'])}; {sent}, {said['left'] or 'some'} not")
    busy = f"; {said['busy']} runs are at work and send their own" if said["busy"] else ""
    return f"{sent} to {redacted(store_uri())}{busy}"


def store_uri() -> str:
    """The store that the environment names, or the project's own."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_folder() / 'mlflow.db'}"


def redacted(text: str) -> str:
    """A text without what addresses hold besides hosts and paths.

    Users, passwords, query parameters.
    """
    for secret in re.findall(r"://(.*)@", os.environ.get("MLFLOW_TRACKING_URI", "")):
        password = secret.partition(":")[2]
        # where an address is malformed, parts of a password are taken for hosts, ports or paths
        parts = {secret, password, unquote(password), *re.split("[:/@]", password)}
        for part in sorted(parts, key=len, reverse=True):
            text = text.replace(part, "***") if len(part) > 1 else text
    text = re.sub(r"(\w://)[^/\s@]*@", r"\1***@", text)
    return re.sub(r"(\w://[^\s?]*)\?[^\s;)]*", r"\1?***", text)


def project_folder() -> Path:
    """Where the store is: the working directory, or the project a temporary copy of which DVC works
    in.
    """
    root = Path(os.environ.get("DVC_ROOT") or ".").resolve()
    if not root.is_dir():
        raise UserError(f"DVC_ROOT={root} is no folder; unset it")
    return root


def journals() -> Path:
    """Where journals wait until they are sent."""
    return project_folder() / "work/tracking"


def files_of(journal: Path) -> Path:
    """Where the files are kept that a journal names."""
    return journal.with_suffix(".files")


def provenance_tags() -> dict[str, str]:
    """Which code and which experiment a run belongs to."""
    tags = {"DVC_EXP_NAME": os.environ.get("DVC_EXP_NAME", "")}
    tags["mlflow.source.git.commit"] = git_commit() or ""
    return {name: value for name, value in tags.items() if value}


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as pairs of dotted path and value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _store_fails(reason: str) -> str:
    return f"the tracking store {redacted(store_uri())} fails ({redacted(reason)})"


def _environment() -> dict[str, str]:
    """For the sending process: usage statistics off, requests that end, this package importable."""
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    return {**QUIET, **os.environ, "PYTHONPATH": path}
