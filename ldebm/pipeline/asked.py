"""What Snakemake is asked for: `--config` as options of `ldebm`, and targets; looked at before any
job.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ldebm.errors import UserError
from ldebm.pipeline.manifest import MANIFEST
from ldebm.pipeline.project import OPTIONS, Project
from ldebm.pipeline.steps import Step
from ldebm.pipeline.verbs import ON_MODEL

KEYS = (*OPTIONS, "threads")
THREADS = 2


def options(config: Mapping[str, Any]) -> dict[str, str]:
    """What `--config` gives the verbs, as `ldebm` reads it.

    Raises:
        UserError: a key is none of KEYS, or a name was read as something else.
    """
    for key in config:
        if key not in KEYS:
            near = get_close_matches(key, KEYS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KEYS)}"
            raise UserError(f"--config {key}: unknown key; {hint}")
    given = {key: config[key] for key in OPTIONS if config.get(key) not in (None, "")}
    for key, value in given.items():
        if key != "rows" and not isinstance(value, str):  # 2024_01_05 is the number 20240105
            raise UserError(f"--config {key}: {value!r} is not read as a name; write it as ./NAME")
    return {key: _written(value) for key, value in given.items()}


def threads(config: Mapping[str, Any]) -> int:
    """Of a job."""
    asked = str(config.get("threads", THREADS))
    if not asked.isdecimal() or int(asked) < 1:
        raise UserError(f"--config threads: {asked!r} is no number of threads; give 1 or more")
    return int(asked)


def check_places(project: Project, words: Sequence[str]) -> None:
    """Raise UserError for what Snakemake's paths cannot hold, and a table that is not this one.

    Args:
        words: of the command line.
    """
    places = {"--config root": project.root, "--config results": project.results}
    texts = {f"data.corpus.{name}": one.path for name, one in project.raw().inputs.items()}
    for name, path in (places | texts).items():
        if not str(path).isprintable() or set(str(path)) & set("{}"):
            raise UserError(
                f"{name}: {str(path)!r}: braces and control characters cannot be used in "
                "Snakemake's paths"
            )
    for name, path in places.items():
        if path.exists() and not path.is_dir():
            raise UserError(f"{name}: {str(path)!r} is no folder")
    asked, made = "results/table.csv", f"{project.results.as_posix()}/table.csv"
    if asked in words and asked != made:  # Snakemake would find it there and be content
        raise UserError(
            f"{asked} is not what these options make; leave the target out, or name {made}"
        )


def check_targets(project: Project, words: Sequence[str], made: Callable[[str], bool]) -> None:
    """Raise UserError for a target that nothing makes.

    Snakemake tells the targets too late: they are looked for among the words of the command line,
    as those that name a folder of outputs.

    Args:
        made: whether a rule makes a file.
    """
    kinds = [verb.kind for verb in ON_MODEL.values()]
    places = tuple(folder(project.root, kind) for kind in ("data", "work/models", *kinds))
    for word in words:
        if word.startswith(places) and not Path(word).exists() and not made(word):
            outputs = [f"{one.output.as_posix()}/{MANIFEST}" for one in project.steps()]
            near = get_close_matches(word, outputs, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"{word}: nothing makes it{hint}")


def folder(root: Path, name: str = "") -> str:
    """A folder below `root`, as rules write it; nothing for the current folder."""
    path = (root / name).as_posix()
    return "" if path == "." else f"{path}/"


def inputs_of(step: Step) -> list[str]:
    """Its plan, newer than its outputs while they are not what it says; and what it reads."""
    reads = (one.path / MANIFEST if one.maker else one.path for one in step.inputs.values())
    return [step.plan.as_posix(), *(path.as_posix() for path in reads)]


def models_of(project: Project, verb: str) -> str:
    """A pattern of the models that have such a step."""
    keys = dict.fromkeys(one.key for one in project.steps() if one.verb == verb)
    return "|".join(map(re.escape, keys))


def _written(value: Any) -> str:
    """Of a list, with commas."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
