"""A bad input as data, and the small words that the lists of them are written in."""

import io
import os
import shutil
from collections.abc import Callable
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

Arrange = Callable[[Path], None]  # makes a project's folder bad


@dataclass(frozen=True)
class BadInput:
    """A project that is made bad, a command, and the one line that has to come of it.

    Attributes:
        name: what is bad.
        arrange: makes it so in the folder of a project.
        command: as in a shell, run in that folder. `ldebm …` runs within this process; `snakemake
            …` and `python …` as processes of their own. `NAME=VALUE` may stand before it, `< FILE`
            behind it; no shell sees any of it.
        says: a regular expression that is found in the line.
        used: whether the input is used after all, with that line among the output.
    """

    name: str
    arrange: Arrange
    command: str
    says: str
    used: bool = False

    @property
    def separate(self) -> bool:
        """Whether it needs a process of its own, which takes seconds."""
        return " ldebm " not in f" {self.command} " or "python -m" in self.command


def nothing(folder: Path) -> None:
    """The project as it is; what is bad is on the command line."""


def file(name: str, content: str | bytes) -> Arrange:
    """A file of that content, in the place of one that is there."""

    def arrange(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return arrange


def missing(name: str) -> Arrange:
    """No such file or folder any more."""

    def arrange(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return arrange


def directory(name: str) -> Arrange:
    """A folder, in the place of a file that is there."""

    def arrange(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir(parents=True)

    return arrange


def fifo(name: str) -> Arrange:
    """A named pipe into which nobody writes."""

    def arrange(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return arrange


def link(name: str, target: str) -> Arrange:
    """A symbolic link, to itself for example."""
    return lambda folder: (folder / name).symlink_to(target)


def edited(name: str, change: Callable[[bytes], bytes]) -> Arrange:
    """A file of the project with its content changed."""
    return lambda folder: file(name, change((folder / name).read_bytes()))(folder)


def after(*words: str) -> Arrange:
    """`ldebm` with these words has been run, and went well."""

    def arrange(folder: Path) -> None:
        from ldebm import cli

        with chdir(folder), redirect_stdout(io.StringIO()):
            assert cli.main(words) == 0

    return arrange


def all_of(*parts: Arrange) -> Arrange:
    """One after the other."""

    def arrange(folder: Path) -> None:
        for part in parts:
            part(folder)

    return arrange
