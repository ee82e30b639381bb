"""`ldebm table`: statistics of the rows, and the files that show them."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ldebm.config import Evaluation, Judge, Params, TextFiles
from ldebm.data.files import staged
from ldebm.metrics import JudgeSettings
from ldebm.report.results import METRICS, TEST_SET, ModelResult, Results, Scores, read_results

Cells = dict[str, Any]

COLUMNS = (
    "row", "model",
    "rppl", "rppl_sd", "rppl_paper",
    "bleu", "bleu_sd", "bleu_paper",
    "wkl", "wkl_sd", "wkl_paper",
    "nll", "nll_sd", "nll_published", "nll_published_sd", "nll_paper",
    "seeds", "parameters", "train_seconds", "device", "rppl_real_text",
)  # fmt: skip
HEADINGS = dict(
    zip(METRICS, ("rPPL ↓", "BLEU ↑", "wKL ↓", "NLL ↓", "NLL, published estimator"), strict=True)
)
DECIMALS = {"rppl": 2, "bleu": 2, "wkl": 3, "nll": 2, "nll_published": 2}
PUBLISHED_EVALUATION = {"samples": 46000, "likelihood_samples": 500}
PUBLISHED_JUDGE_TEXT = {"train_sentences": 40000, "valid_sentences": 3000}

RPPL = (
    "**rPPL**, reverse perplexity: a language model (AWD-LSTM, the judge) is trained on {:,} of {:,} sampled sentences "
    "and scored by its perplexity on the real, uncut test set. Its dictionary is the corpus vocabulary, so words that "
    "are never sampled count too: a model that knows few words is punished more than in the published numbers."
)
FLOOR = "† The same score of a judge trained on real training sentences: the floor any model can hope for."
BLEU = (
    "**BLEU**: corpus BLEU-4 in percent of greedy reconstructions from the posterior mode, against the cut test "
    "sentences."
)
WKL = (
    "**wKL**: divergence in nats of the word frequencies of samples from those of the training set, both uncut; in the "
    "TEST SET row the test set stands for the samples."
)
NLL = (
    "**NLL**: nats per cut sentence, `</s>` counted, by importance sampling with {} posterior samples (exact where "
    "there is no latent variable), averaged over {}. Standard errors over sentences are in each evaluation's "
    "scores.json."
)
NLL_PUBLISHED = (
    "**NLL, published estimator** (`nll_published`): energy-based priors have an unknown normaliser. This is the "
    "estimator of their papers, which estimates it from posterior samples of the very sentence that is scored. It is "
    "no bound and can be far off either way: kept for comparison, not for belief."
)
SVEBM = (
    "The papers' NLL of SVEBM and SVEBM-IB comes from a Gaussian density with a misplaced parenthesis; ours is from "
    "the right one."
)
ENTROPY = (
    "The NLL of the TEST SET row is exact, the mean of the source's -log p over the same sentences: a sound estimate "
    "is below it only by its sampling error."
)


@dataclass(frozen=True)
class Statistic:
    """Mean over seeds and sample standard deviation (None for a single seed)."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Statistic | None":
        """None where there is no value."""
        if not values:
            return None
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    def text(self, decimals: int) -> str:
        """`mean ± sd`, or the mean alone."""
        spread = "" if self.sd is None else f" ± {self.sd:.{decimals}f}"
        return f"{self.mean:.{decimals}f}{spread}"


def write_results(params: Params, root: Path, results: Path) -> None:
    """Write table.csv, table.md, interpretability.csv and .md, metrics.json and figures/*.png into `results`, each whole or not at all.

    Raises UserError naming the first file of a run that is missing, and the command that makes it.
    """
    from ldebm.report import interpretability
    from ldebm.report.figures import draw_figures  # matplotlib takes its time

    found = read_results(params, root)
    with staged(results) as folder:
        write_csv(found, folder / "table.csv")
        (folder / "table.md").write_text(markdown(params, found), encoding="utf-8")
        (folder / "metrics.json").write_text(
            json.dumps(metrics(found), indent=2) + "\n", encoding="utf-8"
        )
        interpretability.write(found, root, folder)
    with staged(results / "figures") as folder:
        draw_figures(found, folder)


def write_csv(found: Results, path: Path) -> None:
    """A row a model below the TEST SET row; a cell without a value is empty."""
    import pandas as pd

    rows = (_model_cells(result, found.published.get(result.row, {})) for result in found.models)
    pd.DataFrame([_test_set_cells(found), *rows], columns=list(COLUMNS), dtype=object).to_csv(
        path, index=False
    )


def metrics(found: Results) -> dict[str, Scores]:
    """Means over seeds by the model's key in params.yaml, and the TEST SET row as `test_set`."""
    table = {"test_set": found.test_set}
    for result in found.models:
        means = {metric: Statistic.of(result.values(metric)) for metric in METRICS}
        table[result.model] = {
            metric: mean.mean for metric, mean in means.items() if mean is not None
        }
    return table


def _paper_cells(printed: Scores) -> Cells:
    return {f"{metric}_paper": value for metric, value in printed.items()}


def _test_set_cells(found: Results) -> Cells:
    scores = {name: round(value, 4) for name, value in found.test_set.items()}
    return {"row": TEST_SET} | scores | _paper_cells(found.published.get(TEST_SET, {}))


def _model_cells(result: ModelResult, printed: Scores) -> Cells:
    cells: Cells = {
        "row": result.row,
        "model": result.model,
        "seeds": _seeds(result),
        "device": _device(result),
    }
    for metric in METRICS:
        if statistic := Statistic.of(result.values(metric)):
            cells[metric] = round(statistic.mean, 4)
            cells[f"{metric}_sd"] = None if statistic.sd is None else round(statistic.sd, 4)
    cells |= {"parameters": _weights(result), "train_seconds": round(_train_seconds(result), 1)}
    return cells | _paper_cells(printed)


