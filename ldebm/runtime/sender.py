"""The process that sends journals to MLflow, seen from those that start it and wait for it.

One sends for a step, or for all steps of a workflow.
"""

import fcntl
import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO

from ldebm.errors import UserError
from ldebm.runtime.store import journals, lock_of, redacted, store_fails, store_uri

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
NEW = ".new"
SENDER = "LDEBM_SENDER"  # in the environment: what sends the journals of a whole workflow


class Sending:
    """The process that sends journals; what it says are JSON lines, and its errors are among them.

    Until `finish` it follows those that name it, and sends what nobody else does. `name` is that of
    a file it keeps locked.

    Args:
        warn: gets what fails, as it happens; without it `messages` is to be read.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = f"{time.time_ns()}-{os.getpid()}"
        self.lock = lock_of(folder, self.name)
        with locked(self.lock) as lock:
            self.lock.with_suffix(NEW).rename(self.lock)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ldebm.runtime.sending", str(folder), self.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=_environment(),
                pass_fds=(lock.fileno(),),
                start_new_session=True,  # an interrupt is not for it: it ends when its input does
            )
        self.heard = time.monotonic()
        self.ended = False
        self.warn = warn
        if warn is not None:
            Thread(target=self._listen, daemon=True).start()

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
        ended, slow = self.ended, time.monotonic() >= last
        if not ended:
            self.process.kill()
        status = self.process.wait()
        self.lock.unlink(missing_ok=True)  # where it could not do so itself
        if not ended:
            return "it is slow" if slow else "it does not answer in time"
        return f"the process that sends to it ended with status {status}" if status else ""

    def close(self) -> None:
        """Have it send the rest, and tell if it could not."""
        if (why := self.finish()) and self.warn is not None:
            self.warn(f"{store_fails(why)}; {LATER}")

    def _listen(self) -> None:
        for message in self.messages():
            if "failed" in message and self.warn is not None:
                self.warn(f"{store_fails(message['failed'])}; the work goes on, {LATER}")


class Shared:
    """One sending process for all steps that this process starts, which saves seconds of each.

    From `start` on its name is in the environment; without MLflow there is none. `say` gets the
    first failure.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.warn = once(say)
        self.sending: Sending | None = None

    def start(self) -> None:
        """Start it; where its folder cannot be written, each step will say so."""
        if importlib.util.find_spec("mlflow") is not None:
            with suppress(OSError):
                self.sending = Sending(journals(), self.warn)
                os.environ[SENDER] = self.sending.name

    def close(self) -> None:
        """Have it send the rest."""
        if self.sending is not None:
            self.sending.close()


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
        raise UserError(f"{store_fails(said['failed'])}; {sent}, {said['left'] or 'some'} not")
    busy = f"; {said['busy']} runs are at work and send their own" if said["busy"] else ""
    return f"{sent} to {redacted(store_uri())}{busy}"


def once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Says the first text only."""
    said: list[str] = []

    def first(text: str) -> None:
        if not said:
            said.append(text)
            say(text)

    return first


def locked(path: Path) -> BinaryIO:
    """A new file, locked, under the name that it has until it is renamed to `path`."""
    file = path.with_suffix(NEW).open("xb", buffering=0)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _environment() -> dict[str, str]:
    """For the sending process: usage statistics off, requests that end, this package importable."""
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    return {**QUIET, **os.environ, "PYTHONPATH": path}
