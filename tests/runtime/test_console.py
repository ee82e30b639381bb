"""What a step says of how far it is, at times that are set by hand."""

import sys

import pytest

from ldebm.runtime import console
from ldebm.runtime.console import Console, duration
from ldebm.training import console as training


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that have gone by, to be set; and no terminal."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    monkeypatch.delenv(console.LIVE, raising=False)
    return now


def said(one: Console, clock: list[float], capsys: pytest.CaptureFixture[str]) -> list[float]:
    """The seconds at which a step of a second each speaks, within the first 200."""
    times = []
    for second in range(1, 201):
        clock[0] = float(second)
        one.show(second, "loss 1.00")
        if capsys.readouterr().err:
            times.append(clock[0])
    return times


def test_the_first_line_is_early_and_in_the_end_there_is_one_a_minute(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(Console("one", 1000), clock, capsys) == [10, 30, 90, 150]


def test_who_shows_the_newest_line_gets_one_every_five_seconds(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(console.LIVE, "1")
    assert said(Console("one", 1000), clock, capsys) == list(range(5, 201, 5))


def test_a_line_tells_how_long_the_rest_takes_at_the_speed_since_it_went_on(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    one = Console("train vae seed 1", 1000, bound="at most ")
    clock[0] = 4.0  # to open the corpus, and steps of an earlier process
    one.show(500, "loss 3.00")
    clock[0] = 14.0
    one.show(600, "loss 2.00")  # 10 steps a second
    line = "train vae seed 1: step 600/1000, loss 2.00, at most 40 s left\n"
    assert capsys.readouterr() == ("", line)


def test_another_part_of_the_work_is_no_reason_to_speak_sooner(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    one = Console("pilot", 9)
    clock[0] = 10.0
    one.show(1)
    one.part("half", 50)
    clock[0] = 29.0
    one.show(10)
    clock[0] = 31.0
    one.show(20)
    assert capsys.readouterr().err.splitlines() == [
        "pilot: step 1/9",
        "half: step 20/50, 6 s left",  # 5 a second
    ]


def test_on_a_terminal_it_is_a_bar(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    one = Console("judge", 20, "epoch")
    one.show(5, "valid perplexity 9.00")
    one.show(20, "valid perplexity 8.00")
    one.close()
    told = capsys.readouterr()
    assert told.out == ""
    assert "20/20" in told.err


def test_durations() -> None:
    assert [duration(x) for x in (0.4, 89, 90, 5000, 5400, 86400)] == [
        "0 s",
        "89 s",
        "1.5 min",
        "83.3 min",
        "1.5 h",
        "24.0 h",
    ]


def test_a_training_says_its_objective_and_its_last_validation(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    one = training.Console("vae seed 1", 10)
    for second, entry in (
        (11.0, {"step": 1.0, "loss": 9.0, "tokens_per_second": 1234.5}),
        (40.0, {"step": 2.0, "loss": 8.0, "valid_loss": 7.5, "tokens_per_second": 1000.0}),
        (101.0, {"step": 3.0, "loss": 6.0, "tokens_per_second": 1000.0}),
    ):
        clock[0] = second
        one.show(entry)
    said = [line.partition(", at most")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == [
        "train vae seed 1: step 1/10, loss 9.00, 1,234 tokens/s",
        "train vae seed 1: step 2/10, loss 8.00, valid 7.50, 1,000 tokens/s",
        "train vae seed 1: step 3/10, loss 6.00, valid 7.50, 1,000 tokens/s",
    ]
