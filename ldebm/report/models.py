"""`ldebm models`: the rows of the table, what they are composed of, and their sizes."""

from collections.abc import Iterator

from ldebm.config import Params

PTB_TYPES = 10002
HEADINGS = ("Row", "Key", "Posterior", "Prior", "Regularisers", "Weights", "Source")


def models_table(params: Params) -> str:
    """Markdown: a line a block of `models`, weights counted with the treebank's vocabulary."""
    from tabulate import tabulate

    return tabulate(list(_lines(params)), HEADINGS, tablefmt="pipe", intfmt=",")


def _lines(params: Params) -> Iterator[tuple[str | int, ...]]:
    from ldebm.build import build_model

    for key, row in params.models.items():
        model = build_model(params, key, PTB_TYPES)
        terms = ", ".join(one.label for one in model.regularisers) or "-"
        weights = sum(parameter.numel() for parameter in model.parameters())
        yield row.name, key, model.posterior.label, model.prior.label, terms, weights, row.source
