"""The page is the input: its function is written to a file and its block into the parameters."""

import re
from pathlib import Path

import pytest
import yaml
from shipped import shipped_parameters

from ldebm import params
from ldebm.pipeline import steps
from ldebm.pipeline.project import Project

PAGE = (Path(__file__).parents[2] / "docs/your-own-text.md").read_text(encoding="utf-8")
LINES = ["5\tGood food, good PEOPLE!\n", "1\tI don't know.\n", "3\t\n"]
SENTENCES = "good food , good people !\ni don ' t know .\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The page's parameters laid over the shipped ones, beside its function and a small text."""
    monkeypatch.chdir(tmp_path)
    (code,), (_, block) = blocks("python"), blocks("yaml")
    Path("my_text.py").write_text(code)
    return written(block, "tsv", "".join(LINES))


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def written(block: str, suffix: str, text: str) -> Project:
    """A block laid over the shipped parameters, and its text in all three files."""
    Path("text").mkdir()
    for split in ("train", "valid", "test"):
        Path(f"text/{split}.{suffix}").write_text(text)
    laid = params.merge(shipped_parameters(), yaml.safe_load(block))
    return Project(params.validate(laid, "params.yaml"))


def test_lines_as_people_write_them_become_the_words_that_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line, words = re.search(r"`([^`]*)` becomes\s+`([^`]*)`", PAGE).groups()
    project = written(blocks("yaml")[0], "txt", f"{line}\n\n")
    steps.run(project.raw())
    assert Path("data/raw/test.txt").read_text() == f"{words}\n"


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
