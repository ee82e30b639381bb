"""The shipped parameters are valid, every mistake is one line with its path, overlays replace."""

import copy
from pathlib import Path
from typing import Any

import pytest
from shipped import shipped_parameters, write_shipped_parameters

from ldebm import params, rows
from ldebm.config import EpochTraining, Optimisation, PatienceTraining
from ldebm.errors import UserError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    return shipped_parameters()


@pytest.fixture(scope="module")
def shipped_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shipped_parameters(tmp_path_factory.mktemp("shipped"))


def changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one value replaced; a path may end in a key that is not there yet."""
    raw = copy.deepcopy(base)
    *parents, last = path.split(".")
    block = raw
    for key in parents:
        block = block[key]
    block[last] = value
    return raw


def without(base: dict[str, Any], path: str) -> dict[str, Any]:
    raw = copy.deepcopy(base)
    *parents, last = path.split(".")
    block = raw
    for key in parents:
        block = block[key]
    del block[last]
    return raw


def message(raw: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        params.validate(raw, "params.yaml")
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_shipped_parameters_and_the_demo_are_valid(shipped_file: Path) -> None:
    loaded = params.load(shipped_file)
    demo = params.load(shipped_file, ROOT / "workflow/demo.yaml")
    assert loaded.models.keys() == demo.models.keys() == set(loaded.models)
    assert demo.data.corpus == "grammar"
    assert {block.row for block in loaded.models.values()} <= rows.ROWS.keys()


def test_every_block_reaches_its_builder(shipped: dict[str, Any]) -> None:
    """What a block holds, but for its training, is what the row's configuration holds."""
    loaded = params.validate(shipped, "params.yaml")
    for key, block in loaded.models.items():
        assert block.model_dump(exclude={"training"}) == {
            name: value for name, value in shipped["models"][key].items() if name != "training"
        }
    assert {type(block.training) for block in loaded.models.values()} == {
        EpochTraining,
        PatienceTraining,
    }


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("sentence_model.hiden", 3, ["sentence_model.hiden", "unknown key"]),
        ("models.vae.latent_dims", 3, ["models.vae.latent_dims", "unknown key"]),
        ("models.vae.training.epoch", 3, ["models.vae.training", "epoch", "unknown key"]),
        ("extra", 3, ["extra", "unknown key"]),
        ("models.vae.latent_dim", "forty", ["models.vae.latent_dim", "'forty'"]),
        ("models.vae.latent_dim", "40", ["models.vae.latent_dim", "'40'"]),
        ("models.vae.latent_dim", -1, ["models.vae.latent_dim", "-1"]),
        ("models.vae.latent_dim", 1.5, ["models.vae.latent_dim", "1.5"]),
        ("models.vae.latent_dim", True, ["models.vae.latent_dim", "True"]),
        ("models.vae.training.batch", 0, ["models.vae.training", "batch", "0"]),
        (
            "models.vae.training.learning_rate.sentence",
            1e-31,
            ["learning_rate.sentence", "1e-31"],
        ),
        ("models.vae.training.cooldown", 0, ["models.vae.training", "cooldown", "0"]),
        ("models.vae.training.stop", "soon", ["models.vae.training", "soon"]),
        ("models.vae.row", "VEA", ["models.vae.row", "'VEA'", "VAE"]),
        ("models.vae", 3, ["models.vae", "row"]),
        ("sentence_model.dropout", 1.0, ["sentence_model.dropout", "1.0"]),
        ("sentence_model.max_tokens", 2, ["sentence_model.max_tokens", "2"]),
        ("run.device", "tpu", ["run.device", "'tpu'"]),
        ("run.precision", "float64", ["run.precision", "'float64'"]),
        ("data.corpus", "wikitext", ["data.corpus", "wikitext"]),
        ("data.corpus", {"train": "a.txt", "valid": "b.txt"}, ["data.corpus", "test"]),
        ("seeds", [], ["seeds"]),
        ("seeds", [1, 2, 1], ["seeds", "twice"]),
        ("seeds", ["1"], ["seeds.0", "'1'"]),
        ("evaluation.likelihood_sentences", 0, ["evaluation.likelihood_sentences", "0"]),
    ],
)
def test_a_mistake_is_one_line_with_its_path(
    shipped: dict[str, Any], path: str, value: Any, said: list[str]
) -> None:
    text = message(changed(shipped, path, value))
    assert text.startswith("params.yaml: ")
    assert [part for part in said if part not in text] == [], text


