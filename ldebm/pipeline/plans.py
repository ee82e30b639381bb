"""What is known of each step before any work, in files that engines can watch.

    python -m ldebm.pipeline.plans FOLDER

succeeds where every step with a plan below FOLDER is finished, so that DVC need not start Snakemake
to learn it. It reads no parameters and imports nothing that takes time.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ldebm.data.files import FAILED
from ldebm.errors import UserError
from ldebm.pipeline.manifest import MANIFEST, Hashes, intact, touch, write_whole
from ldebm.pipeline.steps import Step, fingerprint_of, made
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


def write_plans(steps: Sequence[Step], *, some: bool = False) -> list[Step]:
    """Write the plan file of every step, remove those of no step, and return the stale steps.

    Args:
        some: there are others, whose plans stay: another run may be at work by them.

    Raises:
        UserError: the disk is full, or a folder cannot be written.
    """
    hashes, home = Hashes(steps[0].home), steps[0].home
    with disk.told(home):
        stale = [step for step in steps if _write_plan(step, hashes)]
        hashes.save()
        wanted = {step.plan for step in steps}
        for file in [] if some else list((home / "plan").rglob("plan.json")):
            if file.parent not in wanted:
                shutil.rmtree(file.parent)
    return stale


def _write_plan(step: Step, hashes: Hashes) -> bool:
    """Write <plan>/plan.json if its content is new; the folder is newer than outputs while stale.

    Snakemake compares times of a folder alone: what it remembers of outputs is not asked, since
    DVC may have exchanged them meanwhile.
    """
    file = step.plan / "plan.json"
    text = json.dumps(_content(step), indent=1, ensure_ascii=False) + "\n"
    if not file.is_file() or file.read_bytes() != text.encode():
        step.plan.mkdir(parents=True, exist_ok=True)
        write_whole(file, text)
    stale, manifest = is_stale(step, hashes), step.output / MANIFEST
    if not stale:
        os.utime(step.plan, (0, 0))
    elif not manifest.exists() or step.plan.stat().st_mtime_ns <= manifest.stat().st_mtime_ns:
        os.utime(step.plan)
    return stale


def _content(step: Step) -> dict[str, Any]:
    own = {name: one.hashes() for name, one in step.inputs.items() if one.maker is None}
    reads = {
        name: {"folder": one.path.as_posix(), "files": one.files}
        for name, one in step.inputs.items()
        if one.maker is not None
    }
    where = {"home": step.home.as_posix(), "output": step.output.as_posix()}
    return {"step": step.name, **where, **step.planned(), "inputs": own, "reads": reads}


def finished(folder: Path) -> bool:
    """Whether the outputs of every step with a plan below a folder are what it says.

    If so, they are made newer than what they were made from, as by a step that finds nothing to do.
    """
    plans = [json.loads(file.read_bytes()) for file in sorted(folder.rglob("plan.json"))]
    if not plans or not _all_intact(plans):
        return False
    now = time.time_ns()
    for plan in plans:
        touch(Path(plan["output"]), now)  # one time for all, in whatever order they come
        print(f"{plan['step']}: up to date")
    return True


def _all_intact(plans: Sequence[dict[str, Any]]) -> bool:
    hashes = Hashes(Path(plans[0]["home"]))
    try:
        return all(_intact(plan, hashes) for plan in plans)
    except UserError:  # of a manifest: the step says it
        return False
    finally:
        hashes.save()


def _intact(plan: dict[str, Any], hashes: Hashes) -> bool:
    fingerprint = _fingerprint(plan)
    return fingerprint is not None and intact(Path(plan["output"]), fingerprint, hashes)


def _fingerprint(plan: dict[str, Any]) -> str | None:
    """Of what is there now; None where a model failed, which the step says whenever it is asked."""
    reads = {name: made(Path(one["folder"]), one["files"]) for name, one in plan["reads"].items()}
    own = made(Path(plan["output"]), None)
    if any(FAILED in (found or {}) for found in (own, *reads.values())):
        return None
    known = {name: plan[name] for name in ("parameters", "source")}
    return fingerprint_of({**known, "inputs": plan["inputs"] | reads})


if __name__ == "__main__":
    sys.exit(not finished(Path(sys.argv[1])))
