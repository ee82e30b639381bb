"""The benchmarks run, and every row of their tables is there and positive; how fast is not tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ldebm.data.grammar import write_corpus

ROOT = Path(__file__).parents[1]
OVERLAY = """
sentence_model: {embedding: 16, hidden: 16, max_tokens: 12}
models:
  "*": {latent_dim: 6, groups: 3, energy_hidden: 10, energy_blocks: 2, langevin_steps: 3, symbols: 4, cluster_iterations: 2}
judge: {embedding: 8, hidden: 12, layers: 1, batch: 4, bptt: 10}
evaluation: {likelihood_samples: 6, likelihood_chunk: 3}
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, 1, {"train": 120, "valid": 10, "test": 10})
    (folder / "overlay.yaml").write_text(OVERLAY)
    return folder


def run(script, corpus, *options):
    """The tables a benchmark prints, as lists of cells, and the figures it writes."""
    figures = corpus / "figures.json"
    command = [
        sys.executable,
        ROOT / "benchmarks" / script,
        "--corpus",
        corpus,
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


def test_every_row_of_the_speed_table_is_measured(corpus):
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
    assert len(lines) == len(rows) - 1 == 13  # the peak stands above the table
    assert all(float(line[1].replace(",", "")) > 0 for line in lines)
    assert all(
        row["seconds"] > 0 and row["flops"] > 0 and row["memory"] > 1e6 for row in rows.values()
    )
    assert all(row["fastest"] <= row["seconds"] <= row["slowest"] for row in rows.values())
    no_decoding = {"peak", "samples_chain"}
    assert all(
        (row["tokens_per_second"] > 0) == (name not in no_decoding) for name, row in rows.items()
    )


def test_a_row_is_measured_in_a_process_of_its_own(corpus):
    (_, *lines), figures = run(
        "speed.py", corpus, "--rows", "di_vae", "--product", "64", "--precision", "bfloat16"
    )
    assert [line[0] for line in lines] == ["DI-VAE training step, batches of similar length"]
    assert figures["bfloat16"]["di_vae"]["tokens_per_second"] > 0


def test_the_profile_names_every_part_of_a_step(corpus):
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


def test_every_row_of_the_scaling_tables_is_measured(corpus):
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