@pytest.mark.parametrize(
    "path",
    [
        "judge",
        "seeds",
        "models.vae.latent_dim",
        "models.vae.training",
        "models.vae.row",
        "judge.epochs",
    ],
)
def test_a_missing_key_is_named(shipped: dict[str, Any], path: str) -> None:
    assert path in message(without(shipped, path))


def test_a_misspelt_key_is_named_rather_than_the_one_it_leaves_out(shipped: dict[str, Any]) -> None:
    raw = changed(without(shipped, "models.vae.latent_dim"), "models.vae.latent_dims", 40)
    assert "models.vae.latent_dims" in message(raw)


def test_a_key_in_the_wrong_place_is_not_proposed_for_itself(shipped: dict[str, Any]) -> None:
    assert message(changed(shipped, "judge.latent_dim", 3)).endswith("unknown key; remove it")


@pytest.mark.parametrize("rows", [None, ["vae"]])
def test_parameters_without_a_row_are_refused(shipped: dict[str, Any], rows: Any) -> None:
    none = {"models": {"*": None}} if rows is None else {"models": {}, "rows": None}
    assert "models: no row is left" in message(params.merge(shipped, none) | none)


def test_files_that_cannot_be_read(tmp_path: Path, shipped_file: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.yaml: cannot be read .*file with --params"):
        params.load(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match=r"absent\.yaml: cannot be read .*file with --overlay"):
        params.load(shipped_file, tmp_path / "absent.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1,\n")
    with pytest.raises(UserError, match=r"broken\.yaml: is no valid YAML"):
        params.load(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match=r"list\.yaml: holds no mapping"):
        params.load(tmp_path / "list.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("seeds: [1]\nseeds: [2]\n", "the key seeds is given twice"),
        ("judge: {clip: 1, clip: 2}\n", "the key clip is given twice"),
        ("seeds: ä\n".encode("latin-1"), "is not UTF-8"),
        ("seeds: [1]\n".encode("utf-16"), "is not UTF-8"),
        (f"seeds: [{'9' * 5000}]\n", "cannot be used"),
        (f"seeds: {'[' * 3000}{']' * 3000}\n", "nested too deeply"),
        ("judge: &a {clip: *a}\n", "cannot be used"),
        ("models: {vae: {row: [VAE]}}\n", "models.vae.row: ['VAE'] is no row"),
        ('models: {"*": {latent_dimm: 3}}\n', "models.*.latent_dimm: no entry has this key"),
        ('models: {"*": {latent_dimm: 3}}\n', "did you mean latent_dim?"),
        ('models: {"*": {training: {epoch: 3}}}\n', "models.*.training.epoch: no entry"),
        ("sentence_model: {hiden: 3}\n", "did you mean hidden?"),
    ],
)
def test_a_damaged_overlay_is_one_line(
    tmp_path: Path, shipped_file: Path, content: str | bytes, said: str
) -> None:
    path = tmp_path / "overlay.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        params.load(shipped_file, path)
    assert said in str(caught.value)
    assert "overlay.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_overlay_may_leave_rows_out_and_write_numbers_as_people_do(
    tmp_path: Path, shipped_file: Path
) -> None:
    text = "\ufeffmodels: {vae: null, ae: {training: {learning_rate: {sentence: 1e-2}}}}\n"
    (tmp_path / "overlay.yaml").write_text(text, encoding="utf-8")
    laid = params.load(shipped_file, tmp_path / "overlay.yaml")
    assert "vae" not in laid.models
    assert len(laid.models) == len(params.load(shipped_file).models) - 1
    assert laid.models["ae"].training.learning_rate["sentence"] == 0.01


def test_an_average_of_energy_weights_needs_an_energy(shipped: dict[str, Any]) -> None:
    given = params.validate(changed(shipped, "models.ldebm.training.energy_average", 0.9), "")
    assert isinstance(training := given.models["ldebm"].training, EpochTraining)
    assert training.energy_average == 0.9
    epochs = {"stop": "epochs", "epochs": 1, "select": "last", "energy_average": 0.9}
    shared = {
        name: shipped["models"]["vae"]["training"][name] for name in Optimisation.model_fields
    }
    with pytest.raises(
        UserError, match=r"models\.vae\.training\.energy_average: the row VAE has no"
    ):
        params.validate(changed(shipped, "models.vae.training", shared | epochs), "")


