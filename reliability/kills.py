"""Processes that are killed, and several at work on the same."""

import os
import random
import signal
import time
from collections.abc import Iterator

from ldebm.pipeline.steps import Step
from reliability.lab import Injection, Lab, Problem, Reference

MOMENTS = random.Random(1)


def killed(verb: str, key: str = "vae") -> Injection:
    """SIGKILL at random moments of a step, over and over until it is done."""

    def inject(reference: Reference, times: int) -> Iterator[Problem]:
        with reference.copy() as lab:
            step, count = lab.step(verb, key), 0
            lab.forget(step)
            while count < times:
                running = lab.start(step)
                if running.ended(MOMENTS.uniform(0, 0.8) * reference.seconds[step.name]):
                    yield from (
                        one for one in [_ended(reference, lab, step, running.done().status)] if one
                    )
                    lab.forget(step)
                    continue
                running.kill()
                count += 1
                yield _pretends(reference, lab, step)
            yield from (one for one in [_ended(reference, lab, step, lab.run(step).status)] if one)

    return inject


def _ended(reference: Reference, lab: Lab, step: Step, status: int) -> Problem:
    return f"{step.name}: status {status}" if status else reference.wrong(lab, step)


def _pretends(reference: Reference, lab: Lab, step: Step) -> Problem:
    """Whether a step that was killed left what looks finished and is not."""
    made = (lab.folder / step.output / "manifest.json").exists()
    return reference.wrong(lab, step) if made else None


def snakemake_killed(orphans: bool) -> Injection:
    """SIGKILL of Snakemake at random moments: alone, so that its jobs work on, or with all of them.

    The same command follows at once.
    """

    def inject(reference: Reference, times: int) -> Iterator[Problem]:
        with reference.copy() as lab:
            for _ in range(times):
                lab.forget(*lab.some())
                process = lab.snakemake()
                time.sleep(MOMENTS.uniform(4, 25))
                alive = process.poll() is None
                if orphans:
                    process.kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
                again = lab.snakemake()
                said = again.communicate()[0]
                process.wait()
                problem = f"status {again.returncode}: {said[-300:]}" if again.returncode else None
                yield (
                    problem
                    or (None if alive else "ended too soon")
                    or reference.wrong(lab, *lab.project.steps())
                )

    return inject


def two_at_once(verb: str) -> Injection:
    """The same step twice at the same time."""

    def inject(reference: Reference, times: int) -> Iterator[Problem]:
        with reference.copy() as lab:
            step = lab.step(verb)
            for _ in range(times):
                lab.forget(step)
                first = lab.start(step)
                time.sleep(0.1)
                second = lab.start(step)
                done = (first.done(), second.done())
                waited = "waiting for process" in done[0].said + done[1].said
                problem = done[0].problem(0) or done[1].problem(0) or reference.wrong(lab, step)
                yield problem or (None if waited else "neither waited")

    return inject


def two_snakemakes(reference: Reference, times: int) -> Iterator[Problem]:
    """The whole pipeline twice at the same time."""
    with reference.copy() as lab:
        for _ in range(times):
            lab.forget(*lab.some())
            both = [lab.snakemake() for _ in range(2)]
            said = [one.communicate()[0] for one in both]
            failed = [text[-300:] for one, text in zip(both, said, strict=True) if one.returncode]
            yield failed[0] if failed else reference.wrong(lab, *lab.project.steps())
