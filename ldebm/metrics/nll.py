"""Negative log-likelihoods as columns of the table; `ldebm.evaluation` estimates them."""

from collections.abc import Iterator

from ldebm.metrics.base import Metric, Shown


class Nll(Metric):
    """-log p(x) of what a row generates: exact, or an upper bound in expectation."""

    key = published = "nll"
    error, bound = "nll_standard_error", "still_falling"
    heading, title = "NLL", "NLL (nats a sentence)"
    limit = ("nll", "source's entropy")

    def notes(self, shown: Shown) -> Iterator[str]:
        """The estimator, the sentences, and the exact value where the source is known."""
        settings, test = shown.params.evaluation.annealed, shown.test_sentences
        part = f"the same {min(test, settings.sentences):,} of {test:,} test sentences"
        yield (
            "**NLL** (`nll`): nats per cut sentence, `</s>` counted, by what each row generates: "
            f"annealed importance sampling, {settings.chains} chains of {settings.temperatures:,} "
            f"temperatures, on {part} for every row (exact, and of all of them, where there is no "
            "latent variable). ≤: more temperatures may still lower it."
        )
        if shown.reference is None:
            yield (
                "s.e.: the standard error over sentences; that of a difference between rows is far "
                "smaller, since the sentences are the same (sentences.csv)."
            )
        else:
            yield (
                f"NLL and importance sampling stand for all {test:,} test sentences: the mean "
                f"difference to {shown.reference} over those that were taken, plus its exact NLL "
                "of all. s.e.: the standard error of the difference over sentences; that between "
                "two other rows may be smaller (sentences.csv)."
            )
        if self.key in shown.test_set:
            yield (
                "The NLL of the TEST SET row is exact, the mean of the source's -log p over the "
                "same sentences: a sound estimate is below it only by its sampling error."
            )


class ImportanceNll(Metric):
    """-log p(x) by importance sampling over the posterior, an upper bound in expectation."""

    key, published, error = "nll_importance", "nll", "nll_importance_standard_error"
    heading, title = "NLL, importance sampling", "importance sampling: an upper bound"

    def notes(self, shown: Shown) -> Iterator[str]:
        """What it checks."""
        if self.key in shown.scored:
            yield (
                "**NLL, importance sampling** (`nll_importance`): of the same sentences, with "
                f"{shown.params.evaluation.likelihood_samples} posterior samples, where prior and "
                "posterior have densities. It checks the NLL: both bound the same number from "
                "above in expectation, so the smaller is the better estimate."
            )


class PublishedNll(Metric):
    """The estimate that was published for an energy-based prior; no bound."""

    key, published = "nll_published", "nll"
    heading = "NLL, published estimator"
    title = "published estimator of energy-based priors: no bound"
    better = None

    def notes(self, shown: Shown) -> Iterator[str]:
        """Why not to believe it, where there is any."""
        if self.key in shown.scored:
            count = shown.params.evaluation.likelihood_sentences or shown.test_sentences
            part = f"the first {count:,}" if count < shown.test_sentences else "all"
            yield (
                "**NLL, published estimator** (`nll_published`): energy-based priors have an "
                "unknown normaliser. This is the estimator of their papers, which estimates it "
                "from posterior samples of the very sentence that is scored. It is no bound and "
                "can be far off either way: kept for comparison with the papers, not for belief; "
                f"docs/likelihood.md says why. It is of {part} test sentences."
            )
        if shown.printed and any(row.startswith("SVEBM") for row in shown.rows):
            yield (
                "The papers' NLL of SVEBM and SVEBM-IB comes from a Gaussian density with a "
                "misplaced parenthesis; ours is from the right one."
            )
