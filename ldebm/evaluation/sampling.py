"""`ldebm sample`: sentences drawn from a trained model, or real ones in their place."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import torch

from ldebm import build
from ldebm.context import Context
from ldebm.models.sentence import SentenceModel
from ldebm.runtime.console import Console


def sample(context: Context, weights: Path) -> None:
    """Draw `evaluation.samples` sentences from the trained model of `weights` into samples.txt."""
    seed = context.params.evaluation.seed + context.seed
    generator = torch.Generator(context.device).manual_seed(seed)
    _write(context, draw(context, build.load(context, weights), generator))


def draw(context: Context, model: SentenceModel, generator: torch.Generator) -> Iterator[str]:
    """`evaluation.samples` sentences of the model, `evaluation.sample_batch` at a time."""
    settings = context.params.evaluation
    console = Console(f"sample {context.key} seed {context.seed}", settings.samples, "sentence")
    for start in range(0, settings.samples, settings.sample_batch):
        count = min(settings.sample_batch, settings.samples - start)
        for ids in model.sample(count, context.max_tokens, generator).tolist():
            yield " ".join(context.corpus.vocabulary.decode(ids))
        console.show(start + count)
    console.close()


def sample_real(context: Context) -> None:
    """Write real sentences into samples.txt, as many as the judge needs, or all that there are.

    Validation sentences stand at the end, where the judge takes its own from; training sentences
    before them, also in the place of validation sentences that are wanting.
    """
    corpus, judge = context.corpus, context.params.judge
    valid = list(islice(corpus.texts(corpus.valid), judge.valid_sentences))
    others = judge.train_sentences + judge.valid_sentences - len(valid)
    _write(context, [*islice(corpus.texts(corpus.train), others), *valid])


def _write(context: Context, sentences: Iterable[str]) -> None:
    with (context.out / "samples.txt").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{sentence}\n" for sentence in sentences)