def _seeds(result: ModelResult) -> str:
    return " ".join(str(run.seed) for run in result.runs)


def _device(result: ModelResult) -> str:
    return "; ".join(dict.fromkeys(run.record["device"] for run in result.runs))


def _weights(result: ModelResult) -> int:
    return sum(result.runs[0].record["weights"].values())


def _train_seconds(result: ModelResult) -> float:
    return statistics.fmean(run.record["seconds"] for run in result.runs)


def markdown(params: Params, found: Results) -> str:
    """The table for readers, with what is needed to read it."""
    lines = [f"# Results on {_corpus_name(params)}", "", _caption(params, found), ""]
    header = ["Model", *HEADINGS.values(), "Seeds", "Weights", "Training", "Device"]
    lines += [_line(header), _line([":--", *["--:"] * (len(METRICS) + 3), ":--"])]
    lines += [
        _line(_test_set_texts(found)),
        *(_line(_model_texts(found, result)) for result in found.models),
    ]
    return "\n".join([*lines, "", *(f"- {note}" for note in _notes(params, found)), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _test_set_texts(found: Results) -> list[str]:
    printed, scores = found.published.get(TEST_SET, {}), found.test_set
    floor = (
        f"{scores['rppl_real_text']:.{DECIMALS['rppl']}f} †" if "rppl_real_text" in scores else ""
    )
    cells = [
        _with_printed(Statistic.of([scores[m]] if m in scores else []), m, printed.get(m))
        for m in METRICS[1:]
    ]
    return [TEST_SET, floor, *cells, "", "", "", ""]


def _model_texts(found: Results, result: ModelResult) -> list[str]:
    printed = dict(found.published.get(result.row, {}))
    if result.model in found.energy_based and "nll" in printed:
        printed["nll_published"] = printed.pop("nll")  # the printed number is of that estimator
    cells = [
        _with_printed(Statistic.of(result.values(metric)), metric, printed.get(metric))
        for metric in METRICS
    ]
    epochs = statistics.fmean(run.record["epochs"] for run in result.runs)
    training = f"{epochs:.3g} epochs, {duration(_train_seconds(result))}"
    return [
        result.label,
        *cells,
        _seeds(result),
        f"{_weights(result):,}",
        training,
        _device(result),
    ]


def _with_printed(statistic: Statistic | None, metric: str, printed: float | None) -> str:
    """Ours, and the printed number in parentheses."""
    parts = [] if statistic is None else [statistic.text(DECIMALS[metric])]
    return " ".join([*parts, *([] if printed is None else [f"({printed:.2f})"])])


def duration(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _corpus_name(params: Params) -> str:
    if isinstance(params.data.corpus, TextFiles):
        return f"the text files {params.data.corpus.train}, {params.data.corpus.valid}, {params.data.corpus.test}"
    return {"ptb": "Penn Treebank", "grammar": "the grammar corpus"}[params.data.corpus]


def _caption(params: Params, found: Results) -> str:
    corpus, cut = found.corpus, params.sentence_model.max_tokens
    parts = [
        f"{corpus.train:,} training, {corpus.valid:,} validation and {corpus.test:,} test sentences, "
        f"{corpus.types:,} word types; sentences are cut to {cut} tokens with `<s>` and `</s>`."
    ]
    if len(params.seeds) > 1:
        parts.append("Ours is the mean ± sample standard deviation over the seeds.")
    if found.published:
        parts.append("In parentheses: the number printed in the paper.")
    parts.append("↓ lower is better, ↑ higher is better; a cell without a value is empty.")
    return " ".join(parts)


def _notes(params: Params, found: Results) -> list[str]:
    """What each column is, and how this table's evaluation differs from the published one."""
    test, evaluation = found.corpus.test, params.evaluation
    count = min(test, evaluation.likelihood_sentences or test)
    sentences = (
        f"all {test:,} test sentences"
        if count == test
        else f"the first {count:,} of {test:,} test sentences"
    )
    notes = [RPPL.format(params.judge.train_sentences, evaluation.samples), FLOOR, BLEU, WKL]
    notes.append(NLL.format(evaluation.likelihood_samples, sentences))
    if found.energy_based:
        notes.append(NLL_PUBLISHED)
    if found.published and any(result.row.startswith("SVEBM") for result in found.models):
        notes.append(SVEBM)
    if "nll" in found.test_set:
        notes.append(ENTROPY)
    return notes + _reductions(params.judge, evaluation, test)


def _reductions(judge: Judge, evaluation: Evaluation, test: int) -> list[str]:
    """One note on the settings that differ from the published evaluation, or none."""
    published = {
        name: value for name, value in vars(JudgeSettings()).items() if name in Judge.model_fields
    }
    published |= PUBLISHED_JUDGE_TEXT
    changed = _changed("judge", judge, published) + _changed(
        "evaluation", evaluation, PUBLISHED_EVALUATION
    )
    if (sentences := evaluation.likelihood_sentences) is not None and sentences < test:
        changed.append(f"evaluation.likelihood_sentences {sentences} (all)")
    if not changed:
        return []
    return [
        f"Not evaluated as published. Settings, the published one in parentheses: {', '.join(changed)}."
    ]


def _changed(block: str, settings: Judge | Evaluation, published: Mapping[str, Any]) -> list[str]:
    pairs = {name: (getattr(settings, name), value) for name, value in published.items()}
    return [
        f"{block}.{name} {ours} ({value})" for name, (ours, value) in pairs.items() if ours != value
    ]
