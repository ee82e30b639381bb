"""The process that takes journals to MLflow.

It alone imports MLflow, and whatever hangs hangs here. It sends the journals that name it, while
they are written and to their end, and those of others whose writer and sender are both gone.

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
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from ldebm.runtime.recording import Record, Run
from ldebm.runtime.store import files_of, lives, lock_of, store_uri

PERIOD = 10.0  # seconds between two looks at the journals
LAST = 60  # seconds to live once nobody waits any more


class Journal:
    """The lines that a tracker wrote; the first tells the run."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset, self.closed = path, 0, False
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
                self.run = Run(uri, self.header, say)
                records.pop(0)
            self.run.record(records, self.path.parent)
        except Exception:
            self.run, self.offset = None, 0  # whether the last request arrived is not known
            raise
        self.offset += len(text)
        self.closed |= any("status" in record for record in records)
        return len(records)

    def delete(self) -> None:
        """Drop the journal, all of which was sent, and the files that it names.

        The process that wrote it is gone: where it did not say how it ended, it was killed.
        """
        if self.run is not None and not self.closed:
            self.run.end("KILLED", self.path.stat().st_mtime_ns // 1_000_000)
        shutil.rmtree(files_of(self.path), ignore_errors=True)
        self.path.unlink()


def main(folder: Path, name: str) -> None:
    """Send as `name` what is written until the input ends, then the rest, and what others left."""
    try:
        _import_mlflow()
        say(started=os.getpid())
        sender, ended = Sender(folder, name), False
        while sender.send_all() or not ended:
            if ended:
                time.sleep(0.2)
            elif select.select([sys.stdin], [], [], PERIOD)[0]:
                ended = True
                signal.alarm(LAST)
    finally:
        lock_of(folder, name).unlink(missing_ok=True)


class Sender:
    """What sends under a name, and the journals that it has begun.

    A journal is locked by its writer, and names its sender, which has a lock of its own: what a
    sender that lives is named by is left to it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.begun: dict[Path, Journal] = {}
        self.total = {"records": 0, "runs": 0, "left": 0, "busy": 0}

    def send_all(self) -> bool:
        """Send every journal, the oldest first, but for those that another process has in hand.

        Says what came of it.

        Returns:
            Whether a journal of this sender's has to wait: for its writer, or for an older one in
            another's hands, since both may hold the same points.
        """
        uri, answers, waits = store_uri(), True, False
        self.total |= {"left": 0, "busy": 0}
        elsewhere: list[Journal] = []
        for path in sorted(self.folder.glob("*.jsonl")):
            with self._taken(path) as (journal, written):
                if journal is None:
                    continue
                own = journal.header.get("sender") == self.name
                if written and not own:
                    self.total["busy"] += 1
                    elsewhere.append(journal)
                elif not answers or any(journal.repeats(other) for other in elsewhere):
                    self.total["left"] += 1
                    waits |= answers and own
                else:
                    waits |= written
                    answers = self._send(journal, uri, ended=not written)
        say(**self.total)
        return waits

    def _send(self, journal: Journal, uri: str, ended: bool) -> bool:
        """Whether the store is there at all, so that another journal can be tried."""
        try:
            sent = journal.send(uri)
        except Exception as error:
            self.total["left"] += 1
            answers = _answers(uri)
            say(failed=f"{f'{journal.path} is refused: ' if answers else ''}{reason(error)}")
            return answers
        self.total["records"] += sent
        if ended:
            self.total["runs"] += 1
            journal.delete()
            self.begun.pop(journal.path, None)
        return True

    @contextmanager
    def _taken(self, path: Path) -> Iterator[tuple[Journal | None, bool]]:
        """The journal at a path if it is still there, and whether it is another's for now.

        Of this sender's own it is the writer's, of others' also its living sender's.
        """
        try:
            file, journal = path.open("rb"), self.begun.get(path) or Journal(path)
        except FileNotFoundError:  # sent and deleted just now
            yield None, False
            return
        except ValueError:
            with suppress(FileNotFoundError):  # another process did
                path.rename(path.with_suffix(".damaged"))
            say(failed=f"{path}: is damaged and cannot be sent; set aside as {path.stem}.damaged")
            yield None, False
            return
        with file:
            sender = str(journal.header.get("sender"))
            if sender == self.name:
                self.begun[path] = journal
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield journal, True
            else:
                there = path.exists()
                written = sender != self.name and lives(self.folder, sender)
                yield (journal if there else None), written


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


if __name__ == "__main__":
    with redirect_stdout(sys.stderr):  # where MLflow prints addresses
        main(Path(sys.argv[1]), sys.argv[2])
