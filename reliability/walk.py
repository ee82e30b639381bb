"""The random sequences of faults of `reliability.machine`, on real trainings."""

import hashlib
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import yaml
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from ldebm.pipeline.steps import Step
from reliability.disks import filled, small_disk
from reliability.lab import Done, Lab, Problem, Reference
from reliability.machine import Machine, World
from reliability.trouble import changed

VERBS = ("train", "sample", "evaluate")
BATCHES = (32, 16, 8)
LENGTH = 10  # rules in a sequence


class Trained(World):
    """A model that is trained, sampled and scored; the parameter is its batch."""

    reference: Reference
    known: dict[int, list[str]]  # the bits that belong to each value

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.disk = self.stack.enter_context(small_disk())
        self.lab = self.stack.enter_context(self.reference.copy(self.disk))

    def run(self) -> Done:
        return run_all(self.lab, self.value)

    def killed(self, moment: float) -> None:
        set_value(self.lab, self.value)
        step = self._next(moment)
        running = self.lab.start(step)
        if not running.ended(moment * self.reference.seconds[step.name]):
            os.kill(running.pid, signal.SIGKILL)
            running.done()

    def full(self, moment: float) -> Done:
        with filled(self.disk, int(moment * 300_000)):
            return self.run()

    def remove(self, path: Path) -> None:
        place = self.lab.folder / path
        place.unlink() if place.is_file() else shutil.rmtree(place)

    def files(self) -> list[Path]:
        folders = [one for step in self._steps() for one in (step.output, step.folder)]
        found = [path for one in folders for path in (self.lab.folder / one).rglob("*")]
        return sorted(path for path in found if path.is_file() and path.name != "lock")

    def wrong(self) -> str | None:
        return None if bits(self.lab) == self.known[self.value] else "other bits"

    def close(self) -> None:
        self.stack.close()

    def _steps(self) -> list[Step]:
        return [self.lab.step(verb) for verb in VERBS]

    def _next(self, moment: float) -> Step:
        """A step whose inputs are there may be killed; else the first."""
        return self.lab.step(VERBS[int(1000 * moment) % len(VERBS)])


class Sequences(Machine):
    """Sequences in that world."""

    made = Trained


def set_value(lab: Lab, value: int) -> None:
    """Change the parameter, where it is another."""
    raw = yaml.safe_load((lab.folder / "params.yaml").read_text(encoding="utf-8"))
    if raw["models"]["vae"]["training"]["batch"] != BATCHES[value]:
        changed(lab, "models", "vae", "training", "batch", value=BATCHES[value])


def run_all(lab: Lab, value: int) -> Done:
    """The steps in order, as long as they succeed."""
    set_value(lab, value)
    said = ""
    for verb in VERBS:
        done = lab.run(lab.step(verb))
        said += done.said
        if done.status:
            break
    return Done(done.status, said)


def bits(lab: Lab) -> list[str]:
    """What the steps made."""
    return [hashlib.sha256(lab.bits(lab.step(verb)).encode()).hexdigest() for verb in VERBS]


def sequences(reference: Reference, times: int) -> Iterator[Problem]:
    """Random sequences of kills, changed parameters, damaged files and full disks."""
    found = {}
    with reference.copy() as lab:
        for value in range(len(BATCHES)):
            assert run_all(lab, value).status == 0
            found[value] = bits(lab)
    Trained.reference, Trained.known, Sequences.count = reference, found, 0
    try:
        run_state_machine_as_test(
            Sequences,
            settings=settings(
                max_examples=max(1, times // LENGTH), stateful_step_count=LENGTH, deadline=None,
                derandomize=True, database=None, suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
    except AssertionError as error:
        yield str(error)[:300]
    for _ in range(Sequences.count):
        yield None
