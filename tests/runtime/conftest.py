"""A store of MLflow for each test, and journals sent from the test's own process, which saves
seconds.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from ldebm.runtime import sender, sending, tracking


class SendingHere(sender.Sending):
    """Sends when told to finish."""

    def __init__(self, folder: Path, warn: Callable[[str], None] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.said: Queue[dict[str, Any] | None] = Queue()
        self.name, self.warn = str(id(self)), warn
        self.sender = sending.Sender(folder, self.name)
        if warn is not None:
            threading.Thread(target=self._listen, daemon=True).start()

    def messages(self) -> Iterator[dict[str, Any]]:
        while (message := self.said.get()) is not None:
            yield message
            self.said.task_done()
        self.said.task_done()

    def finish(self, longest: float = 0.0) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sending, "say", lambda **message: self.said.put(message))
            while self.sender.send_all():
                time.sleep(0.05)
        self.said.put(None)
        self.said.join()
        return ""


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow in which nothing is."""
    mlflow = pytest.importorskip("mlflow")
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def project(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store, from which processes of their own send."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def store(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store, to which this process sends."""
    for module in (tracking, sender):
        monkeypatch.setattr(module, "Sending", SendingHere)
    return project
