"""`ldebm models`: the rows of the table, what they are composed of, and how many weights they have."""

from collections.abc import Iterator

from ldebm import zoo
from ldebm.config import Params

PTB_TYPES = 10002
HEADINGS = ("Row", "Key", "Posterior", "Prior", "Regularisers", "Weights", "Source")


def models_table(params: Params) -> str:
    """Markdown: one line for each block of `models`, weights counted with the vocabulary of Penn Treebank."""
    from tabulate import tabulate

    return tabulate(list(_lines(params)), HEADINGS, tablefmt="pipe", intfmt=",")


def _lines(params: Params) -> Iterator[tuple[str | int, ...]]:
    for key, block in params.models.items():
        row = zoo.MODELS[block.row]
        yield row.name, key, row.posterior, row.prior, row.regularisers, _weights(params, key), row.source


def _weights(params: Params, key: str) -> int:
    """The number of weights of a model, built without memory for them."""
    import torch

    from ldebm.training.loop import build_model

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_model(params, key, PTB_TYPES).parameters())