def test_an_overlay_replaces_what_it_names_and_nothing_else(
    tmp_path: Path, shipped_file: Path, shipped: dict[str, Any]
) -> None:
    (tmp_path / "overlay.yaml").write_text("models: {vae: {latent_dim: 7}}\nrun: {device: cpu}\n")
    base, laid = (
        params.load(shipped_file),
        params.load(shipped_file, tmp_path / "overlay.yaml"),
    )
    expected = base.model_dump()
    expected["run"]["device"] = "cpu"
    assert laid.model_dump(exclude={"models"}) == {
        key: value for key, value in expected.items() if key != "models"
    }
    assert laid.models["vae"].model_dump() == {**base.models["vae"].model_dump(), "latent_dim": 7}
    others = {key: block.model_dump() for key, block in base.models.items() if key != "vae"}
    assert {key: block.model_dump() for key, block in laid.models.items() if key != "vae"} == others


def test_an_overlay_with_a_mistake_names_both_files(tmp_path: Path, shipped_file: Path) -> None:
    (tmp_path / "overlay.yaml").write_text("models: {vae: {latent: 7}}\n")
    with pytest.raises(
        UserError, match=r"params.yaml with .*overlay.yaml: models.vae.latent: unknown key"
    ):
        params.load(shipped_file, tmp_path / "overlay.yaml")


def test_a_star_stands_for_every_entry_that_has_the_key() -> None:
    base = {
        "models": {"a": {"size": 1, "training": {"epochs": 5}}, "b": {"training": {"steps": 9}}},
        "seeds": [1],
    }
    overlay = {
        "models": {"*": {"size": 2, "training": {"epochs": 1}}, "a": {"new": 3}, "b": {"new": 3}}
    }
    assert params.merge(base, overlay) == {
        "models": {
            "a": {"size": 2, "training": {"epochs": 1}, "new": 3},
            "b": {"training": {"steps": 9}, "new": 3},
        },
        "seeds": [1],
    }
    assert base["models"]["a"]["size"] == 1  # the base itself is left alone


def test_what_is_said_of_one_entry_goes_before_a_star_wherever_it_stands() -> None:
    base = {"a": {"size": 1, "depth": 1}, "b": {"size": 1, "depth": 1}, "c": {"size": 1}}
    named = {"a": {"size": 3}, "c": None}
    star = {"*": {"size": 2, "depth": 2}}
    merged = {"a": {"size": 3, "depth": 2}, "b": {"size": 2, "depth": 2}, "c": None}
    assert params.merge(base, {**named, **star}) == merged
    assert params.merge(base, {**star, **named}) == merged


def test_a_block_of_another_kind_is_replaced_as_a_whole(shipped: dict[str, Any]) -> None:
    vae, svebm = (shipped["models"][key]["training"] for key in ("vae", "svebm"))
    assert (vae["stop"], svebm["stop"]) == ("patience", "epochs")
    other = {**svebm, "learning_rate": vae["learning_rate"], "clip": vae["clip"]}
    for laid in ({"models": {"vae": {"training": other}}}, {"models": {"*": {"training": other}}}):
        merged = params.merge(shipped, laid)
        assert merged["models"]["vae"]["training"] == other
    kept = params.merge(vae, {"stop": "patience", "batch": 3})
    assert kept == {**vae, "batch": 3}
    assert params.merge(vae, {"batch": 3}) == kept
    missing = params.merge(shipped, {"models": {"vae": {"training": {"stop": "epochs"}}}})
    assert "models.vae.training.batch: missing" in message(missing)


