"""A run of Snakemake as one quiet view: a line a job, read from the jobs' logs.

On a terminal the jobs under way stand below, each with how far it is.
"""

import logging
import os
import re
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldebm.runtime.console import LIVE

if TYPE_CHECKING:
    from rich.progress import Progress

STANDS = re.compile(r"[^:]+: \w+ (\d+)/(\d+)(?:, (.*))?")  # a line of ldebm.runtime.console
STARTED = re.compile(r"[^:]+: started")
CHATTER = ("Assuming unrestricted", "Building DAG", "Using shell", "Conda environments: ign")
ERRORS = ("None", "error")  # events of records that say what went wrong; that of a job has its log
PERIOD = 0.5  # seconds


@dataclass
class Job:
    """A job under way: its name, its log, how much of that was read, and its bar."""

    name: str
    log: Path
    read: int = 0
    bar: Any = None

    def news(self, ended: bool) -> list[str]:
        """What was added to the log; whole lines only, until the job has ended."""
        if not self.log.is_file():  # a rule without a command has none
            return []
        new = self.log.read_bytes()[self.read :]
        whole = len(new) if ended else new.rfind(b"\n") + 1
        self.read += whole
        return new[:whole].decode("utf-8", "replace").splitlines()


def quieten(logger: logging.Logger) -> None:
    """Leave out what Snakemake says of itself before it begins."""

    def tells(record: logging.LogRecord) -> bool:
        event = str(getattr(record, "event", None))
        chatter = event in ("resources_info", "run_info") or str(record.msg).startswith(CHATTER)
        return record.levelno > logging.INFO or not chatter

    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(tells)


class View(logging.Handler):
    """In place of Snakemake's own lines: its events come here as records."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.jobs: dict[int, Job] = {}
        self.made: set[str] = set()  # names of jobs that have ended well
        self.interrupted = False
        self.progress = _bars() if sys.stdout.isatty() and sys.stderr.isatty() else None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def start(self, logger: logging.Logger) -> None:
        """Take the place of what writes to the terminal; what writes to a file stays."""
        for handler in list(logger.handlers):
            if not isinstance(handler, logging.FileHandler):
                logger.removeHandler(handler)
        logger.addHandler(self)
        if self.progress is not None:
            os.environ[LIVE] = "1"  # of the jobs
            self.overall = self.progress.add_task("all jobs", total=None, said="")
            self.progress.start()
        self.thread.start()

    def stop(self) -> None:
        """Say the rest, and leave the terminal tidy."""
        self.ended.set()
        self.thread.join()
        if self.progress is not None:
            self.progress.stop()

    def emit(self, record: logging.LogRecord) -> None:
        """Follow the jobs that a record tells of; of other lines only errors are shown."""
        event = str(getattr(record, "event", None))
        if event == "job_info":
            self._begin(record)
        elif event == "job_finished":
            job = self._end(vars(record)["job_id"])
            self.made |= {job.name} if job is not None else set()
        elif event == "job_error":
            job = self._end(vars(record)["jobid"])
            if job is not None and not self.interrupted:
                self.say(f"{job.name}: failed; {job.log} has all that it said")
        elif event == "progress" and self.progress is not None:
            done, total = vars(record)["done"], vars(record)["total"]
            self.progress.update(self.overall, completed=done, total=total, said="")
        elif record.getMessage().startswith("Terminating processes on user request"):
            self.interrupted = True
        elif record.levelno >= logging.ERROR and event in ERRORS and not self.interrupted:
            self.say(record.getMessage())

    def say(self, line: str) -> None:
        """A line that stays."""
        if self.progress is None:
            print(line, flush=True)
        else:
            self.progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _begin(self, record: logging.LogRecord) -> None:
        told, wildcards = vars(record), vars(record)["wildcards"]
        log = Path(next(iter(told["log"]), ""))
        if log.name:
            log.unlink(missing_ok=True)  # that of an earlier run
        of_model = "{model} seed {seed}".format(**wildcards) if "seed" in wildcards else ""
        job = Job(f"{told['rule_name']} {of_model}".rstrip(), log)
        if self.progress is not None:
            job.bar = self.progress.add_task(job.name, total=None, said="")
        self.jobs[told["jobid"]] = job

    def _end(self, number: int) -> Job | None:
        job = self.jobs.pop(number, None)
        if job is not None:
            self._tell(job, ended=True)
            if self.progress is not None:
                self.progress.remove_task(job.bar)
        return job

    def _tell(self, job: Job, ended: bool = False) -> None:
        for line in job.news(ended):
            stands = STANDS.fullmatch(line)
            if stands and self.progress is not None:
                done, total, said = stands.groups()
                self.progress.update(
                    job.bar, completed=int(done), total=int(total), said=said or ""
                )
            elif line.startswith("ldebm: interrupted"):
                self.interrupted = True  # all are, by the same key: it is said once
            elif not STARTED.fullmatch(line):
                self.say(line)

    def _follow(self) -> None:
        while not self.ended.wait(PERIOD):
            self.acquire()
            try:
                for job in self.jobs.values():
                    self._tell(job)
            finally:
                self.release()


def closing(results: Path) -> str:
    """A run's end: the metrics of table.md, in columns, and where everything is."""
    from tabulate import tabulate

    from ldebm.report.table import OTHERS, first_table

    table = first_table((results / "table.md").read_text(encoding="utf-8"))
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in table]
    shown = cells[0].index(OTHERS[0])
    headings, _, *rows = [row[:shown] for row in cells]
    aligned = ("left", *["right"] * (shown - 1))
    text = tabulate(rows, headings, colalign=aligned, disable_numparse=True, maxheadercolwidths=14)
    return f"\n{text}\n\nThe report: {results / 'report.html'}; notes and files: {results}"


def _bars() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}", markup=False),
    )
    err = Console(stderr=True)
    return Progress(*columns, console=err, transient=True, refresh_per_second=2)
