"""What a step says of how far it is; a change here makes no result stale."""

import os
import sys
import time

from tqdm import tqdm

LIVE = "LDEBM_LIVE"  # set by who shows the newest line only: there may be many then
FIRST, MOST, OFTEN = 10.0, 60.0, 5.0  # seconds


def duration(seconds: float) -> str:
    """Seconds in a unit that suits them."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


class Console:
    """A progress bar on a terminal, else a line: the first after 10 s, in the end one a minute.

    Both go to standard error, so that standard output holds results alone. Such a line is
    `name: unit done/total, what is said, time left`, of which `left` may be a bound.
    """

    def __init__(self, name: str, total: int, unit: str = "step", bound: str = "") -> None:
        self.name, self.total, self.unit, self.bound = name, total, unit, bound
        self.started, self.due = time.monotonic(), OFTEN if LIVE in os.environ else FIRST
        self.first: int | None = None
        self.bar: tqdm | None = None

    def show(self, done: int, said: str = "") -> None:
        """Say how the step stands; the first call is where it begins, or goes on."""
        spent = time.monotonic() - self.started
        if self.first is None:
            self.first, self.from_then = done, spent
            if sys.stderr.isatty():
                self.bar = tqdm(total=self.total, desc=self.name, unit=self.unit)
        if self.bar is not None:
            self.bar.update(done - self.bar.n)
            self.bar.set_postfix_str(said)
        elif spent >= self.due:
            self.due = spent + OFTEN if LIVE in os.environ else min(3 * spent, spent + MOST)
            told = [
                f"{self.unit} {done}/{self.total}",
                *filter(None, [said, self._left(done, spent)]),
            ]
            print(f"{self.name}: {', '.join(told)}", file=sys.stderr, flush=True)

    def _left(self, done: int, spent: float) -> str:
        """The time that the rest takes, once that can be told."""
        assert self.first is not None
        if done <= self.first:
            return ""
        rest = (self.total - done) * (spent - self.from_then) / (done - self.first)
        return f"{self.bound}{duration(rest)} left"

    def part(self, name: str, total: int) -> None:
        """Go on to another part of the work: a bar of its own, but no sooner a line."""
        self.close()
        self.name, self.total, self.first, self.bar = name, total, None, None

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self.bar is not None:
            self.bar.close()
