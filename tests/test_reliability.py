"""A part of the faults of docs/reliability.md, injected; and that the page is about all of them."""

import subprocess
import sys
from pathlib import Path

from reliability import __main__ as reliability

ROOT = Path(__file__).parents[1]


def test_the_quick_part_of_the_faults() -> None:
    """In a process of its own: it forks, which threads at work in this one do not survive."""
    command = [sys.executable, "-m", "reliability", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" 0 wrong") + done.stdout.count("skipped") == len(
        [fault for fault in reliability.faults() if fault.quick]
    )


def test_on_the_page_every_fault_ended_as_it_should() -> None:
    rows, known = reliability.rows_of(reliability.PAGE), list(reliability.faults())
    assert list(rows) == [fault.name for fault in known if fault.name in rows]
    assert all(fault.happens in rows[fault.name] for fault in known if fault.name in rows)
    assert reliability.page(rows) == reliability.PAGE.read_text(encoding="utf-8")


def test_every_fault_has_a_line_of_its_own() -> None:
    names = [fault.name for fault in reliability.faults()]
    assert len(set(names)) == len(names)
