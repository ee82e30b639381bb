"""A trained model as MLflow opens it: `mlflow.pyfunc.load_model(URI).predict({"n": [3]})`."""

from typing import TYPE_CHECKING, Any

import ldebm

if TYPE_CHECKING:
    import pandas as pd

    from ldebm.trained import TrainedModel


class Generator:
    """Writes sentences; `model` is the trained model itself, which can do more."""

    def __init__(self, model: "TrainedModel") -> None:
        self.model = model

    def predict(self, asked: "pd.DataFrame", params: dict[str, Any] | None = None) -> list[str]:
        """For each row `n` sentences.

        Args:
            params: `seed`; `symbol`, for sentences of a value, of a code with its `variable`.
        """
        given = {"seed": 1, "symbol": None, "variable": None, **(params or {})}
        symbol, variable = given["symbol"], given["variable"]
        value = symbol if variable is None else (variable, symbol)
        return [
            text for n in asked["n"] for text in self.model.sample(int(n), value, given["seed"])
        ]


def _load_pyfunc(folder: str, options: dict[str, Any]) -> Generator:
    """Called by MLflow; `options` are those of `ldebm.load`: the `model_config` given to it."""
    return Generator(ldebm.load(folder, **options))
