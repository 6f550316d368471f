"""The campaign of faults (`make faults`) goes on where it was ended, and does again what was lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults.count import Kind, Record, Result

ABOUT = {"seed": 0, "sizes": {"calls": 10}}


def kind(tried: list[int], lost: set[int], until: int = 10) -> Kind:
    """Ten faults, of which some are lost, the one of number 4 cannot be done, and the process ends at another."""

    def fault(number: int) -> Result | None:
        if number == until:
            raise KeyboardInterrupt
        tried.append(number)
        return None if number == 4 else (f"fault {number}", "wrong" if number in lost else None)

    return Kind("a kind", "what is done", 9, 10, fault)


def test_an_ended_campaign_goes_on_and_does_again_what_was_lost(tmp_path: Path) -> None:
    path, tried = tmp_path / "faults.json", list[int]()
    record = Record(path, ABOUT)
    with pytest.raises(KeyboardInterrupt):
        record.try_all(kind(tried, {2, 3}, until=6), None)
    record.save()  # as it does every few seconds
    assert tried == [0, 1, 2, 3, 4, 5]
    tried.clear()
    count = Record(path, ABOUT).try_all(kind(tried, {3}), None)
    assert tried == [2, 3, 6, 7, 8, 9]
    assert (count.tried, count.survived, list(count.lost), count.of) == (9, 8, [3], 10)
    tried.clear()
    count = Record(path, ABOUT).try_all(kind(tried, set()), None)
    assert tried == [3] and (count.tried, count.survived, count.lost) == (9, 9, {})


def test_the_record_of_another_campaign_is_left_alone(tmp_path: Path) -> None:
    Record(tmp_path / "faults.json", ABOUT).save()
    with pytest.raises(SystemExit, match="of another campaign, with other sizes or versions: type --anew"):
        Record(tmp_path / "faults.json", ABOUT | {"seed": 1})
