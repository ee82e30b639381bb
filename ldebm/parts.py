"""The building blocks of the zoo under one name, imported on first use, so that the zoo can be read (and parameters checked) without torch."""

from importlib import import_module
from typing import Any

_MODULES = (
    "ldebm.models.sentence",
    "ldebm.models.networks",
    "ldebm.models.energy",
    "ldebm.models.initial",
    "ldebm.models.posteriors",
    "ldebm.models.priors",
    "ldebm.models.regularisers",
    "ldebm.models.schedules",
    "ldebm.evaluation.likelihood",
    "ldebm.models.plans",
)


def __getattr__(name: str) -> Any:
    if not name.startswith("__"):
        for module in map(import_module, _MODULES):
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"no building block is called {name!r}")
