"""What MLflow is told, read back through its own client; and it is never in the way."""

import fcntl
import importlib.util
import os
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from ldebm import cli
from ldebm.errors import UserError
from ldebm.runtime import sender, sending, tracking
from ldebm.runtime.recording import BATCH, IDENTITY
from ldebm.runtime.sender import SENDER, Shared, sync
from ldebm.runtime.store import lives, lock_of, redacted, store_uri
from ldebm.runtime.tracking import NoTracker, Tracker, flatten, open_tracker


def client(folder: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def runs(folder: Path) -> list[Any]:
    found = client(folder)
    return list(found.search_runs([one.experiment_id for one in found.search_experiments()]))


def points(folder: Path, name: str = "loss") -> list[tuple[int, float]]:
    """Step and value of every point of a metric in the only run."""
    (run,) = runs(folder)
    history = client(folder).get_metric_history(run.info.run_id, name)
    return sorted((metric.step, metric.value) for metric in history)


def opened(identity: str = "one", part: str = "", **tags: str) -> Tracker:
    return open_tracker("trial", "vae seed 1", identity, tags, part)


def log(steps: range, value: float = 0.0, part: str = "") -> None:
    """A session in which a loss is recorded."""
    with opened(part=part) as tracker:
        for step in steps:
            tracker.log_metrics({"loss": step + value}, step)


def waiting(folder: Path) -> list[Path]:
    return sorted((folder / "work/tracking").iterdir())


def test_one_run_holds_what_training_and_judging_say(store: Path) -> None:
    file = store / "samples.txt"
    file.write_text("a cat\n")
    with opened(model="vae") as tracker:
        tracker.log_params({"model": {"latent_dim": 40}})
        for step in range(3):
            tracker.log_metrics({"loss": 3.0 - step, "absent": None}, step)
    with opened(part="two") as tracker:
        tracker.log_metrics({"rppl": 7.0}, 0)
        tracker.log_artifact(file, "sample")
    (run,) = runs(store)
    assert run.data.params == {"model.latent_dim": "40"}
    assert run.data.metrics == {"loss": 1.0, "rppl": 7.0}
    assert run.data.tags["model"] == "vae"
    assert run.info.run_name == "vae seed 1"
    assert run.info.status == "FINISHED"
    artifacts = store / "mlruns/trial" / run.info.run_id / "artifacts"
    assert (artifacts / "sample/samples.txt").read_text() == "a cat\n"
    assert waiting(store) == []


def test_another_fingerprint_is_another_run(store: Path) -> None:
    for identity in ("one", "two"):
        with opened(identity):
            pass
    assert {run.data.tags[IDENTITY] for run in runs(store)} == {"one", "two"}


def test_metrics_are_sent_in_batches_and_none_is_lost(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    sizes: list[int] = []
    original = MlflowClient.log_batch

    def counting(self: MlflowClient, run: str, metrics: tuple[Any, ...] = (), **rest: Any) -> Any:
        sizes.extend([len(metrics)] if metrics else [])
        return original(self, run, metrics=metrics, **rest)

    monkeypatch.setattr(MlflowClient, "log_batch", counting)
    log(range(BATCH + 10))
    assert sizes == [BATCH, 10]
    assert points(store) == [(step, float(step)) for step in range(BATCH + 10)]


def test_a_resumed_or_repeated_part_leaves_each_point_once(store: Path) -> None:
    log(range(0, 8))
    log(range(5, 12), 0.5)  # on from a checkpoint
    log(range(0, 12), 0.7)  # again, as after its work was deleted
    assert points(store) == [(step, step + 0.5 * (step > 7)) for step in range(12)]


def test_another_part_has_points_of_its_own(store: Path) -> None:
    """As when a model is judged again with other settings: the newer value is the run's."""
    log(range(3), part="judged")
    time.sleep(0.002)
    log(range(3), 0.5, part="judged otherwise")
    log(range(4), 0.7, part="judged otherwise")
    assert points(store) == [(0, 0.0), (0, 0.5), (1, 1.0), (1, 1.5), (2, 2.0), (2, 2.5), (3, 3.7)]
    assert runs(store)[0].data.metrics == {"loss": 3.7}


def test_a_batch_that_arrived_without_an_answer_is_there_once(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same holds for a process that is killed between sending and deleting the journal."""
    from mlflow import MlflowClient

    original = MlflowClient.log_batch

    def breaking(self: MlflowClient, run: str, metrics: tuple[Any, ...] = (), **rest: Any) -> Any:
        original(self, run, metrics=metrics, **rest)
        if metrics:
            raise ConnectionResetError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", breaking)
        log(range(5))
    assert "ConnectionResetError: gone" in capsys.readouterr().err
    assert points(store) == [(step, float(step)) for step in range(5)]
    log(range(5, 7))  # the next step sends the journal of the first too
    assert points(store) == [(step, float(step)) for step in range(7)]
    assert waiting(store) == []


def test_a_journal_waits_for_an_older_one_that_repeats_it_and_is_being_sent(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when a killed training's sending process is still at work while the next one has begun."""
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "htp://nowhere")
        log(range(5))
    (older,) = waiting(store)
    with older.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        resumed = threading.Thread(target=log, args=(range(3, 8), 0.5))
        resumed.start()
        log(range(9, 10), part="judged")  # another part does not
        time.sleep(0.5)
        assert points(store) == [(9, 9.0)]
        journal = sending.Journal(older)
        journal.send(store_uri())
        journal.delete()
    resumed.join()
    assert points(store) == [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 3),
        (4, 4),
        (5, 5.5),
        (6, 6.5),
        (7, 7.5),
        (9, 9),
    ]
    assert waiting(store) == []


@contextmanager
def living(folder: Path, name: str) -> Iterator[None]:
    """A sender of that name."""
    path = lock_of(folder / "work/tracking", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        path.unlink(missing_ok=True)


def test_a_sender_follows_the_journals_that_name_it(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written arrives while the step is at work; the journal goes when that is gone."""
    monkeypatch.setenv(SENDER, "shared")
    sender = sending.Sender(store / "work/tracking", "shared")
    with living(store, "shared"), opened() as tracker:
        assert isinstance(tracker, tracking.JournalTracker)
        assert tracker.sending is None
        for step in range(2):
            tracker.log_metrics({"loss": float(step)}, step)
            assert sender.send_all()
            assert [step for step, _ in points(store)] == list(range(step + 1))
            assert runs(store)[0].info.status == "RUNNING"
        assert tracker.path in waiting(store)
    assert not sender.send_all()
    assert runs(store)[0].info.status == "FINISHED"
    assert sender.total == {"records": 3, "runs": 1, "left": 0, "busy": 0}
    assert not sender.begun
    assert waiting(store) == []


def test_what_a_living_sender_is_named_by_is_left_to_it(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its step has ended; that of one that was killed is sent, and its lock removed."""
    monkeypatch.setenv(SENDER, "shared")
    other = sending.Sender(store / "work/tracking", "other")
    with living(store, "shared"):
        log(range(3))
        assert not other.send_all()
        assert not runs(store)
        assert other.total["busy"] == 1
        kept = lock_of(store / "work/tracking", "shared")
        kept.rename(kept.with_suffix(".kept"))
        kept.touch()  # as if it were killed
        assert not other.send_all()
        assert not kept.exists()
        kept.with_suffix(".kept").unlink()
    assert [step for step, _ in points(store)] == [0, 1, 2]
    assert waiting(store) == []


def test_one_who_asks_at_the_same_time_is_not_taken_for_the_sender(tmp_path: Path) -> None:
    """It holds the lock of a dead sender as `lives` does, for a moment."""
    path = lock_of(tmp_path, "dead")
    path.touch()
    with path.open("rb") as another:
        fcntl.flock(another, fcntl.LOCK_SH)
        assert not lives(tmp_path, "dead")


def test_a_sender_lives_by_its_own_name(store: Path) -> None:
    with living(store, "one"):
        assert lives(store / "work/tracking", "one")
        assert not lives(store / "work/tracking", "two")


def test_a_store_that_does_not_answer_is_asked_for_one_journal_only(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "htp://nowhere")
    for part in ("one", "two"):
        log(range(2), part=part)
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(sending, "say", lambda **message: said.append(message))
    sender = sending.Sender(store / "work/tracking", "other")
    assert not sender.send_all()
    assert len([message for message in said if "failed" in message]) == 1
    assert sender.total == {"records": 0, "runs": 0, "left": 2, "busy": 0}


def test_a_step_whose_shared_sender_is_gone_has_one_of_its_own(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SENDER, "killed")
    log(range(2))
    assert len(points(store)) == 2
    assert waiting(store) == []


def test_one_process_sends_for_all_steps_of_a_workflow(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    shared = Shared(said.append)
    shared.start()
    try:
        for loss in ("1.0", "2.0"):
            step = program(
                project,
                "tracker.log_metrics({sys.argv[1]: 1.0}, 0); print(tracker.sending)",
                f"loss{loss}",
            )
            assert step.communicate() == ("None\n", "")
    finally:
        shared.close()
        os.environ.pop(SENDER)
    (run,) = runs(project)
    assert run.data.metrics == {"loss1.0": 1.0, "loss2.0": 1.0}
    assert run.info.status == "FINISHED"
    assert waiting(project) == []
    assert not said


def test_a_workflow_whose_store_fails_says_so_once(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "htp://nowhere")
    said: list[str] = []
    shared = Shared(said.append)
    shared.start()
    assert shared.sending is not None
    monkeypatch.setenv(SENDER, shared.sending.name)
    with living(store, shared.sending.name):
        for part in ("one", "two"):
            log(range(2), part=part)
    shared.close()
    shared.warn("again")
    (line,) = said
    assert "the tracking store htp://nowhere fails" in line
    assert len(waiting(store)) == 2


def test_a_workflow_without_mlflow_or_journals_starts_no_process(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store / "work").write_text("in the folder's place")
    shared = Shared(print)
    shared.start()
    shared.close()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    shared.start()
    assert shared.sending is None


def test_a_sending_process_that_dies_is_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONHASHSEED", "no number")  # no interpreter starts
    log(range(2))
    assert "ended with status 1" in warning(capsys)
    with pytest.raises(UserError, match=r"ended with status 1.*some not"):
        sync()
    assert len(waiting(project)) == 1


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


def test_an_artifact_is_the_file_as_it_was(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be moved, replaced or deleted before it is sent."""
    (store / "table.html").write_text("old")
    with opened() as tracker:
        tracker.log_artifact(store / "table.html", "figures")
        (store / "table.html").unlink()
        (store / "table.html").write_text("new")
    artifacts = store / "mlruns/trial" / runs(store)[0].info.run_id / "artifacts"
    assert (artifacts / "figures/table.html").read_text() == "old"
    assert waiting(store) == []


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
    assert not list((store / "copy").iterdir())


def program(folder: Path, body: str, *arguments: str) -> "subprocess.Popen[str]":
    """A process with an open tracker."""
    text = (
        "import sys, time\n"
        "from ldebm.runtime.tracking import open_tracker\n"
        f"with open_tracker('trial', 'vae seed 1', 'one', {{}}) as tracker:\n    {body}"
    )
    command = [sys.executable, "-c", text, *arguments]
    output = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, text=True, stdout=output, stderr=output)


def test_processes_that_start_at_once_share_a_database_and_a_run(project: Path) -> None:
    (project / "mlflow.db").unlink()
    body = "tracker.log_metrics({sys.argv[1]: 1.0}, 0)"
    processes = [program(project, body, f"metric{number}") for number in range(3)]
    assert [process.communicate() for process in processes] == [("", "")] * 3
    (run,) = runs(project)
    assert run.data.metrics.keys() == {"metric0", "metric1", "metric2"}


def test_what_a_killed_process_had_recorded_is_sent(project: Path) -> None:
    """By the process that sends for it, which outlives it, or by the next."""
    process = program(
        project, "tracker.log_metrics({'loss': 1.0}, 0); print(flush=True); time.sleep(99)"
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    log(range(1, 3))
    for _ in range(300):
        if len(points(project)) == 3 and not waiting(project):
            break
        time.sleep(0.1)
    assert [step for step, _ in points(project)] == [0, 1, 2]
    assert waiting(project) == []


def test_without_mlflow_one_line_and_no_harm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with open_tracker("trial", "vae", "one", {}) as tracker:
        tracker.log_params({"a": 1})
        tracker.log_metrics({"loss": 1.0}, 0)
        tracker.log_artifact(Path("a.txt"))
        tracker.set_tags({"a": "b"})
        assert isinstance(tracker, NoTracker)
    assert capsys.readouterr().err == "MLflow is not installed: this run is not tracked\n"
    with pytest.raises(UserError, match="pip install mlflow"):
        sync()


def test_usage_statistics_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    environment = sender._environment()
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == environment["DO_NOT_TRACK"] == "true"


def test_nested_parameters_become_dotted_names() -> None:
    assert dict(flatten({"a": {"b": {"c": 1}, "d": [2]}, "e": None})) == {
        "a.b.c": 1,
        "a.d": [2],
        "e": None,
    }


def warning(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was said."""
    output = capsys.readouterr()
    (line,) = output.err.splitlines()
    assert not output.out
    assert line.startswith("vae seed 1: ")
    return line


def test_a_locked_database_is_one_line_and_the_next_step_sends_what_it_missed(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store / 'mlflow.db'}?timeout=0.1")
    other = sqlite3.connect(store / "mlflow.db", isolation_level=None)
    other.execute("begin exclusive")
    log(range(3))
    assert "database is locked" in warning(capsys)
    other.execute("rollback")
    other.close()
    log(range(3, 5))
    assert not capsys.readouterr().err
    assert [step for step, _ in points(store)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://user:s3cret@127.0.0.1:{closed}", r"http://\*\*\*@127.0.0.1:\d+ fails .*refused"),
        ("sqlite:///{folder}/file/mlflow.db", "sqlite:.*/file/mlflow.db fails .*File exists"),
        ("htp://user:s3cret@host", r"htp://\*\*\*@host fails .*(URI|htp)"),
        ("http://user:s3/cr@et@127.0.0.1:{closed}", r"http://\*\*\*@127.0.0.1:\d+ fails"),
    ],
)
def test_a_store_that_is_not_there_is_one_line_and_sync_sends_it_all(
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    uri: str,
    reason: str,
) -> None:
    (store / "file").write_text("in the folder's place")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and does not listen
        known = uri.format(closed=bound.getsockname()[1], folder=store)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", known)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        log(range(3))
        said = warning(capsys)
        assert re.search(f"the tracking store {reason}", said), said
        assert not re.search("s3|cr@", said)
        assert "`ldebm sync`" in said
        assert cli.main(["sync"]) == 2
        output = capsys.readouterr()
        assert re.search(rf"^ldebm: error: the tracking store {reason}.*; 0 records", output.err)
        assert not re.search("s3|cr@", output.err + output.out)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert cli.main(["sync"]) == 0
    assert capsys.readouterr().out.startswith("sync: 4 records of 1 runs sent to sqlite:///")
    assert points(store) == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert cli.main(["sync"]) == 0
    assert capsys.readouterr().out.startswith("sync: 0 records of 0 runs sent")


def test_a_journal_that_the_store_refuses_holds_no_other_back(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened("refused") as tracker:
        tracker.log_metrics({"lo$$": 1.0}, 0)
    (journal,) = waiting(store)
    assert f"{journal} is refused: " in warning(capsys)
    log(range(2))
    assert [run.data.metrics for run in runs(store) if run.data.metrics] == [{"loss": 1.0}]
    assert waiting(store) == [journal]


@pytest.mark.parametrize("header", [b"", b'{"identity": '])
def test_a_journal_that_is_damaged_is_set_aside(
    store: Path, capsys: pytest.CaptureFixture[str], header: bytes
) -> None:
    """As a loss of power leaves it."""
    folder = store / "work/tracking"
    folder.mkdir(parents=True)
    (folder / "1-1.jsonl").write_bytes(header)
    log(range(2))
    said = "work/tracking/1-1.jsonl: is damaged and cannot be sent; set aside as 1-1.damaged"
    assert said in warning(capsys)
    assert [run.data.metrics for run in runs(store)] == [{"loss": 1.0}]
    assert [path.name for path in folder.iterdir()] == ["1-1.damaged"]


def test_a_folder_that_cannot_be_written_is_one_line(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (store / "work").write_text("in the folder's place")
    log(range(3))
    assert "work/tracking" in warning(capsys)


def test_a_full_disk_is_one_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, opened() as tracker:
        assert isinstance(tracker, tracking.JournalTracker)
        tracker.log_metrics({"loss": 0.0}, 0)
        tracker.journal.close()
        tracker.journal = full
        tracker.log_metrics({"loss": 1.0}, 1)
        tracker.log_metrics({"loss": 2.0}, 2)
    assert "No space left on device; the run is not tracked in full" in warning(capsys)
    assert points(store) == [(0, 0.0)]


def test_what_a_full_disk_cut_off_leaves_the_rest_whole(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened() as tracker:
        assert isinstance(tracker, tracking.JournalTracker)
        tracker.log_metrics({"loss": 0.0}, 0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (tracker.journal.tell() + 9, limits[1]))
        tracker.log_metrics({"loss": 1.0}, 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        tracker.log_metrics({"loss": 2.0}, 2)
    assert "the run is not tracked in full" in warning(capsys)
    assert points(store) == [(0, 0.0), (2, 2.0)]


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that takes requests and never answers."""
    released = threading.Event()

    class Silent(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            released.wait(60)

    server = HTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://user:s3cret@127.0.0.1:{server.server_port}"
    released.set()
    server.shutdown()
    server.server_close()


def test_a_store_that_never_answers_is_left_alone(
    project: Path,
    silent_server: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent_server)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")
    monkeypatch.setattr(sender, "PATIENCE", 1.0)
    log(range(3))
    assert "(it does not answer in time)" in warning(capsys)
    assert len(waiting(project)) == 1
    with pytest.raises(UserError, match="does not answer in time"):
        sync()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setattr(sender, "PATIENCE", 60.0)
    assert sync().startswith("4 records of 1 runs sent")


@pytest.mark.parametrize(
    "uri",
    [
        "http://user:s3cret@host:5000/path",
        "postgresql+psycopg2://user:s3cret@host/db?sslmode=require",
        "postgresql://host/db?user=me&password=s3cret",
        "https://token-s3cret@host",
        "http://user:a%40s3cret%2Fb@host",
        "http://user:a/s3cret@b@host",
    ],
)
def test_no_credentials_are_printed(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert "s3cret" not in redacted(f"no answer from {uri}, or {uri}/api")
    assert "host" in redacted(uri)
    assert redacted("sqlite:////a/b/mlflow.db") == "sqlite:////a/b/mlflow.db"


def serve(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """`mlflow server` on the folder's database, once it answers."""
    from urllib.request import urlopen

    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    kept = ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *where, *kept],
        cwd=folder,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    for _ in range(600):
        try:
            urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return server
        except OSError:
            time.sleep(0.1)
    raise TimeoutError


def kill(server: "subprocess.Popen[bytes]") -> None:
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def test_a_server_that_is_killed_and_started_again_has_each_point_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:s3cret@127.0.0.1:{port}")
    server = serve(project, port)
    try:
        with opened() as tracker:
            for step in range(5):
                tracker.log_metrics({"loss": float(step)}, step)
            while not runs(project) or len(points(project)) < 5:
                time.sleep(0.1)
            kill(server)
            for step in range(5, 10):
                tracker.log_metrics({"loss": float(step)}, step)
        said = capfd.readouterr()
        assert said.out == ""
        assert len(said.err.splitlines()) == 1
        assert "s3cret" not in said.err
        server = serve(project, port)
        log(range(7, 15))  # the next step; a resumed training says some of it again
        assert capfd.readouterr() == ("", "")
    finally:
        kill(server)
    assert points(project) == [(step, float(step)) for step in range(15)]
    assert waiting(project) == []
