"""The list of steps: which parameter is in which plan, and that the engines' lists are it."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from shipped import shipped_parameters, write_shipped_parameters

from ldebm import params
from ldebm.data.corpus import Corpus
from ldebm.data.grammar import write_corpus
from ldebm.data.vocabulary import SPECIALS
from ldebm.errors import UserError
from ldebm.pipeline import steps
from ldebm.pipeline.project import Project
from ldebm.pipeline.verbs import ON_MODEL
from ldebm.runtime import device

ROOT = Path(__file__).parents[2]

EVERY = {"train", "sample", "judge", "evaluate", "likelihood"}
OF_MODEL = EVERY - {"judge"}

# By hand: the steps of one model (of the real text with "real ") whose plan a parameter is part of.
# The table shows all that was asked for, but for where the work was done: it is left out here.
EXPECTED: dict[str, set[str]] = {
    "data.corpus": {"raw"},
    "data.source": set(),
    "data.vocabulary_limit": {"tokens"},
    "data.grammar.*": {"raw"},
    "run.device": set(),
    "run.precision": OF_MODEL,
    "sentence_model.*": OF_MODEL,
    "models.vae.row": OF_MODEL,
    "models.vae.latent_dim": OF_MODEL,
    "models.vae.posterior_samples": OF_MODEL,
    "models.vae.kl_slope": OF_MODEL,
    "models.vae.kl_midpoint": OF_MODEL,
    "models.vae.training.*": {"train"},
    "judge.train_sentences": {"judge", "real judge", "real sample", "evaluate"},
    "judge.valid_sentences": {"judge", "real judge", "real sample"},
    "judge.*": {"judge", "real judge"},
    "evaluation.samples": {"sample"},
    "evaluation.sample_batch": {"sample"},
    "evaluation.seed": {"sample", "likelihood"},
    "evaluation.likelihood_*": {"likelihood"},
    "evaluation.*": {"likelihood"},
    "metrics": {"evaluate"},
}
WITHOUT_TABLE = {"data.source", "run.device", "run.precision"}
OTHERS: dict[Any, Any] = {
    "ptb": "grammar", "auto": "cpu", "float32": "bfloat16", "VAE": "my_rows.py:Own",
}  # fmt: skip


def leaves(block: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in block.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def one_model() -> dict[str, Any]:
    """The shipped parameters with one model, and the keys that they may leave out."""
    raw = shipped_parameters()
    raw["models"] = {"vae": raw["models"]["vae"]}
    raw["data"]["corpus"] = "grammar"
    raw["metrics"] = []
    return params.merge(params.validate(raw, "test").model_dump(mode="json"), {"metrics": []})


def other(path: str, value: Any) -> Any:
    """Another valid value of a leaf."""
    if path in ("metrics", "data.source", "data.corpus"):
        given = {"metrics": ["my_metrics.py:Own"], "data.source": "/elsewhere"}
        return given.get(path, "ptb")
    if value is None:
        return 7
    if value in OTHERS:
        return OTHERS[value]
    if path.startswith("evaluation.likelihood_"):  # samples are whole chunks
        return value // 2 if path.endswith("chunk") else 2 * value
    return value / 2 if isinstance(value, float) else value + 4  # temperatures are fours


def plans(raw: dict[str, Any]) -> dict[str, str]:
    """The content of each step's plan, by verb, with "real " before those of the real text."""
    return {
        f"{'real ' * (one.key == 'real')}{one.verb}": json.dumps(one.planned(), sort_keys=True)
        for one in Project(params.validate(raw, "test")).steps()
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_rows.py").write_text("from ldebm.rows.autoencoder import VaeRow as Own\n")
    (tmp_path / "my_metrics.py").write_text(
        "from ldebm.metrics.bleu import Bleu\n\nclass Own(Bleu):\n    key = 'own'\n"
    )
    monkeypatch.setattr(device, "has_bfloat16", lambda kind: True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


PATHS = [path for path, _ in leaves(one_model()) if path not in ("seeds", "rows")]


@pytest.mark.parametrize("path", PATHS)
def test_each_parameter_is_part_of_the_plans_of_exactly_the_steps_it_should(
    folder: Path, path: str
) -> None:
    raw = one_model()
    changed, (*parents, last) = copy.deepcopy(raw), path.split(".")
    block = changed
    for key in parents:
        block = block[key]
    if path == "models.vae.training.stop":
        block["stop"] = "epochs"
        for key in list(block):
            if key not in ("stop", "batch", "bucket", "learning_rate", "clip"):
                del block[key]
        block |= {"epochs": 2, "select": "last"}
    else:
        block[last] = other(path, block[last])
    before, after = plans(raw), plans(changed)
    rule = next(one for one in EXPECTED if re.fullmatch(one.replace("*", ".*"), path))
    expected = EXPECTED[rule] | (set() if path in WITHOUT_TABLE else {"table"})
    assert {name for name in before if before[name] != after[name]} == expected


def test_a_model_of_its_own_changes_no_other_and_no_judgement() -> None:
    raw = one_model()
    more = params.merge(raw, {"models": {"twin": raw["models"]["vae"]}})
    twice = [one.name for one in Project(params.validate(more, "test")).steps()]
    assert {f"{verb} {key} seed 1" for verb in EVERY for key in ("vae", "twin")} <= set(twice)
    kept = {
        one.name: one.planned()
        for one in Project(params.validate(more, "test")).steps()
        if one.key != "twin" and one.verb != "table"
    }
    before = {one.name: one.planned() for one in Project(params.validate(raw, "test")).steps()}
    assert kept == {name: plan for name, plan in before.items() if name != "table"}


def test_a_seed_and_what_the_device_cannot_do_are_part_of_the_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = one_model()
    one = Project(params.validate(raw, "test"))
    assert one.step("train", "vae", 1).planned() != one.step("train", "vae", 2).planned()
    assert one.step("judge", "vae", 1).planned() == one.step("judge", "vae", 2).planned()
    asked = Project(params.validate(params.merge(raw, {"run": {"precision": "bfloat16"}}), "test"))
    monkeypatch.setattr(device, "has_bfloat16", lambda kind: False)
    assert asked.step("train", "vae", 1).planned() == one.step("train", "vae", 1).planned()


@pytest.mark.parametrize(
    ("file", "stale"),
    [
        ("my_rows.py", {f"{verb} own seed 1" for verb in OF_MODEL}),
        ("beside.py", {f"{verb} own seed 1" for verb in OF_MODEL}),
        ("my_metrics.py", {"evaluate own seed 1", "evaluate vae seed 1", "table"}),
        ("my_words.py", {"raw"}),
        ("train.txt", {"raw"}),
    ],
)
def test_an_edit_of_a_users_file_changes_what_depends_on_it(
    folder: Path, file: str, stale: set[str]
) -> None:
    """Of the row's, sampling and the rest come with it; the table follows from new outputs."""
    raw = one_model()
    raw["models"]["own"] = {**raw["models"]["vae"], "row": "my_rows.py:Own"}
    raw["metrics"] = ["my_metrics.py:Own"]
    raw["data"]["corpus"] = {split: f"{split}.txt" for split in ("train", "valid", "test")}
    raw["data"]["corpus"]["preprocessing"] = "my_words.py:words"
    for split in ("train", "valid", "test"):
        (folder / f"{split}.txt").write_text("a cat\n")
    (folder / "my_words.py").write_text("def words(line): return line.lower()\n")
    (folder / "beside.py").write_text("A = 1\n")
    (folder / "my_rows.py").write_text(f"import beside\n{(folder / 'my_rows.py').read_text()}")
    (folder / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text(encoding="utf-8"))

    def known() -> dict[str, Any]:
        project = Project(params.validate(raw, "test"))
        project.plan()
        own = {name: one.hashes() for name, one in project.raw().inputs.items()}
        return {
            one.name: (one.planned(), own if one.verb == "raw" else {}) for one in project.steps()
        }

    before = known()
    (folder / file).write_text(f"{(folder / file).read_text()}\nB = 2\n")
    after = known()
    assert {name for name in before if before[name] != after[name]} == stale
    deps = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]["plan"]["deps"]
    assert deps[:2] == ["ldebm", "params.yaml"]
    assert file in deps
    (folder / "dvc.yaml").write_text("stages: {plan: {deps: [ldebm, params.yaml]}}\n")
    with pytest.raises(
        UserError, match=r"dvc\.yaml: its stage plan has no line .* name beside\.py"
    ):
        known()


@pytest.mark.parametrize("change", [{"tokenizer": "treebank"}, {"lowercase": True}])
def test_how_words_are_made_of_a_text_is_part_of_a_training(change: dict[str, Any]) -> None:
    """A model says it in its record, and does it with the sentences that it is asked of."""
    raw, own = one_model(), {"train": "a.txt", "valid": "b.txt", "test": "c.txt"}

    def planned(verb: str, **corpus: Any) -> dict[str, Any]:
        raw["data"]["corpus"] = own | corpus
        return Project(params.validate(raw, "test")).step(verb, "vae", 1).planned()

    assert planned("train", **change) != planned("train")
    assert planned("train", train="elsewhere.txt") == planned("train")
    assert planned("sample", **change) == planned("sample")


def test_dvc_has_the_stages_that_the_list_has() -> None:
    """A stage of each step, of a model one of all its steps: their plans, what they read, make."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    project = Project(params.validate(one_model(), "test"))
    whole = {"vae": "model", "real": "real"}
    found: dict[str, tuple[set[str], set[str]]] = {}
    for one in project.steps():
        deps, outs = found.setdefault(whole.get(one.key, one.verb), (set(), set()))
        deps.update(str(path.path).removesuffix("/seed1") for path in one.inputs.values())
        deps.add(str(one.plan).partition("/seed1")[0])
        outs.add(str(one.output).removesuffix("/seed1"))
    for deps, outs in found.values():
        deps -= outs
    deps, outs = found["table"]
    kinds = {verb.kind for verb in ON_MODEL.values()}
    found["table"] = (
        {dep.split("/")[0] if dep.split("/")[0] in kinds else dep for dep in deps},
        outs,
    )
    listed = {}
    for name, stage in stages.items():
        text = json.dumps(stage.get("do", stage)).replace("${key}", "vae")
        stage = json.loads(text)
        outs = {
            out
            for kind in ("outs", "metrics", "plots")
            for one in stage.get(kind, [])
            for out in one
        }
        listed[name] = set(stage["deps"]), {re.sub("^results/.*", "results", out) for out in outs}
        (plan,) = [dep for dep in stage["deps"] if dep.startswith("work/plan")] or [""]
        assert (
            stage["cmd"].startswith(f"python -m ldebm.pipeline.plans {plan} || snakemake")
            or name == "plan"
        )
    assert listed.pop("plan") == ({"ldebm", "params.yaml"}, {"work/plan"})
    assert listed == found


@pytest.mark.parametrize(
    ("given", "root", "results"),
    [
        ({}, ".", "results"),
        ({"overlay": "trials/short.yaml"}, "results/short", "results/short"),
        ({"overlay": "trials/short.yaml", "root": "."}, ".", "results/short"),
        ({"overlay": "trials/short.yaml", "results": "out"}, "results/short", "out"),
        ({"rows": "vae,ae"}, ".", "results"),
    ],
)
def test_a_trial_has_a_folder_of_its_own(
    folder: Path, given: dict[str, str], root: str, results: str
) -> None:
    write_shipped_parameters(folder)
    (folder / "trials").mkdir()
    (folder / "trials/short.yaml").write_text("seeds: [1]\n")
    project = Project.load(**given)
    assert (project.root, project.results) == (Path(root), Path(results))
    assert project.step("train", "vae", 1).output == Path(root, "models/vae/seed1")
    assert project.step("train", "vae", 1).plan == Path(root, "work/plan/models/vae/seed1/train")
    assert project.table().output == Path(results)


def test_a_command_has_the_options_that_the_project_was_loaded_by(folder: Path) -> None:
    """And they are all that a shell needs to come to the same step."""
    write_shipped_parameters(folder)
    (folder / "a trial.yaml").write_text("seeds: [4]\n")
    project = Project.load(overlay="a trial.yaml", rows="vae,ae", root="x", params=None)
    verbs = ["data fetch", "data tokenize", "table", *(f"{verb} vae --seed 4" for verb in EVERY)]
    assert {one.command for one in project.steps() if one.key in ("", "vae")} == {
        f"ldebm {verb} --overlay 'a trial.yaml' --rows vae,ae --root x" for verb in verbs
    }
    assert Project.load().step("train", "vae", 2).command == "ldebm train vae --seed 2"


def test_of_chosen_rows_the_others_plans_stay(folder: Path) -> None:
    """Another run may be at work by them."""
    write_shipped_parameters(folder)
    plan = folder / "work/plan/models/ae/seed1/train/plan.json"
    Project.load(rows="ae").plan()
    Project.load(rows="vae").plan()
    assert plan.exists()


def test_dvc_which_makes_every_block_is_not_given_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shipped_parameters(folder)
    monkeypatch.setenv("DVC_STAGE", "plan")
    Project.load().plan()
    with pytest.raises(UserError, match="take blocks out there"):
        Project.load(rows="vae").plan()


def test_a_model_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="'real' is no model"):
        Project(params.validate(one_model(), "test")).step("train", "real", 1)


def test_corpus_and_vocabulary_are_made_with_their_own_settings(tmp_path: Path) -> None:
    """The grammar's seed, not a training's; at most so many types."""
    raw = shipped_parameters()
    raw["seeds"] = [2]
    raw["data"] |= {"corpus": "grammar", "vocabulary_limit": 5}
    raw["data"]["grammar"] = {"seed": 7, "train": 200, "valid": 50, "test": 50}
    raw["judge"] |= {"train_sentences": 20, "valid_sentences": 9, "batch": 2}
    project = Project(params.validate(raw, "test"), tmp_path)
    for step in (project.raw(), project.tokens()):
        steps.run(step)
    expected = tmp_path / "expected"
    expected.mkdir()
    write_corpus(expected, 7, {"train": 200, "valid": 50, "test": 50})
    text = (expected / "train.txt").read_text()
    assert (project.raw().output / "train.txt").read_text() == text
    assert len(Corpus.open(project.tokens().output).vocabulary) == len(SPECIALS) + 5
