"""Rows kept from several machines make the table that one machine makes of them."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shipped import shipped_parameters

from ldebm import params as parameters
from ldebm.errors import ModelError, UserError
from ldebm.pipeline import kept, steps
from ldebm.pipeline.project import Project
from ldebm.pipeline.steps import Step
from ldebm.pipeline.verbs import ON_MODEL
from ldebm.report.write import write_results

RECORD = {
    "weights": {"sentence": 7}, "seconds": 1.0, "epochs": 1.0, "kept_step": 3, "device": "A CPU",
}  # fmt: skip
Make = Callable[..., Project]


def stub(
    step: Step, *, fails: bool = False, error: type[Exception] = ModelError, again: bool = False
) -> None:
    """Run a step that writes by itself what the real one would, small, or whose model fails."""
    number = float(sum(map(ord, step.key)))
    files = {
        "train": {
            "run.json": json.dumps({**RECORD, "git_commit": f"of {step.key}"}),
            "history.csv": "step,epoch,loss,valid_loss,seconds\n3,1.0,2.0,1.5,1.0\n",
            "model.safetensors": "heavy",
        },
        "sample": {"samples.txt": "".join(f"{step.key} {n}\n" for n in range(300))},
        "judge": {"scores.json": json.dumps({"rppl": number}), "history.csv": "epoch\n1\n"},
        "evaluate": {"scores.json": '{"bleu": 5.0}', "reconstructions.txt": "a\n" * 250},
        "likelihood": {"scores.json": '{"nll": 20.0}', "sentences.csv": "sentence,nll\n0,20.0\n"},
    }[step.verb]

    def work(checkpoints: Path, out: Path) -> None:
        if fails:
            raise error("training diverged")
        for name, text in files.items():
            (out / name).write_text(text)

    if fails:  # what was finished before would stay
        shutil.rmtree(step.folder, ignore_errors=True)
    steps.run(replace(step, work=work), again=again)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A project on a machine of its own, of which some rows are finished."""
    monkeypatch.setattr("ldebm.report.write.draw_figures", lambda *given: None)

    def project(
        machine: str, finished: list[str], seeds: tuple[int, ...] = (1,), **evaluation: Any
    ) -> Project:
        raw = shipped_parameters() | {"seeds": list(seeds)}
        raw["data"] |= {"corpus": "grammar"}
        raw["data"]["grammar"] |= {"train": 30, "valid": 5, "test": 5}
        raw["models"] = {key: raw["models"][key] for key in ("vae", "ae", "dae")}
        raw["judge"] |= {"valid_sentences": 20}
        for block in ("run", "judge"):
            raw[block] |= {"precision": evaluation.pop(block, "float32")}
        raw["evaluation"] |= evaluation
        made = Project(parameters.validate(raw, "test"), tmp_path / machine)
        for step in (made.raw(), made.tokens()):
            steps.run(step)
        for step in (made.step("sample", "real", 1), made.step("judge", "real", 1)):
            stub(step)
        for key in finished:
            for verb in ON_MODEL:
                stub(made.step(verb, key, 1))
        return made

    return project


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_of_two_machines_make_the_table_of_one(make: Make, tmp_path: Path) -> None:
    at_once = make("one", ["vae", "ae", "dae"])
    write_results(at_once.params, at_once.root, tmp_path / "at-once")
    said = [
        *kept.keep(make("left", ["vae"]), tmp_path / "kept"),
        *kept.keep(make("right", ["ae", "dae"]), tmp_path / "kept"),
    ]
    assert said == [
        "real seed 1: kept",
        "vae seed 1: kept",
        "ae seed 1: not kept, train ae seed 1 is not done",
        "dae seed 1: not kept, train dae seed 1 is not done",
        "real seed 1: kept",
        "vae seed 1: not kept, train vae seed 1 is not done",
        "ae seed 1: kept",
        "dae seed 1: kept",
    ]
    assert list(kept.assemble(at_once, tmp_path / "kept", tmp_path / "out")) == [
        f"{tmp_path / 'out'}: 3 rows"
    ]
    assert table(tmp_path / "out") == table(tmp_path / "at-once")
    assert [row["commit"] for row in table(tmp_path / "out")] == ["", "of ae", "of vae", "of dae"]


