"""Corpus BLEU of reconstructions; training may choose its weights by it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ldebm.errors import UserError


@dataclass(frozen=True)
class CorpusBleu:
    """Corpus BLEU-4 in percent, and sacrebleu's signature of how it was computed."""

    score: float
    signature: str


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[str]) -> CorpusBleu:
    """Corpus BLEU-4 of tokenised lines, equal to multi-bleu.perl.

    Sources: Papineni et al. 2002, "BLEU"; Post 2018, sacrebleu.

    Args:
        hypotheses: an empty one counts as an empty line: no n-grams, and a shorter corpus.
        references: one for each hypothesis.

    Raises:
        UserError: there is nothing to compare, or the counts differ.
    """
    from sacrebleu.metrics.bleu import BLEU

    if len(hypotheses) != len(references):
        raise UserError(
            f"BLEU needs one reference a hypothesis: got {len(hypotheses)} hypotheses and "
            f"{len(references)} references"
        )
    if not hypotheses:
        raise UserError("BLEU needs at least one sentence: got none")
    # force: the lines are tokenised on purpose, so sacrebleu need not warn that they look so
    metric = BLEU(tokenize="none", smooth_method="none", force=True)
    score = metric.corpus_score(hypotheses, [references]).score
    return CorpusBleu(score, str(metric.get_signature()))
