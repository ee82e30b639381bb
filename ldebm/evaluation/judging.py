"""`ldebm judge`: reverse perplexity of sampled sentences. Knows nothing of models."""

import csv
from pathlib import Path
from typing import Any

from ldebm.context import Context
from ldebm.data.files import read_lines, write_json
from ldebm.data.vocabulary import EOS
from ldebm.metrics.reverse_perplexity import Judgement, Sentences, reverse_perplexity
from ldebm.runtime.console import Console


def judge(context: Context, samples: Path) -> None:
    """Train a judge on samples.txt and score it on the test split: scores.json and history.csv."""
    judged = judgement(context, samples)
    scores = {
        "rppl": judged.perplexity,
        "rppl_valid": judged.valid_perplexity,
        "best_epoch": judged.best_epoch,
        "signature": judged.signature,
    }
    write_json(context.out / "scores.json", scores)
    with (context.out / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(judged.history[0]))
        writer.writeheader()
        writer.writerows(judged.history)
    context.tracker.log_metrics({"rppl": judged.perplexity}, step=0)


def judgement(context: Context, samples: Path) -> Judgement:
    """Train a judge on the sentences of a file and score it on the test split."""

    settings, corpus = context.params.judge, context.corpus
    console = Console(f"judge {context.key} seed {context.seed}", settings.epochs, "epoch")

    def report(epoch: dict[str, Any]) -> None:
        console.show(int(epoch["epoch"]), f"valid perplexity {epoch['valid_ppl']:.2f}")
        values = {f"judge_{key}": one for key, one in epoch.items() if isinstance(one, float)}
        context.tracker.log_metrics(values, step=int(epoch["epoch"]))

    judged = reverse_perplexity(
        *_sentences(context, samples),
        list(corpus.test),
        len(corpus.vocabulary),
        EOS,
        settings,
        settings.seed,
        context.device,
        context.checkpoints,
        report,
    )
    console.close()
    return judged


def _sentences(context: Context, samples: Path) -> tuple[Sentences, Sentences]:
    """What the judge learns from and is validated on: of the sentences needed, the last."""
    settings = context.params.judge
    needed = settings.train_sentences + settings.valid_sentences
    encode = context.corpus.vocabulary.encode
    used = [encode(words) for _, words in read_lines(samples)][:needed]
    return used[: -settings.valid_sentences], used[-settings.valid_sentences :]