def test_what_is_kept_is_small_and_no_text_of_the_corpus(make: Make, tmp_path: Path) -> None:
    list(kept.keep(make("one", ["vae"]), tmp_path / "kept"))
    names = {path.name for path in (tmp_path / "kept/models/vae/seed1").iterdir()}
    assert names == {"run.json", "history.csv", "manifest.json"}
    samples = (tmp_path / "kept/samples/vae/seed1/samples.txt").read_text().splitlines()
    assert samples == [f"vae {n}" for n in range(200)]
    assert not (tmp_path / "kept/samples/real/seed1/samples.txt").exists()


def test_rows_that_are_not_there_yet_are_named(make: Make, tmp_path: Path) -> None:
    project = make("one", ["vae"])
    list(kept.keep(project, tmp_path / "kept"))
    (said,) = kept.assemble(project, tmp_path / "kept", tmp_path / "out")
    assert said.endswith("1 row; not kept yet: ae seed 1, dae seed 1")
    assert [row["row"] for row in table(tmp_path / "out")] == ["TEST SET", "VAE"]


def test_a_row_that_failed_is_kept_as_one(make: Make, tmp_path: Path) -> None:
    project = make("one", ["vae"])
    for verb in ON_MODEL:
        stub(project.step(verb, "ae", 1), fails=verb == "train")
    assert "ae seed 1: kept" in list(kept.keep(project, tmp_path / "kept"))
    list(kept.assemble(project, tmp_path / "kept", tmp_path / "out"))
    failed = {row["row"]: row["failed"] for row in table(tmp_path / "out")}
    assert failed == {"TEST SET": "", "VAE": "", "AE": "train ae seed 1: training diverged"}


def _damaged(folder: Path) -> None:
    (folder / "judgements/vae/seed1/scores.json").write_text('{"rppl": 1.0}')


def _of_another(folder: Path) -> None:
    """The weights of one training, the scores of another."""
    path = folder / "models/vae/seed1/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["outputs"]["model.safetensors"] = "0" * 64
    path.write_text(json.dumps(manifest))


def _other_samples(folder: Path) -> None:
    (folder / "samples/vae/seed1/samples.txt").write_text("of another\n")


def _samples_without_a_hash(folder: Path) -> None:
    path = folder / "samples/vae/seed1/manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["begun"]
    path.write_text(json.dumps(manifest))


def _no_manifest(folder: Path) -> None:
    (folder / "judgements/vae/seed1/manifest.json").write_text('{"outputs": ')


def _a_manifest_of_too_little(folder: Path) -> None:
    path = folder / "models/vae/seed1/manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({name: manifest[name] for name in ("outputs", "fingerprint")}))


def _without_real_text(folder: Path) -> None:
    shutil.rmtree(folder / "judgements/real")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (_damaged, "judgements/vae/seed1/scores.json: is damaged"),
        (_other_samples, "samples/vae/seed1/samples.txt: is damaged"),
        (_samples_without_a_hash, "samples/vae/seed1/samples.txt: is damaged"),
        (_no_manifest, "judgements/vae/seed1/manifest.json: is damaged"),
        (_a_manifest_of_too_little, "models/vae/seed1/manifest.json: is damaged"),
        (_of_another, "samples/vae/seed1/manifest.json: was made from other model"),
        (_without_real_text, "the judgement of real text is not kept"),
    ],
)
def test_a_row_that_is_not_of_one_piece_is_refused(
    make: Make, tmp_path: Path, harm: Callable[[Path], None], says: str
) -> None:
    project = make("one", ["vae"])
    list(kept.keep(project, tmp_path / "kept"))
    harm(tmp_path / "kept")
    with pytest.raises(UserError, match=says):
        list(kept.assemble(project, tmp_path / "kept", tmp_path / "out"))
    assert not (tmp_path / "out/table.csv").exists()


def test_a_row_made_with_other_parameters_is_refused(make: Make, tmp_path: Path) -> None:
    list(kept.keep(make("one", ["vae"]), tmp_path / "kept"))
    other = make("two", [], likelihood_samples=7)
    with pytest.raises(UserError, match=r"evaluation.likelihood_samples was 500, and is 7 here"):
        list(kept.assemble(other, tmp_path / "kept", tmp_path / "out"))


def test_a_parameter_that_only_one_of_both_has_is_another(make: Make, tmp_path: Path) -> None:
    project = make("one", ["vae"])
    list(kept.keep(project, tmp_path / "kept"))
    path = tmp_path / "kept/likelihoods/vae/seed1/manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["parameters"]["evaluation"]["likelihood_chunk"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"evaluation.likelihood_chunk was None, and is 100 here"):
        list(kept.assemble(project, tmp_path / "kept", tmp_path / "out"))


