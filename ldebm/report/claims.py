"""The claims of the paper: inequalities between cells, and what this table says of each."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from scipy import stats

from ldebm.report.results import ModelResult, Results
from ldebm.report.sentences import mean_of_each, paired

Verdict = Literal["holds", "fails", "undecided"]
CONFIDENCE = 0.95
EVERY = ("rppl", "wkl", "bleu")
NUMBERS = ("difference", "half_width")
BETTER = {"information": "higher", "prior_fit": "lower"}  # of scores that are no column
NOTE = (
    "Each claim is an inequality between two cells. The difference is counted so that it is above "
    "0 where the claim's direction is right; its half width is that of a 95 % interval: over seeds "
    "(Welch's), of NLL over the test sentences that were taken too, in pairs. A claim holds or "
    "fails where that interval excludes 0. One seed decides nothing, but of NLL, whose interval is "
    "then over the sentences alone: it is of these trainings. "
    "Nothing is decided by a value with ≤ that is the worse one: it may come out lower. "
    "`information` is what a row's symbols or code say of the test sentences, in nats; `prior_fit` "
    "is how far its sampler is from its posterior (docs/likelihood.md)."
)

# Claim, the row that should be better, the row it is compared with, by which scores.
# Sources: Yu et al. 2022 for the first six, Shi et al. 2020 and Zhao et al. 2018 for the others.
CLAIMS = (
    ("LDEBM improves on SVEBM-IB", "LDEBM", "SVEBM-IB", (*EVERY, "nll")),
    ("the diffusion improves on one energy", "LDEBM w/o GC", "SVEBM-IB", (*EVERY, "nll")),
    ("geometric clustering helps", "LDEBM", "LDEBM w/o GC", (*EVERY, "information")),
    ("the information bottleneck helps", "SVEBM-IB", "SVEBM", ("rppl", "wkl", "information")),
    ("an energy improves on the best mixture", "SVEBM", "DGM-VAE + I", EVERY),
    ("LDEBM improves on VAE", "LDEBM", "VAE", (*EVERY, "nll")),
    ("dispersion prevents collapse", "DGM-VAE", "GM-VAE", (*EVERY, "information")),
    ("information prevents collapse (mixture)", "GM-VAE + I", "GM-VAE", (*EVERY, "information")),
    (
        "information prevents collapse (dispersed)",
        "DGM-VAE + I",
        "DGM-VAE",
        (*EVERY, "information"),
    ),
    ("information prevents collapse (codes)", "SEMI-VAE + I", "SEMI-VAE", (*EVERY, "information")),
    ("the aggregate KL prevents collapse", "DI-VAE", "DVAE", (*EVERY, "information")),
)
# Claim, its row: the distance of its sampler as it is, and with chains 5 times as long.
SHORT = "chains as short as in training suffice"
LONGER = "itself, chains 5 times as long"
SHORT_CHAINS = ((SHORT, "SVEBM-IB"), (SHORT, "LDEBM w/o GC"), (SHORT, "LDEBM"))


@dataclass(frozen=True)
class Finding:
    """How much better a row is than another by a metric: above 0 if the claim's direction is right.

    `half_width` is that of the confidence interval over seeds; None with a single seed.
    """

    difference: float
    half_width: float | None
    loose: bool = False  # the value that is worse is only a bound, and may come out better

    @property
    def verdict(self) -> Verdict:
        """Undecided where the interval holds 0, one seed gives none, or the worse is loose."""
        if self.half_width is None or abs(self.difference) <= self.half_width or self.loose:
            return "undecided"
        return "holds" if self.difference > 0 else "fails"


Part = tuple[float, int]  # of the variance of a difference: its size, and degrees of freedom


def interval(difference: float, parts: Sequence[Part]) -> Finding:
    """Student's interval for a variance of independent parts (Welch 1947, Satterthwaite 1946).

    The half width is None where a part has no degree of freedom, or there is no part.
    """
    if not parts or min(freedom for _, freedom in parts) < 1:
        return Finding(difference, None)
    total = sum(size for size, _ in parts)
    if not total:
        return Finding(difference, 0.0)
    freedom = total**2 / sum(size**2 / freedom for size, freedom in parts)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    return Finding(difference, quantile * math.sqrt(total))


def of_mean(values: Sequence[float]) -> Part:
    """What the mean of independent values adds to the variance."""
    count = len(values)
    return (statistics.variance(values) / count if count > 1 else 0.0), count - 1


def compare(
    better: Sequence[float],
    worse: Sequence[float],
    lower_is_better: bool,
    sentences: Part | None = None,
) -> Finding:
    """The difference of two means over seeds.

    Args:
        better, worse: a metric's values, one a seed; at least one each.
        sentences: what their choice adds, where a part stands for all of them. Of one seed each
            the interval is over these alone.
    """
    sign = -1.0 if lower_is_better else 1.0
    difference = sign * (statistics.fmean(better) - statistics.fmean(worse))
    seeds = [of_mean(better), of_mean(worse)]
    if sentences is None:
        return interval(difference, seeds)
    alone = max(len(better), len(worse)) == 1
    return interval(difference, [sentences, *([] if alone else seeds)])


def write(found: Results, folder: Path) -> None:
    """claims.csv and claims.md: every claim that has a value for both of its cells."""
    import pandas as pd

    columns = ["claim", "better", "than", "by", "difference", "half_width", "verdict"]
    frame = pd.DataFrame(list(rows(found)), columns=columns)
    frame.to_csv(folder / "claims.csv", index=False)
    shown = frame.assign(**{name: frame[name].map(_three_digits) for name in NUMBERS})
    sides = ["right" if name in NUMBERS else "left" for name in columns]
    said = shown.to_markdown(index=False, disable_numparse=True, colalign=sides)
    text = f"# The paper's claims on {len(found.models)} rows\n\n{NOTE}\n\n{said}\n"
    (folder / "claims.md").write_text(text, encoding="utf-8")


def _three_digits(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rows(found: Results) -> Iterator[dict[str, Any]]:
    """By the columns of claims.csv, of every claim that has a value for both of its cells."""
    yield from (*_between(found), *_within(found))


def _between(found: Results) -> Iterator[dict[str, Any]]:
    """Claims of two rows."""
    results = {one.row: one for one in reversed(found.models)}
    directions = BETTER | {one.key: one.better for one in found.metrics}
    bounds = {one.key: one.bound for one in found.metrics}
    for claim, *rows, keys in CLAIMS:
        for key in keys:
            pair = [results[row] for row in rows if row in results]
            values = [one.values(key) for one in pair]
            if len(values) == 2 and all(values):
                sentences = _of_sentences(pair) if key == "nll" else None
                finding = compare(values[0], values[1], directions[key] == "lower", sentences)
                loser = pair[finding.difference > 0]
                loose = any(loser.values(bounds.get(key) or ""))
                yield _line(claim, rows, key, replace(finding, loose=loose))


def _within(found: Results) -> Iterator[dict[str, Any]]:
    """Claims of one row."""
    results = {one.row: one for one in reversed(found.models)}
    for claim, row in SHORT_CHAINS:
        runs = results[row].runs if row in results else ()
        falls = [
            run.scores["prior_fit_longer"] - run.scores["prior_fit"]
            for run in runs
            if {"prior_fit", "prior_fit_longer"} <= run.scores.keys()
        ]  # of one run, which has both of the same vectors
        if falls:
            finding = interval(statistics.fmean(falls), [of_mean(falls)])
            yield _line(claim, [row, LONGER], "prior_fit", finding)


def _of_sentences(pair: Sequence[ModelResult]) -> Part | None:
    """What the choice of sentences adds to the variance of two rows' difference in NLL."""
    means = [mean_of_each([run.sentences.get("nll", {}) for run in one.runs]) for one in pair]
    known = paired(*means)
    return None if known is None else (known.error**2, known.sentences - 1)


def _line(claim: str, rows: Sequence[str], key: str, finding: Finding) -> dict[str, Any]:
    return {
        **{"claim": claim, "better": rows[0], "than": rows[1], "by": key},
        **{"difference": finding.difference, "half_width": finding.half_width},
        "verdict": finding.verdict,
    }
