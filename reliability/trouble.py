"""Models that fail, stores that do not answer, and bad inputs."""

import csv
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from reliability.disks import read_only, small_disk
from reliability.lab import Done, Injection, Lab, Problem, Reference

BROKEN_METRIC = """
from ldebm.metrics.base import Metric


class Broken(Metric):
    key = "broken"

    def compute(self, texts):
        return 1 / 0 if len(texts.samples) else None

    def of_test_set(self, texts):
        return None
"""


def changed(lab: Lab, *path: str, value: Any) -> None:
    """Change a parameter of a lab."""
    raw = yaml.safe_load((lab.folder / "params.yaml").read_text(encoding="utf-8"))
    block = raw
    for name in path[:-1]:
        block = block[name]
    block[path[-1]] = value
    (lab.folder / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")


def failing(step: str, column: str, others: str, *path: str, value: Any) -> Injection:
    """A model that fails at a step of the whole pipeline, under Snakemake.

    Args:
        step: that fails, by its name.
        column: of the table, which is empty for that row then.
        others: a column that another row, or the row itself, has for all that.
        path, value: the parameter that makes it fail.
    """

    def inject(reference: Reference, times: int) -> Iterator[Problem]:
        with reference.copy() as lab:
            (lab.folder / "my_metrics.py").write_text(BROKEN_METRIC)
            shipped = (lab.folder / "params.yaml").read_text()
            for _ in range(times):
                changed(lab, *path, value=value)
                done = _finished(lab)
                (lab.folder / "params.yaml").write_text(shipped)
                yield _told(done, lab, step, column, others) or _mended(reference, lab)

    return inject


def _finished(lab: Lab) -> Done:
    process = lab.snakemake()
    said = process.communicate()[0]
    return Done(process.returncode, said)


def _told(done: Done, lab: Lab, step: str, column: str, others: str) -> Problem:
    with (lab.folder / "results/table.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    row = rows[step.split()[1]]
    if done.status == 0:
        return "no failure in the status"
    if row[column] or not row["failed"].startswith(step):
        return f"the table has {row[column]!r} and says {row['failed']!r}"
    if not any(one[others] for one in rows.values()):
        return f"no row has {others}"
    return None if f"{step} failed: " in done.said else "not said"


def _mended(reference: Reference, lab: Lab) -> Problem:
    done = _finished(lab)
    return done.problem(0) or reference.wrong(lab, *lab.project.steps())


@contextmanager
def _locked(lab: Lab) -> Iterator[dict[str, str]]:
    with closing(sqlite3.connect(lab.folder / "mlflow.db", timeout=60)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield {}


@contextmanager
def _dead(lab: Lab) -> Iterator[dict[str, str]]:
    yield {"MLFLOW_TRACKING_URI": "http://someone:secret@127.0.0.1:9"}


@contextmanager
def _read_only(lab: Lab) -> Iterator[dict[str, str]]:
    with small_disk() as disk:
        shutil.copy(lab.folder / "mlflow.db", disk)
        with read_only(disk):
            yield {"MLFLOW_TRACKING_URI": f"sqlite:///{disk}/mlflow.db"}


@contextmanager
def _unwritable(lab: Lab) -> Iterator[dict[str, str]]:
    tracking = lab.folder / "work/tracking"
    tracking.rename(tracking.with_name("before"))
    tracking.write_text("no folder")
    yield {}
    tracking.unlink()
    tracking.with_name("before").rename(tracking)


FAILING = {
    "locked": _locked, "dead": _dead, "read-only": _read_only, "without journals": _unwritable,
}  # fmt: skip


def store(name: str) -> Injection:
    """A tracking store that fails during a training."""

    def inject(reference: Reference, times: int) -> Iterator[Problem]:
        with reference.copy() as lab:
            train = ("train", "vae", "--seed", "1")
            _ldebm(lab, "evaluate", "vae", "--again")  # makes the store
            for _ in range(times):
                with FAILING[name](lab) as uri:
                    done = _ldebm(lab, *train, "--again", **uri)
                said = "not tracked" if name == "without journals" else "the work goes on"
                problem = done.problem(0, said) or reference.wrong(lab, lab.step("train"))
                if "secret" in done.said:
                    problem = "the password is printed"
                points = 0 if name == "without journals" else 20
                yield problem or _sent(lab, points)

    return inject


def _ldebm(lab: Lab, *words: str, **variables: str) -> Done:
    process = lab.program(sys.executable, "-m", "ldebm", *words, **variables)
    said = process.communicate()[0]
    return Done(process.returncode, said)


def _sent(lab: Lab, expected: int) -> Problem:
    """What was missed is sent: so many validations, each there once."""
    problem = _ldebm(lab, "sync").problem(0, "sent to")
    with closing(sqlite3.connect(lab.folder / "mlflow.db", timeout=60)) as database:
        query = "select count(*), count(distinct step) from metrics where key = 'valid/loss'"
        points, steps = database.execute(query).fetchone()
    return problem or (None if points == steps == expected else f"{points} points of {steps} steps")


def bad_inputs(reference: Reference, times: int) -> Iterator[Problem]:
    """Parameter files, texts, files and command lines that cannot be used."""
    from reliability.bad_inputs import CASES, check, tiny_project

    with TemporaryDirectory() as name:
        project = Path(name) / "project"
        tiny_project(project)
        for case in CASES[:times]:
            wrong = check(case, project)
            yield None if wrong is None else f"{case.name}: {wrong}"