def test_a_row_stands_in_the_table_when_all_its_seeds_are_kept(make: Make, tmp_path: Path) -> None:
    project = make("one", ["vae"], seeds=(1, 2))
    list(kept.keep(project, tmp_path / "kept"))
    (said,) = kept.assemble(project, tmp_path / "kept", tmp_path / "out")
    assert "0 rows; not kept yet: vae seed 2, " in said


@pytest.mark.parametrize("block", ["run", "judge"])
@pytest.mark.parametrize(
    ("asked", "had", "refused"),
    [
        ("float32", "bfloat16", True),
        ("bfloat16", "float32", False),  # of a device without
        ("bfloat16", "bfloat16", False),
    ],
)
def test_a_row_has_the_precision_that_is_asked_or_float32(
    make: Make, tmp_path: Path, block: str, asked: str, had: str, refused: bool
) -> None:
    project = make("one", ["vae"], **{block: asked})
    list(kept.keep(project, tmp_path / "kept"))
    verb = {"run": "models", "judge": "judgements"}[block]
    path = tmp_path / f"kept/{verb}/vae/seed1/manifest.json"
    manifest = json.loads(path.read_text())
    parameters = manifest["parameters"]
    (parameters if block == "run" else parameters["judge"])["precision"] = had
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="precision was") if refused else nullcontext():
        assert list(kept.assemble(project, tmp_path / "kept", tmp_path / "out"))


def test_a_row_is_kept_whole_or_not(make: Make, tmp_path: Path) -> None:
    """Damage where it was made: of every file, those that are not kept included."""
    project = make("one", ["vae", "ae", "dae"])
    (project.root / "models/vae/seed1/model.safetensors").write_text("other")
    (project.root / "samples/ae/seed1/samples.txt").write_text("other")
    (project.root / "judgements/dae/seed1/manifest.json").write_text("")
    real, *said = kept.keep(project, tmp_path / "kept")
    assert real == "real seed 1: kept"
    for line, file in zip(said, ("model.safetensors", "samples.txt", "manifest.json"), strict=True):
        assert re.search(rf": not kept, .*{file}: is damaged; make it again$", line)
    shutil.rmtree(project.root / "data")
    assert "run `ldebm data tokenize` first" in next(kept.keep(project, tmp_path / "kept"))
    with pytest.raises(UserError, match="is where the rows are"):
        list(kept.keep(project, project.root))


def test_of_an_earlier_failure_nothing_is_left_beside_the_row(make: Make, tmp_path: Path) -> None:
    project = make("one", [])
    for fails in (True, False):
        for verb in ON_MODEL:
            stub(project.step(verb, "vae", 1), fails=fails and verb == "train", again=True)
        list(kept.keep(project, tmp_path / "kept"))
    assert not list((tmp_path / "kept").rglob("failed.json"))
    list(kept.assemble(project, tmp_path / "kept", tmp_path / "out"))
    assert {row["failed"] for row in table(tmp_path / "out")} == {""}


def test_what_is_to_be_tried_again_is_not_done(make: Make, tmp_path: Path) -> None:
    project = make("one", ["vae"])
    stub(project.step("likelihood", "vae", 1), fails=True, error=ValueError, again=True)
    said = list(kept.keep(project, tmp_path / "kept"))
    assert said[1] == "vae seed 1: not kept, likelihood vae seed 1 is not done"


def test_a_row_of_an_older_source_is_kept_one_of_other_parameters_is_not(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make("one", ["vae"])
    monkeypatch.setattr(steps, "source_hash", lambda entries: "another")
    assert "vae seed 1: kept" in list(kept.keep(project, tmp_path / "kept"))
    said = list(kept.keep(make("one", [], likelihood_samples=7), tmp_path / "kept"))
    assert "evaluation.likelihood_samples was 500, and is 7 here" in said[1]
    assert said[1].startswith("vae seed 1: not kept, ")


def test_rows_of_another_corpus_are_refused(make: Make, tmp_path: Path) -> None:
    project = make("one", ["vae"])
    list(kept.keep(project, tmp_path / "kept"))
    tokens = project.tokens().output / "manifest.json"
    manifest = json.loads(tokens.read_text())
    manifest["outputs"]["test.tokens.npy"] = "0" * 64
    tokens.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="was made from other tokens"):
        list(kept.assemble(project, tmp_path / "kept", tmp_path / "out"))
