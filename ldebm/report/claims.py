"""The claims of the paper: inequalities between cells, and what this table says of each."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scipy import stats

from ldebm.report.results import Results

Verdict = Literal["holds", "fails", "undecided"]
CONFIDENCE = 0.95
EVERY = ("rppl", "wkl", "bleu")
NOTE = (
    "Each claim is an inequality between two cells. The difference is counted so that it is above "
    "0 where the claim's direction is right; its half width is that of Welch's 95 % interval over "
    "seeds. A claim holds or fails where that interval excludes 0; one seed decides nothing."
)

# Claim, the row that should be better, the row it is compared with, by which metrics.
# Sources: Yu et al. 2022 for the first six, Shi et al. 2020 and Zhao et al. 2018 for the others.
CLAIMS = (
    ("LDEBM improves on SVEBM-IB", "LDEBM", "SVEBM-IB", EVERY),
    ("the diffusion improves on one energy", "LDEBM w/o GC", "SVEBM-IB", EVERY),
    ("geometric clustering helps", "LDEBM", "LDEBM w/o GC", EVERY),
    ("the information bottleneck helps", "SVEBM-IB", "SVEBM", ("rppl", "wkl")),
    ("an energy improves on the best mixture", "SVEBM", "DGM-VAE + I", EVERY),
    ("LDEBM improves on VAE", "LDEBM", "VAE", EVERY),
    ("dispersion prevents collapse", "DGM-VAE", "GM-VAE", EVERY),
    ("information prevents collapse (mixture)", "GM-VAE + I", "GM-VAE", EVERY),
    ("information prevents collapse (dispersed)", "DGM-VAE + I", "DGM-VAE", EVERY),
    ("information prevents collapse (codes)", "SEMI-VAE + I", "SEMI-VAE", EVERY),
    ("the aggregate KL prevents collapse", "DI-VAE", "DVAE", EVERY),
)


@dataclass(frozen=True)
class Finding:
    """How much better a row is than another by a metric: above 0 if the claim's direction is right.

    `half_width` is that of the confidence interval over seeds; None with a single seed.
    """

    difference: float
    half_width: float | None

    @property
    def verdict(self) -> Verdict:
        """Undecided where the interval holds 0, or where one seed gives no interval."""
        if self.half_width is None or abs(self.difference) <= self.half_width:
            return "undecided"
        return "holds" if self.difference > 0 else "fails"


def compare(better: Sequence[float], worse: Sequence[float], lower_is_better: bool) -> Finding:
    """Welch's interval of the difference of two means (Welch 1947).

    Args:
        better, worse: a metric's values, one a seed; at least one each.
    """
    sign = -1.0 if lower_is_better else 1.0
    difference = sign * (statistics.fmean(better) - statistics.fmean(worse))
    if min(len(better), len(worse)) < 2:
        return Finding(difference, None)
    errors = [statistics.variance(values) / len(values) for values in (better, worse)]
    if not sum(errors):
        return Finding(difference, 0.0)
    terms = zip(errors, (better, worse), strict=True)
    freedom = sum(errors) ** 2 / sum(error**2 / (len(values) - 1) for error, values in terms)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    return Finding(difference, quantile * math.sqrt(sum(errors)))


def write(found: Results, folder: Path) -> None:
    """claims.csv and claims.md: every claim that has a value for both of its rows."""
    import pandas as pd

    columns = ["claim", "better", "than", "by", "difference", "half_width", "verdict"]
    frame = pd.DataFrame(list(_rows(found)), columns=columns)
    frame.to_csv(folder / "claims.csv", index=False)
    said = frame.to_markdown(index=False, floatfmt=".3g", missingval="")
    text = f"# The paper's claims on {len(found.models)} rows\n\n{NOTE}\n\n{said}\n"
    (folder / "claims.md").write_text(text, encoding="utf-8")


def _rows(found: Results) -> Iterator[dict[str, Any]]:
    results = {one.row: one for one in reversed(found.models)}
    for claim, better, worse, keys in CLAIMS:
        for metric in (one for one in found.metrics if one.key in keys):
            values = [results[row].values(metric.key) for row in (better, worse) if row in results]
            if len(values) == 2 and all(values):
                finding = compare(values[0], values[1], metric.better == "lower")
                yield {
                    **{"claim": claim, "better": better, "than": worse, "by": metric.key},
                    **{"difference": finding.difference, "half_width": finding.half_width},
                    "verdict": finding.verdict,
                }
