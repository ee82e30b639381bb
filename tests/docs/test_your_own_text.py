"""The page is the input: its function is written to a file and its block into the parameters."""

import re
from pathlib import Path

import pytest
import yaml
from shipped import shipped_parameters

from ldebm import params
from ldebm.pipeline import steps
from ldebm.pipeline.project import Project

ROOT = Path(__file__).parents[2]
LINES = ["5\tGood food, good PEOPLE!\n", "1\tI don't know.\n", "3\t\n"]
SENTENCES = "good food , good people !\ni don ' t know .\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The page's parameters laid over the shipped ones, beside its function and a small text."""
    page = (ROOT / "docs/your-own-text.md").read_text(encoding="utf-8")
    code, block = (
        re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL)[1] for kind in ("python", "yaml")
    )
    (tmp_path / "my_text.py").write_text(code)
    (tmp_path / "text").mkdir()
    for split in ("train", "valid", "test"):
        (tmp_path / f"text/{split}.tsv").write_text("".join(LINES))
    monkeypatch.chdir(tmp_path)
    shipped = shipped_parameters()
    return Project(params.validate(params.merge(shipped, yaml.safe_load(block)), "params.yaml"))


def test_lines_become_the_functions_sentences(project: Project) -> None:
    assert steps.run(project.raw()) == "done"
    for split in ("train", "valid", "test"):
        assert Path(f"data/raw/{split}.txt").read_text() == SENTENCES


def test_an_edit_of_the_function_or_of_a_file_imports_again(project: Project) -> None:
    steps.run(project.raw())
    assert steps.run(project.raw()) == "up to date"
    function = Path("my_text.py")
    function.write_text(function.read_text().replace(".lower()", ""))
    assert steps.run(project.raw()) == "done"
    assert "PEOPLE" in Path("data/raw/train.txt").read_text()
    with Path("text/test.tsv").open("a") as file:
        file.write("2\tMeh\n")
    assert steps.run(project.raw()) == "done"
    assert Path("data/raw/test.txt").read_text().endswith("Meh\n")
