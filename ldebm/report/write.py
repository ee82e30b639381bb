"""`ldebm table`: everything the report consists of."""

import json
from pathlib import Path

from ldebm.config import Params
from ldebm.data.files import staged
from ldebm.report import claims, curves, diagnostics, interpretability, page, table
from ldebm.report.figures import draw_figures
from ldebm.report.results import read_results


def write_results(
    params: Params,
    root: Path,
    results: Path,
    runs: Path | None = None,
    commands: page.Commands | None = None,
) -> None:
    """The table, claims, curves, what the symbols mean, the page, figures/*.png; each whole or not.

    Args:
        commands: what runs the steps, for the page.

    The corpus is below `root`, what the models left below `runs` (default: there too).

    Raises:
        UserError: a file of a run is missing; names the first.
    """
    found = read_results(params, root, runs)
    meanings = interpretability.rows(found, interpretability.read_attributes(root / "data/raw"))
    with staged(results) as folder:
        table.write_csv(found, folder / "table.csv")
        text = "\n".join([table.markdown(params, found), *diagnostics.markdown(found)])
        (folder / "table.md").write_text(text, encoding="utf-8")
        means = json.dumps(table.means(found), indent=2) + "\n"
        (folder / "metrics.json").write_text(means, encoding="utf-8")
        interpretability.write(found, meanings, folder)
        curves.write_csv(found, folder / "curves.csv")
        claims.write(found, folder)
        page.write(params, found, meanings, runs or root, commands or {}, folder / "report.html")
    with staged(results / "figures") as folder:
        draw_figures(found, folder)
