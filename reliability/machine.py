"""Random sequences of faults: train, kill, change a parameter, damage a file, fill the disk.

Whatever came before, a run ends in the bits that belong to the parameter, or in one clear line that
says what to do; once that is done, it ends in those bits.
"""

import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from reliability.lab import Done

HARM = ("flip", "cut", "lose")
VALUES = 3  # of the parameter
REMEDIES = 5  # lines that may be followed before a run has to succeed
DELETE = re.compile(r"^ldebm: error: (.*?): .*\bdelete\b")
Moment = st.floats(0, 1, exclude_max=True, allow_subnormal=False)


class World(ABC):
    """A project that faults happen to."""

    value = 0

    @abstractmethod
    def run(self) -> Done:
        """Run all steps."""

    @abstractmethod
    def killed(self, moment: float) -> None:
        """Run, and end by SIGKILL after so large a part of the work."""

    @abstractmethod
    def full(self, moment: float) -> Done:
        """Run, with a disk that is full after so large a part of the work."""

    @abstractmethod
    def remove(self, path: Path) -> None:
        """Delete a file that a line named."""

    @abstractmethod
    def files(self) -> list[Path]:
        """All that was made, or is kept."""

    @abstractmethod
    def wrong(self) -> str | None:
        """What is not as it must be for the parameter's value."""

    @abstractmethod
    def close(self) -> None:
        """Remove it."""


class Machine(RuleBasedStateMachine):
    """The rules; a subclass names the world."""

    made: ClassVar[type[World]]
    count: ClassVar[int] = 0  # of rules that were run

    def __init__(self) -> None:
        super().__init__()
        self.world = self.made()

    @rule(value=st.integers(0, VALUES - 1))
    def change(self, value: int) -> None:
        """Change the parameter, perhaps back."""
        self.world.value = value

    @rule(moment=Moment)
    def kill(self, moment: float) -> None:
        """Kill a run."""
        self.world.killed(moment)

    @rule(moment=Moment)
    def fill(self, moment: float) -> None:
        """Fill the disk during a run, and make space."""
        done = self.world.full(moment)
        assert "Traceback" not in done.said, done.said
        if done.status == 0:
            assert self.world.wrong() is None, self.world.wrong()
        else:
            assert done.problem(2, "ldebm: error") is None, done.said

    @precondition(lambda self: self.world.files())
    @rule(
        place=Moment,
        byte=Moment,
        bit=st.integers(0, 7),
        how=st.sampled_from(["flip", "cut", "lose"]),
    )
    def damage(self, place: float, byte: float, bit: int, how: str) -> None:
        """Flip a bit of a file in place, cut it short, or lose it."""
        files = self.world.files()
        file = files[int(place * len(files))]
        content = bytearray(file.read_bytes())
        if how == "lose" or not content:
            file.unlink()
            return
        at = int(byte * len(content))
        content[at] ^= 1 << bit
        with file.open("r+b") as opened:
            opened.write(content)
            opened.truncate(at if how == "cut" else len(content))

    @rule()
    def run(self) -> None:
        """Run to the end; where a line says so, do that first."""
        type(self).count += 1
        for _ in range(REMEDIES):
            done = self.world.run()
            if done.status == 0:
                break
            assert done.problem(2, "ldebm: error") is None, done.said
            if found := DELETE.search(done.lines[-1]):
                self.world.remove(Path(found[1]))
        assert done.status == 0, done.said
        assert self.world.wrong() is None, self.world.wrong()

    def teardown(self) -> None:
        """At the end all is well."""
        try:
            self.run()
        finally:
            self.world.close()
