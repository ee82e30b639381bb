"""Experiment tracking behind a small interface: MLflow where it is installed, else nothing.

MLflow holds one flat run for each training: training begins it, and judging and evaluating add to it.
"""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from ldebm.errors import UserError

if TYPE_CHECKING:
    from mlflow.entities import Metric

IDENTITY = "ldebm.fingerprint"
BATCH = 500  # metrics written at once
PERIOD = 10.0  # seconds after which a smaller batch is written


class Tracker(Protocol):
    """A run that is being recorded; a context manager that closes it with the outcome."""

    def log_params(self, params: Mapping[str, Any]) -> None: ...
    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None: ...
    def log_text(self, name: str, text: str) -> None: ...
    def log_artifact(self, path: Path, folder: str = "") -> None: ...
    def set_tags(self, tags: Mapping[str, str]) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class NoTracker:
    """Records nothing."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Nothing."""

    def log_text(self, name: str, text: str) -> None:
        """Nothing."""

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Nothing."""

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing."""


class MlflowTracker:
    """A run in MLflow: the one with this identity if there is one, else a new one. Metrics are buffered."""

    def __init__(
        self, uri: str, experiment: str, name: str, identity: str, tags: Mapping[str, str]
    ) -> None:
        from filelock import FileLock
        from mlflow import MlflowClient

        folder = project_folder()
        with FileLock(
            folder / ".mlflow.lock"
        ):  # processes that create the database, or a run, at once disturb each other
            self.client = MlflowClient(uri)
            found = self.client.get_experiment_by_name(experiment)
            self.experiment = (
                found.experiment_id if found else self._create_experiment(uri, experiment, folder)
            )
            runs = self.client.search_runs(
                [self.experiment], f"tags.`{IDENTITY}` = '{identity}'", max_results=1
            )
            self.run = (
                runs[0]
                if runs
                else self.client.create_run(
                    self.experiment, run_name=name, tags={IDENTITY: identity}
                )
            )
        self.id = self.run.info.run_id
        self.buffer: list[Metric] = []
        self.written = time.monotonic()
        self.client.update_run(self.id, status="RUNNING")
        self.set_tags({**tags, **provenance_tags()})

    def _create_experiment(self, uri: str, name: str, folder: Path) -> str:
        """Beside a local database the artifacts get a folder of their own; a server decides for itself."""
        location = (
            (folder / "mlruns" / name).resolve().as_uri() if uri.startswith("sqlite:") else None
        )
        return str(self.client.create_experiment(name, artifact_location=location))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Nested parameters, named by their path. One that already has another value (MLflow keeps the first) becomes a tag."""
        from mlflow.entities import Param

        known = self.client.get_run(self.id).data.params
        flat = {name: str(value) for name, value in flatten(params)}
        for some in _batches(
            [Param(name, value) for name, value in flat.items() if name not in known], 100
        ):
            self.client.log_batch(self.id, params=some)
        self.set_tags(
            {
                f"changed.{name}": value
                for name, value in flat.items()
                if known.get(name, value) != value
            }
        )

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Values at a step; written when many have come together, or after some seconds."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.buffer += [
            Metric(name, float(value), now, step)
            for name, value in metrics.items()
            if value is not None
        ]
        if len(self.buffer) >= BATCH or time.monotonic() - self.written > PERIOD:
            self.flush()

    def log_text(self, name: str, text: str) -> None:
        """A text artifact."""
        self.client.log_text(self.id, text, name)

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """A file as artifact."""
        self.client.log_artifact(self.id, str(path), folder if folder not in ("", ".") else None)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tags of the run; a new value replaces the old one."""
        from mlflow.entities import RunTag

        for some in _batches([RunTag(name, value) for name, value in tags.items()], 100):
            self.client.log_batch(self.id, tags=some)

    def flush(self) -> None:
        """Write what is buffered."""
        buffered, self.buffer = self.buffer, []
        for some in _batches(buffered, BATCH):
            self.client.log_batch(self.id, metrics=some)
        self.written = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.flush()
        status = (
            "FINISHED" if kind is None else "FAILED" if issubclass(kind, Exception) else "KILLED"
        )
        self.client.set_terminated(self.id, status)


def open_tracker(experiment: str, name: str, identity: str, tags: Mapping[str, str]) -> Tracker:
    """The run that belongs to `identity` (a fingerprint), or a tracker that records nothing where MLflow is absent.

    MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME take precedence over the project's own store and `experiment`.
    """
    if importlib.util.find_spec("mlflow") is None:
        print("MLflow is not installed: this run is not tracked", file=sys.stderr, flush=True)
        return NoTracker()
    for variable in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(variable, "true")
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_folder() / 'mlflow.db'}"
    _quiet_migrations()
    return MlflowTracker(
        uri, os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment, name, identity, tags
    )


def project_folder() -> Path:
    """Where the store is: the working directory, or the project a temporary copy of which DVC works in."""
    root = Path(os.environ.get("DVC_ROOT") or ".").resolve()
    if not root.is_dir():
        raise UserError(f"DVC_ROOT={root} is no folder; unset it")
    return root


def provenance_tags() -> dict[str, str]:
    """Which code and which experiment a run belongs to."""
    tags = {"DVC_EXP_NAME": os.environ.get("DVC_EXP_NAME", "")}
    try:
        git = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        tags["mlflow.source.git.commit"] = git.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pass  # no repository: nothing to name
    return {name: value for name, value in tags.items() if value}


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings as pairs of dotted path and value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _batches(entries: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """MLflow takes only so many entries at once."""
    return (entries[start : start + size] for start in range(0, len(entries), size))


def _quiet_migrations() -> None:
    """Creating the database logs a line for every migration; none of them tells a user anything."""
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
