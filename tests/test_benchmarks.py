"""The benchmarks run, and every row of their tables is there and positive.

How fast is not tested.
"""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from shipped import write_shipped_parameters

from ldebm.config import RowConfig
from ldebm.data.grammar import write_corpus
from ldebm.models.networks import SentenceSize

ROOT = Path(__file__).parents[1]
OVERLAY = """
sentence_model: {embedding: 16, hidden: 16, max_tokens: 12}
models:
  "*": {latent_dim: 6, groups: 3, energy_hidden: 10, energy_blocks: 2, langevin_steps: 3,
        symbols: 4, cluster_iterations: 2}
judge: {embedding: 8, hidden: 12, layers: 1, batch: 4, bptt: 10}
evaluation: {likelihood_samples: 6, likelihood_chunk: 3}
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, 1, {"train": 120, "valid": 10, "test": 10})
    (folder / "overlay.yaml").write_text(OVERLAY)
    write_shipped_parameters(folder)
    return folder


def run(script: str, corpus: Path, *options: str) -> tuple[list[list[str]], dict[str, Any]]:
    """The tables a benchmark prints, as lists of cells, and the figures it writes."""
    figures = corpus / "figures.json"
    command = [
        sys.executable,
        ROOT / "benchmarks" / script,
        "--corpus",
        corpus,
        "--params",
        corpus / "params.yaml",
        "--overlay",
        corpus / "overlay.yaml",
    ]
    small = [
        "--device",
        "cpu",
        "--threads",
        "1",
        "--repeats",
        "1",
        "--batch",
        "8",
        "--steps",
        "2",
        "--json",
        figures,
    ]
    done = subprocess.run(
        [*map(str, [*command, *small, *options])],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=corpus,
    )
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in done.stdout.splitlines()
        if line[:1] == "|"
    ]
    return [line for line in lines if line[0] != "---"], json.loads(figures.read_text())


def named_in_order(script: str) -> list[str]:
    """The rows that the program's help names for --rows."""
    command = [sys.executable, ROOT / "benchmarks" / script, "--help"]
    text = "".join(subprocess.check_output([*map(str, command)], text=True).split())
    return re.findall(r"--rowsROWSof([a-z0-9_,]+);default:all", text)[0].split(",")


def test_every_row_of_the_speed_table_is_measured(corpus: Path) -> None:
    small = [
        "--sentences",
        "2",
        "--samples",
        "4",
        "--test",
        "5",
        "--product",
        "64",
        "--one-process",
    ]
    (header, *lines), figures = run("speed.py", corpus, *small)
    rows = figures["float32"]
    assert len(header) == 7
    named = set(named_in_order("speed.py"))
    assert rows.keys() == {*named, "peak"}  # the peak stands above the table
    assert len({line[0] for line in lines}) == len(lines) == len(named)
    compared = {name for name in named if "reference" in rows[name]}
    assert compared == named - {"judge"}
    for name, line in zip(named_in_order("speed.py"), lines, strict=True):
        plain = rows[name].get("reference", {}).get("seconds")
        assert (line[2] == "") == (line[3] == "") == (plain is None)
        if plain is not None:
            assert float(line[3]) == pytest.approx(plain / rows[name]["seconds"], rel=0.01)
    assert all(float(line[1].replace(",", "")) > 0 for line in lines)
    assert all(
        row["seconds"] > 0 and row["flops"] > 0 and row["memory"] > 1e6 for row in rows.values()
    )
    assert all(row["fastest"] <= row["seconds"] <= row["slowest"] for row in rows.values())
    no_decoding = {"peak", "samples_chain"}
    assert all(
        (row["tokens_per_second"] > 0) == (name not in no_decoding) for name, row in rows.items()
    )


def test_a_row_is_measured_in_a_process_of_its_own(corpus: Path) -> None:
    (_, *lines), figures = run(
        "speed.py", corpus, "--rows", "di_vae", "--product", "64", "--precision", "bfloat16",
        "--no-reference",
    )  # fmt: skip
    assert [line[0] for line in lines] == ["DI-VAE training step, batches of similar length"]
    assert figures["bfloat16"]["di_vae"]["tokens_per_second"] > 0
    assert "reference" not in figures["bfloat16"]["di_vae"]


def test_the_plain_reference_computes_the_same(
    monkeypatch: pytest.MonkeyPatch, small_rows: dict[str, RowConfig]
) -> None:
    """Costs, samples and, for one sentence, whose padding is none, the encoder's state."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    plain = importlib.import_module("reference").plain
    size = SentenceSize(vocabulary=30, embedding=12, hidden=12, dropout=0.0)
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(small_rows["LDEBM"].build(size).eval())
    ours, reference = models[0], plain(models[1])
    for name, layer in {
        "_l0": ours.encoder.forwards,
        "_l0_reverse": ours.encoder.backwards,
    }.items():
        for key, weight in layer.named_parameters():
            getattr(reference.encoder.gru, key.removesuffix("_l0") + name).data.copy_(weight)
    tokens = torch.tensor([[1, 5, 6, 7, 2, 0], [1, 8, 9, 10, 11, 2]])
    lengths, z = torch.tensor([4, 5]), torch.randn(2, 6)
    torch.testing.assert_close(
        reference.decoder(tokens, lengths, z), ours.decoder(tokens, lengths, z)
    )
    one = tokens[1:], lengths[1:]
    torch.testing.assert_close(reference.encoder(*one), ours.encoder(*one))
    drawn = [model.prior.sample(3, torch.Generator().manual_seed(1)) for model in models]
    torch.testing.assert_close(*drawn)
    t, at = torch.tensor([0, 5]), torch.randn(2, 6)
    forces = [model.prior.network.weights().detach().gradient_at(t)(at) for model in models]
    torch.testing.assert_close(*forces)


def test_the_profile_names_every_part_of_a_step(corpus: Path) -> None:
    lines, figures = run("speed.py", corpus, "--profile", "--product", "64", "--one-process")
    parts = {
        "encoder",
        "decoder GRU",
        "logits and cross-entropy",
        "other terms",
        "clipping and Adam",
        "batch assembly",
    }
    for key, expected in (("ldebm", parts | {"chains"}), ("di_vae", parts)):
        measured = figures["float32"][key]
        assert measured.keys() == expected | {"rest", "step"}
        assert {line[0] for line in lines} >= expected
        assert sum(
            part["seconds"] for name, part in measured.items() if name != "step"
        ) == pytest.approx(measured["step"]["seconds"])


def test_every_row_of_the_scaling_tables_is_measured(corpus: Path) -> None:
    small = [
        "--sizes",
        "1,2",
        "--types",
        "50,100",
        "--draws",
        "4,8",
        "--posterior",
        "1,2",
        "--one-process",
    ]
    lines, figures = run("scaling.py", corpus, *small)
    assert {name: len(values) - 1 for name, values in figures.items()} == {
        "corpus": 6, "vocabulary": 2, "likelihood_samples": 2, "posterior_samples": 2
    }  # fmt: skip
    assert len(lines) == 12 + 4
    assert all(
        value > 0 for table in figures.values() for values in table.values() for value in values
    )
