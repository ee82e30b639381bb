"""A part of the faults of docs/reliability.md, injected; and that the page is about all of them."""

import pytest

from reliability import __main__ as reliability


def test_the_quick_part_of_the_faults(capfd: pytest.CaptureFixture[str]) -> None:
    status = reliability.main(["--quick"])
    said = capfd.readouterr()
    assert status == 0, said.err
    assert said.out.count(" 0 wrong") + said.out.count("skipped") == len(
        [fault for fault in reliability.faults() if fault.quick]
    )


def test_on_the_page_every_fault_ended_as_it_should() -> None:
    rows, known = reliability.rows_of(reliability.PAGE), list(reliability.faults())
    assert list(rows) == [fault.name for fault in known if fault.name in rows]
    assert all(fault.happens in rows[fault.name] for fault in known if fault.name in rows)
    assert reliability.page(rows) == reliability.PAGE.read_text(encoding="utf-8")
