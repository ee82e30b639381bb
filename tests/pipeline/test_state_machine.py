"""Steps under random sequences of faults. The work is a few lines; all that keeps it is real.

A run is a child of this process, which is ended at one of its writes, or has them fail from one on.
"""

import errno
import hashlib
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from ldebm.errors import UserError
from ldebm.pipeline import steps
from ldebm.pipeline.steps import Input, Step
from reliability.lab import Done
from reliability.machine import Machine, World

MAKES = {"os.mkdir", "os.link", "os.symlink"}  # what takes space
CHANGES = MAKES | {"os.rename", "os.remove", "os.rmdir", "os.utime", "os.truncate"}
WRITES = os.O_WRONLY | os.O_RDWR
MOST = 160  # writes of a run that does everything


def fail_at(number: int, killed: bool) -> None:
    """End this process at a write, or fail every write from that on as a full disk does."""
    left = [number]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        opened = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        if not opened and event not in CHANGES:
            return
        left[0] -= 1
        if left[0] <= 0 and killed:
            os._exit(137)
        if left[0] <= 0 and (opened or event in MAKES):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sys.addaudithook(hook)


def work(value: int, read: tuple[Path, ...], checkpoints: Path, out: Path) -> None:
    """Four links of a chain of hashes, each kept with a checksum of its own."""
    link, done, kept = (
        "".join(path.read_text() for path in read) or str(value),
        0,
        checkpoints / "k",
    )
    if kept.exists():
        *content, checksum = kept.read_text(errors="replace").split(" ")
        if hashlib.sha256(" ".join(content).encode()).hexdigest() == checksum:
            done, link = int(content[0]), content[1]
    for number in range(done, 4):
        link = hashlib.sha256(f"{link} {value}".encode()).hexdigest()
        content = [str(number + 1), link]
        text = " ".join([*content, hashlib.sha256(" ".join(content).encode()).hexdigest()])
        (checkpoints / "new").write_text(text)
        os.replace(checkpoints / "new", kept)
    (out / "sub").mkdir()
    (out / "sub/b.txt").write_text(f"{value}")
    (out / "a.txt").write_text(link)


class Toy(World):
    """A step on a model, one that reads what it made, and one of both."""

    def __init__(self) -> None:
        self.place = TemporaryDirectory()
        self.root = Path(self.place.name)

    def steps(self, root: Path) -> list[Step]:
        """As the list of steps would have them."""

        def made(verb: str, *makers: Step) -> Step:
            inputs = {one.verb: Input(one.output, ("a.txt",), one) for one in makers}
            read = tuple(one.output / "a.txt" for one in makers)
            value = self.value
            step = Step(
                verb, {"value": value}, inputs, root / verb, (), root / "work",
                lambda checkpoints, out: work(value, read, checkpoints, out), "vae", 1,
            )  # fmt: skip
            return replace(step, key="", seed=None) if verb == "table" else step

        first = made("train")
        second = made("sample", first)
        return [first, second, made("table", first, second)]

    def _child(self, number: int, killed: bool) -> Done:
        said = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - the child writes into it
        if (pid := os.fork()) == 0:
            for descriptor in (1, 2):
                os.dup2(said.fileno(), descriptor)
            sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1, encoding="utf-8")
            status = 1
            try:
                wanted = self.steps(self.root)
                if number:
                    fail_at(number, killed)
                for step in wanted:
                    steps.run(step)
                status = 0
            except UserError as error:
                print(f"ldebm: error: {error}")
                status = 2
            except BaseException:
                sys.excepthook(*sys.exc_info())
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said.seek(0)
        return Done(status, said.read())

    def run(self) -> Done:
        return self._child(0, killed=False)

    def killed(self, moment: float) -> None:
        done = self._child(1 + int(moment * MOST), killed=True)
        assert done.status in (0, 2, 137), done.said

    def full(self, moment: float) -> Done:
        return self._child(1 + int(moment * MOST), killed=False)

    def remove(self, path: Path) -> None:
        path.unlink() if path.is_file() else shutil.rmtree(path)

    def files(self) -> list[Path]:
        found = sorted(path for path in self.root.rglob("*") if path.is_file())
        return [path for path in found if path.name != "lock"]

    def wrong(self) -> str | None:
        with TemporaryDirectory() as name:  # the same, made without any step
            for step, clean in zip(self.steps(self.root), self.steps(Path(name)), strict=True):
                new, kept = Path(name) / "new", Path(name) / "kept"
                new.mkdir()
                kept.mkdir()
                clean.work(kept, new)
                new.rename(clean.output)
                shutil.rmtree(kept)
                for file in ("a.txt", "sub/b.txt"):
                    if (step.output / file).read_text() != (clean.output / file).read_text():
                        return f"{step.name}: {file} is another"
        return None

    def close(self) -> None:
        self.place.cleanup()


class ToyMachine(Machine):
    made = Toy


@pytest.mark.parametrize(
    ("examples", "length"), [(12, 12), pytest.param(400, 25, marks=pytest.mark.faults)]
)
def test_random_faults_end_in_the_same_bits_or_one_clear_line(examples: int, length: int) -> None:
    run_state_machine_as_test(
        ToyMachine,
        settings=settings(
            max_examples=examples, stateful_step_count=length, deadline=None, derandomize=True,
            database=None, suppress_health_check=list(HealthCheck), print_blob=False,
        ),
    )  # fmt: skip
