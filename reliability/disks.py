"""Disks that are full, and folders that cannot be written."""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ldebm.pipeline.steps import Step
from reliability.lab import Done, Injection, Lab, Problem, Reference

SIZES = random.Random(2)
MEGABYTE = 1 << 20
ROOM = 24 * MEGABYTE


class UnmountableError(Exception):
    """A file system cannot be mounted here."""


@contextmanager
def small_disk(size: int = ROOM) -> Iterator[Path]:
    """A file system of its own, in memory.

    Raises:
        UnmountableError: that is not permitted.
    """
    with TemporaryDirectory(prefix="disk-") as name:
        if not _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", name):
            raise UnmountableError
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


def _mount(*words: str) -> bool:
    done = subprocess.run(["mount", *words], capture_output=True, check=False)
    return done.returncode == 0


@contextmanager
def filled(disk: Path, free: int) -> Iterator[None]:
    """A disk with only so many bytes left, to the page."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(disk).free - free))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """A disk that cannot be written."""
    assert _mount("-o", "remount,ro", str(disk))
    try:
        yield
    finally:
        assert _mount("-o", "remount,rw", str(disk))


def full(verb: str, key: str = "vae") -> Injection:
    """Too little space for a step, a random amount; then enough."""

    def inject(reference: Reference, times: int) -> Iterator[Problem]:
        with small_disk() as disk, reference.copy(disk) as lab:
            step = lab.step(verb, key)
            most, count = _needed(reference, step), 0
            while count < times:
                lab.forget(step)
                free = SIZES.randrange(0, most)
                with filled(disk, free):
                    done = lab.run(step)
                if done.status == 0:  # it was enough
                    most = max(free, 4096)
                    continue
                count += 1
                said = "the disk is full", "needed", "make room, and the same command goes on"
                yield done.problem(2, *said) or _completed(reference, lab, step, lab.run(step))

    return inject


def _needed(reference: Reference, step: Step) -> int:
    """More than a step writes: of a training several checkpoints."""
    made = reference.folder / step.output
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    return max(8192, size * (5 if step.verb == "train" else 1))


def _completed(reference: Reference, lab: Lab, step: Step, done: Done) -> Problem:
    return done.problem(0) or reference.wrong(lab, step)


def unwritable(verb: str) -> Injection:
    """A step on a file system that was mounted to be read only; then one that can be written."""

    def inject(reference: Reference, times: int) -> Iterator[Problem]:
        with small_disk() as disk, reference.copy(disk) as lab:
            for _ in range(times):
                step = lab.step(verb)
                lab.forget(step)
                with read_only(disk):
                    done = lab.run(step)
                said = "cannot be written", "make it writable, and the same command goes on"
                yield done.problem(2, *said) or _completed(reference, lab, step, lab.run(step))

    return inject


def full_under_snakemake(reference: Reference, times: int) -> Iterator[Problem]:
    """Too little space for the whole pipeline, Snakemake's own files included; then enough."""
    with small_disk() as disk, reference.copy(disk) as lab:
        most, count = MEGABYTE, 0
        while count < times:
            lab.forget(*lab.some())
            with filled(disk, free := SIZES.randrange(50_000, most)):
                said = (process := lab.snakemake()).communicate()[0]
            if process.returncode == 0:  # it was enough
                most = max(free, 50_001)
                continue
            count += 1
            own = [line for line in said.splitlines() if "the disk is full" in line]
            if not own or "Traceback" in said:
                yield f"status {process.returncode}, {len(own)} lines: {said[-300:]}"
                continue
            again = lab.snakemake()
            said = again.communicate()[0]
            failed = f"status {again.returncode}: {said[-300:]}" if again.returncode else None
            yield failed or reference.wrong(lab, *lab.project.steps())
