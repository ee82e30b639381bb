"""The process that takes journals to MLflow.

It alone imports MLflow, and whatever hangs hangs here.

Everything may be sent twice to the same effect, since the store is asked for the points it has: so
nothing is marked as sent, and a journal is deleted when all of it has been.
"""

import fcntl
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from ldebm.runtime.tracking import files_of, project_folder, store_uri

IDENTITY = "ldebm.fingerprint"
BATCH = 500  # metrics written at once
PERIOD = 10.0  # seconds between two looks at the journal
LAST = 60  # seconds to live once nobody waits any more

Record = dict[str, Any]


class Journal:
    """The lines that a tracker wrote; the first tells the run."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0
        self.run: Run | None = None
        with path.open("rb") as file:
            self.header: Record = json.loads(file.readline())

    def repeats(self, other: "Journal") -> bool:
        """Whether it may hold the same points."""
        return all(self.header[key] == other.header[key] for key in ("identity", "part"))

    def send(self, uri: str) -> int:
        """Send what was written since the last time; the number of records."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]  # a line may be being written
        records = [json.loads(line) for line in text.splitlines()]
        try:
            if self.run is None:
                self.run = Run(uri, self.header)
                records.pop(0)
            self.run.record(records, self.path.parent)
        except Exception:
            self.run, self.offset = None, 0  # whether the last request arrived is not known
            raise
        self.offset += len(text)
        return len(records)

    def delete(self) -> None:
        """Drop the journal and the files that it names."""
        shutil.rmtree(files_of(self.path), ignore_errors=True)
        self.path.unlink()


