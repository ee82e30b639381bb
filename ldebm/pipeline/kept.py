"""Small results of finished rows, kept apart from their models: enough to make the table of them.

Rows that were trained on different days and machines, without a disk in common, stand together by
it. Below the folder a row lies as below a project's root: of each step the manifest, and of its
files those that the table reads.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from shutil import copyfile
from typing import Any

from ldebm.data.files import FAILED, REAL, read_text
from ldebm.errors import UserError
from ldebm.pipeline import steps
from ldebm.pipeline.manifest import MANIFEST, file_hash, read_manifest, write_manifest
from ldebm.pipeline.project import Project
from ldebm.pipeline.steps import AGAIN, Step
from ldebm.pipeline.verbs import ON_MODEL, ON_REAL

WHOLE = {  # by verb, the files that are kept
    "train": ("run.json", "history.csv", FAILED),
    "sample": (FAILED,),
    "judge": ("scores.json", "history.csv", FAILED),
    "evaluate": ("scores.json", FAILED),
    "likelihood": ("scores.json", "sentences.csv", "vectors.npz", FAILED),
}
BEGUN = {"sample": "samples.txt", "evaluate": "reconstructions.txt"}  # of these the first lines
LINES = 200


@dataclass(frozen=True)
class Row:
    """The steps of a model and seed, in the order of the pipeline."""

    key: str
    seed: int
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """What the row is called in messages."""
        return f"{self.key} seed {self.seed}"


def keep(project: Project, folder: Path) -> Iterator[str]:
    """Copy the small results of every finished row into `folder`; say a line for each row.

    Finished is what is whole and was made with these parameters, if by an older source: the record
    of a run names its commit.

    Raises:
        UserError: the folder is where the rows are.
    """
    if folder.resolve() == project.root.resolve():
        raise UserError(f"{folder}: is where the rows are; name another folder")
    for row in rows(project):
        try:
            if missing := _missing(row, project.root):
                raise UserError(f"{missing} is not done")
            _check(project, row, project.root)
        except UserError as error:
            yield f"{row.name}: not kept, {error}"
            continue
        for step in row.steps:
            _keep(step, _place(folder, step))
        yield f"{row.name}: kept"


def assemble(project: Project, folder: Path, out: Path) -> Iterator[str]:
    """Make the table of the rows kept in `folder`; say which rows of the parameters are absent.

    The corpus is the project's own.

    Raises:
        UserError: a row is damaged, its steps are not of each other, or it was made with other
            parameters or from another corpus; names the file.
    """
    from ldebm.report.write import write_results

    present, absent = set(), []
    for row in rows(project):
        if _missing(row, folder):
            absent.append(row.name)
        else:
            _check(project, row, folder)
            present.add((row.key, row.seed))
    if (REAL, 1) not in present:
        raise UserError(f"{folder}: the judgement of real text is not kept there; judge it first")
    seeds = project.params.seeds
    models = {
        key: block
        for key, block in project.params.models.items()
        if all((key, seed) in present for seed in seeds)
    }
    chosen = project.params.model_copy(update={"models": models})
    write_results(chosen, project.root, out, folder)
    count = f"{len(models)} row{'s' * (len(models) != 1)}"
    yield f"{out}: {count}" + (f"; not kept yet: {', '.join(absent)}" if absent else "")


def rows(project: Project) -> Iterator[Row]:
    """Every model and seed of the parameters, and real text in a model's place."""
    real = tuple(project.step(verb, REAL, 1) for verb in ON_REAL)
    yield Row(REAL, 1, real)
    for key in project.params.models:
        for seed in project.params.seeds:
            yield Row(key, seed, tuple(project.step(verb, key, seed) for verb in ON_MODEL))


def _missing(row: Row, folder: Path) -> str | None:
    """The first step of a row that left nothing below a folder, or what is to be tried again."""
    for step in row.steps:
        place = _place(folder, step)
        if not (place / MANIFEST).exists() or _manifest(place)["fingerprint"] == AGAIN:
            return step.name
    return None


def _place(folder: Path, step: Step) -> Path:
    return folder / ON_MODEL[step.verb].kind / step.key / f"seed{step.seed}"


def _keep(step: Step, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    manifest = _manifest(step.output)
    outputs, begun = manifest["outputs"], BEGUN.get(step.verb, "")
    for name in {*WHOLE[step.verb], begun} - outputs.keys() - {""}:  # of what was kept before
        (place / name).unlink(missing_ok=True)
    for name in outputs.keys() & set(WHOLE[step.verb]):
        copyfile(step.output / name, place / name)
    if begun in outputs and step.key != REAL:  # real text is not ours to pass on
        lines = (line for _, line in islice(read_text(step.output / begun), LINES))
        (place / begun).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        manifest["begun"] = {begun: file_hash(place / begun)}
    write_manifest(place, manifest)


def _check(project: Project, row: Row, folder: Path) -> None:
    """See that a row is whole, of one piece, and what these parameters and this corpus ask for."""
    tokens = project.tokens()
    corpus = steps.made(tokens.output, None)
    if corpus is None:
        raise UserError(f"{tokens.output} is not there yet; run `{tokens.command}` first")
    made: dict[str, Mapping[str, str]] = {"tokens": corpus}
    for step in row.steps:
        place = _place(folder, step)
        path, manifest = place / MANIFEST, _manifest(place)
        outputs = manifest["outputs"]
        if folder != project.root:  # there is a part of it
            whole = {name: outputs[name] for name in outputs.keys() & set(WHOLE[step.verb])}
            begun = outputs.keys() & ({BEGUN.get(step.verb)} if step.key != REAL else set())
            outputs = whole | {name: manifest.get("begun", {}).get(name) for name in begun}
        for name, digest in outputs.items():
            if not (place / name).is_file() or file_hash(place / name) != digest:
                raise UserError(f"{place / name}: is damaged; make it again")
        if differing := _difference(project, manifest["parameters"], step):
            raise UserError(f"{path}: {differing}; take the parameters that the row was made with")
        for name, read in manifest["inputs"].items():
            if any(made.get(name, {}).get(file) != digest for file, digest in read.items()):
                raise UserError(f"{path}: was made from other {name}; keep the row again, whole")
        made[ON_MODEL[step.verb].called] = manifest["outputs"]


def _manifest(place: Path) -> dict[str, Any]:
    """That of a finished step, with all that is asked of it here."""
    manifest = read_manifest(place) or {}
    if not all(isinstance(manifest.get(name), dict) for name in ("parameters", "inputs")):
        raise UserError(f"{place / MANIFEST}: is damaged; make it again")
    return manifest


def _difference(project: Project, before: dict[str, Any], step: Step) -> str | None:
    """What the parameters ask otherwise than what a step was made with.

    Where they ask for bfloat16, a device that lacks it has given float32.
    """
    now = json.loads(steps.canonical(step.parameters))
    settings = project.params.judge if step.verb == "judge" else project.params.run
    if settings.precision == "bfloat16":
        before, now = map(_of_any_precision, (before, now))
    return steps.difference(before, now)


def _of_any_precision(slice_: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _of_any_precision(one) if isinstance(one, dict) else one
        for name, one in slice_.items()
        if name != "precision"
    }
