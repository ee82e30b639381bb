"""`ldebm score`: the table's metrics of anybody's sentences. Knows nothing of models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ldebm.context import Context
from ldebm.data.files import read_lines
from ldebm.errors import UserError
from ldebm.evaluation.judging import judgement
from ldebm.metrics.corpus_bleu import corpus_bleu
from ldebm.metrics.word_kl import word_kl


def score(context: Context, samples: Path, references: Path | None) -> Iterator[dict[str, Any]]:
    """Scores of a file of tokenised sentences, each with the signature of how it was computed.

    BLEU, line by line, where there are references; word KL, and reverse perplexity by the judge of
    the context's parameters, on its corpus.

    Raises:
        UserError: the judge needs more sentences; what needs fewer is given before.
    """
    lines, corpus, judge = _lines(samples), context.corpus, context.params.judge
    if references is not None:
        bleu = corpus_bleu(lines, _lines(references))
        yield {"metric": "bleu", "score": bleu.score, "signature": bleu.signature}
    wkl = word_kl(lines[: judge.train_sentences], corpus.texts(corpus.train))
    yield {"metric": "wkl", "score": wkl.score, "signature": wkl.signature}
    if len(lines) < (needed := judge.train_sentences + judge.valid_sentences):
        raise UserError(
            f"{samples}: rPPL needs {needed} sentences, judge.train_sentences + "
            f"judge.valid_sentences, and it has {len(lines)}; give more or set those lower"
        )
    rppl = judgement(context, samples)
    yield {"metric": "rppl", "score": rppl.perplexity, "signature": rppl.signature}


def _lines(path: Path) -> list[str]:
    return [" ".join(words) for _, words in read_lines(path)]
