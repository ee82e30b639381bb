"""Negative log-likelihoods as columns of the table; `ldebm.evaluation` estimates them."""

from collections.abc import Iterator

from ldebm.metrics.base import Metric, Shown


class Nll(Metric):
    """-log p(x), exact or an upper bound in expectation."""

    key = published = "nll"
    heading, title = "NLL", "NLL (nats a sentence)"
    limit = ("nll", "source's entropy")

    def notes(self, shown: Shown) -> Iterator[str]:
        """The estimator, the sentences, and the exact value where the source is known."""
        settings, test = shown.params.evaluation, shown.test_sentences
        count = min(test, settings.likelihood_sentences or test)
        part = f"all {test:,}" if count == test else f"the first {count:,} of {test:,}"
        yield (
            "**NLL**: nats per cut sentence, `</s>` counted, by importance sampling with "
            f"{settings.likelihood_samples} posterior samples (exact where there is no latent "
            f"variable), averaged over {part} test sentences. Standard errors over sentences are "
            "in each model's scores.json."
        )
        if self.key in shown.test_set:
            yield (
                "The NLL of the TEST SET row is exact, the mean of the source's -log p over the "
                "same sentences: a sound estimate is below it only by its sampling error."
            )


class PublishedNll(Metric):
    """The estimate that was published for an energy-based prior; no bound."""

    key, published = "nll_published", "nll"
    heading, title = (
        "NLL, published estimator",
        "published estimator of energy-based priors: no bound",
    )
    better = None

    def notes(self, shown: Shown) -> Iterator[str]:
        """Why not to believe it, where there is any."""
        if self.key in shown.scored:
            yield (
                "**NLL, published estimator** (`nll_published`): energy-based priors have an "
                "unknown normaliser. This is the estimator of their papers, which estimates it "
                "from posterior samples of the very sentence that is scored. It is no bound and "
                "can be far off either way: kept for comparison, not for belief."
            )
        if shown.printed and any(row.startswith("SVEBM") for row in shown.rows):
            yield (
                "The papers' NLL of SVEBM and SVEBM-IB comes from a Gaussian density with a "
                "misplaced parenthesis; ours is from the right one."
            )
