"""What is known of steps before any work, and whether they are finished."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ldebm.pipeline import plans, steps
from ldebm.pipeline.steps import Input, Step


@pytest.fixture
def chain(step: Callable[..., Step]) -> Callable[..., list[Step]]:
    """A step, and another that reads a file of its outputs."""

    def make(value: int = 1) -> list[Step]:
        first = step(value)
        inputs = {"first": Input(first.output, ("a.txt",), first)}
        out = first.output.with_name("out2")
        return [first, replace(first, verb="end", parameters={}, inputs=inputs, output=out)]

    return make


def finished(planned: list[Step], folder: str = "") -> bool:
    plans.write_plans(planned)
    return plans.finished(planned[0].home / "plan" / folder)


def test_a_plan_is_newer_than_outputs_while_they_are_stale_only(step: Callable[..., Step]) -> None:
    """Its content is new where parameters or source are; an engine may compare either."""
    plan, made = step().plan / "plan.json", step().output / "manifest.json"
    assert plans.write_plans([step()]) == [step()]
    steps.run(step())
    first = plan.read_bytes()
    assert plans.write_plans([step()]) == []
    assert step().plan.stat().st_mtime_ns < made.stat().st_mtime_ns
    assert plan.read_bytes() == first
    plans.write_plans([step(2)])
    assert step().plan.stat().st_mtime_ns > made.stat().st_mtime_ns
    assert json.loads(plan.read_text())["parameters"] == {"value": 2}
    assert plans.write_plans([step(1)]) == []  # a revert before any work
    assert step().plan.stat().st_mtime_ns < made.stat().st_mtime_ns
    assert plan.read_bytes() == first
    (step().output / "a.txt").unlink()
    assert plans.write_plans([step(1)]) == [step(1)]
    assert step().plan.stat().st_mtime_ns > made.stat().st_mtime_ns
    steps.run(step())
    made.unlink()  # an engine that was asked for another output does not miss it
    assert plans.write_plans([step()]) == [step()]
    assert step().plan.stat().st_mtime_ns > (step().output / "a.txt").stat().st_mtime_ns


def test_plans_of_steps_that_are_no_more_go(step: Callable[..., Step]) -> None:
    both = [replace(step(), key="vae", seed=seed) for seed in (1, 2)]
    plans.write_plans(both)
    plans.write_plans(both[:1])
    assert sorted((step().home / "plan").rglob("plan.json")) == [both[0].plan / "plan.json"]
    plans.write_plans(both[1:], some=True)
    assert len(list((step().home / "plan").rglob("plan.json"))) == 2


def test_steps_are_finished_when_all_of_them_are(chain: Callable[..., list[Step]]) -> None:
    first, second = chain()
    assert not finished([first, second])
    steps.run(first)
    assert not finished([first, second])
    assert finished([first, second], "toy")
    steps.run(second)
    assert finished([first, second])
    assert not finished([first, second], "nothing")


def test_of_another_value_from_another_input_or_damaged_they_are_not(
    chain: Callable[..., list[Step]], tmp_path: Path
) -> None:
    first, second = chain()
    for one in chain():
        steps.run(one)
    assert not finished(chain(2))
    steps.run(chain(2)[0])
    assert finished(chain(2), "toy")
    assert not finished(chain(2), "end")  # made from what the first was before
    steps.run(first)
    assert finished([first, second])
    (tmp_path / "text.txt").write_text("others")
    assert not finished([first, second])
    (tmp_path / "text.txt").write_text("words")
    assert finished([first, second])
    (second.output / "a.txt").write_text("1 wordz")
    assert not finished([first, second])
    (second.output / "manifest.json").write_text("{}")
    assert not finished([first, second])


def test_what_is_finished_is_no_older_than_what_it_was_made_from(
    chain: Callable[..., list[Step]],
) -> None:
    """As after `dvc checkout`, which gives files any times."""
    both = chain()
    for age, one in enumerate(both):
        steps.run(one)
        os.utime(one.output / "manifest.json", (1e9 - age, 1e9 - age))
    assert finished(both)
    times = [(one.output / "manifest.json").stat().st_mtime for one in both]
    assert 1e9 < times[0] <= times[1]


def test_to_know_it_nothing_is_imported_that_takes_time(step: Callable[..., Step]) -> None:
    steps.run(step())
    plans.write_plans([step()])
    program = (
        "import sys; from ldebm.pipeline import plans\n"
        f"assert plans.finished(plans.Path({str(step().home / 'plan')!r}))\n"
        "print(*{'numpy', 'yaml', 'pydantic', 'argparse'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "toy: up to date\n\n", "")
