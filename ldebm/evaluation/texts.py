"""`ldebm score`: the table's metrics of anybody's sentences. Knows nothing of models."""

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ldebm.context import Context
from ldebm.data.files import read_text
from ldebm.data.tokenizer import words_of
from ldebm.data.vocabulary import Vocabulary
from ldebm.errors import UserError
from ldebm.evaluation.judging import judgement
from ldebm.metrics.corpus_bleu import corpus_bleu
from ldebm.metrics.word_kl import word_kl


def score(context: Context, samples: Path, references: Path | None) -> Iterator[dict[str, Any]]:
    """Scores of a file of sentences, each with the signature of how it was computed.

    They are tokenised as the corpus was; a warning tells of words that it does not have.

    With `references` they are reconstructions of these, line by line: BLEU. Without, they are
    samples: word KL, and reverse perplexity by the judge of the context's parameters, on its
    corpus.

    Raises:
        UserError: the judge needs more sentences; word KL is given before.
    """
    lines, corpus, judge = _lines(context, samples), context.corpus, context.params.judge
    if references is not None:
        bleu = corpus_bleu(lines, _lines(context, references))
        yield {"metric": "bleu", "score": bleu.score, "signature": bleu.signature}
        return
    _warn_of_unknown(lines, corpus.vocabulary)
    wkl = word_kl(lines[: judge.train_sentences], corpus.texts(corpus.train))
    yield {"metric": "wkl", "score": wkl.score, "signature": wkl.signature}
    if len(lines) < (needed := judge.train_sentences + judge.valid_sentences):
        fewer = f"; of {judge.train_sentences}, as in the table, wkl would be smaller"
        raise UserError(
            f"{samples}: rPPL needs {needed} sentences, judge.train_sentences + "
            f"judge.valid_sentences, and it has {len(lines)}; give more or set those lower"
            f"{fewer if len(lines) < judge.train_sentences else ''}"
        )
    tokenised = context.out / "samples.txt"
    tokenised.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    rppl = judgement(context, tokenised)
    yield {"metric": "rppl", "score": rppl.perplexity, "signature": rppl.signature}


def _lines(context: Context, path: Path) -> list[str]:
    words = words_of(context.params.data.model_dump()["corpus"])
    return [" ".join(words(text)) for _, text in read_text(path)]


def _warn_of_unknown(lines: list[str], vocabulary: Vocabulary) -> None:
    counts = Counter(word for line in lines for word in line.split())
    unknown = [word for word, _ in counts.most_common() if word not in vocabulary.ids]
    if unknown:
        share = sum(counts[word] for word in unknown) / counts.total()
        warnings.warn(
            f"{share:.1%} of the words are not in the corpus: {', '.join(unknown[:10])}",
            stacklevel=3,
        )
