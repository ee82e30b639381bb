"""A run in MLflow, as a journal tells of it. Only the process that sends imports MLflow."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ldebm.runtime.store import project_folder

IDENTITY = "ldebm.fingerprint"
KIND = {"mlflow.experimentKind": "custom_model_development"}  # else the UI opens on traces
BATCH = 500  # metrics written at once
LOADER = "ldebm.served"  # a name: it is imported where the model is loaded
WORKFLOW = ("python", "snakemake", "dvc")  # versions that a trained model does not need

Record = dict[str, Any]


class Run:
    """A run in MLflow: the one with the identity of a journal's header if there is one, else a new
    one.

    Its duration is that of the work: what waits between its parts is left out.
    """

    def __init__(self, uri: str, header: Record, say: Callable[..., None]) -> None:
        from filelock import FileLock
        from mlflow import MlflowClient

        folder = project_folder()
        # processes that create the database, or a run, at once disturb each other
        with FileLock(folder / ".mlflow.lock"):
            self.client, self.say, self.header = MlflowClient(uri), say, header
            self.experiment = self._experiment(uri, header["experiment"], folder)
            run = self._find(header["identity"]) or self.client.create_run(
                self.experiment,
                start_time=header["time"],
                run_name=header["name"],
                tags={IDENTITY: header["identity"]},
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
            for key in KIND.keys() - found.tags.keys():
                self.client.set_experiment_tag(found.experiment_id, key, KIND[key])
            return str(found.experiment_id)
        own = (folder / "mlruns" / name).as_uri() if uri.startswith("sqlite:") else None
        return str(self.client.create_experiment(name, artifact_location=own, tags=KIND))

    def _find(self, identity: str) -> Any:
        found = self.client.search_runs(
            [self.experiment], f"tags.`{IDENTITY}` = '{identity}'", max_results=1
        )
        return found[0] if found else None

    def record(self, records: Sequence[Record], folder: Path) -> None:
        """Send records, whose files are in `folder`; the outcome of the run comes last."""
        self._log_metrics([record for record in records if "metrics" in record])
        for record in records:
            kept = folder / record.get("kept", "")
            if "params" in record:
                self._log_params(record["params"])
            elif "tags" in record:
                self._set_tags(record["tags"])
            elif "dataset" in record:
                self._log_dataset(record["dataset"], record["use"])
            elif "members" in record:
                self._tag_members(record["members"])
            elif "artifact" in record and kept.exists():
                file, place = str(kept / record["artifact"]), record["folder"] or None
                self.client.log_artifact(self.id, file, place)
            elif "model" in record and kept.exists():
                self._log_model(kept)
            elif "status" in record:
                self.end(record["status"], record["time"])

    def end(self, status: str, time: int) -> None:
        """Close the run, after as many milliseconds of work more as this part took."""
        info = self.client.get_run(self.id).info
        worked = (info.end_time or info.start_time) + time - self.header["time"]
        self.client.set_terminated(self.id, status, min(time, worked))

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
            self.say(sent=len(some))

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

    def _set_tags(self, tags: dict[str, str], run: str = "") -> None:
        from mlflow.entities import RunTag

        for some in _batches([RunTag(name, value) for name, value in tags.items()], 100):
            self.client.log_batch(run or self.id, tags=some)

    def _tag_members(self, identities: Sequence[str]) -> None:
        """By a tag and not as children: the runs table folds those away, without their charts."""
        for run in filter(None, map(self._find, identities)):
            self._set_tags({"table": self.header["name"]}, run.info.run_id)

    def _log_dataset(self, known: Record, use: str) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = json.dumps({"uri": known["source"]})
        profile = json.dumps(known["profile"])
        dataset = Dataset(known["name"], known["digest"], "local", source, profile=profile)
        context = InputTag("mlflow.data.context", use)
        self.client.log_inputs(self.id, datasets=[DatasetInput(dataset, [context])])

    def _log_model(self, folder: Path) -> None:
        """The files of a trained model as a model of the run; that it has one is said last."""
        import mlflow.pyfunc
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        outputs = self.client.get_run(self.id).outputs
        if outputs is not None and outputs.model_outputs:
            return
        record = json.loads((folder / "run.json").read_bytes())
        logged = self.client.create_logged_model(self.experiment, record["model"], self.id)
        self.say(model=logged.model_id)
        with TemporaryDirectory() as place:
            path = str(Path(place, "model"))
            mlflow.pyfunc.save_model(
                path,
                loader_module=LOADER,
                data_path=str(folder),
                pip_requirements=_requirements(record["versions"]),
                model_config={"device": "auto", "row": None},
                signature=_signature(),
                mlflow_model=Model(logged.artifact_location, self.id, model_id=logged.model_id),
            )
            self.client.log_model_artifacts(logged.model_id, path)
        self.client.finalize_logged_model(logged.model_id, "READY")
        self.client.log_outputs(self.id, [LoggedModelOutput(logged.model_id, 0)])


def _requirements(versions: dict[str, str]) -> list[str]:
    needed = {name: one for name, one in versions.items() if name not in WORKFLOW}
    return [f"{name}=={one.partition('+')[0]}" for name, one in needed.items()]


def _signature() -> Any:
    """Of `ldebm.served.Generator.predict`."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    given = {"seed": 1, "symbol": None, "variable": None}
    return ModelSignature(
        Schema([ColSpec(DataType.long, "n")]),
        Schema([ColSpec(DataType.string)]),
        ParamSchema([ParamSpec(name, DataType.long, one) for name, one in given.items()]),
    )


def _batches(entries: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """MLflow takes only so many entries at once."""
    return (entries[start : start + size] for start in range(0, len(entries), size))
