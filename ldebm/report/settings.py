"""Which parameters of a run differ from the published ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

from ldebm import params as parameters
from ldebm.config import Params
from ldebm.runtime.tracking import flatten

OF_ALL: dict[str, set[str] | None] = {  # blocks, and the keys of them that count; None: all
    "data": {"vocabulary_limit"},
    "run": {"precision"},
    **dict.fromkeys(("sentence_model", "judge")),
    "evaluation": {"samples", "likelihood_samples", "likelihood_sentences"},
}
ABSENT = "-"


@dataclass(frozen=True)
class Difference:
    """A key of params.yaml, its value here, the published one, and whose it is."""

    key: str
    here: str
    published: str
    rows: str


def published() -> Params:
    """The parameters as they are shipped."""
    with as_file(files("ldebm.report") / "published.yaml") as path:
        return parameters.load(path)


def differences(params: Params) -> list[Difference]:
    """Every key whose value is another; what several rows share stands once."""
    shipped = published()
    found = [
        Difference(*one, "all") for block in OF_ALL for one in _of_block(params, shipped, block)
    ]
    known = {row.name: row.model_dump(mode="json") for row in shipped.models.values()}
    of_row: dict[tuple[str, str, str], list[str]] = {}
    compared = [row for row in params.models.values() if row.name in known]
    for row in compared:
        for one in _changes(row.model_dump(mode="json"), known[row.name]):
            of_row.setdefault(one, []).append(row.name)
    for one, names in of_row.items():
        every = len(names) == len(compared) > 1
        found.append(Difference(*one, "all rows" if every else ", ".join(dict.fromkeys(names))))
    return found


def _of_block(params: Params, shipped: Params, block: str) -> Iterator[tuple[str, str, str]]:
    here, there = (
        getattr(one, block).model_dump(mode="json", include=OF_ALL[block])
        for one in (params, shipped)
    )
    for key, *values in _changes(here, there):
        yield f"{block}.{key}", values[0], values[1]


def _changes(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Keys with both values, a key of one side alone included."""
    ours, theirs = dict(flatten(here)), dict(flatten(there))
    for key in dict.fromkeys([*ours, *theirs]):
        pair = [_text(one.get(key, ABSENT)) for one in (ours, theirs)]
        if pair[0] != pair[1]:
            yield key, pair[0], pair[1]


def _text(value: Any) -> str:
    """As params.yaml writes it."""
    return "null" if value is None else str(value)
