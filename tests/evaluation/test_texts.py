"""`ldebm score` against the metrics called by hand."""

import json
import random
from pathlib import Path

import pytest
import torch
from shipped import write_shipped_parameters

from ldebm import params
from ldebm.cli import main
from ldebm.data.corpus import Corpus
from ldebm.metrics.corpus_bleu import corpus_bleu
from ldebm.metrics.reverse_perplexity import reverse_perplexity
from ldebm.metrics.word_kl import word_kl
from ldebm.runtime import console

ROOT = Path(__file__).parents[2]
OVERLAY = """
data: {corpus: {train: train.txt, valid: valid.txt, test: test.txt, lowercase: true}}
run: {device: cpu}
judge: {train_sentences: 40, valid_sentences: 20, embedding: 6, hidden: 6, layers: 1, batch: 4,
        epochs: 2}
evaluation: {samples: 60}
"""


def sentences(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices("abcdef", k=draw.randint(2, 9))) for _ in range(count)]


def write(path: Path, lines: list[str]) -> list[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return lines


def test_anybodys_sentences_are_scored_like_a_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train = write(Path("train.txt"), sentences(1, 50))
    for split in ("valid", "test"):
        write(Path(f"{split}.txt"), sentences(2, 20))
    Path("own.yaml").write_text(OVERLAY)
    samples = sentences(3, 70)
    write(Path("s.txt"), [line.upper() for line in samples])  # taken in lower case, as the corpus
    references = write(Path("r.txt"), [line[:-1] + "a" for line in samples])
    write_shipped_parameters(tmp_path)
    files = ["--overlay", "own.yaml"]
    for verb in ("fetch", "tokenize"):
        assert main(["data", verb, *files]) == 0
    capsys.readouterr()
    monkeypatch.setattr(console, "FIRST", 0.0)  # the judge speaks from its first epoch on

    command = ["score", "--samples", "s.txt", "--json", *files]
    assert main(command) == 0
    told = capsys.readouterr()
    assert told.err.startswith("judge s seed 141: epoch 1/2, valid perplexity ")
    found = {one.pop("metric"): one for one in map(json.loads, told.out.splitlines())}

    judge, corpus = (
        params.load(Path("params.yaml"), Path("own.yaml")).judge,
        Corpus.open(Path("results/own/data/tokens")),
    )
    ids = [corpus.vocabulary.encode(line.split()) for line in samples]
    cpu, size = torch.device("cpu"), len(corpus.vocabulary)
    test = list(corpus.test)
    rppl = reverse_perplexity(ids[:40], ids[40:60], test, size, 2, judge, judge.seed, cpu)
    assert found["rppl"] == {"score": rppl.perplexity, "signature": rppl.signature}
    wkl, bleu = word_kl(samples[:40], train), corpus_bleu(samples, references)
    assert found["wkl"] == {"score": wkl.score, "signature": wkl.signature}
    assert set(found) == {"rppl", "wkl"}

    assert main([*command, "--references", "r.txt"]) == 0  # they are reconstructions then
    found = json.loads(capsys.readouterr().out)
    assert found == {"metric": "bleu", "score": bleu.score, "signature": bleu.signature}

    write(Path("s.txt"), ["zz a b zz", *samples[:4]])
    assert main(["score", "--samples", "s.txt", *files]) == 2
    out, error = capsys.readouterr()
    assert out.startswith("wkl\t")
    share = 2 / len(" ".join(["zz a b zz", *samples[:4]]).split())
    first, second = error.splitlines()
    assert first == f"ldebm: warning: {share:.1%} of the words are not in the corpus: zz"
    assert "s.txt: rPPL needs 60 sentences" in second
    assert second.endswith(
        "it has 5; give more or set those lower; of 40, as in the table, wkl would be smaller"
    )
    write(Path("s.txt"), samples[:40])
    assert main(["score", "--samples", "s.txt", *files]) == 2
    assert capsys.readouterr().err.endswith("it has 40; give more or set those lower\n")

    Path("newer.yaml").write_text(OVERLAY.replace("lowercase: true", "lowercase: false"))
    assert main(["score", "--samples", "s.txt", "--overlay", "newer.yaml", "--root", "results/own"])
    out, error = capsys.readouterr()
    assert not out
    assert "lowercase was True, and is False here; run `ldebm data" in error
