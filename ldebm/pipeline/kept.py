"""Small results of finished rows, kept apart from their models: enough to make the table of them.

Rows that were trained on different days and machines, without a disk in common, stand together by
it. Below the folder a row lies as below a project's root: of each step the manifest, and of its
files those that the table reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from shutil import copyfile
from typing import Any

from ldebm.data.files import FAILED, REAL, read_text
from ldebm.errors import UserError
from ldebm.pipeline.manifest import MANIFEST, Hashes, read_manifest, write_manifest
from ldebm.pipeline.project import KINDS, Project
from ldebm.pipeline.steps import Step

WHOLE = {  # by verb, the files that are kept
    "train": ("run.json", "history.csv", FAILED),
    "sample": (FAILED,),
    "judge": ("scores.json", "history.csv", FAILED),
    "evaluate": ("scores.json", FAILED),
    "likelihood": ("scores.json", "sentences.csv", "vectors.npz", FAILED),
}
BEGUN = {"sample": "samples.txt", "evaluate": "reconstructions.txt"}  # of these the first lines
LINES = 200
CALLED = {"train": "model", "sample": "samples"}  # what later steps call what a verb made
OF_THE_MACHINE = "precision"  # in a step's parameters: what the device gave, not what was asked


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
    """
    tokens = project.tokens().output
    for row in rows(project):
        if missing := _missing(row, project.root):
            yield f"{row.name}: not kept, {missing} is not done"
            continue
        try:
            _check(row, project.root, tokens)
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

    tokens, present, absent = project.tokens().output, set(), []
    for row in rows(project):
        if _missing(row, folder):
            absent.append(row.name)
        else:
            _check(row, folder, tokens)
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
    real = tuple(project.step(verb, REAL, 1) for verb in ("sample", "judge"))
    yield Row(REAL, 1, real)
    for key in project.params.models:
        for seed in project.params.seeds:
            yield Row(key, seed, tuple(project.step(verb, key, seed) for verb in KINDS))


def _missing(row: Row, folder: Path) -> str | None:
    """The first step of a row that left nothing below a folder."""
    left = ((one.name, _place(folder, one) / MANIFEST) for one in row.steps)
    return next((name for name, manifest in left if not manifest.exists()), None)


def _place(folder: Path, step: Step) -> Path:
    return folder / KINDS[step.verb] / step.key / f"seed{step.seed}"


def _keep(step: Step, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    manifest = read_manifest(step.output)
    assert manifest is not None
    for name in WHOLE[step.verb]:
        if name in manifest["outputs"]:
            copyfile(step.output / name, place / name)
    begun = BEGUN.get(step.verb, "")
    if begun in manifest["outputs"] and step.key != REAL:  # real text is not ours to pass on
        lines = (line for _, line in islice(read_text(step.output / begun), LINES))
        (place / begun).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    write_manifest(place, manifest)


def _check(row: Row, folder: Path, tokens: Path) -> None:
    """See that a row is whole, of one piece, and what these parameters and this corpus ask for."""
    made: dict[str, Mapping[str, str]] = {"tokens": (read_manifest(tokens) or {})["outputs"]}
    hashes = Hashes(folder)  # not remembered
    for step in row.steps:
        path = _place(folder, step) / MANIFEST
        manifest = read_manifest(path.parent)
        assert manifest is not None
        for name in manifest["outputs"].keys() & set(WHOLE[step.verb]):
            if hashes.of(path.parent / name) != manifest["outputs"][name]:
                raise UserError(f"{path.parent / name}: is damaged; keep the row again")
        if differing := _difference(manifest["parameters"], step.planned()["parameters"]):
            raise UserError(f"{path}: {differing}; take the parameters that the row was made with")
        for name, read in manifest["inputs"].items():
            if any(made[name].get(file) != digest for file, digest in read.items()):
                raise UserError(f"{path}: was made from other {name}; keep the row again, whole")
        if step.verb in CALLED:
            made[CALLED[step.verb]] = manifest["outputs"]


def _difference(before: Any, now: Any, path: Sequence[str] = ()) -> str | None:
    """The first leaf in which two slices of the parameters differ; None if they ask the same."""
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return None if before == now else f"{'.'.join(path)} was {before}, and is {now} here"
    for key in sorted((before.keys() | now.keys()) - {OF_THE_MACHINE}):
        if found := _difference(before.get(key), now.get(key), (*path, key)):
            return found
    return None
