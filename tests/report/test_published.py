"""What is kept under results/published: README shows it as it is, and it cannot be impossible."""

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def rows_of(text: str) -> list[str]:
    """The lines of the first Markdown table."""
    lines = text.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("| Model |"))
    table = lines[start:]
    return table[: next((n for n, line in enumerate(table) if not line.startswith("|")), None)]


@pytest.mark.parametrize(
    ("kept", "heading"),
    [("demo", "## What the demo gives"), ("ptb-all", "## Penn Treebank, shortened")],
)
def test_readme_shows_the_table_that_is_kept(kept: str, heading: str) -> None:
    shown = rows_of((ROOT / "README.md").read_text(encoding="utf-8").partition(heading)[2])
    table = (ROOT / f"results/published/{kept}/table.md").read_text(encoding="utf-8")
    assert shown == rows_of(table)
    assert len(shown) == 19  # heading, rule, test set, 16 rows


def test_no_row_of_the_demo_is_below_the_entropy_of_its_source() -> None:
    """The exact mean of -log p over the same sentences is the least a model can reach.

    But for its sampling error: none comes near it.
    """
    with (ROOT / "results/published/demo/table.csv").open(encoding="utf-8", newline="") as file:
        test_set, *rows = csv.DictReader(file)
    for name in ("nll", "nll_importance"):
        found = [float(row[name]) for row in rows if row[name]]
        assert len(found) == {"nll": 14, "nll_importance": 9}[name]
        assert min(found) > float(test_set["nll"])
