"""Files that are not what was written."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from ldebm.pipeline.steps import Step
from reliability.lab import Injection, Lab, Problem, Reference

PLACES = random.Random(3)
HASH = "0" * 64
SHAPES = (
    "",
    "{",
    "[]",
    '{"outputs": []}',
    '{"fingerprint": "../..", "outputs": {}}',
)
NAMES = ("../../../victim", "/etc/hostname", "a\0b", "model.safetensors")
FOREIGN = (
    *SHAPES,
    *(json.dumps({"fingerprint": HASH, "outputs": {name: HASH}}) for name in NAMES),
)  # of another shape, or of another project


def flip(path: Path, in_place: bool) -> None:
    """Change a random bit of a file; in place, and so in a kept copy too where that is a link."""
    content = bytearray(path.read_bytes())
    content[PLACES.randrange(len(content))] ^= 1 << PLACES.randrange(8)
    if not in_place:
        path.unlink()
    with path.open("r+b" if in_place else "wb") as file:
        file.write(content)


def flipped(maker: str, name: str, reader: str) -> Injection:
    """A random bit of a file that a step made, before another reads it."""

    def inject(reference: Reference, times: int) -> Iterator[Problem]:
        for number in range(times):
            with reference.copy() as lab:
                made, read = lab.step(maker), lab.step(reader)
                lab.forget(read)
                if number % 2:  # as after a pull: nothing is kept
                    shutil.rmtree(lab.folder / made.folder)
                flip(lab.folder / made.output / name, in_place=True)
                yield _named(reference, lab, made, read)
            with reference.copy() as lab:
                made, read = lab.step(maker), lab.step(reader)
                lab.forget(read)
                flip(lab.folder / made.output / name, in_place=False)
                yield _named(reference, lab, made, read)

    return inject


def _named(reference: Reference, lab: Lab, made: Step, read: Step) -> Problem:
    """The damage is named; the reader goes on from a kept copy, or once its input is made again."""
    done = lab.run(read)
    if done.status != 0:
        problem = done.problem(2, "is damaged", "run that again")
        problem = problem or lab.run(made).problem(0)
        done = lab.run(read)
        return problem or done.problem(0) or reference.wrong(lab, made, read)
    return done.problem(0, "is damaged", "put back") or reference.wrong(lab, made, read)


def checkpoints(reference: Reference, times: int) -> Iterator[Problem]:
    """A random bit of one of the files that a training that was killed goes on from."""
    for _ in range(times):
        with reference.copy() as lab:
            step = lab.step("train")
            lab.forget(step)
            running, found = lab.start(step), list[Path]()
            while len(found) < 3 and not running.ended(0.01):
                found = [*(lab.folder / step.folder).glob("*/checkpoints/*.safetensors")]
            running.kill()
            flip(file := PLACES.choice(sorted(found)), in_place=True)
            done = lab.run(step)
            problem = done.problem(0) or reference.wrong(lab, step)
            named = "set aside" in done.said or file.name.startswith("previous.")  # is not read
            yield problem or (None if named else f"{file.name}: not named")


def manifests(reference: Reference, times: int) -> Iterator[Problem]:
    """A manifest of another shape or origin, where a step looks for its input's."""
    for text in FOREIGN[:times]:
        with reference.copy() as lab:
            made, read = lab.step("train"), lab.step("sample")
            (victim := lab.folder / "victim").write_text("mine")
            lab.forget(read)
            manifest = lab.folder / made.output / "manifest.json"
            kept = json.loads(manifest.read_text())
            manifest.unlink()
            manifest.write_text(text)
            done = lab.run(read)
            problem = None if done.status == 0 else done.problem(2, "ldebm: error")
            if victim.read_text() != "mine":
                problem = "a file outside was touched"
            if done.status == 0 and kept != json.loads(manifest.read_text()):
                problem = "taken for the step's own"
            manifest.unlink(missing_ok=True)
            problem = problem or lab.run(made).problem(0) or lab.run(read).problem(0)
            yield problem or reference.wrong(lab, made, read)
