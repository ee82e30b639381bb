"""Files of a project that were damaged, replaced or made by somebody else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reliability.bad_case import (
    Arrange,
    BadInput,
    all_of,
    directory,
    edited,
    fifo,
    file,
    link,
    missing,
)

MODEL, TOKENS = "models/vae/seed1", "data/tokens"
GENERATE = f"ldebm generate {MODEL} -n 1"
SAMPLE = "ldebm sample vae"
WEIGHTS = f"{MODEL}/model.safetensors"
HASH = "0" * 64


def _json(name: str, change: Callable[[dict[str, Any]], object]) -> Arrange:
    """A JSON file of the project with an entry changed."""

    def arrange(folder: Path) -> None:
        content = json.loads((folder / name).read_bytes())
        change(content)
        file(name, json.dumps(content))(folder)

    return arrange


def _manifest(name: str, content: str | bytes, says: str) -> BadInput:
    """The manifest of a trained model, as sampling finds it."""
    arrange = file(f"{MODEL}/manifest.json", content)
    return BadInput(f"manifest: {name}", arrange, SAMPLE, says)


def _output(name: Any, digest: Any = HASH) -> BadInput:
    """A manifest of which an output has that name."""
    arrange = _json(f"{MODEL}/manifest.json", lambda one: one["outputs"].update({name: digest}))
    says = "is no output of a step; delete the manifest"
    return BadInput(f"manifest names {name!r} {str(digest)[:9]}", arrange, SAMPLE, says)


def _model(name: str, arrange: Arrange, says: str) -> BadInput:
    """A trained model's folder as it may be given away, without the manifest of its step."""
    alone = all_of(arrange, missing(f"{MODEL}/manifest.json"))
    return BadInput(f"model: {name}", alone, GENERATE, says)


def _record(name: str, change: Callable[[dict[str, Any]], object], says: str) -> BadInput:
    """The record of a trained model with an entry changed."""
    return _model(f"record with {name}", _json(f"{MODEL}/run.json", change), says)


def _lost(name: str) -> Arrange:
    """An output is damaged, and so is every copy that its step kept."""

    def arrange(folder: Path) -> None:
        kept = (folder / "work").rglob(f"done/{Path(name).name}")
        for path in [folder / name, *kept]:
            path.unlink()
            path.write_bytes(b"\xff damaged")

    return arrange


def _copied(name: str) -> Arrange:
    """The weights of another model of the project in the place of the VAE's."""

    def arrange(folder: Path) -> None:
        file(WEIGHTS, (folder / name).read_bytes())(folder)

    return arrange


MANIFESTS = [
    _manifest("a list", "[]", "is no manifest of a step"),
    _manifest("a word", '"manifest"', "is no manifest of a step"),
    _manifest("null", "null", "is not there yet"),
    _manifest("empty outputs in a list", '{"outputs": []}', "is no manifest of a step"),
    _manifest("no outputs", json.dumps({"fingerprint": HASH}), "is no manifest of a step"),
    _manifest("no fingerprint", '{"outputs": {}}', "is no manifest of a step"),
    _manifest("a fingerprint that is a path", '{"outputs": {}, "fingerprint": "../../x"}',
              "is no manifest of a step"),
    _manifest("outputs without the weights", json.dumps({"fingerprint": HASH, "outputs": {}}),
              r"names no model\.safetensors"),
    _manifest("cut off", '{"outputs": {', "is not there yet|is no manifest"),
    _manifest("empty", "", "is not there yet|is no manifest"),
    _manifest("no UTF-8", b"\xff\xfe\x00", "is not there yet|is no manifest"),
    _manifest("100,000 deep", "[" * 100_000 + "]" * 100_000, "is not there yet|is no manifest"),
    _manifest("5,000 digits", '{"outputs": ' + "9" * 5000 + "}", "not there yet|is no manifest"),
    _output("../../../text/train.txt"),
    _output("/etc/passwd"),
    _output("a/../../b"),
    _output(""),
    _output("."),
    _output(".."),
    _output("a\nb"),
    _output("a\0b"),
    _output("model.safetensors", "0" * 63),
    _output("model.safetensors", None),
    _output("model.safetensors", [1]),
    BadInput("manifest a folder", directory(f"{MODEL}/manifest.json"), "ldebm train vae",
             "manifest.json: Is a directory"),
    BadInput("no manifest", missing(f"{MODEL}/manifest.json"), SAMPLE,
             "models/vae/seed1 is not there yet; run `ldebm train vae --seed 1` first"),
]  # fmt: skip

