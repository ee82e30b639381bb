"""What MLflow is told, read back through its own client, and that all goes well without it."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from ldebm.runtime import tracking
from ldebm.runtime.tracking import NoTracker, Tracker, flatten, open_tracker


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("mlflow")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runs(folder: Path) -> list:  # type: ignore[type-arg]
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    return client.search_runs([one.experiment_id for one in client.search_experiments()])


def opened(identity: str = "one", **tags: str) -> Tracker:
    return open_tracker("trial", "vae seed 1", identity, tags)


def test_one_run_holds_what_training_and_judging_say(store: Path) -> None:
    with opened(model="vae") as tracker:
        tracker.log_params({"model": {"latent_dim": 40}})
        for step in range(3):
            tracker.log_metrics({"loss": 3.0 - step}, step)
    with opened() as tracker:
        tracker.log_metrics({"rppl": 7.0}, 0)
        tracker.log_text("samples.txt", "a cat\n")
    (run,) = runs(store)
    assert run.data.params == {"model.latent_dim": "40"}
    assert run.data.metrics == {"loss": 1.0, "rppl": 7.0}
    assert run.data.tags["model"] == "vae"
    assert run.info.run_name == "vae seed 1"
    assert run.info.status == "FINISHED"
    assert (
        store / "mlruns/trial" / run.info.run_id / "artifacts/samples.txt"
    ).read_text() == "a cat\n"


def test_another_fingerprint_is_another_run(store: Path) -> None:
    for identity in ("one", "two"):
        with opened(identity):
            pass
    assert {run.data.tags[tracking.IDENTITY] for run in runs(store)} == {"one", "two"}


def test_metrics_are_buffered_and_none_is_lost(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    sizes: list[int] = []
    original = MlflowClient.log_batch

    def counting(self: MlflowClient, run_id: str, metrics: tuple = (), **others: object) -> object:  # type: ignore[type-arg]
        sizes.extend([len(metrics)] if metrics else [])
        return original(self, run_id, metrics=metrics, **others)

    monkeypatch.setattr(MlflowClient, "log_batch", counting)
    monkeypatch.setattr(tracking, "PERIOD", 1e9)
    with opened() as tracker:
        for step in range(tracking.BATCH + 10):
            tracker.log_metrics({"loss": float(step)}, step)
    assert sizes == [tracking.BATCH, 10]
    history = MlflowClient(f"sqlite:///{store / 'mlflow.db'}").get_metric_history(
        runs(store)[0].info.run_id, "loss"
    )
    assert [metric.value for metric in history] == [
        float(step) for step in range(tracking.BATCH + 10)
    ]


def test_a_parameter_that_changed_becomes_a_tag(store: Path) -> None:
    for epochs in (1, 2):
        with opened() as tracker:
            tracker.log_params({"judge": {"epochs": epochs}})
    (run,) = runs(store)
    assert run.data.params == {"judge.epochs": "1"}
    assert run.data.tags["changed.judge.epochs"] == "2"


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_run_that_broke_off_says_so_and_keeps_its_metrics(
    store: Path, error: type[BaseException], status: str
) -> None:
    def break_off() -> None:
        with opened() as tracker:
            tracker.log_metrics({"loss": 2.0}, 1)
            raise error

    with pytest.raises(error):
        break_off()
    (run,) = runs(store)
    assert run.info.status == status
    assert run.data.metrics == {"loss": 2.0}


def test_a_temporary_copy_records_in_the_project(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `dvc exp run --temp`, which names the experiment too."""
    (store / "copy").mkdir()
    monkeypatch.chdir(store / "copy")
    monkeypatch.setenv("DVC_ROOT", str(store))
    monkeypatch.setenv("DVC_EXP_NAME", "calm-cat")
    with opened():
        pass
    assert runs(store)[0].data.tags["DVC_EXP_NAME"] == "calm-cat"
    assert not (store / "copy/mlflow.db").exists()


def test_processes_that_start_at_once_share_a_database_and_a_run(store: Path) -> None:
    program = (
        "from ldebm.runtime.tracking import open_tracker\n"
        "import sys\n"
        "with open_tracker('trial', 'vae seed 1', 'one', {}) as tracker: tracker.log_metrics({sys.argv[1]: 1.0}, 0)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, f"metric{number}"], cwd=store)
        for number in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    (run,) = runs(store)
    assert run.data.metrics.keys() == {"metric0", "metric1", "metric2"}


def test_without_mlflow_one_line_and_no_harm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with open_tracker("trial", "vae", "one", {}) as tracker:
        tracker.log_params({"a": 1})
        tracker.log_metrics({"loss": 1.0}, 0)
        tracker.log_text("a.txt", "a")
        tracker.set_tags({"a": "b"})
        assert isinstance(tracker, NoTracker)
    assert capsys.readouterr().err == "MLflow is not installed: this run is not tracked\n"


def test_usage_statistics_are_off(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    with opened():
        pass
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == os.environ["DO_NOT_TRACK"] == "true"


def test_nested_parameters_become_dotted_names() -> None:
    assert dict(flatten({"a": {"b": {"c": 1}, "d": [2]}, "e": None})) == {
        "a.b.c": 1,
        "a.d": [2],
        "e": None,
    }
