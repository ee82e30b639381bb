"""README's calls and the example, run on a model that is trained for a moment."""

import io
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from shipped import write_shipped_parameters

import ldebm
from ldebm.cli import main

ROOT = Path(__file__).parents[2]
MODEL = "results/demo/models/ldebm/seed1"
README = (ROOT / "README.md").read_text(encoding="utf-8")
OVERLAY = """
judge: {valid_sentences: 50}
data: {corpus: grammar, grammar: {seed: 1, train: 2000, valid: 50, test: 50}}
run: {device: cpu}
sentence_model: {embedding: 8, hidden: 8}
models:
  ldebm: {latent_dim: 4, energy_hidden: 8, energy_blocks: 1, langevin_steps: 3,
          training: {batch: 32, epochs: 1}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and a trained LDEBM."""
    root = tmp_path_factory.mktemp("project")
    (root / "overlay.yaml").write_text(OVERLAY)
    write_shipped_parameters(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for verb in (["data", "fetch"], ["data", "tokenize"], ["train", "ldebm"]):
            assert main([*verb, "--overlay", "overlay.yaml", "--root", "results/demo"]) == 0
    return root


def test_readmes_calls_work_as_pasted(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})
    assert "(5, 4)" in capsys.readouterr().out  # five vectors on the way


def test_readmes_verbs_work_as_typed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    model, sentences = (
        ldebm.load(MODEL),
        ["the soup was good .", "a singer played the song ."],
    )
    said = {}
    block = re.search(r"```sh\nMODEL=(.*?)\n(ldebm generate.*?)```", README, re.DOTALL)
    assert block
    assert block[1] == MODEL
    for line in block[2].splitlines():
        _, verb, *words = shlex.split(line.replace("$MODEL", MODEL), comments=True)
        if "<" in words:
            words = words[: words.index("<")]
            typed = io.BytesIO("\n".join(sentences).encode())
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(typed))
        assert main([verb, *words]) == 0
        said[verb] = capsys.readouterr().out.splitlines()
    assert said == {
        "generate": model.sample(10, symbol=16, seed=1),
        "interpolate": model.interpolate("the soup was good .", "a singer played the song .", 7),
        "reconstruct": model.reconstruct(sentences),
    }


def test_the_example_shows_the_commonest_symbols(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = project / "results/demo/data/raw/test.txt"
    arguments = ["ask.py", str(project / MODEL), str(texts)]
    monkeypatch.setattr("sys.argv", arguments)
    runpy.run_path(str(ROOT / "examples/ask.py"), run_name="__main__")
    shown = capsys.readouterr().out
    codes = ldebm.load(arguments[1]).classify(texts.read_text().splitlines()).argmax(1)
    commonest = np.bincount(codes).max() / len(codes)
    assert f"{commonest:3.0%}" in shown.splitlines()[0]
    assert "from one sentence to another" in shown


def test_a_model_of_other_parameters_is_said_to_be_one(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    settings = (project / "overlay.yaml").read_text()
    options = ["--overlay", "overlay.yaml", "--root", "results/demo"]
    assert main(["generate", "ldebm", "-n", "1", *options]) == 0
    assert "older" not in capsys.readouterr().err
    (project / "other.yaml").write_text(settings.replace("langevin_steps: 3", "langevin_steps: 4"))
    assert settings != (project / "other.yaml").read_text()
    options[1] = "other.yaml"
    assert main(["generate", "ldebm", "-n", "1", *options]) == 0
    said = capsys.readouterr().err
    assert said.startswith("ldebm: warning: what answers is older than the parameters: ")
    assert "model.langevin_steps was 3, and is 4 here" in said
