"""What is known of each step before any work, in files that engines can watch."""

import json
import os
import shutil
from collections.abc import Sequence

from ldebm.errors import UserError
from ldebm.pipeline.manifest import MANIFEST, Hashes, intact, write_whole
from ldebm.pipeline.steps import Step
from ldebm.runtime import disk


def is_stale(step: Step, hashes: Hashes) -> bool:
    """Whether outputs are missing, damaged, or were made from something else.

    What does without a model that failed is so too: it is asked again, and its status heard.
    """
    try:
        lacking = not step.of_model and any(one.failure() for one in step.inputs.values())
        return lacking or not intact(step.output, step.description()["fingerprint"], hashes)
    except UserError:
        return True


def write_plans(steps: Sequence[Step]) -> list[Step]:
    """Write the plan file of every step, remove those of no step, and return the stale steps.

    Raises:
        UserError: the disk is full, or a folder cannot be written.
    """
    hashes, home = Hashes(steps[0].home), steps[0].home
    with disk.told(home):
        stale = [step for step in steps if _write_plan(step, hashes)]
        hashes.save()
        wanted = {step.plan for step in steps}
        for file in list((home / "plan").rglob("plan.json")):
            if file.parent not in wanted:
                shutil.rmtree(file.parent)
    return stale


def _write_plan(step: Step, hashes: Hashes) -> bool:
    """Write <plan>/plan.json if its content is new; the folder is newer than outputs while stale.

    Snakemake compares times of a folder alone: what it remembers of outputs is not asked, since
    DVC may have exchanged them meanwhile.
    """
    file = step.plan / "plan.json"
    own = {name: one.hashes() for name, one in step.inputs.items() if one.maker is None}
    plan = {"step": step.name, **step.planned(), "inputs": own}
    text = json.dumps(plan, indent=1, ensure_ascii=False) + "\n"
    if not file.is_file() or file.read_bytes() != text.encode():
        step.plan.mkdir(parents=True, exist_ok=True)
        write_whole(file, text)
    stale, manifest = is_stale(step, hashes), step.output / MANIFEST
    if not stale:
        os.utime(step.plan, (0, 0))
    elif manifest.exists() and step.plan.stat().st_mtime_ns <= manifest.stat().st_mtime_ns:
        os.utime(step.plan)
    return stale
