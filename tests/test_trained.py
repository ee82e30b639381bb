"""A trained model asked in sentences and vectors.

Weights are random unless their effect is told.
"""

import io
import json
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import ldebm
from ldebm import trained
from ldebm.cli import main
from ldebm.config import AnnealedSettings, RowConfig
from ldebm.data.batches import collate
from ldebm.data.corpus import Split
from ldebm.data.vocabulary import SPECIALS, Vocabulary
from ldebm.errors import UserError
from ldebm.evaluation import nll
from ldebm.evaluation.likelihood import importance_sampled
from ldebm.models.sentence import sentence_generator
from ldebm.pipeline.manifest import file_hash, write_manifest
from ldebm.runtime import checkpoint
from ldebm.served import Generator
from ldebm.trained import TrainedModel
from ldebm.training.card import card, describe

WORDS = ("<unk>", "a", "b", "c", "d", "e")
VOCABULARY = Vocabulary((*SPECIALS, *WORDS))
SENTENCES = ["a b c", "d", "e e a b"]
WITHOUT_LATENTS = "RNN-LM"
WITHOUT_SYMBOLS = ("RNN-LM", "AE", "VAE")


def write(folder: Path, row: RowConfig, name: str | None = None) -> Path:
    """A model's folder as training leaves it."""
    from ldebm.models.networks import SentenceSize

    torch.manual_seed(4)
    model = row.build(SentenceSize(len(VOCABULARY), 8, 8, 0.3))
    with torch.no_grad():
        model.decoder.embedding.weight.mul_(20)  # so that sentences differ
    record = {
        "model": "one",
        "row": row.name,
        "seed": 1,
        "parameters": row.model_dump() | {"row": name or row.row},
        "composition": {
            "source": row.source,
            "posterior": model.posterior.label,
            "prior": model.prior.label,
            "regularisers": "-",
        },
        "data": {"corpus": "grammar", "train_sentences": 3, "word_types": len(VOCABULARY)},
        "sentence_model": {"embedding": 8, "hidden": 8, "dropout": 0.3, "max_tokens": 7},
        "weights": {"sentence": sum(one.numel() for one in model.parameters())},
        **{"steps": 5, "epochs": 0.5, "kept_step": 5, "seconds": 1.0, "device": "CPU, 1 threads"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save(folder / "model.safetensors", checkpoint.model_tensors(model), {"step": 5})
    describe(folder, record, VOCABULARY)
    return folder


@pytest.fixture(scope="session")
def folders(
    small_rows: dict[str, RowConfig], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A folder for every row."""
    root = tmp_path_factory.mktemp("trained")
    return {name: write(root / str(i), row) for i, (name, row) in enumerate(small_rows.items())}


@pytest.fixture(scope="session")
def models(folders: dict[str, Path]) -> dict[str, TrainedModel]:
    """Every row, loaded."""
    return {name: ldebm.load(folder, device="cpu") for name, folder in folders.items()}


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import ldebm, sys; print([m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_row_answers_or_says_in_one_line_that_it_cannot(
    models: dict[str, TrainedModel],
) -> None:
    for name, model in models.items():
        assert len(model.sample(3, seed=2)) == 3
        assert model.sample(3, seed=2) == model.sample(3, seed=2)
        if name == WITHOUT_LATENTS:
            for ask in (model.encode, model.reconstruct, model.classify):
                with pytest.raises(UserError, match="RNN-LM has n"):
                    ask(SENTENCES)
            continue
        z = model.encode(SENTENCES)
        assert z.shape == (3, model.encode("a").shape[0])
        np.testing.assert_allclose(model.encode("d"), z[1], atol=1e-6)  # alone or in company
        assert model.decode(z) == model.reconstruct(SENTENCES)
        assert model.decode(z[0]) == model.reconstruct("a b c")
        ids = [VOCABULARY.encode(one.split()) for one in SENTENCES]
        np.testing.assert_array_equal(model.encode(ids), z)
        texts = [" ".join(VOCABULARY.decode(one)) for one in model.reconstruct(ids)]
        assert texts == model.decode(z)
        line = model.interpolate(z[0], z[1], 3)
        np.testing.assert_allclose(line, [z[0], (z[0] + z[1]) / 2, z[1]], atol=1e-6)
        assert model.interpolate("a b c", "d", 3) == model.decode(line)
        np.testing.assert_allclose(
            model.arithmetic(z[0], z[1], z[2]), z[0] - z[1] + z[2], atol=1e-5
        )
        assert model.arithmetic(*SENTENCES) == model.decode(z[0] - z[1] + z[2])
        if name in WITHOUT_SYMBOLS:
            for ask in (model.classify, model.symbols):
                with pytest.raises(UserError, match=f"{name} has neither symbols nor a code"):
                    ask(SENTENCES)
            with pytest.raises(UserError, match="neither symbols nor a code"):
                model.sample(1, symbol=0)
        else:
            probs = model.classify(SENTENCES)
            np.testing.assert_allclose(probs.sum(-1), 1, atol=1e-5)
            np.testing.assert_allclose(model.classify("d"), probs[1], atol=1e-6)
            assert len(model.sample(3, symbol=1 if probs.ndim == 2 else (2, 1))) == 3


def test_bad_requests_are_one_line(
    models: dict[str, TrainedModel], folders: dict[str, Path], tmp_path: Path
) -> None:
    vae, code, ebm = models["VAE"], models["DI-VAE"], models["LDEBM"]
    for ask, says in (
        (lambda: vae.encode([]), "no sentence"),
        (lambda: vae.decode(np.zeros(5)), r"vectors \(6,\) or \(N, 6\), not \(5,\)"),
        (lambda: vae.interpolate("a", "b", 1), "at least 2 steps"),
        (lambda: vae.sample(0), "1 or more"),
        (lambda: ebm.sample(1, symbol=20), "values 0 to 19, not 20"),
        (lambda: ebm.sample(1, symbol=(1, 2)), "values 0 to 19"),
        (lambda: code.sample(1, symbol=2), "variable:value"),
        (lambda: code.sample(1, symbol=(20, 0)), "variables 0 to 19 of values 0 to 4"),
        (lambda: code.sample(1, symbol=np.int64(2)), "variable:value"),
        (lambda: ebm.sample(1, symbol="a"), "'a' is no symbol; give a number"),
        (lambda: ebm.sample(1, symbol=(1, 2, 3)), "is no symbol"),
        (lambda: models["AE"].score("a"), "AE has no p"),
        (lambda: vae.score("a", samples=0), "samples: 0; give 1 or more"),
        (lambda: vae.encode(np.array([4, 9])), "9 is no word of VAE; ids are 0 to 8"),
        (lambda: vae.encode(np.array([-1])), "-1 is no word"),
        (lambda: vae.encode(np.array([1.5])), "give a string, or word ids"),
        (lambda: vae.reconstruct([1, 2]), "1 is no sentence"),
        (lambda: vae.interpolate("a", vae.encode("a")), r"strings alone, or vectors \(6,\)"),
        (lambda: vae.interpolate(np.zeros(5), np.zeros(6)), r"vectors \(6,\) of VAE"),
        (lambda: vae.arithmetic(np.zeros(5), np.zeros(5), np.zeros(5)), r"vectors \(6,\)"),
        (lambda: ebm.symbols([]), "no sentence"),
        (lambda: ldebm.load(folders["VAE"], device="tpu"), "device 'tpu': give auto, cpu or cuda"),
        (lambda: ldebm.load(tmp_path), "run.json: cannot be read"),
    ):
        with pytest.raises(UserError, match=says):
            ask()


def test_unknown_and_cut_words_are_warned_of(models: dict[str, TrainedModel]) -> None:
    model = models["VAE"]
    with pytest.warns(UserWarning, match="in the vocabulary: Zebra, x"):
        z = model.encode("a Zebra x")
    np.testing.assert_array_equal(z, model.encode("a <unk> <unk>"))
    with pytest.warns(UserWarning, match="cut to their first 5 words"):
        z = model.encode("a b c d e a b")
    np.testing.assert_array_equal(z, model.encode("a b c d e"))


def test_of_its_own_sentences_nobody_is_warned(models: dict[str, TrainedModel]) -> None:
    """They may be longer than what it reads, which nobody can help."""
    model = models["LDEBM"]
    assert max(len(text.split()) for text in model.sample(1000)) > model.max_tokens - 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(model.symbols()) == 20


def test_saved_and_loaded_again_it_is_the_same(
    models: dict[str, TrainedModel], tmp_path: Path
) -> None:
    for name in ("LDEBM", "GM-VAE", "RNN-LM"):
        models[name].save_pretrained(tmp_path / name)
        again = TrainedModel.from_pretrained(tmp_path / name, device="cpu")
        assert again.sample(5) == models[name].sample(5)
        assert again.record == models[name].record
        assert f"# {name}, seed 1" in (tmp_path / name / "README.md").read_text()


def test_code_of_a_users_own_is_run_only_where_it_is_named(
    tmp_path: Path, small_rows: dict[str, RowConfig]
) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from ldebm.rows.autoencoder import VaeRow\nclass Own(VaeRow):\n    names = ('Own',)\n"
    )
    folder = write(tmp_path / "model", small_rows["VAE"], f"{own}:Own")
    with pytest.raises(UserError, match=r"own code|a user's own.*own\.py:Own.*name it"):
        ldebm.load(folder)
    assert len(ldebm.load(folder, row=f"{own}:Own").sample(2)) == 2
    assert main(["generate", str(folder), "--row", f"{own}:Own", "-n", "1"]) == 0
    assert main(["generate", str(folder), "-n", "1"]) == 2


def test_damage_is_one_line(tmp_path: Path, small_rows: dict[str, RowConfig]) -> None:
    for name, content, says in (
        ("run.json", "{", "run.json: not what this version"),
        ("vocabulary.txt", "a\n", "vocabulary.txt is damaged"),
        ("model.safetensors", "x", "model.safetensors: damaged"),
    ):
        folder = write(tmp_path / name, small_rows["AE"])
        (folder / name).write_text(content)
        with pytest.raises(UserError, match=says):
            ldebm.load(folder)
    folder = write(tmp_path / "keys", small_rows["AE"])
    record = json.loads((folder / "run.json").read_text())
    record["parameters"]["latent_dim"] = "many"
    (folder / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"run.json.*latent_dim"):
        ldebm.load(folder)


@pytest.mark.parametrize("name", ["vocabulary.txt", "run.json", "model.safetensors"])
def test_a_file_that_training_did_not_leave_is_refused(
    tmp_path: Path, small_rows: dict[str, RowConfig], name: str
) -> None:
    """Whole in itself, here of another training, but not what the manifest says."""
    folder, other = (
        write(tmp_path / "one", small_rows["AE"]),
        write(tmp_path / "two", small_rows["AE"]),
    )
    outputs = {path.name: file_hash(path) for path in folder.iterdir()}
    write_manifest(folder, {"fingerprint": "0" * 64, "outputs": outputs})
    ldebm.load(folder)
    if name == "vocabulary.txt":
        first, *rest, last = (other / name).read_text().splitlines()[3:]
        lines = [*SPECIALS, last, *rest, first]
        (other / name).write_text("".join(f"{line}\n" for line in lines))
    elif name == "run.json":
        record = json.loads((other / name).read_text())
        (other / name).write_text(json.dumps(record | {"seed": 9}))
    else:
        model = ldebm.load(other)
        with torch.no_grad():
            next(model.model.parameters()).add_(1)
        model.save_pretrained(other)
    (folder / name).write_bytes((other / name).read_bytes())
    with pytest.raises(UserError, match=f"{name}: is damaged, not what manifest.json beside it"):
        ldebm.load(folder)


def test_score_is_the_sum_over_the_words(models: dict[str, TrainedModel]) -> None:
    """Of a language model, word by word from the logits that decoding uses."""
    model, decoder = models["RNN-LM"], models["RNN-LM"].model.decoder
    expected, state, last = 0.0, torch.zeros(1, 1, 8), torch.tensor([1])
    for word in [*VOCABULARY.encode(["a", "b", "c"]).tolist(), 2]:
        with torch.no_grad():
            logits, state = decoder._next_logits(last, torch.zeros(1, 0), state)
        expected -= logits.log_softmax(1)[0, word].item()
        last = torch.tensor([word])
    assert model.score("a b c") == pytest.approx(expected, rel=1e-5)
    assert model.score(SENTENCES)[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.filterwarnings("ignore:the estimates may still fall")
def test_score_is_the_rows_estimator(models: dict[str, TrainedModel], tmp_path: Path) -> None:
    """Importance sampling with each sentence's own generator; annealed where p(z) is an energy."""
    ids, cpu = [VOCABULARY.encode(one.split()) for one in SENTENCES], torch.device("cpu")
    split = Split(np.concatenate(ids), np.cumsum([0, *map(len, ids)]))
    vae, found = models["VAE"], models["VAE"].score(SENTENCES, samples=20, seed=5)
    for index in range(3):
        batch, draws = collate(split, np.array([index]), 7, cpu), sentence_generator(5, index)
        with torch.no_grad():
            log_p = importance_sampled(vae.model, batch, 20, 20, draws)
        assert log_p is not None
        assert found[index] == pytest.approx(-log_p.item())
    ebm = models["SVEBM"]
    settings = AnnealedSettings(sentences=3, chains=8, temperatures=8, simulated=1)
    expected = nll.estimate(ebm.model, split, np.arange(3), 7, settings, 1, tmp_path).nll
    found = ebm.score(SENTENCES, temperatures=8)
    assert found.tolist() == [expected[index] for index in range(3)]
    assert isinstance(ebm.score("a", temperatures=8), float)
    with pytest.raises(UserError, match="temperatures: 10"):
        ebm.score("a", temperatures=10)


def test_the_words_and_sentences_of_symbols(models: dict[str, TrainedModel]) -> None:
    """Recomputed from what `classify` says of the sentences."""
    model, texts = models["DI-VAE"], ["a b", "a", "c d", "e", "c c", "b d e"]
    probs = model.classify(texts)  # (N, M, K)
    found = model.symbols(texts, examples=2)
    assert [(one.variable, one.value) for one in found[:6]] == [(0, k) for k in range(5)] + [(1, 0)]
    for one in found:
        own = probs[:, one.variable].argmax(1) == one.value
        assert one.share == pytest.approx(own.mean())
        surest = np.argsort(-probs[:, one.variable, one.value], kind="stable")
        assert one.sentences == [texts[i] for i in surest if own[i]][:2]
        words = " ".join(text for text, has in zip(texts, own, strict=True) if has).split()
        assert sorted(one.words) == sorted(set(words))


def test_sentences_beyond_a_piece_are_drawn_anew(
    models: dict[str, TrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained, "DRAWN", 5)
    drawn = models["VAE"].sample(10, seed=2)
    assert drawn[:5] != drawn[5:]


def test_symbols_of_its_own_sentences_are_those_of_the_seed(
    models: dict[str, TrainedModel],
) -> None:
    model = models["DI-VAE"]
    first, again, other = (model.symbols(seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_mlflow_asks_for_a_value_of_a_variable() -> None:
    asked: list[Any] = []
    model: Any = SimpleNamespace(sample=lambda *given: asked.append(given) or ["a"])
    generator = Generator(model)
    for params in ({"symbol": 2, "variable": 5, "seed": 7}, {"symbol": 2}, None):
        generator.predict(pd.DataFrame({"n": [3]}), params)
    assert asked == [(3, (5, 2), 7), (3, 2, 1), (3, None, 1)]


def test_the_card_counts_all_weights(folders: dict[str, Path]) -> None:
    record = json.loads((folders["VAE"] / "run.json").read_text())
    record["weights"] = {"sentence": 1000, "energy": 23}
    assert "\n1,023 weights in" in card(record)


def test_the_shell_says_what_the_object_says(
    folders: dict[str, Path],
    models: dict[str, TrainedModel],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def said(*arguments: Any) -> list[str]:
        assert main([str(one) for one in arguments]) == 0
        return capsys.readouterr().out.split("\n")[:-1]

    model, folder, code = models["LDEBM"], folders["LDEBM"], models["DI-VAE"]
    assert said("generate", folder, "-n", 4, "--symbol", 3, "--seed", 7) == model.sample(4, 3, 7)
    assert said("generate", folders["DI-VAE"], "--symbol", "2:1") == code.sample(10, (2, 1))
    assert said("interpolate", folder, "a b", "d", "--steps", 4) == model.interpolate("a b", "d", 4)
    assert said("reconstruct", folder, *SENTENCES) == model.reconstruct(SENTENCES)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a b c\nd\n")))
    lines = [json.loads(line) for line in said("classify", folder, "--json")]
    np.testing.assert_allclose(
        [line["probs"] for line in lines], model.classify(["a b c", "d"]), atol=1e-6
    )
    assert [line["sentence"] for line in lines] == ["a b c", "d"]
    lines = [json.loads(line) for line in said("symbols", folder, "--json", *SENTENCES)]
    assert lines == [vars(one) for one in model.symbols(SENTENCES)]
    lines = [json.loads(line) for line in said("symbols", folders["DI-VAE"], "--json", "--seed", 2)]
    assert lines == [vars(one) for one in code.symbols(seed=2)]
    (line,) = said("classify", folders["DI-VAE"], "a b c")
    probs = code.classify("a b c")  # (M, K)
    codes = " ".join(map(str, probs.argmax(-1)))
    assert line == f"{codes}\t{probs.max(-1).min():.4f}\ta b c"
    for wrong, says in (
        (["generate", str(folder), "--symbol", "x"], "--symbol x"),
        (["generate", "nothing"], "neither a folder with a run.json nor a model"),
        (["generate", "vae", "--model-seed", "99"], "run `ldebm train vae --seed 99` first"),
        (["generate", "vae", "--model-seed", "0"], "run `ldebm train vae --seed 0` first"),
    ):
        assert main(wrong) == 2
        assert says in capsys.readouterr().err


def test_sentences_are_tokenised_as_the_corpus_was(
    small_rows: dict[str, RowConfig], tmp_path: Path
) -> None:
    folder = write(tmp_path, small_rows["LDEBM"])
    record = json.loads((folder / "run.json").read_text())
    record["data"]["corpus"] = {"train": "a.txt", "tokenizer": "treebank", "lowercase": True}
    describe(folder, record, VOCABULARY)
    model = ldebm.load(folder, device="cpu")
    words = [VOCABULARY.encode(["a", "b", "<unk>", "c", "<unk>"])]  # a b , c .
    with pytest.warns(UserWarning, match=r"not being in the vocabulary: ,, \.$"):
        found = model.encode("A b, C.")
    np.testing.assert_array_equal(found, model.encode(words)[0])
    assert {word for one in model.symbols(["A.", "B, c."]) for word in one.words} == set("abc.,")
    card = (folder / "README.md").read_text()
    assert "in lower case, tokenised by the conventions of treebank" in card


def test_a_run_of_mlflow_is_a_model_too(
    folders: dict[str, Path],
    models: dict[str, TrainedModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    assert main(["generate", "runs:/1"]) == 2
    assert "there is no mlflow.db" in capsys.readouterr().err
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.create_experiment("one", artifact_location=(tmp_path / "runs").as_uri())
    run, other = (client.create_run(experiment).info.run_id for _ in range(2))
    client.log_artifacts(run, str(folders["VAE"]), "model")
    client.log_artifacts(run, str(folders["LDEBM"]), "else/where")
    assert main(["generate", f"runs:/{run}", "-n", "3"]) == 0
    assert capsys.readouterr().out.splitlines() == models["VAE"].sample(3)
    assert ldebm.load(f"runs:/{run}/else", device="cpu").name == "LDEBM"
    for wrong in ("runs:/none", f"runs:/{other}"):
        assert main(["generate", wrong]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"ldebm: error: {wrong}: sqlite:///")
        assert error.count("\n") == 1
