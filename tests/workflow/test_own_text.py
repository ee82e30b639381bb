"""DVC sees an edit of a user's own text, which no static file can name."""

from pathlib import Path

import pytest
import yaml

from .conftest import Command
from .test_pipeline import said, stages_run


@pytest.fixture(scope="module")
def own(project: Path, run: Command) -> Path:
    """The project on a text of its own, with its tokens made."""
    for split in ("train", "valid", "test"):
        (project / f"{split}.txt").write_text("a cat sat\n")
    raw = yaml.safe_load((project / "params.yaml").read_text())
    raw["data"]["corpus"] = {split: f"{split}.txt" for split in ("train", "valid", "test")}
    (project / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    run("dvc repro tokens")
    return project


def test_an_edit_of_ones_own_text_is_seen_and_done(own: Path, run: Command) -> None:
    (own / "train.txt").write_text("a cat sat\nthe dog ran\n")
    assert "train.txt" in run("dvc status plan").stdout
    output = run("dvc repro tokens").stdout
    assert said(output, "raw") == {"": "done"}
    assert said(output, "tokens") == {"": "done"}
    assert (own / "data/raw/train.txt").read_text() == "a cat sat\nthe dog ran\n"
    assert "Data and pipelines are up to date" in run("dvc status tokens").stdout
    assert stages_run(run("dvc repro tokens").stdout) == set()
