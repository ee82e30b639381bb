"""The page is the input: its code is written to a file, its key into the parameters of a project.

Every step of the project is run, with the metric and without.
"""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from shipped import shipped_parameters

from ldebm import params
from ldebm.errors import UserError
from ldebm.pipeline import record, steps
from ldebm.pipeline.project import Project
from ldebm.runtime.tracking import NoTracker

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/adding-a-metric.md").read_text(encoding="utf-8")
TINY: dict[str, Any] = {
    "data": {"corpus": "grammar", "grammar": {"seed": 1, "train": 60, "valid": 20, "test": 10}},
    "run": {"device": "cpu"},
    "sentence_model": {"embedding": 8, "hidden": 8},
    "judge": {
        "train_sentences": 30,
        "valid_sentences": 10,
        "embedding": 8,
        "hidden": 8,
        "layers": 1,
        "batch": 4,
        "epochs": 1,
    },
    "evaluation": {
        "samples": 50,
        "likelihood_samples": 2,
        "likelihood_sentences": 2,
        "annealed": {"sentences": 2, "chains": 2, "temperatures": 8, "simulated": 2},
    },
}
TRAINING = {"batch": 32, "validate_every": 2, "max_validations": 1}


def block(kind: str) -> str:
    """The page's block of a language."""
    found = re.search(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's file, and tiny parameters with one model and without the metric."""
    monkeypatch.setattr(record, "open_tracker", lambda *details, **more: NoTracker())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_metrics.py").write_text(block("python"))
    shipped = shipped_parameters()
    tiny = params.merge(shipped, TINY)
    vae = params.merge(tiny["models"]["vae"], {"posterior_samples": 1, "training": TRAINING})
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tiny | {"models": {"vae": vae}}))
    return tmp_path


def run() -> dict[str, str]:
    """What came of each step."""
    return {step.name: steps.run(step) for step in Project.load().steps()}


def add(project: Path, text: str) -> None:
    raw = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump(raw | yaml.safe_load(text)))


def test_the_metric_gets_its_column_and_note_and_only_cheap_work_is_done(project: Path) -> None:
    assert set(run().values()) == {"done"}
    add(project, block("yaml"))
    outcomes = run()
    again = {name for name, outcome in outcomes.items() if outcome == "done"}
    assert again == {"evaluate vae seed 1", "table"}
    assert set(run().values()) == {"up to date"}

    samples = (project / "samples/vae/seed1/samples.txt").read_text().splitlines()[:30]
    pairs = [tuple(line.split()[i : i + 2]) for line in samples for i in range(len(line.split()))]
    whole = [pair for pair in pairs if len(pair) == 2]
    score = 100 * len(set(whole)) / len(whole)
    with Path("results/table.csv").open(newline="") as file:
        test_set, vae = csv.DictReader(file)
    assert float(vae["distinct"]) == pytest.approx(score, abs=1e-4)
    assert 0 < float(test_set["distinct"]) <= 100
    table = Path("results/table.md").read_text(encoding="utf-8")
    assert "| Distinct-2 ↑ |" in table
    assert f" {score:.1f} |" in table
    assert "- **Distinct-2**: different word pairs" in table
    assert json.loads(Path("results/metrics.json").read_text())["vae"]["distinct"] == score

    code = (project / "my_metrics.py").read_text()
    (project / "my_metrics.py").write_text(
        code.replace("different word pairs", "word pairs that differ")
    )
    again = {name for name, outcome in run().items() if outcome == "done"}
    assert again == {"evaluate vae seed 1", "table"}
    assert "word pairs that differ" in Path("results/table.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_metrics.py:Texts", "no subclass"),
        ("my_metrics.py:Absent", "defines no 'Absent'"),
        ("other.py:Distinct", "no Python file"),
    ],
)
def test_a_mistake_is_one_line(project: Path, name: str, said: str) -> None:
    add(project, f"metrics: ['{name}']")
    with pytest.raises(UserError, match=f"params.yaml: .*{said}"):
        params.load(Path("params.yaml"))


def test_two_metrics_of_one_key_are_refused(project: Path) -> None:
    add(project, 'metrics: ["my_metrics.py:Distinct", "my_metrics.py:Distinct"]')
    with pytest.raises(UserError, match="the key 'distinct'; use a new one"):
        params.load(Path("params.yaml"))
