"""One process sends to MLflow for all jobs of a workflow."""

import re
from pathlib import Path

from .conftest import MODELS, Command


def test_a_store_that_is_away_is_told_once_and_gets_all_later(project: Path, run: Command) -> None:
    store, targets = "http://127.0.0.1:9", [f"models/{key}/seed1/manifest.json" for key in MODELS]
    line = f"snakemake --cores 2 --config threads=1 -- {' '.join(targets)}"
    said = run(f"env MLFLOW_TRACKING_URI={store} {line}").stdout
    assert not list((project / "work/tracking").glob("*.sender"))  # it was waited for
    assert said.count(f"the tracking store {store} fails") == 1
    logs = [path.read_text() for path in (project / "work/logs").glob("train-*.log")]
    assert len(logs) == len(MODELS)
    assert not [log for log in logs if "tracking store" in log]
    assert len(list((project / "work/tracking").glob("*.jsonl"))) == len(MODELS)
    assert re.search(r"^sync: \d+ records of 2 runs sent to sqlite:", run("ldebm sync").stdout)
    assert not list((project / "work/tracking").iterdir())