class Run:
    """A run in MLflow: the one with the identity of a journal's header if there is one, else a new
    one.
    """

    def __init__(self, uri: str, header: Record) -> None:
        from filelock import FileLock
        from mlflow import MlflowClient

        folder = project_folder()
        # processes that create the database, or a run, at once disturb each other
        with FileLock(folder / ".mlflow.lock"):
            self.client = MlflowClient(uri)
            experiment = self._experiment(uri, header["experiment"], folder)
            filter_ = f"tags.`{IDENTITY}` = '{header['identity']}'"
            found = self.client.search_runs([experiment], filter_, max_results=1)
            run = (
                found[0]
                if found
                else self.client.create_run(
                    experiment, run_name=header["name"], tags={IDENTITY: header["identity"]}
                )
            )
        self.id, part = run.info.run_id, f"ldebm.part.{header['part'][:16]}"
        begun = run.data.tags.get(part)
        self.begun = None if begun is None else int(begun)
        self.points: dict[str, set[int]] = {}
        self._set_tags({part: begun or str(header["time"]), **header["tags"]})
        self.client.update_run(self.id, status="RUNNING")
        say(run=self.id)

    def _experiment(self, uri: str, name: str, folder: Path) -> str:
        """Beside a local database the artifacts get a folder of their own.

        A server decides for itself.
        """
        found = self.client.get_experiment_by_name(name)
        if found:
            return str(found.experiment_id)
        own = (folder / "mlruns" / name).as_uri() if uri.startswith("sqlite:") else None
        return str(self.client.create_experiment(name, artifact_location=own))

    def record(self, records: Sequence[Record], folder: Path) -> None:
        """Send records, whose files are in `folder`; the outcome of the run comes last."""
        self._log_metrics([record for record in records if "metrics" in record])
        for record in records:
            if "params" in record:
                self._log_params(record["params"])
            elif "tags" in record:
                self._set_tags(record["tags"])
            elif "text" in record:
                self.client.log_text(self.id, record["text"], record["name"])
            elif "artifact" in record and (folder / record["file"]).exists():
                file, place = str(folder / record["file"]), record["folder"] or None
                self.client.log_artifact(self.id, file, place)
            elif "status" in record:
                self.client.set_terminated(self.id, record["status"])

    def _log_metrics(self, records: Sequence[Record]) -> None:
        """Points that the run does not have."""
        from mlflow.entities import Metric

        new = []
        for record in records:
            for name, value in record["metrics"].items():
                known = self._points(name)
                if record["step"] not in known:
                    known.add(record["step"])
                    new.append(Metric(name, value, record["time"], record["step"]))
        for some in _batches(new, BATCH):
            self.client.log_batch(self.id, metrics=some)
            say(sent=len(some))

    def _points(self, name: str) -> set[int]:
        """Steps at which this part has recorded a value."""
        if name not in self.points:
            history = [] if self.begun is None else self.client.get_metric_history(self.id, name)
            self.points[name] = {
                metric.step for metric in history if metric.timestamp >= (self.begun or 0)
            }
        return self.points[name]

    def _log_params(self, params: dict[str, str]) -> None:
        """One that has another value in the run (MLflow keeps the first) becomes a tag."""
        from mlflow.entities import Param

        known = self.client.get_run(self.id).data.params
        new = [Param(name, value) for name, value in params.items() if name not in known]
        for some in _batches(new, 100):
            self.client.log_batch(self.id, params=some)
        changed = {name for name, value in params.items() if known.get(name, value) != value}
        self._set_tags({f"changed.{name}": params[name] for name in changed})

    def _set_tags(self, tags: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        for some in _batches([RunTag(name, value) for name, value in tags.items()], 100):
            self.client.log_batch(self.id, tags=some)


def main(folder: Path, own: Path | None = None) -> None:
    """Follow a journal until the standard input ends, and send what others left.

    Or only the latter.
    """
    mine = None if own is None else Journal(own)
    _import_mlflow()
    say(started=os.getpid())
    ended = mine is None
    while send_all(folder, mine, ended) or not ended:
        if ended:
            time.sleep(0.2)
        elif select.select([sys.stdin], [], [], PERIOD)[0]:
            ended = True
            signal.alarm(LAST)


def send_all(folder: Path, mine: Journal | None, ended: bool) -> bool:
    """Send every journal, the oldest first, but for those that another process has in hand.

    Says what came of it.

    Returns:
        Whether `mine` has to wait for one of those, since both may hold the same points.
    """
    uri, total = store_uri(), {"records": 0, "runs": 0, "left": 0, "busy": 0}
    answers, waits = True, False
    for path in sorted(folder.glob("*.jsonl")):
        with _taken(path, mine) as (journal, taken):
            if journal is None:
                continue
            if not taken:
                total["busy"] += 1
                waits |= mine is not None and path < mine.path and journal.repeats(mine)
            elif not answers or (journal is mine and waits):
                total["left"] += 1
            else:
                try:
                    total["records"] += journal.send(uri)
                except Exception as error:
                    total["left"] += 1
                    answers = _answers(uri)
                    say(failed=f"{f'{path} is refused: ' if answers else ''}{reason(error)}")
                else:
                    total["runs"] += 1
                    if ended or journal is not mine:
                        journal.delete()
    say(**total)
    return waits


@contextmanager
def _taken(path: Path, mine: Journal | None) -> Iterator[tuple[Journal | None, bool]]:
    """The journal at a path if it is still there, and whether it is we who hold its lock."""
    if mine is not None and path == mine.path:
        yield mine, True
        return
    try:
        file, journal = path.open("rb"), Journal(path)
    except FileNotFoundError:  # sent and deleted just now
        yield None, False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield journal, False
        else:
            yield (journal if path.exists() else None), True


def say(**message: Any) -> None:
    """Tell the process that waits; while it does, there is time."""
    with suppress(OSError):
        print(json.dumps(message), file=sys.__stdout__, flush=True)
        if signal.alarm(LAST) == 0:  # it was not set
            signal.alarm(0)


def reason(error: BaseException) -> str:
    """The first cause of an error, in one line."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _answers(uri: str) -> bool:
    """Whether the store is there at all, so that it was the journal that it could not take."""
    from mlflow import MlflowClient

    try:
        MlflowClient(uri).search_experiments(max_results=1)
    except Exception:
        return False
    return True


def _import_mlflow() -> None:
    """With a store in a locked database MLflow would try for minutes before it says so."""
    import mlflow.store.db.utils

    mlflow.store.db.utils.MAX_RETRY_COUNT = 1


def _batches(entries: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """MLflow takes only so many entries at once."""
    return (entries[start : start + size] for start in range(0, len(entries), size))


if __name__ == "__main__":
    with redirect_stdout(sys.stderr):  # where MLflow prints addresses
        main(*map(Path, sys.argv[1:]))
