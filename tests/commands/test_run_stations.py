from pathlib import Path

import pytest

from commands.run import check_address, declared_stations, open_lab, read_speed, told_busy
from commands.services import plan
from data.lab import Lab
from nightlab.cards import card
from nightlab.errors import UsageError
from nightlab.records import CampaignSpec, LabConfig, StationConfig


@pytest.mark.parametrize("address", ["10.0.0.2:50051", "cell-3.example:50051", "unix:/run/cell.sock"])
def test_an_address_of_a_station(address: str) -> None:
    assert check_address(address) == address


@pytest.mark.parametrize("address", ["10.0.0.2", ":50051", "host:port", "host:0", "host:70000"])
def test_no_address_is_one_clear_line(address: str) -> None:
    with pytest.raises(UsageError, match=r"an address HOST:PORT is needed. Try: --station 10.0.0.2:50051"):
        check_address(address)


def test_stations_elsewhere_are_part_of_the_lab_and_started_by_nobody(tmp_path: Path) -> None:
    lab = open_lab(tmp_path / "lab", CampaignSpec(stations=3), ["10.9.9.9:1", "10.9.9.8:1"], "/keys/lab")
    assert [(s.station, s.remote, s.keys) for s in lab.config.stations] == [
        ("robot-1", False, ""), ("robot-2", True, "/keys/lab"), ("robot-3", True, "/keys/lab"),
    ]  # fmt: skip
    made = plan(lab, lab.config)
    assert {service.station for service in made.services} == {"", "robot-1"}
    assert [(place.address, place.keys, place.admin_socket) for place in made.places[1:]] == [
        ("10.9.9.9:1", "/keys/lab", None), ("10.9.9.8:1", "/keys/lab", None),
    ]  # fmt: skip
    assert declared_stations(lab.path) == 3, "nightlab run without --stations takes what lab.yaml declares"


def test_a_lab_of_simulated_stations_declares_none(tmp_path: Path) -> None:
    assert declared_stations(tmp_path / "none") == 0
    Lab.create(tmp_path / "lab", LabConfig(stations=(StationConfig(station="robot-1"),)))
    assert declared_stations(tmp_path / "lab") == 0


def test_the_speed_that_nobody_names_is_the_environments() -> None:
    assert read_speed("", "pin_insertion") == card("pin_insertion").speed == 8.0
    assert read_speed("", "push_t") == 10.0
    assert read_speed("max", "push_t") == 0.0
    with pytest.raises(UsageError, match=r"--speed 'fast': a factor above 0 .* or max is needed. Try: --speed 10"):
        read_speed("fast", "push_t")


def test_a_run_ends_with_how_busy_the_robots_were_or_why_that_is_not_told() -> None:
    assert told_busy({"mru": 0.938, "mru_reason": ""}) == "busy 94% of the time"
    slow = {"mru": None, "mru_reason": "the host was too slow: 6.42× of 8× real time achieved"}
    assert told_busy(slow) == "how busy is not stated: the host was too slow: 6.42× of 8× real time achieved"
