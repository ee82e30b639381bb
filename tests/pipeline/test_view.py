"""The view of a run, told by records as Snakemake sends them and by logs that are written here."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ldebm.pipeline import view
from ldebm.pipeline.view import View


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """With a handler that writes to the terminal, and one that writes to a file."""
    own = logging.Logger("own")
    own.addHandler(logging.StreamHandler())
    yield own
    for handler in own.handlers:
        handler.close()


def began(logger: logging.Logger, number: int, log: Path) -> None:
    rule, _, of_model = log.stem.partition("-")
    model, _, seed = of_model.rpartition("-seed")
    wildcards = {"model": model, "seed": seed} if seed else {}
    told = {"jobid": number, "log": [str(log)], "rule_name": rule, "wildcards": wildcards}
    logger.info("Rule", extra={"event": "job_info", **told})


def ended(logger: logging.Logger, number: int) -> None:
    logger.info("Finished", extra={"event": "job_finished", "job_id": number})


def test_a_job_is_a_line_and_snakemake_is_silent(
    logger: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, shown = tmp_path / "train-vae-seed1.log", View()
    log.write_text("of an earlier run\n")
    shown.start(logger)
    logger.info("Select jobs to execute...")
    began(logger, 7, log)
    log.write_text("train vae seed 1: started\ntrain vae seed 1: done in 3.0 s\n")
    ended(logger, 7)
    logger.info("7 of 7 steps", extra={"event": "progress", "done": 7, "total": 7})
    shown.stop()
    told = capsys.readouterr()
    assert (told.out, told.err) == ("train vae seed 1: done in 3.0 s\n", "")
    assert shown.made == {"train vae seed 1"}


def test_a_job_without_a_log_ends_in_silence(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rule without a command, as that of DVC's stages."""
    shown = View()
    shown.start(logger)
    told = {"jobid": 3, "log": [], "rule_name": "model", "wildcards": {"model": "vae"}}
    logger.info("Rule", extra={"event": "job_info", **told})
    ended(logger, 3)
    shown.stop()
    assert capsys.readouterr().out == ""
    assert shown.made == {"model"}


def test_lines_are_told_while_the_job_is_at_work_and_only_whole(
    logger: logging.Logger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(view, "PERIOD", 0.01)
    log, shown = tmp_path / "judge-vae-seed1.log", View()
    shown.start(logger)
    began(logger, 1, log)
    line = "judge vae seed 1: epoch 1/6, valid perplexity 9.00, 5 s left\n"
    log.write_text(line + "judge vae se")
    out = ""
    while not out:
        out = capsys.readouterr().out
    assert out == line
    with log.open("a") as file:
        file.write("ed 1: done in 9.0 s")
    shown.stop()
    ended(logger, 1)
    assert capsys.readouterr().out == "judge vae seed 1: done in 9.0 s\n"


def test_a_failed_job_is_told_with_what_it_said_and_errors_stay(
    logger: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, shown = tmp_path / "tokens.log", View()
    shown.start(logger)
    began(logger, 2, log)
    log.write_text("ldebm: error: the text is empty\n")
    logger.error(None, extra={"event": "job_error", "jobid": 2})
    logger.error("Missing files", extra={"event": "error"})
    logger.error("At least one job did not complete successfully.")
    shown.stop()
    assert capsys.readouterr().out.splitlines() == [
        "ldebm: error: the text is empty",
        f"tokens: failed; {log} has all that it said",
        "Missing files",
        "At least one job did not complete successfully.",
    ]
    assert shown.made == set()


def test_an_interruption_is_no_row_of_errors(
    logger: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, shown = tmp_path / "train-vae-seed1.log", View()
    shown.start(logger)
    began(logger, 3, log)
    log.write_text("ldebm: interrupted; the work is kept\n")
    logger.info("Terminating processes on user request, this might take some time.")
    logger.error(None, extra={"event": "job_error", "jobid": 3})
    logger.error("At least one job did not complete successfully.")
    shown.stop()
    assert shown.interrupted
    assert capsys.readouterr().out == ""


def test_what_a_file_gets_stays(logger: logging.Logger, tmp_path: Path) -> None:
    logger.addHandler(logging.FileHandler(tmp_path / "whole.log"))
    view.quieten(logger)
    shown = View()
    shown.start(logger)
    logger.info("Building DAG of jobs...")
    shown.stop()
    assert (tmp_path / "whole.log").read_text() == "Building DAG of jobs...\n"


def test_chatter_is_left_out_before_the_first_job(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = logger.handlers[0]
    assert isinstance(stream, logging.StreamHandler)
    view.quieten(logger)
    records: list[Any] = []
    stream.emit = records.append  # type: ignore[method-assign]
    logger.info("Building DAG of jobs...")
    logger.info("Job stats", extra={"event": "run_info"})
    logger.info("Nothing to be done (all requested files are present and up to date).")
    logger.warning("Building DAG of jobs takes long")
    assert [record.msg.split()[0] for record in records] == ["Nothing", "Building"]


def test_on_a_terminal_the_jobs_have_bars(
    logger: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view.sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(view.sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv(view.LIVE, "")
    log, shown = tmp_path / "train-vae-seed1.log", View()
    assert shown.progress is not None
    shown.progress.console.quiet = True
    shown.start(logger)
    began(logger, 4, log)
    log.write_text("train vae seed 1: step 30/120, loss 4.00, at most 9 s left\n")
    shown._tell(shown.jobs[4])
    with log.open("a") as file:
        file.write("train vae seed 1: step 31/120\n")
    shown._tell(shown.jobs[4])
    assert shown.progress.tasks[1].completed == 31
    log.write_text("")
    shown.jobs[4].read = 0
    log.write_text("train vae seed 1: step 30/120, loss 4.00, at most 9 s left\n")
    shown._tell(shown.jobs[4])
    bar = shown.progress.tasks[1]
    assert (bar.description, bar.completed, bar.total) == ("train vae seed 1", 30, 120)
    assert bar.fields["said"] == "loss 4.00, at most 9 s left"
    ended(logger, 4)
    logger.info("1 of 9", extra={"event": "progress", "done": 1, "total": 9})
    assert [(one.completed, one.total) for one in shown.progress.tasks] == [(1, 9)]
    shown.stop()