OUTPUTS = [
    BadInput("weights damaged, no copy whole", _lost(WEIGHTS), SAMPLE,
             "model.safetensors: is damaged.*run that again"),
    BadInput("samples not UTF-8, no copy whole", _lost("samples/vae/seed1/samples.txt"),
             "ldebm judge vae", "samples.txt: is damaged.*run that again"),
    BadInput("samples not UTF-8", file("samples/vae/seed1/samples.txt", b"\xff"),
             "ldebm judge vae", "samples.txt: is damaged, .*; put back from", True),
    BadInput("tokens damaged, no copy whole", _lost(f"{TOKENS}/train.tokens.npy"),
             "ldebm train vae --seed 9", "train.tokens.npy: is damaged.*run that again"),
    BadInput("vocabulary damaged, no copy whole", _lost(f"{TOKENS}/vocabulary.txt"),
             "ldebm train vae --seed 9", "vocabulary.txt: is damaged.*run that again"),
    BadInput("raw text damaged, no copy whole",
             all_of(missing(f"{TOKENS}/manifest.json"), _lost("data/raw/train.txt")),
             "ldebm data tokenize", "data/raw/train.txt: is damaged.*run that again"),
    BadInput("memory of hashes no memory", file("work/hashes.json", '{"data/raw/train.txt": 3}'),
             "ldebm data tokenize", "^tokens: up to date", True),
    BadInput("memory of hashes too short", file("work/hashes.json", '{"data/raw/train.txt": []}'),
             "ldebm data tokenize", "^tokens: up to date", True),
    BadInput("memory of hashes deep", file("work/hashes.json", "[" * 100_000),
             "ldebm data tokenize", "^tokens: up to date", True),
    BadInput("plan not UTF-8", file("work/plan/raw/plan.json", b"\xff"), "ldebm plan",
             "^judge rnn_lm seed 1", True),
    BadInput("dvc.yaml not UTF-8", file("dvc.yaml", b"\xff"), "ldebm plan", "dvc.yaml"),
    BadInput("work a file", all_of(missing("work"), file("work", "")),
             "ldebm data fetch --root .", "work"),
]  # fmt: skip

MODELS = [
    BadInput("model: another vocabulary than its manifest's",
             file(f"{MODEL}/vocabulary.txt", "a\n"), GENERATE,
             "vocabulary.txt: is damaged, not what manifest.json beside it says"),
    _model("no record", missing(f"{MODEL}/run.json"), "run.json|is neither a folder"),
    _model("no weights", missing(WEIGHTS), "model.safetensors: cannot be read"),
    _model("no vocabulary", missing(f"{MODEL}/vocabulary.txt"), "vocabulary.txt"),
    _model("record not UTF-8", file(f"{MODEL}/run.json", b"\xff{}"), "run.json: not what"),
    _model("record a list", file(f"{MODEL}/run.json", "[]"), "run.json: not what"),
    _model("record empty", file(f"{MODEL}/run.json", ""), "run.json: not what"),
    _model("record deep", file(f"{MODEL}/run.json", "[" * 100_000), "run.json: not what"),
    _model("record a folder", directory(f"{MODEL}/run.json"), "run.json: cannot be read"),
    _record("no parameters", lambda one: one.update(parameters=3), "run.json: "),
    _record("parameters a list", lambda one: one.update(parameters=[]), "run.json: "),
    _record("no row", lambda one: one["parameters"].pop("row"), "run.json: "),
    _record("an unknown row", lambda one: one["parameters"].update(row="VEA"), "'VEA' is no row"),
    _record("a row of a user's own", lambda one: one["parameters"].update(row="x.py:Row"),
            "its row is code of a user's own, x.py:Row"),
    _record("sizes that are words", lambda one: one.update(sentence_model={"hidden": "x"}),
            "run.json: "),
    _record("no sizes", lambda one: one.update(sentence_model=None), "run.json: "),
    _record("other sizes", lambda one: one["sentence_model"].update(hidden=7),
            "model.safetensors: holds weights of another model"),
    _record("huge sizes", lambda one: one["sentence_model"].update(hidden=4_000_000_000),
            "not enough memory"),
    _model("weights a text", file(WEIGHTS, "weights"), "damaged"),
    _model("weights empty", file(WEIGHTS, ""), "damaged"),
    _model("weights cut off", edited(WEIGHTS, lambda one: one[:-9]), "damaged"),
    _model("weights flipped", edited(WEIGHTS,
                                     lambda one: one[:-9] + bytes([one[-9] ^ 4]) + one[-8:]),
           "damaged"),
    _model("weights of a huge header", file(WEIGHTS, b"\xff" * 64), "damaged"),
    _model("weights a folder", directory(WEIGHTS), "model.safetensors"),
    _model("weights of another model", _copied("models/rnn_lm/seed1/model.safetensors"),
           "holds weights of another model"),
    _model("vocabulary not UTF-8", file(f"{MODEL}/vocabulary.txt", b"\xff\n"), "line 1: not UTF-8"),
    _model("vocabulary empty", file(f"{MODEL}/vocabulary.txt", ""), "vocabulary.txt is damaged"),
    _model("vocabulary of two words a line", file(f"{MODEL}/vocabulary.txt", "a b\n"),
           "vocabulary.txt is damaged: every line must hold one word"),
    _model("vocabulary with a word twice",
           edited(f"{MODEL}/vocabulary.txt", lambda one: one + b"the\n"), "stands twice"),
    _model("vocabulary of another length",
           edited(f"{MODEL}/vocabulary.txt", lambda one: one + b"xyzzy\n"), "another model"),
    _model("vocabulary a pipe", fifo(f"{MODEL}/vocabulary.txt"), "it is no regular file"),
]  # fmt: skip

ROOTS = [
    BadInput("root a file", file("r", ""), "ldebm data fetch --root r", "r.*: Not a directory"),
    BadInput("root below a file", file("r", ""), "ldebm data fetch --root r/s", "Not a directory"),
    BadInput("root a loop of links", link("r", "r"), "ldebm data fetch --root r",
             "Too many levels of symbolic links|File exists"),
    BadInput("root a dangling link", link("r", "gone"), "ldebm data fetch --root r", "r"),
    BadInput("root a pipe", fifo("r"), "ldebm data fetch --root r", "Not a directory"),
    BadInput("results a file", file("r", ""), "ldebm table --results r", "Not a directory|first"),
]  # fmt: skip

CASES = [*MANIFESTS, *OUTPUTS, *MODELS, *ROOTS]
