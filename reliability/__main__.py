"""Inject every fault into a small project for real, and write docs/reliability.md.

python -m reliability            all of it; some tens of minutes
python -m reliability --quick    some of it, on one model
python -m reliability disk kill  those whose names have such a word
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reliability import damage, disks, kills, trouble, walk
from reliability.lab import SOURCE, VERBS, Injection, Problem, Reference

PAGE = SOURCE / "docs/reliability.md"
SAME = "the same bits in the end"
KEPT = f"nothing unfinished looks finished; the same command goes on, {SAME}"
FULL = (
    f"one line: the folder, the space needed and free; with space the same command goes on, {SAME}"
)
READ_ONLY = f"one line that names the folder; once it is writable the same command goes on, {SAME}"
NAMED = f"named in one line, put back from what is kept or made again as the line says; {SAME}"
TOLD = (
    "all else completes, the table marks the row and says why, the exit status is not 0; "
    "undone, all is as before"
)
UNTRACKED = (
    "the training goes on after one line; `ldebm sync` sends what was missed, each point once"
)


@dataclass(frozen=True)
class Fault:
    """A fault, how it is injected, and what has to happen.

    `quick` and `all` are how often; 0 of `quick` leaves it out.
    """

    name: str
    how: str
    happens: str
    inject: Injection
    all: int
    quick: int = 0


def faults() -> Iterator[Fault]:
    """The list of them."""
    random = "SIGKILL at random moments of the work, over and over until it is done"
    for verb, often in zip(VERBS, (2, 2, 20, 3, 5, 3, 5, 2), strict=True):
        quick = {"train": 2, "likelihood": 1}.get(verb, 0)
        yield Fault(f"{verb} killed", random, KEPT, kills.killed(verb), often, quick)
    one, kind = kills.killed("train", "ldebm"), "an energy-based training killed"
    yield Fault(kind, random, KEPT, one, 5)
    how = "SIGKILL at a random moment; the same command at once"
    takes = f"waits for what is at work and takes over; {SAME}"
    yield Fault(
        "Snakemake killed", f"{how}, its jobs at work", takes, kills.snakemake_killed(True), 2
    )
    yield Fault("Snakemake and its jobs killed", how, KEPT, kills.snakemake_killed(False), 2)
    twice = f"one waits and takes what the other made; {SAME}"
    yield Fault("train twice at once", "a second process", twice, kills.two_at_once("train"), 2, 1)
    yield Fault("Snakemake twice at once", "a second one", twice, kills.two_snakemakes, 1)
    small = "a small file system of its own, filled to a random amount of space"
    for verb in VERBS:
        quick = int(verb in ("train", "likelihood"))
        yield Fault(f"disk full in {verb}", small, FULL, disks.full(verb), 3, quick)
    under = disks.full_under_snakemake
    yield Fault("disk full under Snakemake", small, FULL, under, 2)
    for verb in VERBS:
        how, one = "its file system is mounted to be read only", disks.unwritable(verb)
        yield Fault(f"folder of {verb} read-only", how, READ_ONLY, one, 1, int(verb == "sample"))
    for maker, name, reader in (
        ("train", "model.safetensors", "sample"),
        ("sample", "samples.txt", "judge"),
        ("tokens", "train.tokens.npy", "train"),
        ("evaluate", "scores.json", "table"),
    ):
        one, how = damage.flipped(maker, name, reader), "a random bit, in place or in a new file"
        yield Fault(f"{name} damaged", how, NAMED, one, 2, int(reader == "sample"))
    how = "a random bit of a file that a killed training left"
    named = f"named, set aside; on from the one before or from the start, {SAME}"
    yield Fault("checkpoint damaged", how, named, damage.checkpoints, 5, 1)
    how = "other shapes, and names outside the folder"
    refused = f"refused in one line or made again, nothing it names is touched; {SAME}"
    yield Fault("foreign manifest", how, refused, damage.manifests, len(damage.FOREIGN), 3)
    for step, column, path, value in (
        ("train", "rppl", ("models", "vae", "training", "learning_rate", "sentence"), 1e30),
        ("judge", "rppl", ("judge", "learning_rate"), 1e30),
        ("evaluate", "bleu", ("metrics",), ["my_metrics.py:Broken"]),
    ):
        others = {"train": "rppl", "judge": "bleu", "evaluate": "rppl"}[step]
        how = "a metric that raises" if step == "evaluate" else "a learning rate of 1e30"
        one = trouble.failing(f"{step} vae seed 1", column, others, *path, value=value)
        yield Fault(f"{step} fails for a row", f"{how}, under Snakemake", TOLD, one, 1)
    for name, how in (
        ("dead", "an address at which nobody listens"),
        ("locked", "another process holds the SQLite file"),
        ("read-only", "its file lies on a file system that cannot be written"),
        ("without journals", "a file is in the place of the folder of what is to be sent"),
    ):
        happens = UNTRACKED if name != "without journals" else "the training goes on after one line"
        yield Fault(f"tracking store {name}", how, happens, trouble.store(name), 1)
    how = "parameter files, texts, files, command lines: reliability/bad_inputs.py"
    yield Fault("bad input", how, "one clear line, nothing harmed", trouble.bad_inputs, 100_000)
    how = "random sequences of kills, changed parameters, damaged files, full disks, runs"
    yield Fault("all of them mixed", how, f"one clear line, or {SAME}", walk.sequences, 40)


def main(arguments: Sequence[str] | None = None) -> int:
    """Inject, print, write the page; 1 if anything did not happen as it has to."""
    parser = argparse.ArgumentParser(prog="python -m reliability", description=__doc__)
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only faults with one in their name"
    )
    parser.add_argument("--quick", action="store_true", help="a part, on one model")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help=str(PAGE))
    options = parser.parse_args(arguments)
    lines, held = rows_of(options.page), True
    models = ("vae",) if options.quick else ("vae", "ldebm")
    with Reference.built(models) as reference:
        for fault in faults():
            often = fault.quick if options.quick else fault.all
            if often and (not options.words or any(one in fault.name for one in options.words)):
                problems, skipped = injected(fault, reference, often)
                held &= skipped or not any(problems)
                lines[fault.name] = row(fault, problems, skipped)
                if not options.quick:
                    options.page.write_text(page(lines), encoding="utf-8")
    return 0 if held else 1


def injected(fault: Fault, reference: Reference, often: int) -> tuple[list[Problem], bool]:
    """What came of each injection, and whether it was skipped, since nothing can be mounted."""
    started, problems = time.monotonic(), list[Problem]()
    try:
        problems += fault.inject(reference, often)
    except disks.UnmountableError:
        print(f"{fault.name}: skipped, since no file system can be mounted here", flush=True)
        return [], True
    wrong = [one for one in problems if one]
    spent = time.monotonic() - started
    print(f"{fault.name}: {len(problems)} times, {len(wrong)} wrong, {spent:.0f} s", flush=True)
    for one in wrong:
        print(f"    {one}", file=sys.stderr, flush=True)
    return problems, False


def row(fault: Fault, problems: Sequence[Problem], skipped: bool) -> str:
    """A line of the page."""
    wrong = [one for one in problems if one]
    happened = fault.happens if not wrong else f"**not as it should in {len(wrong)}**"
    often = "not here" if skipped else str(len(problems))
    return f"| {fault.name} | {fault.how} | {often} | {'' if skipped else happened} |"


def rows_of(file: Path) -> dict[str, str]:
    """The lines of a page by the names of their faults."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return {line.split(" | ")[0][2:]: line for line in lines[2:]}


def page(lines: Mapping[str, str]) -> str:
    """docs/reliability.md."""
    text = (Path(__file__).parent / "page.md").read_text(encoding="utf-8")
    heading = "| Fault | How it is injected | Times | What happened |\n| :-- | :-- | --: | :-- |"
    known = [lines[fault.name] for fault in faults() if fault.name in lines]
    return "\n".join([text, heading, *known, ""])


if __name__ == "__main__":
    sys.exit(main())
