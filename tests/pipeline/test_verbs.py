"""The verbs on a model: what each reads, and calls, against a list written out by hand."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from shipped import shipped_parameters

from ldebm import context, params
from ldebm.pipeline import record
from ldebm.pipeline.project import Project
from ldebm.pipeline.verbs import ON_MODEL, ON_REAL
from ldebm.runtime import device

TRAINED, DRAWN = Path("models/vae/seed1/model.safetensors"), Path("samples/vae/seed1/samples.txt")
REAL_TEXT = Path("samples/real/seed1/samples.txt")
# (verb, model): the function that does the work, and what it reads of other verbs
EXPECTED: dict[tuple[str, str], tuple[str, list[Path]]] = {
    ("train", "vae"): ("ldebm.training.loop:train", []),
    ("sample", "vae"): ("ldebm.evaluation.sampling:sample", [TRAINED]),
    ("judge", "vae"): ("ldebm.evaluation.judging:judge", [DRAWN]),
    ("evaluate", "vae"): ("ldebm.evaluation.scoring:evaluate", [TRAINED, DRAWN]),
    ("likelihood", "vae"): ("ldebm.evaluation.likelihood:likelihood", [TRAINED]),
    ("sample", "real"): ("ldebm.evaluation.sampling:sample_real", []),
    ("judge", "real"): ("ldebm.evaluation.judging:judge", [REAL_TEXT]),
}


def project(raw: dict[str, Any] | None = None) -> Project:
    return Project(params.validate(raw or shipped_parameters(), "test"))


def test_every_verb_is_in_the_list() -> None:
    of_model = {(verb, "vae") for verb in ON_MODEL} | {(verb, "real") for verb in ON_REAL}
    assert of_model == EXPECTED.keys()


@pytest.mark.parametrize(("verb", "key"), EXPECTED)
def test_a_verb_depends_on_the_files_that_it_reads_and_on_no_others(verb: str, key: str) -> None:
    inputs = project().step(verb, key, 1).inputs
    called = {"model.safetensors": "model", "samples.txt": "samples"}
    expected = {called[one.name]: (one.parent, (one.name,)) for one in EXPECTED[verb, key][1]}
    assert {name: (one.path, one.files) for name, one in inputs.items()} == {
        "tokens": (Path("data/tokens"), None),
        **expected,
    }


@pytest.mark.parametrize(("verb", "key"), EXPECTED)
def test_a_verb_calls_its_function_on_a_context_and_those_files(
    verb: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (where, reads), told = EXPECTED[verb, key], []
    module, _, function = where.partition(":")

    def called(*given: Any) -> None:
        told.append(given)

    corpus = SimpleNamespace(train=range(90_000), valid=range(5_000), test=range(5_000))
    opened = SimpleNamespace(corpus=corpus)
    monkeypatch.setattr(importlib.import_module(module), function, called)
    monkeypatch.setattr(context.Context, "open", lambda *given: opened)
    monkeypatch.setattr(record, "opened", lambda *given: record.NoTracker())
    monkeypatch.setattr(record, "texts", lambda *given: None)
    monkeypatch.setattr(record, "outputs", lambda *given: None)
    project().step(verb, key, 1).work(tmp_path, tmp_path)
    assert told == [(opened, *reads)]


def test_a_judgement_is_in_the_precision_that_the_device_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = shipped_parameters()
    raw["judge"] |= {"precision": "bfloat16"}
    for has, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(device, "has_bfloat16", lambda kind, has=has: has)
        asked = project(raw).step("judge", "vae", 1).parameters
        assert asked["judge"]["precision"] == expected


def test_another_metric_of_the_same_file_changes_the_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(
        "from ldebm.metrics.bleu import Bleu\n\n"
        "class One(Bleu):\n    key = 'one'\n\nclass Two(Bleu):\n    key = 'two'\n"
    )
    first, second = (
        project(shipped_parameters() | {"metrics": [f"own.py:{name}"]}) for name in ("One", "Two")
    )
    for verb, same in (("evaluate", False), ("judge", True), ("likelihood", True)):
        plans = [one.step(verb, "vae", 1).planned() for one in (first, second)]
        assert (plans[0] == plans[1]) == same
