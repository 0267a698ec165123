from __future__ import annotations

from data.station_order import in_order


def test_numbers_in_names_count_as_numbers() -> None:
    names = ["robot-10", "robot-2", "bench", "robot-1", "robot-2", "2nd", "arm-3-left", "arm-3"]
    assert in_order(names) == ["2nd", "arm-3", "arm-3-left", "bench", "robot-1", "robot-2", "robot-10"]