def test_null_is_a_value_for_an_overlay() -> None:
    assert params.merge({"a": {"b": 1}}, {"a": {"b": None}}) == {"a": {"b": None}}


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ("rows: [ldebm, vae]\n", ["vae", "ldebm"]),
        ("models: {'*': {latent_dim: 7}}\nrows: [ae]\n", ["ae"]),
        ("models: {ae: null}\nrows: null\n", None),
    ],
)
def test_rows_are_chosen_by_key(
    tmp_path: Path, shipped_file: Path, content: str, kept: list[str] | None
) -> None:
    (tmp_path / "overlay.yaml").write_text(content)
    every = list(params.load(shipped_file).models)
    laid = params.load(shipped_file, tmp_path / "overlay.yaml")
    assert list(laid.models) == (kept or [key for key in every if key != "ae"])
    assert list(params.load(shipped_file, tmp_path / "overlay.yaml", ["svebm"]).models) == ["svebm"]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (["vea"], "rows: 'vea' is no key of models, or did you mean vae?"),
        (["vae", "LDEBM-no-GC"], "did you mean ldebm_no_gc?"),
        (["x"], "rows: 'x' is no key of models; there are: rnn_lm, ae, vae, "),
        ([], "rows: List should have at least 1 item"),
    ],
)
def test_a_row_that_is_none_is_named_with_the_nearest(
    shipped_file: Path, chosen: list[str], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        params.load(shipped_file, None, chosen)
    assert said in str(caught.value)


GRAMMAR = {"corpus": "grammar", "grammar": {"seed": 1, "train": 200, "valid": 40, "test": 9}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"evaluation": {"samples": 10}}, "evaluation.samples: 10, and the judge needs"),
        ({"evaluation": {"likelihood_chunk": 300}}, "evaluation.likelihood_samples: 500 is no"),
        ({"judge": {"train_sentences": 1}}, "judge.batch: 20, and 1 sampled sentences"),
        ({"judge": {"valid_sentences": 1}, "sentence_model": {"max_tokens": 30}},
         "judge.valid_batch: 10, and 1 sampled sentences (judge.valid_sentences) of at most 29"),
        ({"sentence_model": {"hidden": 64}}, "sentence_model.embedding: 512, and hidden is 64"),
        ({"data": GRAMMAR, "judge": {"valid_sentences": 240}}, "judge.valid_sentences: 240, and"),
        ({"data": GRAMMAR}, "judge.valid_sentences: 3000, and the corpus has 240 sentences"),
        ({"models": {"ldebm": {"levels": 1}}}, "models.ldebm.levels: "),
        ({"models": {"ldebm": {"levels": 502}}}, "models.ldebm.levels: "),  # 1000 // (2 · 501) is 0
        ({"models": {"vae": {"latent_dim": 1}}}, "models.vae.latent_dim: "),
    ],
)  # fmt: skip
def test_what_would_fail_after_training_is_found_before(
    shipped: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    assert f"params.yaml: {said}" in message(params.merge(shipped, change))


def test_what_just_works_is_not_refused(shipped: dict[str, Any]) -> None:
    for change in (
        {"evaluation": {"samples": 43000}},
        {"evaluation": {"likelihood_chunk": 600}},
        {"judge": {"train_sentences": 2, "valid_sentences": 1, "valid_batch": 13}},
        {"sentence_model": {"hidden": 64}, "rows": ["vae", "ae", "rnn_lm"]},
        {"data": GRAMMAR, "judge": {"valid_sentences": 239}},
    ):
        params.validate(params.merge(shipped, change), "params.yaml")


@pytest.mark.parametrize(
    "overlay", [*ROOT.glob("workflow/*.yaml"), *ROOT.glob("results/published/*.yaml")], ids=str
)
def test_every_overlay_that_is_shipped_fits_the_shipped_parameters(
    overlay: Path, shipped_file: Path
) -> None:
    assert params.load(shipped_file, overlay).models


def test_an_ablation_changes_one_choice_of_the_demos_ldebm(shipped_file: Path) -> None:
    """Whose chains are half as long, and whose rates fall in the end."""
    changed_rows = params.load(shipped_file, ROOT / "workflow/ablations.yaml").models
    demo = params.load(shipped_file, ROOT / "workflow/demo.yaml").models["ldebm"]
    first = changed_rows.pop("ldebm")
    constant = demo.training.model_copy(update={"cooldown": None})
    as_it_was = {"training": constant, "langevin_steps": 2 * demo.langevin_steps}
    assert first == demo.model_copy(update=as_it_was)
    assert changed_rows.pop("ldebm_no_gc").model_dump(
        exclude={"row", "label_weight"}
    ) == first.model_dump(exclude={"row", "label_weight"})
    for key, row in changed_rows.items():
        pairs = zip(row, first, strict=True)
        assert len([one for one, other in pairs if one != other]) == 1, key


@pytest.mark.parametrize("overlay", ["demo", "overnight"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ldebm_no_gc", "ldebm"),
        ("svebm", "svebm_ib"),
        ("gm_vae", "dgm_vae"),
        ("gm_vae", "gm_vae_i"),
        ("dgm_vae", "dgm_vae_i"),
        ("semi_vae", "semi_vae_i"),
    ],
)
def test_two_rows_of_a_claim_differ_as_in_print(
    shipped_file: Path, overlay: str, one: str, other: str
) -> None:
    """An overlay that reduces them reduces them alike."""

    def differing(path: Path | None) -> set[str]:
        models = params.load(shipped_file, path).models
        first, second = models[one].model_dump(), models[other].model_dump()
        return {key for key in first if first[key] != second[key]}

    assert differing(ROOT / f"workflow/{overlay}.yaml") == differing(None)
