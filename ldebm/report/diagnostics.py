"""How far to trust each row's likelihood, and how well its prior's sampler fits its posterior."""

from collections.abc import Mapping

from ldebm.report.results import ModelResult, Results, Statistic
from ldebm.report.sentences import Values, paired

REFERENCE = "VAE"
COLUMNS = {  # heading -> its score, which docs/likelihood.md explains, and decimals
    "gap": ("gap", 2),
    "effective chains": ("effective_chains", 1),
    "acceptance": ("acceptance", 2),
    "fall from half": ("fall_from_half", 2),
    "prior fit": ("prior_fit", 1),
    "of 5 times longer chains": ("prior_fit_longer", 1),
    "posterior variance": ("posterior_variance", 1),
    "norm, generated": ("generated_norm", 1),
    "norm, posterior": ("posterior_norm", 1),
    "energy, generated": ("generated_energy", 1),
    "energy, posterior": ("posterior_energy", 1),
}

HEADINGS = ("Row", f"NLL - {REFERENCE}", *COLUMNS)


def markdown(found: Results) -> list[str]:
    """A table of the rows that have any of it; no lines where none has."""
    rows = table(found)
    if not rows:
        return []
    rule = " | ".join([":--", *["--:"] * (len(HEADINGS) - 1)])
    title = ["## Likelihood and prior: diagnostics (docs/likelihood.md)", ""]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [*title, f"| {' | '.join(HEADINGS)} |", f"| {rule} |", *lines, ""]


def table(found: Results) -> list[list[str]]:
    """The cells below HEADINGS, a row for each model that has any of it."""
    reference = {
        run.seed: run.sentences.get("nll", {})
        for result in found.models
        if result.row == REFERENCE
        for run in result.runs
    }
    rows = []
    for result in found.models:
        values = [(result.statistic(score), decimals) for score, decimals in COLUMNS.values()]
        cells = [_against(result, reference)]
        cells += ["" if value is None else value.text(decimals) for value, decimals in values]
        if any(cells):
            rows.append([result.label, *cells])
    return rows


def _against(result: ModelResult, reference: Mapping[int, Values]) -> str:
    """The paired difference to the reference of the same seed: of one seed with its error."""
    if result.row == REFERENCE:
        return ""
    pairs = [
        paired(run.sentences.get("nll", {}), reference.get(run.seed, {})) for run in result.runs
    ]
    known = [pair for pair in pairs if pair is not None]
    if len(known) == 1:
        return f"{known[0].mean:.2f} ± {known[0].error:.2f} s.e."
    statistic = Statistic.of([pair.mean for pair in known])
    return "" if statistic is None else statistic.text(2)
