"""Trainings recorded by a real `mlflow server` on PostgreSQL, while all of them are killed in turn.

Needs Debian's `postgresql` and the Python package psycopg2; run by `pytest -m services`.
"""

import csv
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from shipped import write_shipped_parameters

from ldebm.runtime import checkpoint

pytestmark = pytest.mark.services
OVERLAY = """
data: {corpus: grammar, grammar: {seed: 1, train: 600, valid: 40, test: 40}}
run: {device: cpu}
sentence_model: {embedding: 16, hidden: 16}
judge: {valid_sentences: 40}
models:
  vae:
    training: {batch: 16, validate_every: 10, max_validations: 80, patience: 1000, decay: 1.0,
               min_learning_rate: 1.0e-30}
"""
PASSWORD = "s3cret"
EVERY = 10  # steps between validations


class Service:
    """A program in a process group of its own, that can be killed and started again."""

    def __init__(self, command: list[str], port: int, user: str | None = None) -> None:
        self.command, self.port, self.user = command, port, user

    def start(self) -> None:
        log = subprocess.DEVNULL
        self.process = subprocess.Popen(
            self.command, stdout=log, stderr=log, start_new_session=True, user=self.user
        )

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which PostgreSQL's user may write."""
    base = Path("/tmp") / f"ldebm-postgresql-{os.getpid()}"
    base.mkdir(mode=0o755)
    yield base
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[Service]:
    """PostgreSQL, which must not run as root."""
    pytest.importorskip("psycopg2")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("PostgreSQL is not installed")
    user = pwd.getpwnam("postgres").pw_name if os.getuid() == 0 else None
    data, port = folder / "data", free_port()
    data.mkdir(mode=0o700)
    (folder / "password").write_text(PASSWORD)
    if user:
        shutil.chown(data, user)
    init = [str(programs[-1] / "initdb"), "-D", str(data), "-U", "me", "-A", "scram-sha-256"]
    quiet = subprocess.DEVNULL
    subprocess.run(
        [*init, f"--pwfile={folder / 'password'}"], user=user, check=True, stdout=quiet, cwd="/"
    )
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(data)]
    service = Service([str(programs[-1] / "postgres"), "-D", str(data), *options], port, user)
    service.start()
    yield service
    service.kill()


@pytest.fixture(scope="module")
def server(folder: Path, database: Service) -> Iterator[Service]:
    """MLflow on that database."""
    port = free_port()
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    store = f"postgresql://me:{PASSWORD}@127.0.0.1:{database.port}/postgres"
    kept = ["--backend-store-uri", store, "--artifacts-destination", str(folder / "artifacts")]
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    service = Service([sys.executable, "-m", "mlflow", "server", *kept, *where], port)
    service.start()
    answers(service)
    yield service
    service.kill()


def answers(service: Service) -> None:
    for _ in range(1200):
        try:
            urlopen(f"http://127.0.0.1:{service.port}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError


def training(project: Path, uri: str | None) -> "subprocess.Popen[str]":
    write_shipped_parameters(project)
    (project / "overlay.yaml").write_text(OVERLAY)
    environment = os.environ | ({"MLFLOW_TRACKING_URI": uri} if uri else {})
    command = [sys.executable, "-m", "ldebm"]
    options = ["--overlay", "overlay.yaml", "--root", "."]
    for step in ("fetch", "tokenize"):
        subprocess.run([*command, "data", step, *options], cwd=project, check=True)
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*command, "train", "vae", "--seed", "1", *options],
        cwd=project, env=environment, text=True, stdout=pipe, stderr=pipe,
    )  # fmt: skip


def validations(process: "subprocess.Popen[str]", project: Path, count: int) -> None:
    """Wait until a training has validated, and so saved, so many times more."""
    last = step_of(project) + count * EVERY
    while step_of(project) < last:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def step_of(project: Path) -> int:
    """How far the training in a project is."""
    found = list((project / "work").glob("train-vae-seed-1/**/checkpoint.safetensors"))
    return int(checkpoint.load(found[0])[1]["progress"]["step"]) if found else 0


def test_every_point_is_there_once_and_the_weights_are_the_same(
    folder: Path, database: Service, server: Service, tmp_path: Path
) -> None:
    uri = f"http://user:{PASSWORD}@127.0.0.1:{server.port}"
    (tmp_path / "alone").mkdir()
    (tmp_path / "killed").mkdir()
    alone = training(tmp_path / "alone", f"http://user:{PASSWORD}@127.0.0.1:{free_port()}")
    said = alone.communicate()
    assert alone.returncode == 0, said
    assert len(said[1].splitlines()) == 1, said[1]

    faults = [database.kill, database.start, server.kill, server.start]
    for fault in faults:
        process = training(tmp_path / "killed", uri)
        validations(process, tmp_path / "killed", 8)
        fault()
        validations(process, tmp_path / "killed", 8)
        process.kill()
        said = process.communicate()
        assert len(said[1].splitlines()) <= 1, said[1]
        assert PASSWORD not in "".join(said)
    answers(server)
    last = training(tmp_path / "killed", uri)
    said = last.communicate()
    assert (last.returncode, said[1]) == (0, ""), said
    sync = [sys.executable, "-m", "ldebm", "sync"]
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri}
    subprocess.run(sync, cwd=tmp_path / "killed", env=environment, check=True)

    outputs = [tmp_path / name / "models/vae/seed1" for name in ("alone", "killed")]
    weights = [(output / "model.safetensors").read_bytes() for output in outputs]
    assert weights[0] == weights[1]
    with (outputs[1] / "history.csv").open() as file:
        history = {int(float(row["step"])): float(row["loss"]) for row in csv.DictReader(file)}
    assert recorded(uri, "train/loss") == sorted(history.items())
    assert not list((tmp_path / "killed" / "work" / "tracking").glob("*.jsonl"))


def recorded(uri: str, name: str) -> list[tuple[int, float]]:
    """Step and value of every point of a metric in the only run."""
    from mlflow import MlflowClient

    client: Any = MlflowClient(uri)
    (run,) = client.search_runs([one.experiment_id for one in client.search_experiments()])
    return sorted((one.step, one.value) for one in client.get_metric_history(run.info.run_id, name))
