"""What a run in MLflow holds beside its metrics: times, texts, the model; read by its client."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ldebm
from ldebm.config import Params
from ldebm.context import Context
from ldebm.runtime import recording, tracking
from ldebm.runtime.groups import grouped
from ldebm.runtime.provenance import git_commit
from ldebm.runtime.tracking import Tracker, open_tracker
from ldebm.training.loop import train

from .test_tracking import client, opened, runs, waiting


@pytest.mark.parametrize(
    ("name", "verb", "expected"),
    [
        ("loss", "train", "train/loss"),
        ("prior_cross_entropy", "train", "train/prior_cross_entropy"),
        ("gradient_norm_energy", "train", "train/gradient_norm_energy"),
        ("valid_loss", "train", "valid/loss"),
        ("valid_prior_fit", "train", "prior/valid_fit"),
        ("prior_fit_longer", "likelihood", "prior/fit_longer"),
        ("generated_norm", "likelihood", "prior/generated_norm"),
        ("nll", "likelihood", "test/nll"),
        ("nll_standard_error", "likelihood", "test/estimate/nll_standard_error"),
        ("gap", "likelihood", "test/estimate/gap"),
        ("bleu", "evaluate", "test/bleu"),
        ("rppl", "judge", "test/rppl"),
        ("judge_valid_loss", "judge", "judge/valid_loss"),
        ("nll/vae", "table", "nll/vae"),
    ],
)
def test_each_metric_is_in_its_group(name: str, verb: str, expected: str) -> None:
    assert grouped(name, verb) == expected


def test_a_verb_names_the_group_of_what_it_says(store: Path) -> None:
    with open_tracker("trial", "a", "one", {}, verb="train") as tracker:
        tracker.log_metrics({"loss": 1.0, "valid_loss": 2.0}, 1)
    assert runs(store)[0].data.metrics == {"train/loss": 1.0, "valid/loss": 2.0}


def test_the_duration_is_that_of_the_work(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies between its parts, and between them and their sending, is not in it."""
    now = [0]
    monkeypatch.setattr(tracking, "_now", lambda: now[0])
    for part, begun, ended in (("", 1_000, 5_000), ("", 60_000, 62_000), ("two", 90_000, 93_000)):
        now[0] = begun
        with opened(part=part):
            now[0] = ended
    (run,) = runs(store)
    assert (run.info.start_time, run.info.end_time) == (1_000, 1_000 + 4_000 + 2_000 + 3_000)


def test_a_run_that_was_killed_for_good_is_said_to_be(store: Path) -> None:
    """By the next step, or `ldebm sync`: whoever sends a journal that does not say how it ended."""
    tracker = opened("killed")
    assert isinstance(tracker, tracking.JournalTracker)
    tracker.log_metrics({"loss": 1.0}, 0)
    tracker.journal.close()  # with the process goes its lock
    with opened("other"):
        pass
    status = {run.data.tags[recording.IDENTITY]: run.info.status for run in runs(store)}
    assert status == {"killed": "KILLED", "other": "FINISHED"}
    assert waiting(store) == []


def test_the_ui_opens_on_runs(store: Path) -> None:
    """Of experiments made before too."""
    client(store).create_experiment("trial")
    for experiment in ("trial", "new"):
        with open_tracker(experiment, "a", "one", {}):
            pass
        tags = client(store).get_experiment_by_name(experiment).tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_text_is_an_input_by_its_digest(store: Path) -> None:
    for part in ("", "two"):
        with opened(part=part) as tracker:
            tracker.log_dataset("own train", "0123abcd", Path("train.txt"), "train", sentences=3)
    (run,) = runs(store)
    (known,) = run.inputs.dataset_inputs
    assert (known.dataset.name, known.dataset.digest) == ("own train", "0123abcd")
    assert json.loads(known.dataset.profile) == {"sentences": 3}
    assert json.loads(known.dataset.source) == {"uri": "train.txt"}
    assert {tag.key: tag.value for tag in known.tags} == {"mlflow.data.context": "train"}


def test_a_table_names_the_runs_that_it_is_made_of(store: Path) -> None:
    for identity in ("one", "two", "three"):
        with opened(identity):
            pass
    with open_tracker("trial", "the table", "table", {}) as tracker:
        tracker.add_members(["one", "three", "not there"])
    tagged = {run.data.tags[recording.IDENTITY]: run.data.tags.get("table") for run in runs(store)}
    assert tagged == {"one": "the table", "two": None, "three": "the table", "table": None}
    assert not any("mlflow.parentRunId" in run.data.tags for run in runs(store))


def tiny(params: Params) -> Params:
    """The parameters with a VAE of two steps."""
    vae = params.models["vae"]
    short = vae.training.model_copy(update={"validate_every": 2, "max_validations": 1})
    return params.model_copy(update={"models": {"vae": vae.model_copy(update={"training": short})}})


@pytest.fixture
def trained(context: Context, store: Path) -> tuple[Context, Tracker]:
    """A real training, and the open tracker that it was told to."""
    tracker = open_tracker("trial", "vae seed 3", "one", {}, verb="train")
    told = replace(context, params=tiny(context.params), tracker=tracker)
    train(told)
    return told, tracker


def test_a_training_tells_what_it_is_of(trained: tuple[Context, Tracker], store: Path) -> None:
    with trained[1]:
        pass
    record = json.loads((trained[0].out / "run.json").read_text())
    (run,) = runs(store)
    assert run.data.params["weights.sentence"] == str(record["weights"]["sentence"])
    assert run.data.params["device"] == record["device"]
    assert run.data.params["versions.torch"] == record["versions"]["torch"]
    assert run.data.params["data.train_sentences"] == "6"


def test_a_model_is_opened_by_mlflow_and_writes_text(
    trained: tuple[Context, Tracker], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its code is found by name: the process that sends imports none of it."""
    import mlflow

    context, tracker = trained
    with tracker:
        tracker.log_model(context.out)
    with open_tracker("trial", "vae seed 3", "one", {}) as again:
        again.log_model(context.out)
    (run,) = runs(store)
    (output,) = run.outputs.model_outputs
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(ldebm.__file__).parents[1])])
    mlflow.set_tracking_uri(f"sqlite:///{store / 'mlflow.db'}")
    try:
        loaded = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    finally:
        mlflow.set_tracking_uri(None)
    own = ldebm.load(context.out)
    assert loaded.predict({"n": [2]}, params={"seed": 5}) == own.sample(2, seed=5)
    assert loaded.predict({"n": [1, 1]}) == own.sample(1) * 2
    assert ldebm.load(f"runs:/{run.info.run_id}").sample(2, seed=5) == own.sample(2, seed=5)
    found: Any = client(store).search_logged_models([run.info.experiment_id])
    assert [(one.status, one.name, one.source_run_id) for one in found] == [
        ("READY", "vae", run.info.run_id)
    ]


def test_a_model_needs_what_it_runs_on_and_no_build_of_it() -> None:
    versions = {
        "python": "3.11",
        "ldebm": "0.1",
        "torch": "2.13.0+cpu",
        "dvc": "3",
        "snakemake": "9",
    }
    assert recording._requirements(versions) == ["ldebm==0.1", "torch==2.13.0"]


def test_the_commit_is_that_of_the_source_wherever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    here = git_commit()
    monkeypatch.chdir(tmp_path)
    assert git_commit() == here
